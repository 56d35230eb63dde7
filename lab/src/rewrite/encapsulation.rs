//! The same packets in other frames: tags, tunnels, extension headers, link types, cut short.

use super::random::Random;
use crate::capture::{Capture, Frame, LINUX_SLL, LINUX_SLL2, RAW};

const ADDRESSES: usize = 12;
const IPV6: [u8; 2] = [0x86, 0xdd];
const IPV4: [u8; 2] = [0x08, 0x00];

/// Tags to put into a frame: TPID and VLAN ID, the outer one first.
#[must_use]
pub fn tagged(frames: &[Frame], tags: &[(u16, u16)]) -> Vec<Frame> {
    let words = tags.iter().flat_map(|(tpid, vlan)| [*tpid, *vlan]);
    let tags: Vec<u8> = words.flat_map(u16::to_be_bytes).collect();
    each(frames, |bytes| {
        let mut bytes = bytes.to_vec();
        bytes.splice(ADDRESSES..ADDRESSES, tags.iter().copied());
        Some(bytes)
    })
}

/// Writes PPPoE session frames (RFC 2516); what isn't IP stays as it is.
#[must_use]
pub fn pppoe(frames: &[Frame], session: u16) -> Vec<Frame> {
    each(frames, |bytes| {
        let kind: [u8; 2] = *bytes.get(ADDRESSES..)?.first_chunk()?;
        let protocol: u16 = match kind {
            IPV4 => 0x0021,
            IPV6 => 0x0057,
            _ => return Some(bytes.to_vec()),
        };
        let packet = bytes.get(ADDRESSES + 2..)?;
        let len = u16::try_from(packet.len() + 2).ok()?;
        let mut out = bytes.get(..ADDRESSES)?.to_vec();
        out.extend([0x88, 0x64, 0x11, 0x00]);
        out.extend(session.to_be_bytes());
        out.extend(len.to_be_bytes());
        out.extend(protocol.to_be_bytes());
        out.extend(packet);
        Some(out)
    })
}

/// An IPv6 extension header of eight bytes, filled with PadN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Hop-by-hop options.
    HopByHop,
    /// Destination options.
    Destination,
    /// Both.
    Both,
}

impl Extension {
    fn numbers(self) -> &'static [u8] {
        match self {
            Self::HopByHop => &[0],
            Self::Destination => &[60],
            Self::Both => &[0, 60],
        }
    }
}

/// Puts extension headers (RFC 8200 §4) between IPv6 and TCP; the checksum stays right, as its
/// pseudo header has only addresses and the transport's bytes.
#[must_use]
pub fn extended(frames: &[Frame], extension: Extension) -> Vec<Frame> {
    each(frames, |bytes| {
        if bytes.get(ADDRESSES..ADDRESSES + 2)? != IPV6 {
            return Some(bytes.to_vec());
        }
        let mut next = *bytes.get(20)?;
        let mut headers = Vec::new();
        for number in extension.numbers().iter().rev() {
            // Next header, no more than eight bytes, PadN over the other six.
            headers.splice(0..0, [next, 0, 1, 4, 0, 0, 0, 0]);
            next = *number;
        }
        let len = u16::from_be_bytes(*bytes.get(18..)?.first_chunk()?);
        let len = len.checked_add(headers.len() as u16)?;
        let mut out = bytes.to_vec();
        out.splice(18..20, len.to_be_bytes());
        out.splice(20..21, [next]);
        out.splice(54..54, headers);
        Some(out)
    })
}

/// Cuts frames to `length` bytes, as `tcpdump -s` does.
#[must_use]
pub fn cut_short(frames: &[Frame], length: usize) -> Vec<Frame> {
    let mut frames = frames.to_vec();
    for frame in &mut frames {
        frame.bytes.truncate(length);
    }
    frames
}

/// Pads short frames to Ethernet's minimum of 60 bytes, as a recorder sees received ones.
#[must_use]
pub fn padded(frames: &[Frame], random: &mut Random) -> Vec<Frame> {
    each(frames, |bytes| {
        let mut bytes = bytes.to_vec();
        if bytes.len() < 60 {
            // Some drivers leave their buffer's old bytes.
            let padding = random.bytes(60 - bytes.len());
            bytes.extend(padding);
        }
        Some(bytes)
    })
}

/// Writes LINKTYPE_RAW.
#[must_use]
pub fn raw(frames: &[Frame]) -> Capture {
    let frames = each(frames, |bytes| {
        is_ip(bytes).then(|| bytes.get(14..).map(<[u8]>::to_vec))?
    });
    Capture {
        link_type: RAW,
        ..Capture::ethernet(frames)
    }
}

/// Writes LINKTYPE_LINUX_SLL.
#[must_use]
pub fn cooked(frames: &[Frame]) -> Capture {
    let frames = each(frames, |bytes| {
        // Packet for us, ARPHRD_ETHER, six bytes of address in a field of eight.
        let mut out = vec![0, 0, 0, 1, 0, 6];
        out.extend(bytes.get(6..12)?);
        out.extend([0, 0]);
        out.extend(bytes.get(12..)?);
        Some(out)
    });
    Capture {
        link_type: LINUX_SLL,
        ..Capture::ethernet(frames)
    }
}

/// Writes LINKTYPE_LINUX_SLL2.
#[must_use]
pub fn cooked2(frames: &[Frame]) -> Capture {
    let frames = each(frames, |bytes| {
        let mut out = bytes.get(12..14)?.to_vec();
        // Reserved, interface 2, ARPHRD_ETHER, packet for us, six bytes of address.
        out.extend([0, 0, 0, 0, 0, 2, 0, 1, 0, 6]);
        out.extend(bytes.get(6..12)?);
        out.extend([0, 0]);
        out.extend(bytes.get(14..)?);
        Some(out)
    });
    Capture {
        link_type: LINUX_SLL2,
        ..Capture::ethernet(frames)
    }
}

fn is_ip(bytes: &[u8]) -> bool {
    matches!(bytes.get(ADDRESSES..ADDRESSES + 2), Some(kind) if kind == IPV4 || kind == IPV6)
}

/// Rewrites each frame; those it gives nothing for are left out.
fn each(frames: &[Frame], mut rewrite: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Vec<Frame> {
    let rewritten = frames.iter().filter_map(|frame| {
        let bytes = rewrite(&frame.bytes)?;
        Some(Frame::new(frame.time_ns, bytes))
    });
    rewritten.collect()
}
