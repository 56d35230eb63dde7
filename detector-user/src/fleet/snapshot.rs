//! This gateway's facts as a snapshot at the server, and those that wait for it as a file.

use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use async_nats::jetstream::kv::Store;

use super::message::{FactBatch, SharedFact, SnapshotPart, parts, write};
use super::shared::Shared;

/// File of facts that wait for the server, in the state directory.
pub(super) const WAITING_FILE: &str = "waiting-fleet-facts.json";

/// Writes the snapshot; `is_final`: nothing is published after it. Returns the number of its parts.
pub(super) async fn write_snapshot(
    bucket: &Store,
    shared: &Shared,
    (gateway, clients): (&str, &str),
    is_final: bool,
    parts_before: usize,
) -> Result<usize, Box<dyn Error + Send + Sync>> {
    let (facts, sequence) = {
        let state = shared.lock();
        (state.ledger.all(), state.covered())
    };
    let parts: Vec<SnapshotPart> = parts(clients, sequence, is_final, &facts);
    for (number, part) in parts.iter().enumerate() {
        let key = format!("{gateway}.{number}");
        bucket.put(&key, part.compressed()?.into()).await?;
    }
    for number in parts.len()..parts_before {
        bucket.purge(format!("{gateway}.{number}")).await?;
    }
    Ok(parts.len())
}

/// Writes facts that wait to a file, or removes it if none do.
pub(super) fn write_waiting(path: &Path, clients: &str, facts: Vec<SharedFact>) -> io::Result<()> {
    if facts.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let text = write(&FactBatch::new(clients.to_owned(), facts))?;
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    io::Write::write_all(&mut file, &text)?;
    fs::rename(new, path)
}

/// Reads those facts; none if there is no file that can be used.
pub(super) fn read_waiting(path: &Path, clients: &str) -> Vec<SharedFact> {
    let text = fs::read(path).unwrap_or_default();
    FactBatch::read_any_number(&text, clients).unwrap_or_default()
}
