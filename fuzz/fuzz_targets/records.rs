//! A server's stream of any bytes, cut into segments of any length and sent in order.
//!
//! Holds: the engine's timeline begins with the records that a plain parser finds, and the handshake
//! bytes it sends are the stream's, from its first byte up to encryption, 16 KiB, or bytes that are no
//! record: behind those the engine resynchronises where the plain parser ends.
#![no_main]

use detector_common::headers::Tap;
use detector_common::observation::HANDSHAKE_BYTES_MAX;
use detector_common::record::{APPLICATION_DATA, HEADER_LEN, RecordHeader};
use libfuzzer_sys::fuzz_target;
use tlswhy_fuzz::{Host, tap};

const CLIENT: usize = 0;
const SERVER: usize = 1;
const ACK: u8 = 0x10;
const RST: u8 = 0x04;

/// Both sides' next sequence numbers, and the frames they make.
struct Talk {
    seq: [u32; 2],
    tap: Tap,
    host: Host,
}

impl Talk {
    fn send(&mut self, sender: usize, flags: u8, payload: &[u8]) {
        let ports = [[0xc0, 0, 1, 0xbb], [1, 0xbb, 0xc0, 0]];
        let addresses = [[10, 0, 0, 1, 10, 0, 0, 2], [10, 0, 0, 2, 10, 0, 0, 1]];
        let total = (40 + payload.len()) as u16;
        let mut frame = vec![2; 12];
        frame.extend([8, 0, 0x45, 0]);
        frame.extend(total.to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 6, 0, 0]);
        frame.extend(addresses[sender]);
        frame.extend(ports[sender]);
        frame.extend(self.seq[sender].to_be_bytes());
        frame.extend(self.seq[1 - sender].to_be_bytes());
        frame.extend([0x50, flags, 1, 0, 0, 0, 0, 0]);
        frame.extend(payload);
        self.seq[sender] = self.seq[sender].wrapping_add(payload.len() as u32);
        self.host.frame(&frame, &self.tap, 1_000_000);
    }
}

/// Returns content type, length and offset of each record, as far as headers are plausible and
/// complete with the bytes that the engine reads; and the offset of the first that is not.
fn plain_records(stream: &[u8]) -> (Vec<(u8, u16, usize)>, usize) {
    let mut records = Vec::new();
    let mut at = 0;
    while let Some(rest) = stream.get(at..) {
        let mut head = [0; 8];
        let have = rest.len().min(7);
        head[..have].copy_from_slice(&rest[..have]);
        if have < HEADER_LEN as usize {
            break;
        }
        let Some(header) = RecordHeader::parse(u64::from_be_bytes(head)) else {
            break;
        };
        if have < (HEADER_LEN + header.detail_len()) as usize {
            break;
        }
        records.push((header.content_type, header.length, at));
        at += HEADER_LEN as usize + usize::from(header.length);
    }
    (records, at)
}

fuzz_target!(|input: &[u8]| {
    let Some((numbers, input)) = input.split_first_chunk::<8>() else {
        return;
    };
    let [a, b, c, d, cuts @ ..] = *numbers;
    let client_seq = u32::from_be_bytes([a, b, c, d]);
    let mut talk = Talk {
        seq: [client_seq, !client_seq],
        tap: tap(0),
        host: Host::default(),
    };
    // An alert that follows the hello shows that nothing of the client's is in the way.
    talk.send(CLIENT, ACK, &[22, 3, 1, 0, 4, 1, 0, 0, 0]);
    let mut rest = input;
    for cut in cuts.iter().cycle().take(4096) {
        if rest.is_empty() {
            break;
        }
        let (segment, after) = rest.split_at((usize::from(*cut) * 6 + 1).min(rest.len()));
        talk.send(SERVER, ACK, segment);
        rest = after;
    }
    let sent = &input[..input.len() - rest.len()];
    talk.send(SERVER, RST, &[]);

    let observation = talk
        .host
        .observed
        .values()
        .next()
        .expect("a hello raises one");
    let side = &observation.watched.flow.sides[SERVER];
    let timeline = &observation.watched.records[SERVER][..usize::from(side.record_count)];
    let (expected, readable) = plain_records(sent);
    for (record, (content_type, length, _)) in timeline.iter().zip(&expected) {
        assert_eq!(
            (record.content_type, record.length),
            (*content_type, *length)
        );
    }
    // A flow may raise sixteen observations; behind those its last timeline is an older one.
    if observation.watched.flow.observations < detector_common::engine::OBSERVATIONS_MAX {
        assert!(
            timeline.len() >= expected.len().min(16),
            "a record is missing"
        );
    }

    let mut carried = Vec::new();
    for (head, bytes) in talk.host.chunks.iter().filter(|(head, _)| head.sender == 1) {
        assert_eq!(
            head.offset as usize,
            carried.len(),
            "in order, and nothing twice"
        );
        carried.extend(bytes);
    }
    assert!(sent.starts_with(&carried));
    let encrypted = expected.iter().find(|(kind, ..)| *kind == APPLICATION_DATA);
    let clear = encrypted.map_or(readable.min(sent.len()), |(.., at)| *at);
    assert!(carried.len() >= clear.min(HANDSHAKE_BYTES_MAX as usize));
});
