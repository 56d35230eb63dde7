//! Captures divided into the two directions of their connections.

use std::collections::BTreeMap;
use std::path::Path;

use detector_common::flow::{FlowKey, Sender};
use detector_common::headers::{LinkType, Tap, tcp_flags, walk};
use detector_user::flow::receiver::Receiver;
use detector_user::source::capture::{self, CaptureFile, Frame};
use detector_user::source::capture_tap::CaptureTap;

/// An Ethernet frame with its time.
pub struct Sent {
    /// Its time, nanoseconds.
    pub time_ns: u64,
    /// As captured.
    pub bytes: Vec<u8>,
    /// Its length on the wire.
    pub original_len: u32,
    /// The side of its connection that sent it.
    pub sender: Sender,
}

/// Reads a capture's TCP frames; the sender of the SYN is the client.
pub fn frames(path: &Path) -> Vec<Sent> {
    let mut capture = CaptureFile::open(path).unwrap();
    let mut clients: BTreeMap<FlowKey, u8> = BTreeMap::new();
    let mut frames = Vec::new();
    while let Some(frame) = capture.next_frame().unwrap() {
        let tap = Tap {
            link: LinkType::Ethernet,
            interface: 1,
            egress: false,
            vlan_in_key: true,
            tunnel: 0,
        };
        let Ok(mut segment) = walk(&frame.captured, &tap) else {
            continue;
        };
        segment.order_endpoints();
        let flags = segment.flags & (tcp_flags::SYN | tcp_flags::ACK);
        if flags == tcp_flags::SYN {
            clients.insert(segment.key, segment.endpoint);
        }
        let is_client = clients.get(&segment.key) == Some(&segment.endpoint);
        frames.push(Sent {
            time_ns: frame.time_ns,
            bytes: frame.captured.to_vec(),
            original_len: frame.original_len,
            sender: if is_client {
                Sender::Client
            } else {
                Sender::Server
            },
        });
    }
    frames
}

/// Shows a frame to an engine as the kernel does.
pub fn show_frame(tap: &mut CaptureTap, sent: &Sent, time_ns: u64, receiver: &mut impl Receiver) {
    let frame = Frame {
        time_ns,
        captured: &sent.bytes,
        original_len: sent.original_len,
        link_type: capture::LinkType::ETHERNET,
        interface: 1,
    };
    tap.frame(&frame, LinkType::Ethernet, 1, receiver);
}
