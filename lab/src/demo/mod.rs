//! `cargo xtask demo`: the story, replayed with real parts.

pub mod middlebox;
pub mod story;

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;

use crate::build::{Profile, build_agent};
use crate::host::{Process, output, run as run_command, words};
use story::{Scene, Story};

const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";
/// Port of the lists on the gateway.
const LISTS_PORT: u16 = 9746;
/// Seconds in which the list has what was found: the agent looks every ten.
const LISTS_TRIES: u32 = 60;
/// Verdicts come half a second after a reset on an idle machine.
const VERDICT_PATIENCE: Duration = Duration::from_secs(60);
/// Chances of a scene whose connection is to be reset: on a busy machine the forged segment may come too late.
const CHANCES: u32 = 10;

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
    let mut tlswhy = start_agent(&story, &agent, folder.path())?;
    for scene in story.scenes() {
        ensure!(!INTERRUPTED.load(Ordering::Relaxed), "interrupted");
        println!("\n── {}", scene.title);
        play(scene, &tlswhy)?;
    }
    let list = served_list(&story)?;
    println!("\n── the list that tlswhy serves, and sslsplit's redirect loads");
    println!("$ curl http://127.0.0.1:{LISTS_PORT}/edl/pinning/sslsplit | nft -f -");
    list.lines().for_each(|line| println!("{line}"));
    story.load(&list)?;
    println!("$ curl http://127.0.0.1:{LISTS_PORT}/why");
    println!("{}", served(&story, "/why")?.trim_end());
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        let scene = story.scene_of_list(protocol);
        println!("\n── {}, {protocol}", scene.title);
        play(scene, &tlswhy)?;
    }
    show_report(&story, &agent, folder.path())?;
    let (_, rest) = tlswhy.stop(Signal::SIGINT)?;
    println!("\n── tlswhy ends");
    rest.iter().for_each(|line| println!("{line}"));
    show_journal(began.trim())
}

/// Writes a configuration of an agent that keeps its state in `folder` and serves lists, for connections of one
/// client. Returns its path.
///
/// # Errors
/// If it cannot be written.
pub fn configuration(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("tlswhy.toml");
    let state = folder.join("state");
    let text = format!(
        "[state]\ndirectory = {state:?}\n\n[edl]\nlisten = \"{LISTS_PORT}\"\nmin_confidence = 0.6\n\
         min_connections = 1\nmin_clients = 1\n"
    );
    std::fs::write(&path, text).context("cannot write the configuration")?;
    Ok(path)
}

/// Returns the text at a path of the lists that the agent serves on the gateway.
///
/// # Errors
/// If it is not served.
pub fn served(story: &Story, path: &str) -> anyhow::Result<String> {
    let url = format!("http://127.0.0.1:{LISTS_PORT}{path}");
    let mut curl = story.gateway().command("curl");
    run_command(curl.args(["-sS", "--fail", "--max-time", "10", &url]))
}

/// Returns the list for sslsplit, once the app that pins is in it.
///
/// # Errors
/// If it never is.
pub fn served_list(story: &Story) -> anyhow::Result<String> {
    for _ in 0..LISTS_TRIES {
        // There is none yet where nothing was asked of the database.
        if let Ok(list) = served(story, "/edl/pinning/sslsplit")
            && list.contains("add element")
        {
            return Ok(list);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    anyhow::bail!("the list that tlswhy serves never had the app that pins")
}

/// Writes the report, and prints its destinations.
fn show_report(story: &Story, agent: &Path, folder: &Path) -> anyhow::Result<()> {
    let page = folder.join("report.html");
    let mut report = story.gateway().command(agent);
    report
        .args(["report", "--config"])
        .arg(configuration(folder)?);
    run_command(report.arg("--to").arg(&page))?;
    let html = std::fs::read_to_string(&page).context("cannot read the report")?;
    ensure!(
        html.contains("api.pinned.test"),
        "the report does not have the app that pins"
    );
    println!("\n── tlswhy report: the page for the application's owner");
    println!(
        "$ tlswhy report --to report.html  # {} bytes, with api.pinned.test",
        html.len()
    );
    Ok(())
}

fn start_agent(story: &Story, agent: &Path, folder: &Path) -> anyhow::Result<Process> {
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
    command.arg("--config").arg(configuration(folder)?);
    println!(
        "── tlswhy starts on the gateway, and serves lists on loopback ([edl] listen = \"{LISTS_PORT}\")"
    );
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
    let mut result = output(&mut scene.command)?;
    for _ in 1..CHANCES {
        if scene.cause.is_none() || !scene.worked(&result) {
            break;
        }
        println!("client: the reset came too late, and the connection worked: once more");
        result = output(&mut scene.command)?;
    }
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
