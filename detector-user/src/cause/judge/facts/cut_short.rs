//! A record that its sender began and did not finish.

use detector_common::flow::{Sender, Side, side_flags};
use detector_common::observation::baseline;
use detector_common::record::LENGTH_MAX;

use crate::flow::timeline::{Close, CloseKind, Timeline};

/// A record cut short by the end of its sender's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutShort {
    /// Its sender.
    pub by: Sender,
    /// The end of its sender's stream: FIN, or the sender's own RST.
    pub kind: CloseKind,
    /// Bytes that the sender had sent in all.
    pub sent: u32,
    /// Bytes that its header promised and that did not come.
    pub missing: u32,
}

/// Header and longest body of a record.
const RECORD_MAX: u32 = 5 + LENGTH_MAX as u32;

impl CutShort {
    /// Finds the record under way when the first side closed. `None` where the place of the record
    /// headers is not known: bytes of that side are missing, or its data passed unread.
    pub(super) fn of(timeline: &Timeline, close: &Close) -> Option<Self> {
        let side = timeline.side(close.sender);
        let end = end(side, close)?;
        let is_known = side.has(side_flags::SYNCED) && !side.has(side_flags::GAP);
        let missing = side.header_seq.wrapping_sub(end);
        (is_known && (1..=RECORD_MAX).contains(&missing)).then_some(Self {
            by: close.sender,
            kind: close.kind,
            sent: end.wrapping_sub(side.start_seq),
            missing,
        })
    }
}

/// Returns the sequence number after the side's last byte. A reset elsewhere than there says
/// nothing about it, nor does a FIN before it: one with an old number takes none.
fn end(side: &Side, close: &Close) -> Option<u32> {
    let measured = &close.measured;
    let is_old = measured.baseline & baseline::SEQ != 0 && measured.seq_ahead < 0;
    match close.kind {
        CloseKind::Fin => (!is_old).then(|| side.next_seq.wrapping_sub(1)),
        CloseKind::Reset => (close.measured.seq == side.next_seq).then_some(side.next_seq),
        CloseKind::SpeaksOn => None,
    }
}
