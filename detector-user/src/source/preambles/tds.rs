//! TLS inside TDS packets, as SQL Server shakes hands: each packet of type PRELOGIN holds a piece of the
//! handshake behind eight bytes of header; after the handshake TDS is inside TLS (MS-TDS §2.2.6.5, §3.2).

use super::removed::Removed;

const HEADER_LEN: u32 = 8;
const PRELOGIN: u8 = 0x12;
/// A server's answer; some wrap their part of the handshake in packets of this type.
const TABULAR_RESULT: u8 = 4;

/// Offset of one side's next packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packets {
    next: u32,
    over: bool,
}

/// Returns the TLS bytes behind a TDS header, if `payload` begins with one.
pub(super) fn content(payload: &[u8]) -> Option<&[u8]> {
    packet_len(payload)?;
    payload.get(HEADER_LEN as usize..)
}

/// Returns the length of the packet whose header `payload` begins with; its first four bytes tell.
fn packet_len(payload: &[u8]) -> Option<u32> {
    let [kind, status, high, low] = *payload.first_chunk::<4>()?;
    let len = u32::from(u16::from_be_bytes([high, low]));
    let is_header = matches!(kind, PRELOGIN | TABULAR_RESULT) && status <= 1 && len > HEADER_LEN;
    is_header.then_some(len)
}

impl Packets {
    pub(super) fn new(next: u32) -> Self {
        Self { next, over: false }
    }

    /// Takes the headers within a payload at `seq` out of the stream.
    pub(super) fn read(&mut self, seq: u32, payload: &[u8], removed: &mut Removed) {
        while !self.over {
            let at = self.next.wrapping_sub(seq);
            if at > u32::MAX / 2 {
                // A header before it was not seen, or not whole.
                self.over = true;
                return;
            }
            let Some(rest) = payload.get(at as usize..).filter(|rest| !rest.is_empty()) else {
                return;
            };
            let Some(len) = packet_len(rest) else {
                self.over = true;
                return;
            };
            self.over = !removed.push(self.next, HEADER_LEN);
            self.next = self.next.wrapping_add(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(content: &[u8]) -> Vec<u8> {
        let len = (content.len() + 8) as u8;
        [&[PRELOGIN, 1, 0, len, 0, 0, 0, 0], content].concat()
    }

    #[test]
    fn headers_are_found_over_segments_until_tls_stands_alone() {
        let mut removed = Removed::default();
        let mut packets = Packets::new(1000);
        let stream = [
            packet(b"\x16\x03\x03hello"),
            packet(b"more"),
            b"\x17\x03\x03".to_vec(),
        ]
        .concat();
        let (first, rest) = stream.split_at(20);
        packets.read(1000, first, &mut removed);
        packets.read(1020, rest, &mut removed);
        // One that comes again changes nothing.
        packets.read(1000, first, &mut removed);
        let mut seq = 1000;
        let mut content = Vec::new();
        for part in [first, rest] {
            content.extend(removed.rest(seq, part));
            seq += part.len() as u32;
        }
        assert_eq!(content, b"\x16\x03\x03hellomore\x17\x03\x03");
        assert!(packets.over);
    }
}
