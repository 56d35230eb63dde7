//! Bytes taken out of a connection's two streams, and its segments without them.

use detector_common::headers::{Segment, tcp_flags};

/// Maximum ranges per side; beyond it nothing more is taken out.
pub(super) const RANGES_MAX: usize = 64;

/// Ranges of one side's sequence numbers, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Removed(Vec<(u32, u32)>);

impl Removed {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a range behind all others, or makes the last one longer; false if there is no room.
    pub(super) fn push(&mut self, seq: u32, len: u32) -> bool {
        if let Some((start, last)) = self.0.last_mut()
            && *start == seq
        {
            *last = (*last).max(len);
            return true;
        }
        let room = self.0.len() < RANGES_MAX;
        if room && len > 0 {
            self.0.push((seq, len));
        }
        room
    }

    /// Returns the sequence number without the bytes taken out before it.
    fn mapped(&self, seq: u32) -> u32 {
        let before = self.0.iter().map(|(start, len)| {
            let distance = seq.wrapping_sub(*start);
            // Sequence space wraps: a distance beyond half of it is before the range.
            if distance > u32::MAX / 2 {
                0
            } else {
                distance.min(*len)
            }
        });
        seq.wrapping_sub(before.sum())
    }

    fn contains(&self, seq: u32) -> bool {
        let mut ranges = self.0.iter();
        ranges.any(|(start, len)| seq.wrapping_sub(*start) < *len)
    }

    /// Returns the bytes of a payload at `seq` that are not taken out.
    pub(super) fn rest(&self, seq: u32, payload: &[u8]) -> Vec<u8> {
        let numbered = (0_u32..).zip(payload);
        numbered
            .filter(|(at, _)| !self.contains(seq.wrapping_add(*at)))
            .map(|(_, byte)| *byte)
            .collect()
    }
}

/// Writes the segment as an Ethernet frame without the bytes that `own` and `peers` take out; `None` if
/// it does not fit one. Returns the frame and its length on the wire.
pub(super) fn frame(
    segment: &Segment,
    payload: &[u8],
    own: &Removed,
    peers: &Removed,
) -> Option<(Vec<u8>, u32)> {
    let payload_seq = segment.payload_seq();
    let seq = own.mapped(payload_seq);
    let end = own.mapped(payload_seq.wrapping_add(segment.payload_len));
    let wire_len = end.wrapping_sub(seq);
    let rest = own.rest(payload_seq, payload);
    let mut frame = link_header(segment);
    let options = usize::from(segment.options_len);
    let tcp_len = 20 + options + wire_len as usize;
    ip_header(&mut frame, segment, tcp_len)?;
    let [source, destination] = ordered(segment.key.ports, segment.endpoint);
    frame.extend(source.to_be_bytes());
    frame.extend(destination.to_be_bytes());
    let syn = u32::from(segment.has(tcp_flags::SYN));
    frame.extend(seq.wrapping_sub(syn).to_be_bytes());
    frame.extend(peers.mapped(segment.ack).to_be_bytes());
    let words = u8::try_from(5 + options / 4).ok()?;
    frame.extend([words << 4, segment.flags]);
    frame.extend(segment.window.to_be_bytes());
    frame.extend([0; 4]);
    // Options of the same length: No-Operation.
    frame.extend(std::iter::repeat_n(1, options));
    let headers = frame.len();
    frame.extend(rest);
    let frame_len = u32::try_from(headers).ok()?.checked_add(wire_len)?;
    Some((frame, frame_len))
}

/// Returns source and destination of a pair that the key has in its own order.
fn ordered<T>([first, second]: [T; 2], endpoint: u8) -> [T; 2] {
    if endpoint == 0 {
        [first, second]
    } else {
        [second, first]
    }
}

fn link_header(segment: &Segment) -> Vec<u8> {
    let mut frame = vec![0; 6];
    let [_, _, mac @ ..] = segment.source_mac.to_be_bytes();
    frame.extend(mac);
    for id in segment.vlan.into_iter().filter(|id| *id != 0) {
        frame.extend([0x81, 0]);
        frame.extend(id.to_be_bytes());
    }
    frame
}

fn ip_header(frame: &mut Vec<u8>, segment: &Segment, tcp_len: usize) -> Option<()> {
    let [source, destination] = ordered(segment.key.addresses, segment.endpoint);
    let (source, destination) = (source.octets(), destination.octets());
    let ipv4 = |octets: [u8; 16]| match octets {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, address @ ..] => Some(address),
        _ => None,
    };
    if let (Some(source), Some(destination)) = (ipv4(source), ipv4(destination)) {
        let len = u16::try_from(20 + tcp_len).ok()?;
        frame.extend([8, 0, 0x45, 0]);
        frame.extend(len.to_be_bytes());
        frame.extend(segment.ip_id.to_be_bytes());
        frame.extend([0, 0, segment.ttl, 6, 0, 0]);
        frame.extend(source);
        frame.extend(destination);
    } else {
        let len = u16::try_from(tcp_len).ok()?;
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(len.to_be_bytes());
        frame.extend([6, segment.ttl]);
        frame.extend(source);
        frame.extend(destination);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use detector_common::flow::{Address, FlowKey};
    use detector_common::headers::{LinkType, Tap, walk};
    use rstest::rstest;

    use super::*;

    const TAP: Tap = Tap {
        link: LinkType::Ethernet,
        interface: 3,
        egress: false,
        vlan_in_key: true,
        tunnel: 0,
    };

    fn segment(ipv6: bool) -> Segment {
        let address = |last: u8| {
            if ipv6 {
                Address::from_halves(0x2001_0db8 << 32, u64::from(last))
            } else {
                Address::from_ipv4(0x0a00_0000 | u32::from(last))
            }
        };
        Segment {
            key: FlowKey {
                addresses: [address(1), address(2)],
                ports: [40_000, 443],
                vlan: [7, 0],
                interface: 3,
                tunnel: 0,
            },
            endpoint: 1,
            vlan: [7, 0],
            source_mac: 0x0200_0000_0001,
            ttl: 57,
            ip_id: if ipv6 { 0 } else { 99 },
            seq: 0xffff_fffe,
            ack: 1010,
            flags: tcp_flags::ACK,
            window: 501,
            options_len: 12,
            payload_offset: 0,
            payload_len: 8,
        }
    }

    /// The engine's own header walk reads it back.
    #[rstest]
    fn a_segment_is_written_without_the_bytes(#[values(false, true)] ipv6: bool) {
        let mut own = Removed::default();
        assert!(own.push(0xffff_fffe, 5));
        let mut peers = Removed::default();
        assert!(peers.push(1000, 4));
        let sent = segment(ipv6);
        let (frame, len) = super::frame(&sent, b"12345678", &own, &peers).unwrap();
        assert_eq!(len as usize, frame.len());
        let mut read = walk(&frame.as_slice(), &TAP).unwrap();
        read.order_endpoints();
        assert_eq!(&frame[read.payload_offset..], b"678");
        assert_eq!(
            (read.seq, read.ack, read.payload_len),
            (0xffff_fffe, 1006, 3)
        );
        let expected = Segment {
            ack: read.ack,
            payload_len: 3,
            payload_offset: read.payload_offset,
            ..sent
        };
        assert_eq!(format!("{read:?}"), format!("{expected:?}"));
    }

    #[test]
    fn numbers_move_by_what_was_taken_out_before_them() {
        let mut removed = Removed::default();
        assert!(removed.push(100, 8) && removed.push(200, 8));
        for (seq, mapped) in [(90, 90), (100, 100), (104, 100), (108, 100), (150, 142)] {
            assert_eq!(removed.mapped(seq), mapped);
        }
        assert_eq!((removed.mapped(208), removed.mapped(300)), (192, 284));
        assert_eq!(removed.rest(98, &[9; 20]).len(), 12);
    }
}
