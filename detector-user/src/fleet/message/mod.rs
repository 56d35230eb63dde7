//! Messages between gateways: JSON with the version of its format, and the subjects that they are sent to.
//!
//! | subject | message | stream |
//! | --- | --- | --- |
//! | `tlswhy.fact.GATEWAY` | [`FactBatch`] | [`FACTS`] |
//! | `tlswhy.verdict.GATEWAY.CAUSE` | [`GatewayVerdict`] | [`VERDICTS`] |
//! | `tlswhy.gateway.GATEWAY` | [`Health`] | [`GATEWAYS`], the last of each gateway |
//! | `tlswhy.half.GATEWAY.OWNER` | [`HalfMessage`], to the gateway that joins it, and its answer | [`HALVES`], in memory |
//! | `tlswhy.mute.GATEWAY` | [`Mute`], of the operator | [`MUTES`], the last on each gateway |
//!
//! The origin of a message is the gateway of its subject, which permissions hold a gateway to, and never one that
//! its text claims. A reader skips messages of another version than it knows, and counts them.

mod fact;
mod half;
mod health;
mod mute;
mod snapshot;
mod verdict;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::outlet::status::FleetCounts;
pub use fact::{AppId, FactBatch, FactKey, Seen, SharedFact};
pub use half::HalfMessage;
pub use health::Health;
pub use mute::Mute;
pub use snapshot::{SnapshotPart, parts};
pub use verdict::{GatewayVerdict, with_clients};

/// Version of the formats that this build reads and writes.
pub const VERSION: u32 = 1;
/// First token of every subject.
const ROOT: &str = "tlswhy";

/// Stream of facts.
pub const FACTS: &str = "TLSWHY_FACT";
/// Stream of verdicts.
pub const VERDICTS: &str = "TLSWHY_VERDICT";
/// Stream of gateways' health, which keeps the last of each.
pub const GATEWAYS: &str = "TLSWHY_GATEWAY";
/// Stream of halves of connections, in memory.
pub const HALVES: &str = "TLSWHY_HALF";
/// Stream of the operator's word on gateways, which keeps the last on each.
pub const MUTES: &str = "TLSWHY_MUTE";
/// Key-value bucket of snapshots: keys `GATEWAY.PART`.
pub const SNAPSHOTS: &str = "tlswhy-snapshot";

/// Subjects of facts, of all gateways.
pub const FACT_SUBJECTS: &str = "tlswhy.fact.*";
/// Subjects of verdicts.
pub const VERDICT_SUBJECTS: &str = "tlswhy.verdict.*.*";
/// Subjects of health.
pub const GATEWAY_SUBJECTS: &str = "tlswhy.gateway.*";
/// Subjects of halves: from which gateway, to which.
pub const HALF_SUBJECTS: &str = "tlswhy.half.*.*";

/// Subjects of the operator's word on gateways.
pub const MUTE_SUBJECTS: &str = "tlswhy.mute.*";

/// A message that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skipped {
    /// Its version is not known here.
    Version,
    /// It is no message of this kind.
    Malformed,
    /// Its clients are named otherwise: in clear or by another key.
    Clients,
    /// It holds more than a message may.
    TooMany,
}

impl Skipped {
    /// Returns a short stable name, for counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        let [version, malformed, clients, too_many] = FleetCounts::SKIPPED;
        match self {
            Self::Version => version,
            Self::Malformed => malformed,
            Self::Clients => clients,
            Self::TooMany => too_many,
        }
    }
}

/// The part of a message that never changes its meaning.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// Reads a message.
///
/// # Errors
/// [`Skipped`].
pub fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Skipped> {
    let head: Head = serde_json::from_slice(payload).map_err(|_| Skipped::Malformed)?;
    if head.version != VERSION {
        return Err(Skipped::Version);
    }
    serde_json::from_slice(payload).map_err(|_| Skipped::Malformed)
}

/// Writes a message.
///
/// # Errors
/// If a value has no form in JSON; none of this room's has.
pub fn write(message: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(message)
}

/// Returns the subject of a gateway's facts.
#[must_use]
pub fn fact_subject(gateway: &str) -> String {
    format!("{ROOT}.fact.{gateway}")
}

/// Returns the subject of a gateway's verdicts with a cause.
#[must_use]
pub fn verdict_subject(gateway: &str, cause: &str) -> String {
    format!("{ROOT}.verdict.{gateway}.{cause}")
}

/// Returns the subject of a gateway's health.
#[must_use]
pub fn gateway_subject(gateway: &str) -> String {
    format!("{ROOT}.gateway.{gateway}")
}

/// Returns the subject of halves from a gateway to another.
#[must_use]
pub fn half_subject(gateway: &str, to: &str) -> String {
    format!("{ROOT}.half.{gateway}.{to}")
}

/// Returns the subjects of halves to a gateway.
#[must_use]
pub fn half_subjects_to(gateway: &str) -> String {
    half_subject("*", gateway)
}

/// Returns the subject of the operator's word on a gateway.
#[must_use]
pub fn mute_subject(gateway: &str) -> String {
    format!("{ROOT}.mute.{gateway}")
}

/// Returns the gateway that the operator's word is about.
#[must_use]
pub fn muted_of(subject: &str) -> Option<&str> {
    let gateway = subject.strip_prefix(ROOT)?.strip_prefix(".mute.")?;
    super::is_gateway(gateway).then_some(gateway)
}

/// Returns the gateway of a subject; `None` if it is none of this room's.
#[must_use]
pub fn gateway_of(subject: &str) -> Option<&str> {
    let mut tokens = subject.split('.');
    let (root, kind, gateway) = (tokens.next()?, tokens.next()?, tokens.next()?);
    let is_known = root == ROOT && ["fact", "verdict", "gateway", "half"].contains(&kind);
    (is_known && super::is_gateway(gateway)).then_some(gateway)
}

/// Returns the identifier of a message (`Nats-Msg-Id`), by which a server recognises one that is sent again: the
/// same for the same subject and content.
#[must_use]
pub fn message_id(subject: &str, payload: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update((subject.len() as u64).to_be_bytes());
    hash.update(subject);
    hash.update(payload);
    let digest = hash.finalize();
    let half = digest.iter().take(16);
    half.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
