//! Captures of a gateway's taps in files of their own: judged as one capture of all taps is.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use detector_user::source::capture::CaptureFile;
use flate2::Compression;
use flate2::write::GzEncoder;
use lab::capture::{Capture, Frame, pcapng};
use tests::gateway::agent;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/corpus")
}

/// Verdicts as JSON lines, in an order of their own.
fn verdicts(arguments: &[&str], files: &[&Path]) -> Vec<String> {
    let mut command = Command::new(agent());
    command.args(["pcap", "--output", "json"]).args(arguments);
    let output = command.args(files).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{files:?}: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut verdicts: Vec<String> = text.lines().map(str::to_owned).collect();
    verdicts.sort();
    verdicts
}

/// The frames of each interface of a pcapng file, with the microseconds that all formats have.
struct Split {
    folder: tempfile::TempDir,
    names: Vec<String>,
    frames: Vec<Vec<Frame>>,
}

impl Split {
    fn new(path: &Path) -> Self {
        let mut capture = CaptureFile::open(path).unwrap();
        let (mut names, mut frames) = (Vec::new(), Vec::<Vec<Frame>>::new());
        while let Some(frame) = capture.next_frame().unwrap() {
            let number = frame.interface as usize;
            while frames.len() <= number {
                frames.push(Vec::new());
            }
            frames[number].push(Frame::new(
                frame.time_ns / 1000 * 1000,
                frame.captured.to_vec(),
            ));
        }
        for number in 0..frames.len() {
            names.push(capture.interface_name(number as u32).unwrap().to_owned());
        }
        Self {
            folder: tempfile::tempdir().unwrap(),
            names,
            frames,
        }
    }

    /// Writes a classic capture of microseconds, which names no interface: its tap has the file's name.
    fn pcap(&self, number: usize, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let capture = Capture::ethernet(self.frames[number].clone());
        std::fs::write(&path, capture.to_bytes()).unwrap();
        path
    }

    /// Writes one capture of all interfaces, in the order of time.
    fn merged(&self) -> PathBuf {
        let each = self.frames.iter().enumerate();
        let mut frames: Vec<(u32, Frame)> = each
            .flat_map(|(number, own)| own.iter().map(move |frame| (number as u32, frame.clone())))
            .collect();
        frames.sort_by_key(|(_, frame)| frame.time_ns);
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let path = self.folder.path().join("merged.pcapng");
        pcapng::write(&path, &names, &frames).unwrap();
        path
    }

    fn pcapng_gz(&self, number: usize) -> PathBuf {
        let plain = self.folder.path().join("plain");
        let frames: Vec<(u32, Frame)> = self.frames[number]
            .iter()
            .map(|frame| (0, frame.clone()))
            .collect();
        pcapng::write(&plain, &[&self.names[number]], &frames).unwrap();
        let path = self.folder.path().join(format!("{number}.pcapng.gz"));
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&std::fs::read(&plain).unwrap()).unwrap();
        std::fs::write(&path, packed.finish().unwrap()).unwrap();
        path
    }
}

fn two_tap_captures() -> Vec<PathBuf> {
    let files = std::fs::read_dir(corpus()).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.to_string_lossy().ends_with(".pcapng.gz"))
        .collect();
    files.sort();
    assert!(files.len() > 40);
    files
}

#[test]
fn a_file_for_each_tap_is_judged_as_one_file_of_both() {
    for path in two_tap_captures() {
        let split = Split::new(&path);
        let merged = verdicts(&[], &[&split.merged()]);
        assert_eq!(split.frames.len(), 2);
        let client = split.pcap(0, &split.names[0]);
        let server = split.pcapng_gz(1);
        assert_eq!(
            verdicts(&[], &[&client, &server]),
            merged,
            "{}",
            path.display()
        );
        assert_eq!(
            verdicts(&[], &[&server, &client]),
            merged,
            "{}",
            path.display()
        );
    }
}

#[test]
fn taps_can_be_named() {
    let path = &two_tap_captures()[0];
    let split = Split::new(path);
    let files = [split.pcap(0, "x"), split.pcap(1, "y")];
    let named =
        |number: usize| format!("--tap={}={}", split.names[number], files[number].display());
    assert_eq!(
        verdicts(&[&named(0), &named(1)], &[]),
        verdicts(&[], &[&split.merged()])
    );
}

#[test]
fn one_damaged_tap_leaves_the_other_one() {
    let path = corpus().join("behind-expired-curl-squid-tls12.pcapng.gz");
    let split = Split::new(&path);
    let client = split.pcap(0, "client");
    let cut = split.pcap(1, "server");
    let bytes = std::fs::read(&cut).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let mut command = Command::new(agent());
    let output = command.arg("pcap").args([&client, &cut]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("2 TLS flows"), "{errors}");
    assert_eq!(
        errors.matches("server ends within the record").count(),
        1,
        "{errors}"
    );
}
