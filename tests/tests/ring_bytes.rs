//! Bytes that real connections take of the kernel's rings.

use std::path::Path;

use detector_common::observation::{ChunkHead, Observation};
use detector_user::flow::receiver::Receiver;
use detector_user::source::capture::CaptureFile;
use detector_user::source::capture_tap::CaptureTap;
use rstest::rstest;

/// Bytes of some connections, and those that items of fixed sizes would take: observations of 744 bytes with
/// room for all records, and handshake bytes with room for 512 or 1,536.
#[derive(Debug, Default)]
struct Bytes {
    observations: usize,
    observations_fixed: usize,
    handshakes: usize,
    handshakes_fixed: usize,
}

/// Returns the bytes of a ring that an item takes, its header included.
const fn on_ring(len: usize) -> usize {
    8 + len.next_multiple_of(8)
}

impl Receiver for Bytes {
    fn observation(&mut self, observation: &Observation) {
        self.observations += on_ring(observation.to_item().as_bytes().len());
        self.observations_fixed += on_ring(744);
    }

    fn chunk(&mut self, _: &ChunkHead, bytes: &[u8]) {
        self.handshakes += on_ring(size_of::<ChunkHead>() + bytes.len());
        let room = if bytes.len() <= 512 { 512 } else { 1536 };
        self.handshakes_fixed += on_ring(size_of::<ChunkHead>() + room);
    }
}

/// Reads the captures of one kind.
fn read(kind: &str, version: &str) -> Bytes {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/corpus");
    let mut bytes = Bytes::default();
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with(kind) && name.contains(version) && name.contains(".pcap") {
            let mut capture = CaptureFile::open(&path).unwrap();
            let mut tap = CaptureTap::default();
            while let Some(frame) = capture.next_frame().unwrap() {
                tap.capture_frame(&frame, &mut bytes);
            }
        }
    }
    bytes
}

/// Certificates in the clear leave less to gain: they are most of what TLS 1.2 takes.
#[rstest]
#[case("works-shop", "tls12", 60)]
#[case("works-shop", "tls13", 50)]
#[case("bad-expired", "tls12", 55)]
#[case("bad-expired", "tls13", 50)]
#[case("reset-in-flight", "tls12", 50)]
#[case("reset-in-flight", "tls13", 50)]
fn connections_take_a_share_of_what_fixed_sizes_would(
    #[case] kind: &str,
    #[case] version: &str,
    #[case] percent: usize,
) {
    let bytes = read(kind, version);
    println!("{kind} {version}: {bytes:?}");
    assert!(bytes.observations > 0 && bytes.handshakes > 0);
    let all = bytes.observations + bytes.handshakes;
    let fixed = bytes.observations_fixed + bytes.handshakes_fixed;
    assert!(100 * all <= percent * fixed, "{all} of {fixed}");
}
