//! `tlswhy top` on a capture, in a terminal and without one.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tests::gateway::agent;

/// Nothing measures it.
const PATIENCE: Duration = Duration::from_secs(120);
const LEAVES_SCREEN: &str = "\u{1b}[?1049l";

fn story() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/story.pcap")
}

/// Runs it in a terminal of 80 by 24, presses a key once a name is shown, and returns all output.
fn in_terminal(key: &[u8]) -> String {
    let top = format!(
        "stty rows 24 cols 80; exec {} top --replay {} --inspection-ca 'CN=Inspection CA'",
        agent().display(),
        story().display()
    );
    // util-linux's script makes a terminal; `-e` passes the exit code on.
    let mut script = Command::new("script")
        .args(["-q", "-e", "-c", &top, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keys = script.stdin.take().unwrap();
    let mut output = script.stdout.take().unwrap();
    let (parts, received) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut bytes) {
            let _ = parts.send(bytes[..count].to_vec());
        }
    });
    let mut shown = Vec::new();
    let mut is_pressed = false;
    while let Ok(part) = received.recv_timeout(PATIENCE) {
        shown.extend(part);
        if !is_pressed && String::from_utf8_lossy(&shown).contains("api.pinned.test") {
            keys.write_all(key).unwrap();
            is_pressed = true;
        }
    }
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(is_pressed, "{shown}");
    assert!(script.wait().unwrap().success(), "{shown}");
    shown
}

#[test]
fn a_terminal_is_left_as_it_was() {
    for key in [b"q", b"\x03"] {
        let shown = in_terminal(key);
        let (_, after) = shown
            .rsplit_once(LEAVES_SCREEN)
            .unwrap_or_else(|| panic!("{shown:?}"));
        // The cursor is shown again; no frame follows.
        assert!(!after.contains("tlswhy top"), "{after:?}");
        assert!(shown.contains("\u{1b}[?25h"), "{shown:?}");
    }
}

#[test]
fn without_a_terminal_it_says_so_or_prints_one_frame() {
    let top = |arguments: &[&str]| {
        let mut command = Command::new(agent());
        command.args(["top", "--inspection-ca", "CN=Inspection CA"]);
        command.args(arguments).arg("--replay").arg(story());
        command.stdin(Stdio::null()).output().unwrap()
    };
    let refused = top(&[]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("not a terminal") && said.contains("--once"),
        "{said}"
    );
    let once = top(&["--once"]);
    assert!(once.status.success());
    let text = String::from_utf8(once.stdout).unwrap();
    assert!(
        text.starts_with("tlswhy top  capture, at its end"),
        "{text}"
    );
    assert!(text.contains("4 of 6 connections failed"), "{text}");
    assert!(
        text.contains("98% injected-reset") && text.contains("blocked.test"),
        "{text}"
    );
}
