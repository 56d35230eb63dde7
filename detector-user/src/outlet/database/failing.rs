//! Groups that fail for one cause, for lists of exclusions.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use rusqlite::{Row, params};

use super::past::{parsed, timestamp};
use super::{DatabaseError, Past, address};
use crate::verdict::{Cause, Verdict};

/// Maximum groups of an answer; the latest are taken.
const GROUPS_MAX: i64 = 100_000;
/// Maximum addresses of a group that are of use to a list.
const SERVERS_MAX: i64 = 64;

/// A group's failures for one cause.
#[derive(Debug, Clone, PartialEq)]
pub struct FailingGroup {
    /// Address of the client.
    pub client: IpAddr,
    /// Server name, target of a proxy (`host:port`), or the server's address.
    pub name: String,
    /// Connections that failed for the cause.
    pub failed: u64,
    /// Confidence of the latest verdict.
    pub confidence: f64,
    /// Time of the group's first connection.
    pub first: Timestamp,
    /// Time of the latest failure for the cause.
    pub last: Timestamp,
    /// Identifier of the latest verdict.
    pub id: String,
    /// The latest verdict, if it is still in the database.
    pub verdict: Option<Verdict>,
    /// Gateways of a fleet whose connections failed for the cause; empty without a fleet.
    pub gateways: Vec<String>,
    /// Addresses that failing connections went to, as far as verdicts on them are there.
    pub servers: BTreeSet<SocketAddr>,
}

impl Past {
    /// Returns the groups that failed for `cause` since a time.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn failing(
        &self,
        cause: Cause,
        since: Option<Timestamp>,
    ) -> Result<Vec<FailingGroup>, DatabaseError> {
        let since = since.map_or(i64::MIN, |it| {
            i64::try_from(it.as_nanosecond()).unwrap_or(i64::MAX)
        });
        let mut statement = self.connection().prepare_cached(
            "SELECT groups.number, client, name, causes.failed, confidence, first_ns, causes.last_ns, verdict
             FROM causes JOIN groups ON groups.number = group_number
             WHERE cause = ?1 AND causes.last_ns >= ?2 AND causes.failed > 0
             ORDER BY causes.last_ns DESC LIMIT ?3",
        )?;
        let mut rows = statement.query(params![cause.name(), since, GROUPS_MAX])?;
        let mut groups = Vec::new();
        while let Some(row) = rows.next()? {
            groups.push(self.failing_group(row, cause)?);
        }
        Ok(groups)
    }

    fn failing_group(&self, row: &Row<'_>, cause: Cause) -> Result<FailingGroup, DatabaseError> {
        let id: String = row.get(7)?;
        let mut latest = self
            .connection()
            .prepare_cached("SELECT verdict FROM verdicts WHERE id = ?1")?;
        let mut latest = latest.query([&id])?;
        let verdict = match latest.next()? {
            Some(row) => Some(parsed(&row.get::<_, String>(0)?)?),
            None => None,
        };
        let mut servers = self.connection().prepare_cached(
            "SELECT DISTINCT server, server_port FROM verdicts
             WHERE group_number = ?1 AND cause = ?2 AND superseded_by IS NULL LIMIT ?3",
        )?;
        let group: i64 = row.get(0)?;
        let servers = servers.query_map(params![group, cause.name(), SERVERS_MAX], |row| {
            let ip = address::restored(row.get(0)?);
            Ok(SocketAddr::new(ip, row.get(1)?))
        })?;
        Ok(FailingGroup {
            client: address::restored(row.get(1)?),
            name: row.get(2)?,
            failed: row.get::<_, i64>(3)?.unsigned_abs(),
            confidence: row.get(4)?,
            first: timestamp(row.get(5)?),
            last: timestamp(row.get(6)?),
            id,
            verdict,
            gateways: self.gateways_of(group, Some(cause.name()))?,
            servers: servers.collect::<Result<_, _>>()?,
        })
    }

    /// Returns the clients that refuse the interceptor everywhere: failures for `ca-not-trusted` with at least
    /// two names, and no intercepted connection that worked; each with the number of names and of failures.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn refusing_clients(
        &self,
        min_confidence: f64,
        since: Option<Timestamp>,
    ) -> Result<Vec<(IpAddr, u64, u64)>, DatabaseError> {
        let since = since.map_or(i64::MIN, |it| {
            i64::try_from(it.as_nanosecond()).unwrap_or(i64::MAX)
        });
        let mut statement = self.connection().prepare_cached(
            "SELECT client, count(DISTINCT name), sum(causes.failed)
             FROM causes JOIN groups AS failing ON failing.number = group_number
             WHERE cause = ?1 AND confidence >= ?2 AND causes.last_ns >= ?3 AND NOT EXISTS (
                SELECT 1 FROM groups WHERE client = failing.client AND intercepted = 'yes' AND worked > 0)
             GROUP BY client HAVING count(DISTINCT name) >= 2 ORDER BY 1 LIMIT ?4",
        )?;
        let name = Cause::CaNotTrusted.name();
        let rows =
            statement.query_map(params![name, min_confidence, since, GROUPS_MAX], |row| {
                let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
                Ok((address::restored(row.get(0)?), count(1)?, count(2)?))
            })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns the numbers of intercepted connections to a name that worked, and that failed.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn intercepted(&self, name: &str) -> Result<(u64, u64), DatabaseError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT coalesce(sum(worked), 0), coalesce(sum(failed), 0) FROM groups
             WHERE name = ?1 AND intercepted = 'yes'",
        )?;
        let numbers = statement.query_row([name], |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
            Ok((count(0)?, count(1)?))
        })?;
        Ok(numbers)
    }

    /// Whether a verdict, superseded or not, is in the database.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn has_verdict(&self, id: &str) -> Result<bool, DatabaseError> {
        let mut known = self
            .connection()
            .prepare_cached("SELECT 1 FROM verdicts WHERE id = ?1")?;
        Ok(known.exists([id])?)
    }
}
