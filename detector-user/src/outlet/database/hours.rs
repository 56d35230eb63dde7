//! Connections of each group by hour, from which it is known what changed.

use rusqlite::{Connection, Transaction, params};

/// Nanoseconds of an hour.
pub(super) const HOUR_NS: i64 = 3_600_000_000_000;
/// Hours that are kept: a week, and the day before it.
const KEPT: i64 = 8 * 24;

/// Added later: an agent of an earlier version leaves it alone. Hours are numbered since the UNIX epoch.
pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS hours (
    group_number INTEGER NOT NULL REFERENCES groups (number) ON DELETE CASCADE,
    hour INTEGER NOT NULL,
    worked INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    PRIMARY KEY (group_number, hour)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS hours_by_hour ON hours (hour);
";

/// Adds connections of a group that ended at a time.
pub(super) fn add(
    connection: &Connection,
    group: i64,
    time_ns: i64,
    worked: i64,
    failed: i64,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO hours (group_number, hour, worked, failed) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET worked = worked + excluded.worked, failed = failed + excluded.failed",
    )?;
    statement.execute(params![group, time_ns.div_euclid(HOUR_NS), worked, failed])?;
    Ok(())
}

/// Removes hours that are too old, so many at most. Returns how many.
pub(super) fn remove_old(
    transaction: &Transaction<'_>,
    now_ns: i64,
    max: i64,
) -> rusqlite::Result<usize> {
    let oldest = now_ns.div_euclid(HOUR_NS) - KEPT;
    let mut statement = transaction.prepare_cached(
        "DELETE FROM hours WHERE (group_number, hour) IN
         (SELECT group_number, hour FROM hours WHERE hour < ?1 ORDER BY hour LIMIT ?2)",
    )?;
    statement.execute([oldest, max])
}
