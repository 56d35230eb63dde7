//! Ctrl-C in long work: the findings so far are printed.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tests::gateway::agent;

/// Interrupts a command after it has read the story; `before` and `after` are its arguments around the capture.
fn interrupted(before: &[&str], after: &[&str]) -> (Option<i32>, String, String) {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let story = std::fs::read(captures.join("story.pcap")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("live.pcap");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let mut reading = Command::new(agent());
    reading.args(before).arg(&pipe).args(after);
    reading.current_dir(captures);
    reading.stdout(Stdio::piped()).stderr(Stdio::piped());
    let reading = reading.spawn().unwrap();
    // Opens once the other end reads: signals are caught by then.
    let mut writer = std::fs::File::options().write(true).open(&pipe).unwrap();
    writer.write_all(&story).unwrap();
    let pid = reading.id().to_string();
    let killed = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(killed.success());
    drop(writer);
    let output = reading.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn the_first_interrupt_ends_the_reading_and_not_the_work() {
    let commands: [(&[&str], &[&str], &str); 4] = [
        (&["pcap"], &[], "api.pinned.test"),
        (&["verdicts", "--pcap"], &[], "api.pinned.test"),
        (
            &["explain", "--traffic-log", "story-traffic.csv", "--pcap"],
            &[],
            "allow / deny / policy-deny",
        ),
        (
            &["compare", "--receive"],
            &["--transmit", "story.pcap"],
            "10.77.1.2",
        ),
    ];
    for (before, after, wanted) in commands {
        let (code, found, said) = interrupted(before, after);
        assert_eq!(code, Some(1), "{before:?}: {said}");
        assert!(said.contains("interrupted"), "{before:?}: {said}");
        assert!(found.contains(wanted), "{before:?}: {found}");
    }
}
