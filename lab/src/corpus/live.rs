//! The agent in the kernel beside the recording: both see the same packets and have to say the same.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::capture::Frame;
use crate::capture::pcapng;
use crate::host::Process;
use crate::network::Network;

/// The longest that the agent may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// Two clocks see connections end in an order that may differ by microseconds. A verdict is not given
/// again for less than this when others make it surer, so that much depends on their order.
const NOT_SURER: f64 = 0.15;
/// Interfaces it watches.
const INTERFACES: [&str; 2] = ["lan0", "wan0"];

/// The running agent.
pub struct Watch {
    agent: Process,
}

impl Watch {
    /// Starts it on both sides of the gateway.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(network: &Network, agent: &Path) -> anyhow::Result<Self> {
        let mut command = network.gateway.command(agent);
        command.args(["run", "--output", "json"]);
        for interface in INTERFACES {
            command.args(["--interface", interface]);
        }
        let agent = Process::start(&mut command)?;
        agent.wait_for(PATIENCE, |line| line == "ready")?;
        Ok(Self { agent })
    }

    /// Ends it; its verdicts.
    ///
    /// # Errors
    /// If it fails.
    pub fn verdicts(mut self) -> anyhow::Result<Verdicts> {
        let (status, lines) = self.agent.stop(Signal::SIGTERM)?;
        ensure!(
            status.success(),
            "the agent ended with {status}: {}",
            lines.join("\n")
        );
        Verdicts::read(lines.iter().map(String::as_str))
    }
}

/// Returns the agent's verdicts on a recording of both sides, which is kept as `all.pcapng` in `folder`.
///
/// # Errors
/// If it fails.
pub fn of_recording(
    agent: &Path,
    folder: &Path,
    frames: &[(u32, Frame)],
) -> anyhow::Result<Verdicts> {
    let file = folder.join("all.pcapng");
    pcapng::write(&file, &INTERFACES, frames)?;
    let mut command = Command::new(agent);
    let output = command
        .args(["pcap", "--output", "json"])
        .arg(&file)
        .output()
        .context("cannot run the agent")?;
    ensure!(
        output.status.success(),
        "the agent ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Verdicts::read(String::from_utf8_lossy(&output.stdout).lines())
}

/// The last verdict on each connection, by tap, connection and client.
#[derive(Debug, Default)]
pub struct Verdicts(BTreeMap<String, Said>);

/// A verdict's content and confidence.
#[derive(Clone, Debug)]
struct Said {
    what: String,
    confidence: f64,
}

impl Said {
    fn of(verdict: &Value) -> Self {
        let fields = [
            "cause",
            "intercepted",
            "issuer",
            "ended_by",
            "sni",
            "alpn",
            "ja4",
            "tls_version",
            "alert",
            "reset",
        ];
        let mut said: Vec<String> = fields
            .iter()
            .map(|field| verdict[*field].to_string())
            .collect();
        let leg = &verdict["server_leg"];
        said.extend(["community_id", "tls_version"].map(|field| leg[field].to_string()));
        Self {
            what: said.join(" "),
            confidence: verdict["confidence"].as_f64().unwrap_or_default(),
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        self.what == other.what && (self.confidence - other.confidence).abs() < NOT_SURER
    }
}

impl Verdicts {
    fn read<'l>(lines: impl Iterator<Item = &'l str>) -> anyhow::Result<Self> {
        let mut all = BTreeMap::new();
        for line in lines.filter(|line| line.starts_with('{')) {
            let verdict: Value = serde_json::from_str(line).context("no verdict")?;
            let key = format!(
                "{} {} {}",
                verdict["tap"], verdict["community_id"], verdict["client"]
            );
            // A verdict that revises stands in the place of the one that it revises.
            all.insert(key, Said::of(&verdict));
        }
        Ok(Self(all))
    }

    /// Returns their number.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the connections on which two sides differ.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let only_there = other.0.keys().filter(|key| !self.0.contains_key(*key));
        self.0
            .keys()
            .chain(only_there)
            .map(|key| (key, self.0.get(key), other.0.get(key)))
            .filter(|(_, live, captured)| match (live, captured) {
                (Some(live), Some(captured)) => !live.is_like(captured),
                _ => true,
            })
            .map(|(key, live, captured)| Difference {
                connection: key.clone(),
                live: live.cloned(),
                captured: captured.cloned(),
            })
            .collect()
    }
}

/// Two sides that don't agree.
#[derive(Debug)]
pub struct Difference {
    connection: String,
    live: Option<Said>,
    captured: Option<Said>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.connection)?;
        for (name, said) in [("live", &self.live), ("capture", &self.captured)] {
            match said {
                Some(said) => writeln!(f, "  {name:7}  {:.2} {}", said.confidence, said.what)?,
                None => writeln!(f, "  {name:7}  nothing")?,
            }
        }
        Ok(())
    }
}
