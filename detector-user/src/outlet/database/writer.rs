//! Writing to the database.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::acceptances::{Acceptances, Pending, Worked};
use super::group::{GroupKey, name};
use super::retention::Retention;
use super::{DatabaseError, address, hours, schema, taps};
use crate::verdict::Verdict;

/// Rows that are removed in one statement, so that readers wait only for a moment.
const REMOVED_AT_ONCE: i64 = 1_000;

/// The database, open for writing.
pub struct Writer {
    connection: Connection,
    /// Whether a transaction is open.
    is_open: bool,
}

impl Writer {
    /// Opens the database in `path`, and makes it if there is none. A damaged one is set aside: its new
    /// name is returned.
    ///
    /// # Errors
    /// [`DatabaseError`] if it cannot be opened, or a later version wrote it.
    pub fn open(path: &Path) -> Result<(Self, Option<PathBuf>), DatabaseError> {
        match schema::open_for_writing(path) {
            Ok(connection) => Ok((Self::new(connection), None)),
            Err(error) if error.is_damage() => {
                let aside = schema::set_aside(path)?;
                Ok((Self::new(schema::open_for_writing(path)?), Some(aside)))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a database in memory.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn in_memory() -> Result<Self, DatabaseError> {
        Ok(Self::new(schema::in_memory()?))
    }

    const fn new(connection: Connection) -> Self {
        Self {
            connection,
            is_open: false,
        }
    }

    /// Returns the connection, to ask questions.
    pub(super) fn into_connection(self) -> Connection {
        self.connection
    }

    /// Inserts a verdict, which others see after [`Self::commit`]. One that is there already stays as it
    /// is. The group of a verdict that it supersedes counts that no longer.
    ///
    /// # Errors
    /// [`DatabaseError`]; nothing of it was inserted.
    pub fn insert(&mut self, verdict: &Verdict) -> Result<(), DatabaseError> {
        self.begin()?;
        // Part of the verdict may be written when a statement fails.
        let savepoint = self.connection.savepoint()?;
        insert(&savepoint, verdict)?;
        savepoint.commit()?;
        Ok(())
    }

    /// Adds connections that worked, which are no longer counted elsewhere.
    ///
    /// # Errors
    /// [`DatabaseError`]; then they are lost.
    pub fn take(&mut self, acceptances: &Acceptances) -> Result<(), DatabaseError> {
        self.add(&acceptances.take())
    }

    /// Adds connections that worked.
    ///
    /// # Errors
    /// [`DatabaseError`]; then none of them was added.
    pub(super) fn add(&mut self, pending: &Pending) -> Result<(), DatabaseError> {
        if pending.groups.is_empty() {
            return Ok(());
        }
        self.begin()?;
        let savepoint = self.connection.savepoint()?;
        for ((key, tap, _), worked) in &pending.groups {
            group(&savepoint, key, tap, *worked, 0)?;
        }
        savepoint.commit()?;
        Ok(())
    }

    /// Makes all that was written visible to others.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn commit(&mut self) -> Result<(), DatabaseError> {
        if self.is_open {
            self.connection.execute_batch("COMMIT")?;
            self.is_open = false;
        }
        Ok(())
    }

    /// Returns the latest end of a connection, nanoseconds since the UNIX epoch.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub(super) fn latest_ns(&self) -> Result<Option<i64>, DatabaseError> {
        let sql = "SELECT max(last_ns) FROM groups";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// Removes some of what is beyond `retention`. Returns whether there may be more. `now_ns` is in
    /// nanoseconds since the UNIX epoch.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub(super) fn remove_old(
        &mut self,
        retention: Retention,
        now_ns: i64,
    ) -> Result<bool, DatabaseError> {
        self.commit()?;
        let age_ns = i64::try_from(retention.age.as_nanos()).unwrap_or(i64::MAX);
        let oldest_ns = now_ns.saturating_sub(age_ns);
        let transaction = self.connection.transaction()?;
        let mut removed = remove_older(&transaction, oldest_ns)?;
        removed += hours::remove_old(&transaction, now_ns, REMOVED_AT_ONCE)?;
        let mut has_more = removed as i64 >= REMOVED_AT_ONCE;
        if used_bytes(&transaction)? > retention.bytes {
            removed += remove_first(&transaction)?;
            has_more |= used_bytes(&transaction)? > retention.bytes;
        }
        transaction.commit()?;
        if removed > 0 {
            // Returns a row for each page.
            let mut vacuum = self.connection.prepare("PRAGMA incremental_vacuum")?;
            let mut rows = vacuum.query([])?;
            while rows.next()?.is_some() {}
        }
        Ok(has_more && removed > 0)
    }

    /// Gives up all that was not committed.
    pub(super) fn roll_back(&mut self) {
        self.is_open = false;
        if !self.connection.is_autocommit() {
            // It fails only where SQLite has rolled back itself.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    fn begin(&mut self) -> Result<(), DatabaseError> {
        if !self.is_open {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
            self.is_open = true;
        }
        Ok(())
    }
}

fn insert(connection: &Connection, verdict: &Verdict) -> Result<(), DatabaseError> {
    let time_ns = time_ns(verdict);
    let mut known = connection.prepare_cached("SELECT 1 FROM verdicts WHERE id = ?1")?;
    if known.exists([&verdict.id])? {
        return Ok(());
    }
    if let Some(superseded) = &verdict.supersedes {
        supersede(connection, superseded, &verdict.id)?;
    }
    let worked = Worked {
        connections: 0,
        first_ns: time_ns,
        last_ns: time_ns,
    };
    let group = group(connection, &GroupKey::of(verdict), &verdict.tap, worked, 1)?;
    let mut cause = connection.prepare_cached(
        "INSERT INTO causes (group_number, cause, failed, confidence, last_ns, verdict)
         VALUES (?1, ?2, 1, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET failed = failed + 1,
            confidence = CASE WHEN excluded.last_ns >= last_ns THEN excluded.confidence ELSE confidence END,
            verdict = CASE WHEN excluded.last_ns >= last_ns THEN excluded.verdict ELSE verdict END,
            last_ns = max(last_ns, excluded.last_ns)",
    )?;
    cause.execute(params![
        group,
        verdict.cause.name(),
        verdict.confidence,
        signed(time_ns),
        verdict.id,
    ])?;
    let mut row = connection.prepare_cached(
        "INSERT INTO verdicts (id, group_number, time_ns, tap, community_id, client, client_port,
            server, server_port, name, app, cause, confidence, verdict, ladder)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?;
    row.execute(params![
        verdict.id,
        group,
        signed(time_ns),
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
        json(verdict)?,
        json(&*verdict.ladder)?,
    ])?;
    Ok(())
}

fn json(value: &impl serde::Serialize) -> Result<String, DatabaseError> {
    serde_json::to_string(value).map_err(|error| DatabaseError::Row(error.to_string()))
}

/// Marks a verdict as superseded; its group no longer counts it.
fn supersede(connection: &Connection, id: &str, by: &str) -> Result<(), DatabaseError> {
    let mut superseded = connection.prepare_cached(
        "UPDATE verdicts SET superseded_by = ?2 WHERE id = ?1 AND superseded_by IS NULL
         RETURNING group_number, cause, time_ns, tap",
    )?;
    let counted: Option<(i64, String, i64, String)> = superseded
        .query_row([id, by], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((group, cause, time_ns, tap)) = counted else {
        return Ok(());
    };
    taps::remove_failure(connection, group, &tap)?;
    hours::add(connection, group, time_ns, 0, -1)?;
    for sql in [
        "UPDATE causes SET failed = failed - 1 WHERE group_number = ?1 AND cause = ?2",
        "DELETE FROM causes WHERE group_number = ?1 AND cause = ?2 AND failed <= 0",
        // The cause is shown by a verdict that stands, if one is left.
        "UPDATE causes SET (confidence, last_ns, verdict) = (latest.confidence, latest.time_ns, latest.id)
         FROM (SELECT confidence, time_ns, id FROM verdicts
               WHERE group_number = ?1 AND cause = ?2 AND superseded_by IS NULL
               ORDER BY time_ns DESC, number DESC LIMIT 1) AS latest
         WHERE group_number = ?1 AND causes.cause = ?2",
    ] {
        connection
            .prepare_cached(sql)?
            .execute(params![group, cause])?;
    }
    for sql in [
        "UPDATE groups SET failed = failed - 1 WHERE number = ?1",
        // The verdict that replaces the last one may be of another group.
        "DELETE FROM groups WHERE number = ?1 AND failed <= 0 AND worked = 0",
    ] {
        connection.prepare_cached(sql)?.execute([group])?;
    }
    Ok(())
}

/// Adds connections to a group, which is made if there is none. Returns its number.
fn group(
    connection: &Connection,
    key: &GroupKey,
    tap: &str,
    worked: Worked,
    failed: i64,
) -> Result<i64, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO groups (client, app, name, intercepted, issuer, worked, failed, first_ns, last_ns)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT DO UPDATE SET worked = worked + excluded.worked, failed = failed + excluded.failed,
            first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns)
         RETURNING number",
    )?;
    let number = statement.query_row(
        params![
            address::stored(key.client),
            key.app,
            key.name,
            key.intercepted.name(),
            key.issuer,
            signed(worked.connections),
            failed,
            signed(worked.first_ns),
            signed(worked.last_ns),
        ],
        |row| row.get(0),
    )?;
    let (time_ns, worked) = (signed(worked.last_ns), signed(worked.connections));
    hours::add(connection, number, time_ns, worked, failed)?;
    taps::add(connection, number, tap, worked, failed)?;
    Ok(number)
}

fn remove_older(transaction: &Transaction<'_>, oldest_ns: i64) -> rusqlite::Result<usize> {
    let mut removed = 0;
    for (table, time) in [("verdicts", "time_ns"), ("groups", "last_ns")] {
        let statement = format!(
            "DELETE FROM {table} WHERE number IN
             (SELECT number FROM {table} WHERE {time} < ?1 ORDER BY {time} LIMIT ?2)"
        );
        let mut statement = transaction.prepare_cached(&statement)?;
        removed += statement.execute([oldest_ns, REMOVED_AT_ONCE])?;
    }
    Ok(removed)
}

/// Removes the oldest verdicts, an eighth of them at most, and where there are none the groups that
/// were idle for longest.
fn remove_first(transaction: &Transaction<'_>) -> rusqlite::Result<usize> {
    let mut removed = 0;
    for (table, time) in [("verdicts", "time_ns"), ("groups", "last_ns")] {
        let statement = format!(
            "DELETE FROM {table} WHERE number IN
             (SELECT number FROM {table} ORDER BY {time} LIMIT
                min(?1, (SELECT (max(number) - min(number)) / 8 + 1 FROM {table})))"
        );
        let mut statement = transaction.prepare_cached(&statement)?;
        removed = statement.execute([REMOVED_AT_ONCE])?;
        if removed > 0 {
            break;
        }
    }
    Ok(removed)
}

pub(super) fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let pages = number("page_count")? - number("freelist_count")?;
    Ok((pages * number("page_size")?).unsigned_abs())
}

fn time_ns(verdict: &Verdict) -> u64 {
    u64::try_from(verdict.time.as_nanosecond()).unwrap_or_default()
}

/// Times and counts fit: 2^63 nanoseconds are 292 years.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
