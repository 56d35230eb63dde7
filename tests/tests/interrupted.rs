//! Ctrl-C in long work: the findings so far are printed.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tests::gateway::agent;

#[test]
fn the_first_interrupt_ends_the_reading_and_not_the_work() {
    let story = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/story.pcap");
    let story = std::fs::read(story).unwrap();
    for command in ["pcap", "verdicts"] {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("live.pcap");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        let mut reading = Command::new(agent());
        reading.args([command, "--inspection-ca", "CN=Inspection CA"]);
        if command == "verdicts" {
            reading.arg("--pcap");
        }
        let reading = reading
            .arg(&pipe)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let reading = reading.spawn().unwrap();
        // Opens once the other end reads: signals are caught by then.
        let mut writer = std::fs::File::options().write(true).open(&pipe).unwrap();
        writer.write_all(&story).unwrap();
        let pid = reading.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &pid])
                .status()
                .unwrap()
                .success()
        );
        drop(writer);
        let output = reading.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains("interrupted"), "{command}: {said}");
        let found = String::from_utf8_lossy(&output.stdout);
        assert!(found.contains("api.pinned.test"), "{command}: {found}");
    }
}
