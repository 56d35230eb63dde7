//! One connection's frames from a script, so that a fuzzer need not invent headers.

/// Bytes of an Ethernet, an IPv4 and a TCP header.
const HEADERS: usize = 14 + 20 + 20;
const CLIENT: [u8; 4] = [10, 0, 1, 2];
const SERVER: [u8; 4] = [10, 0, 2, 2];
const ROUTER: [u8; 4] = [10, 0, 9, 9];

/// A connection with its sides' next sequence numbers.
#[derive(Default)]
pub struct Connection {
    seq: [u32; 2],
    last: Vec<u8>,
}

impl Connection {
    /// Returns the frame of a step: of the low bits of `kind`, 0 to 3 are data of the client or the server, with
    /// the next bits for a place before or after the next byte and for flags; 4 is an ICMP error with the bytes as
    /// type, code and cut that quotes the last segment; 5 is the same for the bytes of the segment, 6 a SYN, and 7
    /// any frame.
    pub fn step(&mut self, kind: u8, bytes: &[u8]) -> Vec<u8> {
        let side = usize::from(kind & 1);
        match kind & 7 {
            0..=3 => {
                let place = [0_i32, 0, -1, 1, -700, 1400, 0, -3][usize::from(kind >> 3 & 7)];
                let flags = [0x18, 0x18, 0x11, 0x14][usize::from(kind >> 6)];
                let seq = self.seq[side].wrapping_add_signed(place);
                let frame = self.segment(side, seq, flags, bytes);
                if place == 0 {
                    self.seq[side] = seq.wrapping_add(bytes.len() as u32);
                }
                self.last.clone_from(&frame);
                frame
            }
            4 | 5 => self.icmp_error(bytes),
            6 => {
                self.seq = [7_000, 90_000];
                let frame = self.segment(0, 6_999, 0x02, &[]);
                self.last.clone_from(&frame);
                frame
            }
            _ => bytes.to_vec(),
        }
    }

    fn segment(&self, side: usize, seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let ports = [[40_112_u16, 3128], [3128, 40_112]][side];
        let mut tcp: Vec<u8> = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
        tcp.extend(seq.to_be_bytes());
        tcp.extend(self.seq[1 - side].to_be_bytes());
        tcp.extend([0x50, flags, 1, 0, 0, 0, 0, 0]);
        tcp.extend(payload);
        let ends = [[CLIENT, SERVER], [SERVER, CLIENT]][side];
        ipv4(ends, 6, &tcp)
    }

    /// Returns an error that quotes the last segment, cut to some bytes.
    fn icmp_error(&self, bytes: &[u8]) -> Vec<u8> {
        let at = |index: usize| bytes.get(index).copied().unwrap_or_default();
        let quoted = self.last.get(14..).unwrap_or_default();
        let cut = usize::from(at(2)).min(quoted.len());
        let header = [at(0), at(1), 0, 0, 0, 0, 0, 0];
        let changed = bytes.get(3..).unwrap_or_default();
        let icmp = [&header[..], &quoted[..cut], changed].concat();
        ipv4([ROUTER, CLIENT], 1, &icmp)
    }
}

fn ipv4(ends: [[u8; 4]; 2], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len()).min(65_535) as u16;
    let mut frame = Vec::with_capacity(HEADERS + payload.len());
    frame.extend([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0]);
    frame.extend(len.to_be_bytes());
    frame.extend([0, 7, 0x40, 0, 64, protocol, 0, 0]);
    frame.extend(ends.concat());
    frame.extend(payload);
    frame
}
