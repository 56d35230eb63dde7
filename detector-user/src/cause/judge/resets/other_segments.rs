//! The fields of a side's other segments, for a reset in its name to be compared with.

use detector_common::flow::{Sender, side_flags};

use crate::flow::timeline::Timeline;

/// Fields of a side's segments other than its resets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Baseline {
    /// Lowest TTL or hop limit.
    pub(super) ttl_min: u8,
    /// Highest TTL or hop limit.
    pub(super) ttl_max: u8,
    /// Source MAC address of the last segment.
    pub(super) mac: u64,
    /// IPv4 identification of the last segment.
    pub(super) ip_id: u16,
}

impl Baseline {
    /// Returns that of a side, by all of its segments that were seen, later ones too; of a side that sent
    /// none since the ClientHello, by its SYN or SYN,ACK.
    pub(super) fn of(timeline: &Timeline, sender: Sender) -> Option<Self> {
        let side = timeline.side(sender);
        if side.has(side_flags::SEEN) {
            return Some(Self {
                ttl_min: side.ttl_min,
                ttl_max: side.ttl_max,
                mac: side.mac,
                ip_id: side.ip_id,
            });
        }
        timeline.syn(sender).map(|syn| Self {
            ttl_min: syn.ttl,
            ttl_max: syn.ttl,
            mac: syn.mac,
            ip_id: syn.ip_id,
        })
    }
}
