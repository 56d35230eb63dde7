//! Snapshots: all facts of a gateway, in parts that fit into a message each.

use std::io;

use serde::{Deserialize, Serialize};

use super::{FactBatch, SharedFact, Skipped, VERSION};

/// Facts of a part; at some 200 bytes each, a quarter of a server's default limit before compression.
const FACTS_PER_PART: usize = 1_000;
/// Maximum size of a part that is read, bytes without compression.
const PART_MAX: usize = 4 << 20;
const LEVEL: i32 = 3;

/// A part of a gateway's snapshot, compressed with zstd where it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotPart {
    /// [`VERSION`].
    pub version: u32,
    /// Sequence number in the stream of facts up to which all of the gateway's own are in the snapshot.
    pub sequence: u64,
    /// Whether the gateway's agent has ended, so that there are no later ones.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Number of the snapshot's parts.
    pub parts: u32,
    /// This part's facts, as in a message.
    pub batch: FactBatch,
}

impl SnapshotPart {
    /// Returns it as it is stored.
    ///
    /// # Errors
    /// If it cannot be written or compressed.
    pub fn compressed(&self) -> io::Result<Vec<u8>> {
        let text = super::write(self)?;
        zstd::bulk::compress(&text, LEVEL)
    }

    /// Reads a stored part whose clients have identities of the kind `clients`.
    ///
    /// # Errors
    /// [`Skipped`].
    pub fn read(stored: &[u8], clients: &str) -> Result<Self, Skipped> {
        let text = zstd::bulk::decompress(stored, PART_MAX).map_err(|_| Skipped::Malformed)?;
        let part: Self = super::read(&text)?;
        part.batch.check(clients)?;
        Ok(part)
    }
}

/// Returns all facts of a gateway as parts.
#[must_use]
pub fn parts(
    clients: &str,
    sequence: u64,
    is_final: bool,
    facts: &[SharedFact],
) -> Vec<SnapshotPart> {
    let number = facts.len().div_ceil(FACTS_PER_PART).max(1);
    let empty: &[SharedFact] = &[];
    let chunks = facts.chunks(FACTS_PER_PART);
    let chunks = chunks.chain(facts.is_empty().then_some(empty));
    let part = |facts: &[SharedFact]| SnapshotPart {
        version: VERSION,
        sequence,
        is_final,
        parts: u32::try_from(number).unwrap_or(u32::MAX),
        batch: FactBatch::new(clients.to_owned(), facts.to_vec()),
    };
    chunks.map(part).collect()
}
