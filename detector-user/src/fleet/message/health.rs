//! A gateway's health.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Skipped, VERSION};

/// Maximum length of a version, a kind of identities or a tap's name that is read, bytes.
const TEXT_MAX: usize = 128;
/// Maximum taps that are read.
const TAPS_MAX: usize = 1_024;

/// A gateway's health, sent every few seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// [`VERSION`].
    pub version: u32,
    /// When it was sent.
    pub time: Timestamp,
    /// When the agent started.
    pub started: Timestamp,
    /// The agent's version.
    pub agent: String,
    /// Number by which two agents of one name are told apart.
    pub instance: u64,
    /// Kind of clients' identities, as in a batch of facts.
    pub clients: String,
    /// Interfaces that are watched.
    pub taps: Vec<String>,
    /// Packets, observations, verdicts and facts that were lost so far.
    pub losses: u64,
    /// Facts that were published.
    pub facts_published: u64,
    /// Facts that wait to be published.
    pub facts_waiting: u64,
    /// Verdicts that were published.
    pub verdicts_published: u64,
    /// Facts of other gateways that were taken in.
    pub facts_taken: u64,
    /// Messages that were skipped.
    pub skipped: u64,
    /// Age of the oldest message that is not taken in yet, milliseconds.
    pub lag_ms: u64,
    /// Whether it joins halves of connections.
    #[serde(default)]
    pub halves: bool,
    /// Whether the agent has ended in order.
    #[serde(default)]
    pub ended: bool,
}

impl Health {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Skipped`].
    pub fn read(payload: &[u8]) -> Result<Self, Skipped> {
        let health: Self = super::read(payload)?;
        let texts = health.taps.iter().chain([&health.agent, &health.clients]);
        let is_sound = |text: &String| text.len() <= TEXT_MAX && !text.contains(char::is_control);
        if health.taps.len() > TAPS_MAX {
            return Err(Skipped::TooMany);
        }
        if texts.into_iter().all(is_sound) {
            Ok(health)
        } else {
            Err(Skipped::Malformed)
        }
    }

    /// Returns the health of an agent that has done nothing yet.
    #[must_use]
    pub fn new(started: Timestamp, instance: u64, clients: String) -> Self {
        Self {
            version: VERSION,
            time: started,
            started,
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            instance,
            clients,
            taps: Vec::new(),
            losses: 0,
            facts_published: 0,
            facts_waiting: 0,
            verdicts_published: 0,
            facts_taken: 0,
            skipped: 0,
            lag_ms: 0,
            halves: false,
            ended: false,
        }
    }
}
