//! The agent's status at one moment.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::outlet::failure_rates::FailureRates;
use crate::outlet::recent_groups::RecentGroup;
use crate::outlet::tally::Tally;
use crate::verdict::Verdict;

/// The agent's status at one moment. Later versions may add fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The agent's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Its start.
    pub started: Timestamp,
    /// Time of this report, at most some seconds ago unless the agent hangs.
    pub time: Timestamp,
    /// Whether it is ending.
    pub is_ending: bool,
    /// Tapped interfaces.
    pub taps: Vec<Tap>,
    /// Packets looked at, in the order of the kernel's counters.
    pub packets: u64,
    /// TLS flows.
    pub flows: u64,
    /// Flows in progress.
    pub under_way: u64,
    /// Connections that worked.
    pub established: u64,
    /// Connections that were closed before any use.
    pub unused: u64,
    /// Connections without an end that shows a cause.
    pub unfinished: u64,
    /// Connections of which two flows were seen: so many flows more than connections.
    #[serde(default)]
    pub joined: u64,
    /// Further flows of connections: copies, and an interceptor's further attempts for one client.
    #[serde(default)]
    pub further: u64,
    /// Connections that are ignored.
    #[serde(default)]
    pub ignored: u64,
    /// Connections whose verdicts the filter kept from being written.
    #[serde(default)]
    pub filtered: u64,
    /// Connections refused before their first byte, which are none of the flows.
    #[serde(default)]
    pub refused: Refused,
    /// Connections that failed, by the cause of their latest verdict.
    pub failed: BTreeMap<String, u64>,
    /// Verdicts that replaced earlier ones.
    pub revised: u64,
    /// Rates of the last minute.
    pub rates: Rates,
    /// All that was lost since the start.
    pub losses: Vec<Loss>,
    /// Memory.
    pub memory: Memory,
    /// Outputs for verdicts.
    pub outputs: Vec<Output>,
    /// The latest verdicts, the last one first.
    pub last_verdicts: Vec<LastVerdict>,
    /// Rows of the firewall's live log, if it is received.
    #[serde(default)]
    pub firewall_log: Option<FirewallLogCounts>,
    /// The fleet, if there is one.
    #[serde(default)]
    pub fleet: Option<FleetCounts>,
    /// Groups that fail, those with the highest rate first.
    #[serde(default)]
    pub groups: Vec<RecentGroup>,
    /// Failure rates since the start.
    #[serde(default)]
    pub failure_rates: FailureRates,
    /// The configuration in force, by `section.name`.
    pub configuration: BTreeMap<String, Configured>,
}

impl Report {
    /// Returns a report with a pipeline's counts; the rest is empty.
    #[must_use]
    pub fn of(tally: &Tally) -> Self {
        let failed = tally.causes.iter();
        Self {
            flows: tally.tracker.flows,
            under_way: tally.under_way as u64,
            established: tally.outcomes.established,
            unused: tally.outcomes.unused,
            unfinished: tally.outcomes.unfinished,
            joined: tally.joined,
            further: tally.further,
            ignored: tally.ignored,
            filtered: tally.filtered,
            refused: Refused {
                reset: tally.refused.reset,
                unanswered: tally.refused.unanswered,
            },
            failed: failed
                .map(|(cause, count)| ((*cause).to_owned(), *count))
                .collect(),
            revised: tally.revised,
            ..Self::default()
        }
    }
}

/// A tapped interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tap {
    /// Its name.
    pub name: String,
    /// Hook for incoming frames.
    pub ingress: String,
    /// Hook for outgoing frames, if any.
    pub egress: Option<String>,
    /// Verdicts on its connections, without those that replace earlier ones.
    pub verdicts: u64,
    /// Connections on it that were established.
    #[serde(default)]
    pub established: u64,
}

impl Tap {
    /// Returns the share of its connections that failed, in percent; `None` without connections.
    #[must_use]
    pub fn failure_rate(&self) -> Option<f64> {
        let all = self.verdicts + self.established;
        (all > 0).then(|| self.verdicts as f64 * 100.0 / all as f64)
    }
}

/// Connections refused before their first byte, on any port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// By a reset.
    pub reset: u64,
    /// By silence.
    pub unanswered: u64,
}

/// Rates over the last minute, or since the start if that is less long ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Time that they are of, seconds.
    pub seconds: f64,
    /// Packets looked at per second.
    pub packets_per_second: f64,
    /// TLS flows per second.
    pub flows_per_second: f64,
    /// First verdicts per minute.
    pub verdicts_per_minute: f64,
}

/// Messages of the firewall's live log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirewallLogCounts {
    /// Rows that call for an explanation.
    pub rows: u64,
    /// Rows whose verdict was found.
    pub explained: u64,
    /// Rows whose verdict did not come in time.
    pub unexplained: u64,
    /// Rows of a known log that cannot be read, and messages that are too long.
    pub broken: u64,
    /// Other messages, and rows that are not selected.
    pub other: u64,
    /// Messages and verdicts that found the queue full.
    pub lost: u64,
}

/// The fleet as this gateway sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetCounts {
    /// This gateway's name.
    pub gateway: String,
    /// Whether a server is there.
    pub connected: bool,
    /// The latest failure, until a server is there again.
    pub error: Option<String>,
    /// Facts that were published.
    pub facts_published: u64,
    /// Facts that wait to be published.
    pub facts_waiting: u64,
    /// Facts that were sent and not acknowledged yet.
    pub facts_unacknowledged: u64,
    /// Facts that were never published.
    pub facts_lost: u64,
    /// Verdicts that were published.
    pub verdicts_published: u64,
    /// Facts of other gateways that were read.
    pub facts_taken: u64,
    /// Facts in memory, of all gateways.
    pub facts_known: u64,
    /// Facts that made room for others there.
    pub facts_evicted: u64,
    /// Messages that were skipped, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Messages of facts that are not read yet.
    pub messages_behind: u64,
    /// Age of the message read last while there are such, milliseconds.
    pub lag_ms: u64,
    /// Gateways whose facts are doubtful.
    #[serde(default)]
    pub gateways_doubtful: u64,
    /// Gateways that join halves of connections, this one included; 0 if it joins none.
    #[serde(default)]
    pub halves_gateways: u64,
    /// Halves of connections that were published, with words that some were joined.
    #[serde(default)]
    pub halves_published: u64,
    /// Messages about halves that came from other gateways.
    #[serde(default)]
    pub halves_taken: u64,
    /// Connections that this gateway joined of two halves.
    #[serde(default)]
    pub halves_joined: u64,
    /// Client's halves that were judged alone.
    #[serde(default)]
    pub halves_alone: u64,
    /// Server's halves that found no other half.
    #[serde(default)]
    pub halves_unmatched: u64,
    /// Halves that were dropped: the servers were away, or there were too many.
    #[serde(default)]
    pub halves_lost: u64,
}

impl FleetCounts {
    /// Reasons for which messages are skipped.
    pub const SKIPPED: [&'static str; 4] = ["version", "malformed", "clients", "too-many"];
}

/// A kind of loss.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// Its name.
    pub reason: String,
    /// Its meaning, and the fix if there is one.
    pub meaning: String,
    /// The number of what was lost.
    pub count: u64,
}

/// Memory, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Of the agent.
    pub agent_bytes: Option<u64>,
    /// Of maps in the kernel.
    pub kernel_bytes: u64,
}

/// An output for verdicts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Its name on the command line.
    pub name: String,
    /// Verdicts written.
    pub written: u64,
    /// Repeats that were counted instead of written.
    pub folded: u64,
    /// Verdicts that wait in memory.
    pub queued: u64,
    /// Verdicts that wait on disk, bytes.
    pub spilled_bytes: u64,
    /// Lost verdicts by reason.
    pub lost: BTreeMap<String, u64>,
}

/// A verdict in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastVerdict {
    /// End of its connection.
    pub time: Timestamp,
    /// Its identifier.
    pub id: String,
    /// Whether it replaces an earlier one.
    pub is_revision: bool,
    /// The tap.
    pub tap: String,
    /// The client.
    pub client: IpAddr,
    /// The server's name, or its address.
    pub server: String,
    /// The cause.
    pub cause: String,
    /// Probability of the cause, 0 to 1.
    pub confidence: f64,
    /// Advice.
    pub advice: Option<String>,
}

/// A setting in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Configured {
    /// Its value in TOML; `None` if not set.
    pub value: Option<String>,
    /// Where it comes from.
    pub origin: String,
}

impl From<&Verdict> for LastVerdict {
    fn from(verdict: &Verdict) -> Self {
        let name = verdict.server_name().map(str::to_owned);
        Self {
            time: verdict.time,
            id: verdict.id.clone(),
            is_revision: verdict.revises.is_some(),
            tap: verdict.tap.clone(),
            client: verdict.client.ip,
            server: name.unwrap_or_else(|| verdict.server.ip.to_string()),
            cause: verdict.cause.name().to_owned(),
            // Two decimals, as in verdicts.
            confidence: (verdict.confidence * 100.0).round() / 100.0,
            advice: verdict.advice.clone(),
        }
    }
}
