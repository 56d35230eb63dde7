use std::path::{Path, PathBuf};

use super::*;
use crate::source::capture::CaptureFile;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures/corpus/");
const INTERCEPTED: &str = "behind-shop-curl-squid-tls12.pcapng.gz";

#[derive(Clone)]
struct Captured {
    time_ns: u64,
    interface: u32,
    bytes: Vec<u8>,
}

fn frames(name: &str) -> Vec<Captured> {
    let mut capture = CaptureFile::open(&Path::new(CORPUS).join(name)).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = capture.next_frame().unwrap() {
        frames.push(Captured {
            time_ns: frame.time_ns,
            interface: frame.interface,
            bytes: frame.captured.to_vec(),
        });
    }
    frames
}

fn of_interface(frames: &[Captured], interface: u32) -> Vec<Captured> {
    let own = frames.iter().filter(|frame| frame.interface == interface);
    own.cloned().collect()
}

/// Frames as if the first were captured at `first_ns`.
fn moved(frames: &[Captured], first_ns: u64) -> Vec<Captured> {
    let before = frames[0].time_ns;
    let mut moved = frames.to_vec();
    for frame in &mut moved {
        frame.time_ns = frame.time_ns - before + first_ns;
    }
    moved
}

/// A folder of captures.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Writes a classic pcap file of Ethernet frames with nanoseconds.
    fn write(&self, name: &str, frames: &[Captured]) -> PathBuf {
        let mut file = Vec::new();
        for word in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, 1] {
            file.extend(word.to_le_bytes());
        }
        for frame in frames {
            let len = frame.bytes.len() as u32;
            let seconds = (frame.time_ns / 1_000_000_000) as u32;
            let rest = (frame.time_ns % 1_000_000_000) as u32;
            for word in [seconds, rest, len, len] {
                file.extend(word.to_le_bytes());
            }
            file.extend(&frame.bytes);
        }
        let path = self.0.path().join(name);
        std::fs::write(&path, file).unwrap();
        path
    }
}

/// The taps of the files of each round, by the files' names.
fn planned(files: &[PathBuf]) -> Vec<Vec<(String, u32)>> {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let round = |round: Round| -> Vec<(String, u32)> {
        round.iter().map(|it| (name(&it.path), it.tap)).collect()
    };
    rounds(&[], files, 2).into_iter().map(round).collect()
}

fn expected(rounds: &[&[(&str, u32)]]) -> Vec<Vec<(String, u32)>> {
    let own = |(name, tap): &(&str, u32)| ((*name).to_owned(), *tap);
    rounds
        .iter()
        .map(|round| round.iter().map(own).collect())
        .collect()
}

#[test]
fn both_sides_of_an_interceptor_are_taps_of_one_gateway() {
    let folder = Folder::new();
    let frames = frames(INTERCEPTED);
    let one = folder.write("a", &of_interface(&frames, 0));
    let other = folder.write("b", &of_interface(&frames, 1));
    let together = expected(&[&[("a", 0), ("b", 1)]]);
    assert_eq!(planned(&[one.clone(), other.clone()]), together);
    // Hours apart they are of nothing in common.
    let later = folder.write(
        "b",
        &moved(
            &of_interface(&frames, 1),
            frames[0].time_ns + 3_600_000_000_000,
        ),
    );
    assert_eq!(
        planned(&[one, later]),
        expected(&[&[("a", 0)], &[("b", 0)]])
    );
}

#[test]
fn independent_hosts_at_the_same_time_are_not() {
    let folder = Folder::new();
    let names = [
        "works-shop-curl-direct-tls12.pcap.gz",
        "private-ca-shop-curl-direct-tls12.pcap.gz",
        "works-shop-curl-direct-tls13.pcap.gz",
        "works-shop-go-direct-tls13.pcap.gz",
    ];
    let first_ns = frames(names[0])[0].time_ns;
    let write = |(number, name): (usize, &&str)| {
        // Each a little later, so that handshakes overlap.
        folder.write(
            &number.to_string(),
            &moved(&frames(name), first_ns + number as u64 * 300_000),
        )
    };
    let files: Vec<PathBuf> = names.iter().enumerate().map(write).collect();
    let alone = expected(&[&[("0", 0)], &[("1", 0)], &[("2", 0)], &[("3", 0)]]);
    assert_eq!(planned(&files), alone);
}

#[test]
fn a_capture_that_several_others_would_fit_is_of_no_gateway() {
    let folder = Folder::new();
    let frames = frames(INTERCEPTED);
    let client = of_interface(&frames, 0);
    let server = folder.write("server", &of_interface(&frames, 1));
    let one = folder.write("one", &client);
    // Another host, whose hello has another random.
    let mut others = client.clone();
    for frame in &mut others {
        if let Some(at) = frame.bytes.windows(2).position(|it| it == [22, 3]) {
            let random = at + 5 + 4 + 2..at + 5 + 4 + 2 + 32;
            if frame.bytes.get(at + 5) == Some(&1) {
                frame.bytes[random].fill(7);
            }
        }
    }
    let other = folder.write("other", &others);
    let alone = expected(&[&[("one", 0)], &[("other", 0)], &[("server", 0)]]);
    assert_eq!(planned(&[one, other, server]), alone);
}

#[test]
fn captures_that_follow_each_other_are_of_one_tap() {
    let folder = Folder::new();
    let frames = frames(INTERCEPTED);
    let both = [of_interface(&frames, 0), of_interface(&frames, 1)];
    let mut files = Vec::new();
    for (name, part) in ["client", "server"].iter().zip(&both) {
        let again = moved(part, part[0].time_ns + 60_000_000_000);
        files.push(folder.write(&format!("{name}-1"), part));
        files.push(folder.write(&format!("{name}-2"), &again));
    }
    let rounds = expected(&[
        &[("client-1", 0), ("server-1", 1)],
        &[("client-2", 0), ("server-2", 1)],
    ]);
    assert_eq!(planned(&files), rounds);
    // One side was not rotated.
    let mut whole = both[1].clone();
    whole.extend(moved(&both[1], both[1][0].time_ns + 60_000_000_000));
    let whole = folder.write("server", &whole);
    let round = [files[0].clone(), files[1].clone(), whole];
    let together = expected(&[&[("client-1", 0), ("client-2", 0), ("server", 1)]]);
    assert_eq!(planned(&round), together);
    let alone = expected(&[&[("client-1", 0)], &[("client-2", 0)]]);
    assert_eq!(planned(&files[..2]), alone);
    // A shell may give them in another order. A stream, whose beginning is not known, stays behind the one before.
    let [first, second] = [files[0].clone(), files[1].clone()];
    assert_eq!(planned(&[second.clone(), first.clone()]), alone);
    let with_stream = expected(&[&[("client-1", 0)], &[("client-2", 0)], &[("-", 0)]]);
    assert_eq!(planned(&[second, PathBuf::from("-"), first]), with_stream);
}

#[test]
fn the_two_directions_of_a_connection_belong_together() {
    let folder = Folder::new();
    let frames = frames("works-shop-curl-direct-tls12.pcap.gz");
    let from = |client: bool| -> Vec<Captured> {
        // IPv4 without options: the ports lie behind 34 bytes.
        let server_port = |frame: &Captured| frame.bytes[34..36] == 443_u16.to_be_bytes();
        let own = frames.iter().filter(|frame| server_port(frame) != client);
        own.cloned().collect()
    };
    let files = [
        folder.write("to", &from(true)),
        folder.write("from", &from(false)),
    ];
    assert_eq!(planned(&files), expected(&[&[("to", 0), ("from", 1)]]));
}

#[test]
fn named_taps_are_of_one_gateway() {
    let named = [("lan", "a"), ("wan", "b"), ("lan", "c")];
    let named = named.map(|(name, path)| (name.to_owned(), PathBuf::from(path)));
    let rounds = rounds(&named, &[PathBuf::from("-")], 2);
    let taps: Vec<Vec<u32>> = rounds
        .iter()
        .map(|round| round.iter().map(|it| it.tap).collect())
        .collect();
    assert_eq!(taps, [vec![0, 1, 0], vec![2]]);
    assert_eq!(rounds[0][1].interface(3), 65_539);
}

#[test]
fn a_capture_that_is_given_twice_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a"), [7; 100_000]).unwrap();
    std::fs::copy(path("a"), path("copy")).unwrap();
    std::os::unix::fs::symlink(path("a"), path("link")).unwrap();
    let mut other = [7; 100_000];
    other[99_999] = 8;
    std::fs::write(path("other"), other).unwrap();
    let mut named = vec![("lan".to_owned(), path("a")), ("wan".to_owned(), path("a"))];
    let mut files = ["copy", "other", "link", "-", "-"].map(path).to_vec();
    // Captures without a frame are alike, and none a copy.
    for name in ["empty", "empty too"] {
        std::fs::write(path(name), [7; 24]).unwrap();
        files.push(path(name));
    }
    let repeats = remove_repeats(&mut named, &mut files);
    assert_eq!(named, [("lan".to_owned(), path("a"))]);
    assert_eq!(files, ["other", "-", "-", "empty", "empty too"].map(path));
    let left_out = repeats.iter().map(|it| (it.path.clone(), it.of.clone()));
    let expected = ["a", "copy", "link"].map(|name| (path(name), path("a")));
    assert!(left_out.eq(expected));
}

#[test]
fn captures_of_one_name_are_told_apart_by_their_folders() {
    let paths = [
        "/a/lan/x.pcap",
        "/a/wan/x.pcap",
        "/b/wan/x.pcap",
        "x.pcap",
        "y.pcap",
        "-",
    ];
    let files = paths.map(PathBuf::from);
    let rounds = rounds(&[], &files, 2);
    let labels: Vec<&str> = rounds
        .iter()
        .flatten()
        .map(|it| it.label.as_str())
        .collect();
    assert_eq!(
        labels,
        [
            "lan/x.pcap",
            "a/wan/x.pcap",
            "b/wan/x.pcap",
            "x.pcap",
            "y.pcap",
            "-"
        ]
    );
}
