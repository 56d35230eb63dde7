//! Programs of the fleet's lab: members with generated facts, agents that serve, and the account of all streams.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;

use super::cluster::{Cluster, Identity};
use super::member::Progress;
use super::reader::Account;
use crate::build::{Profile, build_agent};
use crate::host::{Namespace, Process, run};

/// Longest wait for facts to arrive, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Returns the agent that the environment names in `TLSWHY_AGENT`, or else builds it.
///
/// # Errors
/// If it does not build.
pub(super) fn agent() -> anyhow::Result<PathBuf> {
    match std::env::var_os("TLSWHY_AGENT") {
        Some(path) => Ok(path.into()),
        None => build_agent(Profile::Release),
    }
}

/// A member of the fleet that runs.
pub(super) struct Member {
    process: Process,
    last: Progress,
}

/// A member's place in the lab, and the facts that it makes.
#[derive(Clone)]
pub(super) struct Made<'a> {
    /// Its name.
    pub(super) gateway: &'a str,
    /// Facts a second; 0: as fast as they are taken.
    pub(super) rate: u64,
    /// Numbers of its facts.
    pub(super) facts: std::ops::Range<u64>,
}

impl Member {
    /// Starts a member in the namespace at a place of the cluster.
    ///
    /// # Errors
    /// If it does not start.
    pub(super) fn start(
        cluster: &Cluster,
        tools: &Path,
        place: usize,
        made: &Made<'_>,
    ) -> anyhow::Result<Self> {
        let mut command = client(cluster, tools, place, "fleet-member", made.gateway)?;
        let state = cluster.folder().join(format!("state-{}", made.gateway));
        command.arg("--state").arg(state);
        command.arg("--rate").arg(made.rate.to_string());
        command.arg("--from").arg(made.facts.start.to_string());
        command.arg("--to").arg(made.facts.end.to_string());
        Ok(Self {
            process: Process::start(&mut command)?,
            last: Progress::default(),
        })
    }

    /// Returns its latest report.
    pub(super) fn progress(&mut self) -> &Progress {
        for line in self.process.lines() {
            match serde_json::from_str(&line) {
                Ok(progress) => self.last = progress,
                Err(_) => eprintln!("member: {line}"),
            }
        }
        &self.last
    }

    /// Waits until it has made so many facts and none waits. Returns the report.
    ///
    /// # Errors
    /// If that takes too long.
    pub(super) fn wait(&mut self, made: u64) -> anyhow::Result<Progress> {
        let end = Instant::now() + PATIENCE;
        loop {
            let progress = self.progress();
            if progress.made >= made && progress.waiting + progress.verdicts_waiting == 0 {
                return Ok(progress.clone());
            }
            if Instant::now() > end {
                bail!("a member's facts do not arrive: {progress:?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills it, or ends it in order.
    ///
    /// # Errors
    /// If it does not end.
    pub(super) fn stop(&mut self, signal: Signal) -> anyhow::Result<()> {
        // `ip netns exec` becomes the program, so that the signal is its own.
        self.process.stop(signal)?;
        Ok(())
    }
}

/// Returns a command of this package in the namespace at a place, as a user of the fleet.
fn client(
    cluster: &Cluster,
    tools: &Path,
    place: usize,
    name: &str,
    user: &str,
) -> anyhow::Result<Command> {
    let identity = identity(cluster, user)?;
    let mut command = namespace(cluster, place)?.command(tools);
    command.arg(name).arg("--gateway").arg(user);
    for url in cluster.urls() {
        command.arg("--url").arg(url);
    }
    command.arg("--ca").arg(cluster.ca());
    command.arg("--certificate").arg(identity.certificate);
    command.arg("--key").arg(identity.key);
    Ok(command)
}

fn namespace(cluster: &Cluster, place: usize) -> anyhow::Result<&Namespace> {
    cluster.member(place).context("no such member")
}

/// Returns a user's certificate, which is issued once.
fn identity(cluster: &Cluster, user: &str) -> anyhow::Result<Identity> {
    let path = |ending: &str| cluster.folder().join(format!("{user}.{ending}"));
    let known = Identity {
        certificate: path("crt"),
        key: path("key"),
    };
    if known.certificate.exists() && known.key.exists() {
        return Ok(known);
    }
    cluster.identity(user)
}

/// Returns the account of all streams.
///
/// # Errors
/// If a server does not answer.
pub(super) fn account(
    cluster: &Cluster,
    tools: &Path,
    place: usize,
    user: &str,
) -> anyhow::Result<Account> {
    let end = Instant::now() + PATIENCE;
    loop {
        // Servers that were just reunited may not answer at once.
        match run(&mut client(cluster, tools, place, "fleet-read", user)?) {
            Ok(said) => return Ok(serde_json::from_str(said.trim())?),
            Err(error) if Instant::now() > end => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_secs(2)),
        }
    }
}

/// Publishes a message as a user. Returns whether the server took it.
///
/// # Errors
/// If the program does not run.
pub(super) fn publish(
    cluster: &Cluster,
    tools: &Path,
    (place, user): (usize, &str),
    subject: &str,
    content: &str,
) -> anyhow::Result<bool> {
    let mut command = client(cluster, tools, place, "fleet-read", user)?;
    command.args(["--publish", subject, "--publish", content]);
    Ok(crate::host::output(&mut command)?.status.success())
}

/// Writes the configuration of an agent or of `tlswhy fleet serve`, and returns its path.
///
/// # Errors
/// If it cannot be written.
pub(super) fn configuration(
    cluster: &Cluster,
    user: &str,
    further: &str,
) -> anyhow::Result<PathBuf> {
    let identity = identity(cluster, user)?;
    let state = cluster.folder().join(format!("state-{user}"));
    let urls = cluster.urls();
    let ca = cluster.ca();
    let text = format!(
        "[fleet]\nurl = {urls:?}\ngateway = {user:?}\nca = {ca:?}\ncertificate = {:?}\nkey = {:?}\nreplicas = 3\n\
         \n[state]\ndirectory = {state:?}\nruntime = {:?}\n{further}",
        identity.certificate,
        identity.key,
        state.join("run")
    );
    let path = cluster.folder().join(format!("{user}.toml"));
    std::fs::write(&path, text).context("cannot write a configuration")?;
    Ok(path)
}

/// Starts `tlswhy fleet serve` at a place, and waits until it is ready.
///
/// # Errors
/// If it does not start.
pub(super) fn serve(
    cluster: &Cluster,
    agent: &Path,
    place: usize,
    user: &str,
) -> anyhow::Result<Process> {
    let config = configuration(cluster, user, "")?;
    let mut command = namespace(cluster, place)?.command(agent);
    command.args(["fleet", "serve", "--config"]).arg(config);
    let process = Process::start(&mut command)?;
    process.wait_for(Duration::from_secs(60), |line| line.contains("ready"))?;
    for stream in [
        "TLSWHY_FACT",
        "TLSWHY_VERDICT",
        "TLSWHY_GATEWAY",
        "TLSWHY_MUTE",
    ] {
        cluster.leader(stream)?;
    }
    Ok(process)
}

/// Runs a command of the agent by a member's configuration, and returns its output.
///
/// # Errors
/// If it fails.
pub(super) fn ask(
    cluster: &Cluster,
    agent: &Path,
    user: &str,
    arguments: &[&str],
) -> anyhow::Result<String> {
    let mut command = Command::new(agent);
    command.args(arguments);
    let config = cluster.folder().join(format!("{user}.toml"));
    run(command.arg("--config").arg(config))
}

/// Waits until a condition holds.
///
/// # Errors
/// If it does not in time.
pub(super) fn wait_until(
    wanted: &str,
    mut holds: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if holds()? {
            return Ok(begin.elapsed());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    bail!("in vain waited for {wanted}")
}

/// Checks that every fact and verdict is there, and there once.
///
/// # Errors
/// If one is missing or twice there.
pub(super) fn check(account: &Account, facts: u64, verdicts: u64) -> anyhow::Result<()> {
    ensure!(
        account.facts == facts && account.different == facts,
        "{facts} facts were shared; the servers have {} and {} different ones",
        account.facts,
        account.different
    );
    ensure!(
        account.verdicts == verdicts && account.different_verdicts == verdicts,
        "{verdicts} verdicts were shared; the servers have {} and {} different ones",
        account.verdicts,
        account.different_verdicts
    );
    Ok(())
}
