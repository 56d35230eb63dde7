//! Runs the agent over captures and reads its verdicts.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::labels::{Cause, parse_cause};

/// The agent's program and its arguments in every run.
#[derive(Clone, Debug)]
pub struct Agent {
    /// The program.
    pub path: PathBuf,
    /// `--inspection-ca` of every run, in addition to the labels'.
    pub inspection_ca: Vec<String>,
    /// `--intercepted` of every run.
    pub intercepted: Option<String>,
}

/// The outcome of one run.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// In the order they were written.
    pub verdicts: Vec<Verdict>,
    /// The agent's own words on why it did not read all.
    pub failure: Option<String>,
}

/// The fields of a verdict that are scored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The connection's end, as written.
    pub time: String,
    /// UNIX time of it in nanoseconds.
    #[serde(skip)]
    pub time_ns: u64,
    /// Interface or capture.
    pub tap: String,
    /// Community ID v1.
    pub community_id: String,
    /// The ClientHello's sender.
    pub client: SocketAddr,
    /// The ClientHello's receiver.
    pub server: SocketAddr,
    /// Server name.
    pub sni: Option<String>,
    /// TLS version agreed on, such as `1.3`.
    #[serde(default)]
    pub tls_version: Option<String>,
    /// The cause.
    pub cause: Cause,
    /// The confidence, 0 to 1.
    pub confidence: f64,
    /// `yes`, `no` or `unknown`.
    pub intercepted: String,
    /// The side that ended it.
    pub ended_by: String,
    /// The facts that it rests on.
    pub evidence: Vec<Evidence>,
    /// The verdict that this one replaces.
    pub revises: Option<String>,
}

/// A named fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Its name.
    pub name: String,
    /// The observation.
    #[serde(default)]
    pub detail: String,
    /// Log-odds for (or, below zero, against) the cause.
    #[serde(default)]
    pub weight: f64,
}

#[derive(Deserialize)]
struct Endpoint {
    ip: IpAddr,
    port: u16,
}

/// As the agent writes it.
#[derive(Deserialize)]
struct Written {
    time: String,
    tap: String,
    community_id: String,
    client: Endpoint,
    server: Endpoint,
    sni: Option<String>,
    tls_version: Option<String>,
    cause: String,
    confidence: f64,
    intercepted: String,
    ended_by: String,
    #[serde(default)]
    evidence: Vec<Evidence>,
    #[serde(default)]
    revises: Option<String>,
}

impl Verdict {
    /// Reads a line of `--output json`.
    ///
    /// # Errors
    /// If it is not a verdict as docs/verdicts.md has it.
    pub fn parse(line: &str) -> anyhow::Result<Self> {
        let written: Written = serde_json::from_str(line)?;
        let time: jiff::Timestamp = written.time.parse().context("its time")?;
        Ok(Self {
            time_ns: u64::try_from(time.as_nanosecond()).unwrap_or(0),
            time: written.time,
            tap: written.tap,
            community_id: written.community_id,
            client: SocketAddr::new(written.client.ip, written.client.port),
            server: SocketAddr::new(written.server.ip, written.server.port),
            sni: written.sni,
            tls_version: written.tls_version,
            cause: parse_cause(&written.cause)?,
            confidence: written.confidence,
            intercepted: written.intercepted,
            ended_by: written.ended_by,
            evidence: written.evidence,
            revises: written.revises,
        })
    }
}

impl Agent {
    /// Runs the agent over captures in the order given.
    ///
    /// # Errors
    /// As [`Agent::lines`], and if it writes what is no verdict.
    pub fn run(&self, captures: &[&Path], inspection_ca: &[OsString]) -> anyhow::Result<Run> {
        let (text, failure) = self.lines(captures, inspection_ca)?;
        let verdicts = text
            .lines()
            .map(|line| Verdict::parse(line).with_context(|| format!("no verdict: {line}")))
            .collect::<anyhow::Result<_>>()?;
        Ok(Run { verdicts, failure })
    }

    /// Returns the verdicts of one run as the agent writes them, one JSON object a line, and the
    /// reason if it did not read all.
    ///
    /// # Errors
    /// If the agent cannot be run, was killed or called the command line wrong. A capture that it
    /// could not read is no error.
    pub fn lines(
        &self,
        captures: &[&Path],
        inspection_ca: &[OsString],
    ) -> anyhow::Result<(String, Option<String>)> {
        let mut command = Command::new(&self.path);
        command.args(["pcap", "--quiet", "--output", "json"]);
        for name in &self.inspection_ca {
            command.arg("--inspection-ca").arg(name);
        }
        for name in inspection_ca {
            command.arg("--inspection-ca").arg(name);
        }
        if let Some(when) = &self.intercepted {
            command.args(["--intercepted", when]);
        }
        let output = command
            .arg("--")
            .args(captures)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", self.path.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        // The summary follows the errors.
        let said = said.split("\nseen: ").next().unwrap_or_default();
        let said = said.trim().to_owned();
        let failure = match output.status.code() {
            Some(0) => None,
            Some(1) => Some(said),
            _ => bail!(
                "{} ended with {}: {said}",
                self.path.display(),
                output.status
            ),
        };
        let text = String::from_utf8(output.stdout).context("the agent wrote what is not UTF-8")?;
        Ok((text, failure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// An agent that is a shell script.
    fn agent(script: &str) -> (tempfile::TempDir, Agent) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let agent = Agent {
            path,
            inspection_ca: vec!["CN=A".to_owned()],
            intercepted: Some("always".to_owned()),
        };
        (folder, agent)
    }

    const VERDICT: &str = r#"{"time":"2026-11-23T08:30:01.123456789Z","tap":"lan0","community_id":"1:x=","client":{"ip":"10.0.1.2","port":40112},"server":{"ip":"2001:db8::1","port":443},"vlan":[],"sni":"a.test","later_field":1,"cause":"pinning","confidence":0.97,"intercepted":"yes","ended_by":"client","reset":null,"evidence":[{"name":"client-alert","detail":"d","weight":2.5}],"revises":null}"#;

    #[test]
    fn a_capture_that_was_not_read_to_the_end_gives_what_is_before() {
        let (_folder, agent) = agent(&format!("echo '{VERDICT}'; echo cut >&2; exit 1"));
        let run = agent.run(&[], &[]).unwrap();
        assert_eq!(run.failure.as_deref(), Some("cut"));
        let verdict = &run.verdicts[0];
        assert_eq!(verdict.time_ns, 1_795_422_601_123_456_789);
        assert_eq!(verdict.server.to_string(), "[2001:db8::1]:443");
        assert_eq!((verdict.cause, verdict.confidence), (Cause::Pinning, 0.97));
    }

    #[test]
    fn what_the_operator_knows_is_passed_on() {
        let (_folder, agent) = agent("echo \"$@\" >&2; exit 1");
        let run = agent
            .run(&[Path::new("-x.pcap")], &["ca.pem".into()])
            .unwrap();
        let said = "pcap --quiet --output json --inspection-ca CN=A --inspection-ca ca.pem --intercepted always -- -x.pcap";
        assert_eq!(run.failure.as_deref(), Some(said));
    }

    #[test]
    fn what_is_no_verdict_is_an_error() {
        for script in ["exit 2", "kill -9 $$", "echo '{}'", "echo no"] {
            let (_folder, agent) = agent(script);
            assert!(agent.run(&[], &[]).is_err(), "{script}");
        }
    }
}
