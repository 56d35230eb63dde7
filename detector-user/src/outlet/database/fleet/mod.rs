//! The database of a fleet: verdicts and facts of all gateways, in the tables of the agent's own.
//!
//! In: verdicts and counts of connections that worked, each with its gateway, in any order and any number of
//! times. Out: the same tables that [`Past`](super::Past) reads of one agent, with the gateway of each verdict.
//! The content of a group follows from the rows that came, never from their order: two databases that have
//! taken the same messages answer alike, byte for byte.
//!
//! Not here: NATS, and the opinion on a gateway beyond its own numbers.

mod derived;
mod gateways;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::group::{GroupKey, name};
use super::retention::Retention;
use super::{DatabaseError, address};
use crate::verdict::named::named;
use crate::verdict::{Intercepted, Verdict};

pub use gateways::{Doubt, Gateway};
pub(super) use schema::is_of_fleet;

/// Name of the fleet's database in the state directory.
pub const FLEET_FILE: &str = "fleet.db";
/// Rows that are removed in one statement, so that readers wait only for a moment.
const REMOVED_AT_ONCE: i64 = 1_000;
/// Separates a verdict's identifier from its gateway, so that none takes another's place.
pub(super) const OF_GATEWAY: char = '@';
/// The character after that one.
pub(super) const AFTER_GATEWAY: char = 'A';

/// Connections of one subject and outcome, as one gateway has counted them so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Address of the client.
    pub client: IpAddr,
    /// The app, by the name that facts have for it: no JA4.
    pub app: String,
    /// Server name.
    pub name: String,
    /// Whether they were intercepted.
    pub intercepted: Intercepted,
    /// Distinguished name of the issuer of the certificate shown, if known.
    pub issuer: Option<String>,
    /// The client's answer.
    pub outcome: Outcome,
    /// Connections so far.
    pub connections: u64,
    /// Time of the latest, nanoseconds since the UNIX epoch.
    pub last_ns: u64,
}

named! {
    /// A client's answer to the certificate.
    pub enum Outcome {
        /// It used the connection.
        Accepted = "accepted",
        /// It refused.
        Refused = "refused",
        /// It did nothing with the connection.
        Unused = "unused",
    }
}

/// The fleet's database, open for writing.
pub struct FleetWriter {
    connection: Connection,
    is_open: bool,
    /// Groups whose rows have changed since the last commit.
    changed: BTreeSet<i64>,
}

impl FleetWriter {
    /// Opens the database in `path`, and makes it if there is none. A damaged one is set aside: its new name is
    /// returned.
    ///
    /// # Errors
    /// [`DatabaseError`] if it cannot be opened, or a later version wrote it.
    pub fn open(path: &Path) -> Result<(Self, Option<PathBuf>), DatabaseError> {
        match Self::open_whole(path) {
            Err(error) if error.is_damage() => {
                let aside = super::schema::set_aside(path)?;
                Ok((Self::open_whole(path)?, Some(aside)))
            }
            opened => opened.map(|it| (it, None)),
        }
    }

    fn open_whole(path: &Path) -> Result<Self, DatabaseError> {
        Self::of(super::schema::open_for_writing(path)?)
    }

    /// Makes a database in memory.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn in_memory() -> Result<Self, DatabaseError> {
        Self::of(super::schema::in_memory()?)
    }

    fn of(connection: Connection) -> Result<Self, DatabaseError> {
        schema::prepare(&connection)?;
        Ok(Self {
            connection,
            is_open: false,
            changed: BTreeSet::new(),
        })
    }

    /// Returns the connection, to ask questions.
    pub(super) fn into_connection(self) -> Connection {
        self.connection
    }

    /// Inserts a gateway's verdict. One that is there stays as it is.
    ///
    /// # Errors
    /// [`DatabaseError`]; the transaction is to be rolled back.
    pub fn insert(&mut self, gateway: &str, verdict: &Verdict) -> Result<(), DatabaseError> {
        self.begin()?;
        let of_gateway = |id: &str| format!("{id}{OF_GATEWAY}{gateway}");
        let id = of_gateway(&verdict.id);
        let supersedes = verdict.supersedes.as_deref().map(of_gateway);
        let group = self.group(&GroupKey::of(verdict))?;
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO verdicts (id, group_number, time_ns, tap, community_id, client, client_port,
                server, server_port, name, app, cause, confidence, verdict, ladder, gateway, supersedes,
                superseded_by)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, '[]', ?15, ?16,
                (SELECT min(id) FROM verdicts WHERE supersedes = ?1))
             ON CONFLICT (id) DO NOTHING",
        )?;
        let text =
            serde_json::to_string(verdict).map_err(|it| DatabaseError::Row(it.to_string()))?;
        let inserted = insert.execute(params![
            id,
            group,
            i64::try_from(verdict.time.as_nanosecond()).unwrap_or(i64::MAX),
            verdict.tap,
            verdict.community_id,
            address::stored(verdict.client.ip),
            verdict.client.port,
            address::stored(verdict.server.ip),
            verdict.server.port,
            name(verdict),
            verdict.ja4.as_deref().unwrap_or_default(),
            verdict.cause.name(),
            verdict.confidence,
            text,
            gateway,
            supersedes,
        ])?;
        drop(insert);
        if inserted == 0 {
            return Ok(());
        }
        self.changed.insert(group);
        if let Some(earlier) = supersedes {
            self.supersede(&earlier)?;
        }
        Ok(())
    }

    fn supersede(&mut self, earlier: &str) -> Result<(), DatabaseError> {
        let mut superseded = self.connection.prepare_cached(
            "UPDATE verdicts SET superseded_by = (SELECT min(id) FROM verdicts WHERE supersedes = ?1)
             WHERE id = ?1 RETURNING group_number",
        )?;
        let groups = superseded.query_map([earlier], |row| row.get::<_, i64>(0))?;
        for group in groups {
            self.changed.insert(group?);
        }
        Ok(())
    }

    /// Records a gateway's count of connections: the highest counts, in whatever order they come. Those that worked
    /// are shown in a group without an app, since facts name apps otherwise than verdicts.
    ///
    /// # Errors
    /// [`DatabaseError`]; the transaction is to be rolled back.
    pub fn record(&mut self, gateway: &str, fact: &Fact) -> Result<(), DatabaseError> {
        self.begin()?;
        let group = self.group(&GroupKey {
            client: fact.client,
            app: String::new(),
            name: fact.name.to_ascii_lowercase(),
            intercepted: fact.intercepted,
            issuer: fact
                .issuer
                .clone()
                .filter(|_| fact.intercepted == Intercepted::Yes)
                .unwrap_or_default(),
        })?;
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let mut record = self.connection.prepare_cached(
            "INSERT INTO facts (group_number, gateway, app, outcome, connections, last_ns)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET connections = max(connections, excluded.connections),
                last_ns = max(last_ns, excluded.last_ns)
             WHERE connections < excluded.connections OR last_ns < excluded.last_ns",
        )?;
        let changed = record.execute(params![
            group,
            gateway,
            fact.app,
            fact.outcome.name(),
            signed(fact.connections),
            signed(fact.last_ns),
        ])?;
        if changed > 0 {
            self.changed.insert(group);
        }
        Ok(())
    }

    /// Returns the place in a stream up to which messages are in the database: the time of its creation, and a
    /// message's number.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn place(&self, stream: &str) -> Result<Option<(String, u64)>, DatabaseError> {
        let sql = "SELECT created, sequence FROM places WHERE stream = ?1";
        let found = self.connection.query_row(sql, [stream], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
        });
        Ok(found.optional()?)
    }

    /// Records that place, in the transaction of the messages before it.
    ///
    /// # Errors
    /// [`DatabaseError`]; the transaction is to be rolled back.
    pub fn set_place(
        &mut self,
        stream: &str,
        created: &str,
        sequence: u64,
    ) -> Result<(), DatabaseError> {
        self.begin()?;
        let mut set = self.connection.prepare_cached(
            "INSERT OR REPLACE INTO places (stream, created, sequence) VALUES (?1, ?2, ?3)",
        )?;
        set.execute(params![
            stream,
            created,
            i64::try_from(sequence).unwrap_or(i64::MAX)
        ])?;
        Ok(())
    }

    /// Makes all that was written visible to others.
    ///
    /// # Errors
    /// [`DatabaseError`]; the transaction is to be rolled back.
    pub fn commit(&mut self) -> Result<(), DatabaseError> {
        if self.is_open {
            for group in &self.changed {
                derived::derive(&self.connection, *group)?;
            }
            self.connection.execute_batch("COMMIT")?;
            self.changed.clear();
            self.is_open = false;
        }
        Ok(())
    }

    /// Gives up all that was not committed.
    pub fn roll_back(&mut self) {
        self.is_open = false;
        self.changed.clear();
        if !self.connection.is_autocommit() {
            // It fails only where SQLite has rolled back itself.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// Removes some of what is beyond `retention`. Returns whether there may be more. `now_ns` is in nanoseconds
    /// since the UNIX epoch.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn remove_old(&mut self, retention: Retention, now_ns: i64) -> Result<bool, DatabaseError> {
        self.begin()?;
        let age_ns = i64::try_from(retention.age.as_nanos()).unwrap_or(i64::MAX);
        let oldest_ns = now_ns.saturating_sub(age_ns);
        let mut removed = 0;
        for table in ["verdicts", "facts"] {
            let time = if table == "verdicts" {
                "time_ns"
            } else {
                "last_ns"
            };
            let sql = format!(
                "DELETE FROM {table} WHERE {time} < ?1 AND rowid IN
                 (SELECT rowid FROM {table} WHERE {time} < ?1 ORDER BY {time} LIMIT ?2)
                 RETURNING group_number"
            );
            removed += self.remove(&sql, params![oldest_ns, REMOVED_AT_ONCE])?;
        }
        let mut is_full = super::writer::used_bytes(&self.connection)? > retention.bytes;
        if is_full {
            removed += self.remove(
                "DELETE FROM verdicts WHERE number IN
                 (SELECT number FROM verdicts ORDER BY time_ns, id LIMIT ?1) RETURNING group_number",
                params![REMOVED_AT_ONCE],
            )?;
            is_full = removed > 0;
        }
        self.commit()?;
        if removed > 0 {
            // Returns a row for each page.
            let mut vacuum = self.connection.prepare("PRAGMA incremental_vacuum")?;
            let mut rows = vacuum.query([])?;
            while rows.next()?.is_some() {}
        }
        Ok(is_full || removed as i64 >= REMOVED_AT_ONCE)
    }

    fn remove(
        &mut self,
        sql: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<usize, DatabaseError> {
        let mut statement = self.connection.prepare(sql)?;
        let groups = statement.query_map(parameters, |row| row.get::<_, i64>(0))?;
        let mut removed = 0;
        for group in groups {
            self.changed.insert(group?);
            removed += 1;
        }
        Ok(removed)
    }

    /// Returns the number of a group, which is made if there is none.
    fn group(&self, key: &GroupKey) -> Result<i64, DatabaseError> {
        let parameters = params![
            address::stored(key.client),
            key.app,
            key.name,
            key.intercepted.name(),
            key.issuer
        ];
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO parties (client, app, name, intercepted, issuer) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET issuer = excluded.issuer RETURNING number",
        )?;
        Ok(insert.query_row(parameters, |row| row.get(0))?)
    }

    fn begin(&mut self) -> Result<(), DatabaseError> {
        if !self.is_open {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
            self.is_open = true;
        }
        Ok(())
    }
}
