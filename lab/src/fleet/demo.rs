//! `cargo xtask fleet-demo`: a pin that no single gateway could have told.
//!
//! Two gateways, each with its client, interceptor and server, share facts over a cluster of three servers. Behind the
//! first, an app refuses the interceptor, and nothing else is known there. Behind the second, the same app accepts it
//! elsewhere, and another app accepts it for the same server.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;

use super::cluster::Cluster;
use super::run::{agent, ask, configuration, serve, wait_until};
use crate::demo::story::{Scene, Story};
use crate::host::{Process, output};

/// The machine that serves the fleet.
const COLLECTOR: &str = "collector";
/// Networks of the gateways behind the hub.
const NETWORKS: [usize; 2] = [21, 22];
const GATEWAYS: [&str; 2] = ["gw1", "gw2"];
/// Verdicts come half a second after a refusal on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Builds the agent, makes the lab, tells the story, and takes everything away again.
///
/// # Errors
/// If something needed is missing, or the fleet does not tell the pin.
pub fn run() -> anyhow::Result<()> {
    let agent = agent()?;
    let tools = std::env::current_exe().context("cannot find this program")?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut stories = Vec::new();
    for gateway in GATEWAYS {
        let place = folder.path().join(gateway);
        std::fs::create_dir_all(&place).context("cannot make a folder")?;
        stories.push(Story::new(&format!("fleet-{gateway}"), &place, &tools)?);
    }
    let cluster = Cluster::start("fleet", folder.path(), &[COLLECTOR], "1GB")?;
    println!("── three NATS servers, with the shipped configuration; one machine serves the fleet");
    println!("$ tlswhy fleet serve --config collector.toml");
    let _collector = serve(&cluster, &agent, 0, COLLECTOR)?;
    for (story, network) in stories.iter().zip(NETWORKS) {
        cluster.attach(story.gateway(), network)?;
    }
    let [first, second] = stories.as_slice() else {
        anyhow::bail!("there are two gateways");
    };

    println!("\n── behind gw1, without a fleet: a Java app refuses the interceptor");
    let alone = start(first, &agent, &plain(folder.path())?)?;
    let told = play(scene(first, "pins its own server's key, TLS 1.2")?, &alone)?;
    ensure!(
        !told.iter().any(|line| line.contains(")  pinning ")),
        "one gateway alone told the pin"
    );
    stop(alone)?;

    println!("\n── both gateways share facts: [fleet] url = \"tls://…\"");
    let mut agents = Vec::new();
    for (story, gateway) in stories.iter().zip(GATEWAYS) {
        let config = configuration(&cluster, gateway, "")?;
        agents.push(start(story, &agent, &config)?);
    }
    let [at_first, at_second] = agents.as_slice() else {
        anyhow::bail!("there are two agents");
    };
    for title in [
        "a Java app trusts the inspection CA and works, TLS 1.2",
        "curl trusts the inspection CA and works, also for the app's server",
    ] {
        println!("\n── behind gw2: {title}");
        play(scene(second, title)?, at_second)?;
    }
    let heard = wait_until("the facts of gw2 at gw1", || {
        let status = ask(&cluster, &agent, GATEWAYS[0], &["status", "--json"])?;
        let status: serde_json::Value = serde_json::from_str(&status)?;
        Ok(status["fleet"]["facts_taken"].as_u64() >= Some(2))
    })?;
    println!(
        "gw1 has taken in gw2's facts ({:.1} s)",
        heard.as_secs_f64()
    );
    println!("\n── behind gw1 again: the Java app refuses the interceptor");
    let told = play(
        scene(first, "pins its own server's key, TLS 1.2")?,
        at_first,
    )?;
    ensure!(
        told.iter().any(|line| line.contains(")  pinning ")),
        "the fleet did not tell the pin:\n{}",
        told.join("\n")
    );
    wait_until("the verdict at the machine that serves", || {
        let verdicts = ask(&cluster, &agent, COLLECTOR, &["verdicts", "--fleet"]);
        Ok(verdicts.is_ok_and(|it| it.contains("pinning")))
    })?;
    println!("\n── on the machine that serves the fleet");
    for arguments in [
        &["fleet"][..],
        &["verdicts", "--fleet"],
        &["groups", "--fleet"],
        &["exclusions", "--fleet"],
        &[
            "exclusions",
            "--fleet",
            "--min-clients",
            "1",
            "--min-gateways",
            "1",
            // A pin on one client is told at 0.79.
            "--min-confidence",
            "0.75",
        ],
    ] {
        println!("$ tlswhy {}", arguments.join(" "));
        print!("{}", ask(&cluster, &agent, COLLECTOR, arguments)?);
    }
    println!("one client behind one gateway lists nothing for all, unless that is asked for");
    agents.into_iter().try_for_each(stop)
}

/// Writes the configuration of an agent without a fleet.
fn plain(folder: &Path) -> anyhow::Result<std::path::PathBuf> {
    let path = folder.join("plain.toml");
    let state = folder.join("state-plain");
    let text = format!("[state]\ndirectory = {state:?}\n");
    std::fs::write(&path, text).context("cannot write a configuration")?;
    Ok(path)
}

fn start(story: &Story, agent: &Path, config: &Path) -> anyhow::Result<Process> {
    let mut command = story.gateway().command(agent);
    command.args(["run", "--interface", "lan0", "--output", "text"]);
    command
        .arg("--inspection-ca")
        .arg(story.inspection_ca().certificate());
    command.arg("--config").arg(config);
    let process = Process::start(&mut command)?;
    process.wait_for(PATIENCE, |line| line == "ready")?;
    Ok(process)
}

fn stop(mut agent: Process) -> anyhow::Result<()> {
    agent.stop(Signal::SIGINT)?;
    Ok(())
}

fn scene(story: &Story, title: &str) -> anyhow::Result<Scene> {
    let mut scenes = story.scenes().into_iter();
    let found = scenes.find(|scene| scene.title.contains(title));
    found.with_context(|| format!("the story has no scene {title:?}"))
}

/// Runs the client, and shows its output and the agent's. Returns the latter.
fn play(mut scene: Scene, agent: &Process) -> anyhow::Result<Vec<String>> {
    let result = output(&mut scene.command)?;
    for text in [result.stdout, result.stderr] {
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines = text.lines().filter(|line| !line.is_empty());
        lines.for_each(|line| println!("client: {line}"));
    }
    let told = if scene.cause.is_some() {
        // A verdict ends with its advice.
        agent.wait_for(PATIENCE, |line| line.trim_start().starts_with("advice"))?
    } else {
        std::thread::sleep(Duration::from_secs(1));
        agent.lines().collect()
    };
    told.iter().for_each(|line| println!("{line}"));
    Ok(told)
}
