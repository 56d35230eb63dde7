//! `tlswhy compare`: the story's capture as a firewall's stages have it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use detector_user::source::capture::CaptureFile;
use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use lab::capture::{Capture, Frame};
use serde_json::Value;
use tests::gateway::agent;

/// The connection that the app refuses by an alert.
const CLIENT_PORT: u16 = 54_032;
const MS: u64 = 1_000_000;

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")
}

fn frames(name: &str) -> Vec<Frame> {
    let mut capture = CaptureFile::open(&captures().join(name)).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = capture.next_frame().unwrap() {
        frames.push(Frame::new(frame.time_ns, frame.captured.to_vec()));
    }
    frames
}

/// Client's port if the segment is the client's, and whether it is an alert or ends the connection.
fn ends(frame: &Frame) -> Option<(u16, bool)> {
    let packet = SlicedPacket::from_ethernet(&frame.bytes).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else {
        return None;
    };
    let ends = tcp.payload().starts_with(&[21]) || tcp.fin() || tcp.rst();
    Some((tcp.source_port(), ends))
}

/// The firewall's transmit stage: all but the alert and what follows it, with another TTL, and a reset of its own.
fn transmitted(received: &[Frame]) -> Vec<Frame> {
    let mut sent: Vec<Frame> = Vec::new();
    let mut is_over = false;
    for frame in received {
        let (port, ends) = ends(frame).unwrap();
        let is_server = port == 443;
        if port == CLIENT_PORT && ends && !is_over {
            is_over = true;
            let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
                .ipv4([10, 77, 3, 2], [10, 77, 1, 2], 64)
                .tcp(443, CLIENT_PORT, 1, 0)
                .rst()
                .ack(1);
            let mut bytes = Vec::new();
            builder.write(&mut bytes, &[]).unwrap();
            sent.push(Frame::new(frame.time_ns + 2 * MS, bytes));
        }
        let of_connection = port == CLIENT_PORT || is_server && to(frame) == CLIENT_PORT;
        if is_over && of_connection {
            continue;
        }
        let mut bytes = frame.bytes.clone();
        bytes[14 + 8] -= 1;
        sent.push(Frame::new(frame.time_ns + MS / 5, bytes));
    }
    sent
}

fn to(frame: &Frame) -> u16 {
    let ip = 14 + usize::from(frame.bytes[14] & 15) * 4;
    u16::from_be_bytes([frame.bytes[ip + 2], frame.bytes[ip + 3]])
}

struct Stages(tempfile::TempDir);

impl Stages {
    fn new(receive: &[Frame], transmit: &[Frame]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, frames) in [("rx.pcap", receive), ("tx.pcap", transmit)] {
            let bytes = Capture::ethernet(frames.to_vec()).to_bytes();
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        Self(folder)
    }

    fn compare(&self, arguments: &[&str]) -> Output {
        Command::new(agent())
            .args(["compare", "--receive", "rx.pcap", "--transmit", "tx.pcap"])
            .args(["--inspection-ca", "CN=Inspection CA"])
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }

    /// Compares, and returns the lines of JSON.
    fn lines(&self) -> Vec<Value> {
        let output = self.compare(&["--output", "json"]);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().unwrap()
    }
}

#[test]
fn the_firewall_resets_after_the_apps_alert() {
    let received = frames("story.pcap");
    let stages = Stages::new(&received, &transmitted(&received));
    let lines = stages.lines();
    assert_eq!(lines[0]["layout"], "stages");
    let disturbed: Vec<_> = lines[1..]
        .iter()
        .filter(|it| it["disturbed"] == true)
        .collect();
    let [connection] = disturbed.as_slice() else {
        panic!("{disturbed:#?}");
    };
    assert_eq!(connection["client"]["port"], CLIENT_PORT);
    assert_eq!(connection["ended_by"], "gateway");
    let outcome = connection["outcome"][0].as_str().unwrap();
    assert!(
        outcome.starts_with(
            "the device itself reset the connection towards the client after the client's alert fatal \
             certificate_unknown (46)"
        ),
        "{outcome}"
    );
    assert_eq!(connection["verdict"]["client"]["port"], CLIENT_PORT);
    let text = String::from_utf8(stages.compare(&["--disturbed"]).stdout).unwrap();
    assert!(
        text.contains("inserted") && text.contains("← server  RST,ACK"),
        "{text}"
    );
}

/// An interceptor between two interfaces, as its stages have it: each with one direction of either leg.
#[test]
fn stages_of_an_interceptor_are_judged_as_its_two_sides() {
    let mut capture =
        CaptureFile::open(&captures().join("corpus/behind-expired-curl-squid-tls12.pcapng.gz"))
            .unwrap();
    let mut stages = [Vec::new(), Vec::new()];
    while let Some(frame) = capture.next_frame().unwrap() {
        let own = Frame::new(frame.time_ns, frame.captured.to_vec());
        // The clients' side is the first interface; what it has from clients was received.
        if let Some((port, _)) = ends(&own) {
            let is_received = (frame.interface == 0) == (port != 443);
            stages[usize::from(!is_received)].push(own);
        }
    }
    let [receive, transmit] = &stages;
    let lines = Stages::new(receive, transmit).lines();
    assert_eq!(
        (lines.len(), &lines[0]["layout"]),
        (2, &Value::from("stages")),
        "{lines:?}"
    );
    let connection = &lines[1];
    assert_eq!(
        (&connection["common"], &connection["proxied"]),
        (&true.into(), &true.into())
    );
    assert_ne!(connection["client"], connection["client_inside"]);
    assert_eq!(
        connection["verdict"]["cause"], "server-cert-invalid",
        "{lines:?}"
    );
}

#[test]
fn captures_of_other_traffic_are_said_to_be() {
    let stages = Stages::new(&frames("story.pcap"), &frames("clients.pcap"));
    let output = stages.compare(&[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("tlswhy: no common traffic: rx.pcap has "),
        "{said}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn a_damaged_capture_is_compared_up_to_the_damage() {
    let received = frames("story.pcap");
    let stages = Stages::new(&received, &transmitted(&received));
    let path = stages.0.path().join("tx.pcap");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 5);
    std::fs::write(&path, bytes).unwrap();
    let output = stages.compare(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("certificate_unknown"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("tx.pcap"));
}
