//! Connections of each group by tap, from which the taps' failure rates are known.

use rusqlite::{Connection, params};

use super::changes::Rated;
use super::query::Query;
use super::{DatabaseError, Past};

/// Added later: an agent of an earlier version leaves it alone, and what was counted before is in no row.
pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS taps (
    group_number INTEGER NOT NULL REFERENCES groups (number) ON DELETE CASCADE,
    tap TEXT NOT NULL,
    worked INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    PRIMARY KEY (group_number, tap)
) WITHOUT ROWID;
";

/// Adds connections of a group at a tap.
pub(super) fn add(
    connection: &Connection,
    group: i64,
    tap: &str,
    worked: i64,
    failed: i64,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO taps (group_number, tap, worked, failed) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET worked = worked + excluded.worked, failed = failed + excluded.failed",
    )?;
    statement.execute(params![group, tap, worked, failed])?;
    Ok(())
}

/// Counts a failure of a group at a tap no longer; it may have been counted before there were taps.
pub(super) fn remove_failure(
    connection: &Connection,
    group: i64,
    tap: &str,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "UPDATE taps SET failed = failed - 1 WHERE group_number = ?1 AND tap = ?2 AND failed > 0",
    )?;
    statement.execute(params![group, tap])?;
    Ok(())
}

impl Past {
    /// Returns the connections of a query's groups by tap, those with most failures first, also of taps where
    /// nothing failed. Connections that were counted before taps were are in none.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn rates_of_taps(&self, query: &Query) -> Result<Vec<Rated>, DatabaseError> {
        // An agent of an earlier version wrote the file, and none of this one did since.
        let sql = "SELECT 1 FROM sqlite_schema WHERE name = 'taps'";
        if !self.connection().prepare_cached(sql)?.exists([])? {
            return Ok(Vec::new());
        }
        let query = Query {
            all: true,
            ..query.clone()
        };
        let conditions = query.of_groups();
        let sql = format!(
            "SELECT tap, sum(taps.failed), sum(taps.worked), sum(taps.failed * (intercepted = 'yes')),
                sum(taps.worked * (intercepted = 'yes'))
             FROM taps JOIN (SELECT number, intercepted FROM groups WHERE {}) ON number = group_number
             GROUP BY 1 HAVING sum(taps.failed + taps.worked) > 0 ORDER BY 2 DESC, 3 DESC, 1 LIMIT {}",
            conditions.sql(),
            i64::try_from(query.limit).unwrap_or(i64::MAX)
        );
        self.rated(&sql, conditions)
    }
}
