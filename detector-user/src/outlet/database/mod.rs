//! The database of past verdicts and of connections that worked, which other processes may ask while
//! the agent writes: SQLite with a write-ahead log.
//!
//! In: verdicts, through [`DatabaseSink`], and connections that worked, through [`Acceptances`]. Out:
//! [`Past`] answers [`Query`]s with [`StoredVerdict`]s and [`Group`]s. A group is one client, one app,
//! one server name and one interceptor, with the numbers of its connections that worked and failed.
//!
//! Not here: what the history learns from (`cause::history` keeps its own facts), or words for people.

mod acceptances;
mod address;
mod changes;
mod error;
mod failing;
mod fleet;
mod group;
mod hours;
mod past;
mod query;
mod retention;
mod schema;
mod sink;
mod taps;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

pub use acceptances::{Acceptance, Acceptances};
pub use changes::{Change, ChangeKind, Changes, Rate, Rated};
pub use error::DatabaseError;
pub use failing::FailingGroup;
pub use fleet::{Doubt, FLEET_FILE, Fact, FleetWriter, Gateway, Outcome};
pub use group::{Group, GroupCause, Totals};
pub use past::{Past, StoredVerdict};
pub use query::{Query, exactly};
pub use retention::Retention;
pub use sink::DatabaseSink;
pub use writer::Writer;

/// Name of the database in the state directory.
pub const FILE: &str = "verdicts.db";
