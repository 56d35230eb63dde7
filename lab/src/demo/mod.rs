//! `cargo xtask demo`: the story, replayed with real parts.

pub mod middlebox;
pub mod story;

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;

use crate::build::{Profile, build_agent};
use crate::host::{Process, output, run as run_command, words};
use story::{Scene, Story};

const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";
/// Verdicts come half a second after a reset at the latest.
const VERDICT_PATIENCE: Duration = Duration::from_secs(4);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Builds the agent, makes the lab, tells the story, and takes everything away again.
///
/// # Errors
/// If something needed is missing or does not work.
pub fn run() -> anyhow::Result<()> {
    // Ctrl-C also reaches the programs of the lab; the rest is removed on the way out.
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))
        .context("cannot wait for Ctrl-C")?;
    let agent = build_agent(Profile::Release)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let tools = std::env::current_exe().context("cannot find this program")?;
    let story = Story::new("tlswhy", folder.path(), &tools)?;
    let _journal = journal()?;
    let began = run_command(&mut words("date +%s"))?;
    let mut tlswhy = start_agent(&story, &agent)?;
    for scene in story.scenes() {
        ensure!(!INTERRUPTED.load(Ordering::Relaxed), "interrupted");
        println!("\n── {}", scene.title);
        play(scene, &tlswhy)?;
    }
    let (_, rest) = tlswhy.stop(Signal::SIGINT)?;
    println!("\n── tlswhy ends");
    rest.iter().for_each(|line| println!("{line}"));
    show_journal(began.trim())
}

fn start_agent(story: &Story, agent: &Path) -> anyhow::Result<Process> {
    let mut command = story.gateway().command(agent);
    command.args([
        "run",
        "--interface",
        "lan0",
        "--output",
        "text",
        "--output",
        "journald",
    ]);
    command
        .arg("--inspection-ca")
        .arg(story.inspection_ca().certificate());
    println!("── tlswhy starts on the gateway");
    println!(
        "$ tlswhy run --interface lan0 --inspection-ca inspection-ca.crt --output text --output journald"
    );
    let agent = Process::start(&mut command)?;
    let said = agent.wait_for(Duration::from_secs(20), |line| line == "ready")?;
    said.iter().for_each(|line| println!("{line}"));
    Ok(agent)
}

/// Runs the client and shows its output and tlswhy's.
fn play(mut scene: Scene, tlswhy: &Process) -> anyhow::Result<()> {
    let result = output(&mut scene.command)?;
    for text in [result.stdout, result.stderr] {
        for line in String::from_utf8_lossy(&text)
            .lines()
            .filter(|line| !line.is_empty())
        {
            println!("client: {line}");
        }
    }
    if scene.cause.is_some() {
        // A verdict ends with its advice.
        let lines = tlswhy.wait_for(VERDICT_PATIENCE, |line| {
            line.trim_start().starts_with("advice")
        });
        lines?.iter().for_each(|line| println!("{line}"));
    } else {
        std::thread::sleep(Duration::from_secs(1));
        let said: Vec<String> = tlswhy.lines().collect();
        let nothing = "tlswhy: nothing to say, as it should be".to_owned();
        let said = if said.is_empty() { vec![nothing] } else { said };
        said.iter().for_each(|line| println!("{line}"));
    }
    Ok(())
}

/// Starts a journald of our own, where the machine runs none.
fn journal() -> anyhow::Result<Option<Process>> {
    if journald_listens() {
        return Ok(None);
    }
    std::fs::create_dir_all("/run/systemd/journal").context("cannot make journald's folder")?;
    let journald = Process::start(&mut Command::new("/lib/systemd/systemd-journald"))?;
    for _ in 0..100 {
        if journald_listens() {
            return Ok(Some(journald));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("systemd-journald did not start")
}

/// Whether journald listens. A socket alone does not show that: a killed journald leaves its own
/// behind.
fn journald_listens() -> bool {
    UnixDatagram::unbound()
        .and_then(|socket| socket.connect(JOURNAL_SOCKET))
        .is_ok()
}

/// Prints the journal's entry on the app that pins.
fn show_journal(since: &str) -> anyhow::Result<()> {
    println!("\n── in the journal: the app that pins, TLS 1.2");
    println!(
        "$ journalctl SYSLOG_IDENTIFIER=tlswhy TLSWHY_ALERT_DESCRIPTION=certificate_unknown -o verbose"
    );
    // journald writes received entries when asked to.
    let _ = run_command(&mut words("journalctl --sync"));
    let shown = run_command(&mut words(&format!(
        "journalctl -q --no-pager --utc -o verbose --since @{since} SYSLOG_IDENTIFIER=tlswhy \
         TLSWHY_ALERT_DESCRIPTION=certificate_unknown"
    )))?;
    let fields = shown.lines().filter(|line| {
        let line = line.trim_start();
        line.starts_with("TLSWHY_") || line.starts_with("MESSAGE") || line.starts_with("PRIORITY")
    });
    let fields: Vec<&str> = fields.collect();
    ensure!(
        !fields.is_empty(),
        "the journal has no verdict for the app that pins"
    );
    fields.iter().for_each(|line| println!("{line}"));
    Ok(())
}
