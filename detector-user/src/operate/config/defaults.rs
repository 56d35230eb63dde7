//! Default values and places of the configuration: below the command line and the file alike.

use std::time::Duration;

/// Configuration file that is read if no other is named; it need not exist.
pub const DEFAULT_FILE: &str = "/etc/tlswhy/tlswhy.toml";
/// Directory for pinned programs and maps when run as a service.
pub const DEFAULT_PINS: &str = "/sys/fs/bpf/tlswhy";
/// State directory of the packaged service.
pub const STATE_DIRECTORY: &str = "/var/lib/tlswhy";
/// Runtime directory of the packaged service.
pub const RUNTIME_DIRECTORY: &str = "/run/tlswhy";
/// Maximum tracked connections.
pub const DEFAULT_FLOWS: u32 = 262_144;

/// Size of the ring of observations, bytes.
pub(super) const OBSERVATION_RING: u32 = 4 << 20;
/// Size of the ring of handshake bytes, bytes.
pub(super) const HANDSHAKE_RING: u32 = 8 << 20;
/// Time for which repeats of a verdict are only counted in the journal.
pub(crate) const FOLD: Duration = Duration::from_secs(600);
/// Maximum verdicts queued in memory for each output.
pub(super) const QUEUE: usize = 10_000;
/// Maximum size of verdicts spilled to disk, bytes.
pub(super) const SPILL_MAX: u64 = 64 << 20;
/// Time for which learned facts stay valid across restarts.
pub(super) const RETENTION: Duration = Duration::from_secs(7 * 86_400);
/// Maximum age of verdicts and groups in the database.
pub(super) const DATABASE_RETENTION: Duration = Duration::from_secs(90 * 86_400);
/// Maximum size of the database, bytes.
pub(super) const DATABASE_MAX: u64 = 1 << 30;
