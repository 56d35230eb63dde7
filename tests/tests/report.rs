//! `tlswhy report`, as a browser shows it.

use std::path::Path;
use std::process::Command;

use tests::gateway::agent;

fn report(to: &Path) {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let status = Command::new(agent())
        .args(["report", "--inspection-ca", "CN=Inspection CA", "--pcap"])
        .arg(captures.join("story.pcap"))
        .arg("--to")
        .arg(to)
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_browser_shows_it_without_complaint() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    report(&page);
    let profile = folder.path().join("profile");
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    for content in [
        "<h2 id=\"groups\">Who fails where</h2>",
        "alert fatal certificate_unknown (46)",
        "(ended the connection)",
        "injected-reset",
        "blocked.test",
    ] {
        assert!(dom.contains(content), "{content}: {dom}");
    }
    // Violations of the page's policy and errors come as messages of the console.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("CONSOLE"), "{said}");
}

#[test]
fn captures_are_reported_beside_their_verdicts() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let output = Command::new(agent())
        .args(["pcap", "--inspection-ca", "CN=Inspection CA", "--report"])
        .arg(&page)
        .arg(captures.join("story.pcap"))
        .output()
        .unwrap();
    assert!(output.status.success());
    let verdicts = String::from_utf8(output.stdout).unwrap();
    assert!(verdicts.contains("blocked.test"), "{verdicts}");
    let page = std::fs::read_to_string(page).unwrap();
    for content in [
        "story.pcap",
        "<h2 id=\"groups\">",
        "injected-reset",
        "blocked.test",
    ] {
        assert!(page.contains(content), "{content}");
    }
}
