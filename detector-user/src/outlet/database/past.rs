//! Reading the database.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, Row, params_from_iter};
use serde::de::DeserializeOwned;

use super::group::{Group, GroupCause, Totals};
use super::query::{Conditions, Query};
use super::{DatabaseError, FleetWriter, Writer, address, fleet, schema};
use crate::verdict::{Cause, Intercepted, Ladder, Verdict};

/// The past, as the database has it.
pub struct Past {
    connection: Connection,
    /// Whether it has the verdicts of a fleet.
    is_of_fleet: bool,
}

/// A verdict with its place in the database.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredVerdict {
    /// Number in the order of writing: later verdicts have higher ones.
    pub number: i64,
    /// The verdict, with its ladder.
    pub verdict: Verdict,
    /// Identifier of the verdict that replaced it.
    pub superseded_by: Option<String>,
    /// The gateway of a fleet that it is from.
    pub gateway: Option<String>,
}

const GROUP: &str = "SELECT number, client, app, name, intercepted, issuer, worked, failed, first_ns, \
                     last_ns FROM groups";

impl Past {
    /// Opens the database in `path`, which the agent may be writing.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn open(path: &Path) -> Result<Self, DatabaseError> {
        let connection = schema::open_for_reading(path)?;
        Ok(Self {
            is_of_fleet: fleet::is_of_fleet(&connection)?,
            connection,
        })
    }

    /// Reads what a writer has written; it must be committed.
    #[must_use]
    pub fn of(writer: Writer) -> Self {
        Self {
            connection: writer.into_connection(),
            is_of_fleet: false,
        }
    }

    /// Reads what was written about a fleet; it must be committed.
    #[must_use]
    pub fn of_fleet(writer: FleetWriter) -> Self {
        Self {
            connection: writer.into_connection(),
            is_of_fleet: true,
        }
    }

    /// Whether it has the verdicts of a fleet.
    #[must_use]
    pub const fn is_of_fleet(&self) -> bool {
        self.is_of_fleet
    }

    /// Returns the conditions on verdicts that count: those of gateways that are not muted.
    fn of_verdicts(&self, query: &Query) -> Conditions {
        let mut conditions = query.of_verdicts();
        if self.is_of_fleet {
            conditions.push("gateway NOT IN (SELECT name FROM muted)", []);
        }
        conditions
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns the latest verdicts of a query, in the order of their times.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn verdicts(&self, query: &Query) -> Result<Vec<StoredVerdict>, DatabaseError> {
        // Numbers are in the order of writing, which databases of one fleet need not share.
        let order = if self.is_of_fleet {
            "time_ns DESC, id DESC"
        } else {
            "time_ns DESC, number DESC"
        };
        let mut verdicts = self.read_verdicts(self.of_verdicts(query), order, query.limit)?;
        verdicts.reverse();
        Ok(verdicts)
    }

    /// Returns verdicts of a query that were written after `number`, in that order.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn verdicts_after(
        &self,
        number: i64,
        query: &Query,
    ) -> Result<Vec<StoredVerdict>, DatabaseError> {
        let mut conditions = self.of_verdicts(query);
        conditions.push("number > ?", [number.into()]);
        self.read_verdicts(conditions, "number", query.limit)
    }

    /// Returns the number of the last verdict that was written, 0 if there is none.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn last_number(&self) -> Result<i64, DatabaseError> {
        let sql = "SELECT coalesce(max(number), 0) FROM verdicts";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// Returns the earliest and the latest end of a connection, nanoseconds since the UNIX epoch; `None` if
    /// there is none.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn span(&self) -> Result<Option<(i64, i64)>, DatabaseError> {
        let sql = "SELECT (SELECT min(first_ns) FROM groups), (SELECT max(last_ns) FROM groups)";
        let span = self.connection.query_row(sql, [], |row| {
            Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?))
        })?;
        Ok(span.0.zip(span.1))
    }

    /// Returns the numbers of a query's groups, whatever its limit.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn totals(&self, query: &Query) -> Result<Totals, DatabaseError> {
        let conditions = query.of_groups();
        let selected = conditions.sql();
        let parameters = conditions.into_parameters();
        let sql = format!(
            "SELECT coalesce(sum(worked), 0), coalesce(sum(failed), 0),
                coalesce(sum((worked + failed) * (intercepted = 'yes')), 0),
                coalesce(sum(failed * (intercepted = 'yes')), 0)
             FROM groups WHERE {selected}"
        );
        let number = |row: &Row<'_>, column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        let mut totals =
            self.connection
                .query_row(&sql, params_from_iter(parameters.iter()), |row| {
                    Ok(Totals {
                        worked: number(row, 0)?,
                        failed: number(row, 1)?,
                        intercepted: number(row, 2)?,
                        intercepted_failed: number(row, 3)?,
                        causes: Vec::new(),
                    })
                })?;
        let sql = format!(
            "SELECT cause, sum(failed) FROM causes
             WHERE group_number IN (SELECT number FROM groups WHERE {selected})
             GROUP BY cause ORDER BY 2 DESC, 1"
        );
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query(params_from_iter(parameters.iter()))?;
        while let Some(row) = rows.next()? {
            let cause = named(&row.get::<_, String>(0)?, &Cause::ALL, Cause::name)?;
            totals.causes.push((cause, number(row, 1)?));
        }
        Ok(totals)
    }

    /// Returns the times of a query's verdicts, nanoseconds since the UNIX epoch, and their causes; the
    /// latest, if they are more than its limit.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn failures(&self, query: &Query) -> Result<Vec<(i64, Cause)>, DatabaseError> {
        let conditions = self.of_verdicts(query);
        let sql = format!(
            "SELECT time_ns, cause FROM verdicts WHERE {} ORDER BY time_ns DESC LIMIT {}",
            conditions.sql(),
            limit(query.limit)
        );
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query(params_from_iter(conditions.into_parameters()))?;
        let mut failures = Vec::new();
        while let Some(row) = rows.next()? {
            let cause = named(&row.get::<_, String>(1)?, &Cause::ALL, Cause::name)?;
            failures.push((row.get(0)?, cause));
        }
        Ok(failures)
    }

    /// Returns the verdict of an identifier.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn verdict(&self, id: &str) -> Result<Option<StoredVerdict>, DatabaseError> {
        let mut conditions = Conditions::default();
        if self.is_of_fleet && !id.contains(fleet::OF_GATEWAY) {
            // All gateways' verdicts of that identifier: there is one, unless somebody made another up.
            let bounds = [fleet::OF_GATEWAY, fleet::AFTER_GATEWAY];
            let bounds = bounds.map(|it| format!("{id}{it}").into());
            conditions.push("id >= ? AND id < ?", bounds);
        } else {
            conditions.push("id = ?", [id.to_owned().into()]);
        }
        Ok(self.read_verdicts(conditions, "id", 1)?.pop())
    }

    /// Returns the verdicts on connections of a Community ID, in the order of their times.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn verdicts_of_connection(
        &self,
        community_id: &str,
    ) -> Result<Vec<StoredVerdict>, DatabaseError> {
        let mut conditions = Conditions::default();
        conditions.push("community_id = ?", [community_id.to_owned().into()]);
        self.read_verdicts(conditions, "time_ns, number", usize::MAX)
    }

    /// Returns the verdicts between two endpoints, in the order of their times.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn verdicts_between(
        &self,
        client: SocketAddr,
        server: SocketAddr,
    ) -> Result<Vec<StoredVerdict>, DatabaseError> {
        let mut conditions = Conditions::default();
        let blob = |ip| rusqlite::types::Value::Blob(address::stored(ip).to_vec());
        conditions.push(
            "client = ? AND client_port = ? AND server = ? AND server_port = ?",
            [
                blob(client.ip()),
                i64::from(client.port()).into(),
                blob(server.ip()),
                i64::from(server.port()).into(),
            ],
        );
        self.read_verdicts(conditions, "time_ns, number", usize::MAX)
    }

    /// Returns groups of a query, those with the most failures first.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn groups(&self, query: &Query) -> Result<Vec<Group>, DatabaseError> {
        let conditions = query.of_groups();
        // An index alone answers the inner question; only rows that are shown are read.
        let order = if self.is_of_fleet {
            "ORDER BY failed DESC, last_ns DESC, client, app, name, intercepted, issuer"
        } else {
            "ORDER BY failed DESC, last_ns DESC, number"
        };
        let sql = format!(
            "{GROUP} WHERE number IN (SELECT number FROM groups WHERE {} {order} LIMIT {}) {order}",
            conditions.sql(),
            limit(query.limit)
        );
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query(params_from_iter(conditions.into_parameters()))?;
        let mut groups = Vec::new();
        while let Some(row) = rows.next()? {
            groups.push(self.group(row)?);
        }
        Ok(groups)
    }

    fn read_verdicts(
        &self,
        conditions: Conditions,
        order: &str,
        number: usize,
    ) -> Result<Vec<StoredVerdict>, DatabaseError> {
        let gateway = if self.is_of_fleet { "gateway" } else { "NULL" };
        let sql = format!(
            "SELECT number, verdict, ladder, superseded_by, {gateway} FROM verdicts WHERE number IN (SELECT number FROM verdicts WHERE {} ORDER BY {order} LIMIT {})
             ORDER BY {order}",
            conditions.sql(),
            limit(number)
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(conditions.into_parameters()))?;
        let mut verdicts = Vec::new();
        while let Some(row) = rows.next()? {
            let mut verdict: Verdict = parsed(&row.get::<_, String>(1)?)?;
            verdict.ladder = Arc::new(parsed::<Ladder>(&row.get::<_, String>(2)?)?);
            verdicts.push(StoredVerdict {
                number: row.get(0)?,
                verdict,
                superseded_by: row.get(3)?,
                gateway: row.get(4)?,
            });
        }
        Ok(verdicts)
    }

    fn group(&self, row: &Row<'_>) -> Result<Group, DatabaseError> {
        let number = row.get(0)?;
        let causes = self.causes(number)?;
        let known = |text: String| Some(text).filter(|text| !text.is_empty());
        let latest = match causes.first() {
            Some(cause) => self.verdict(&cause.verdict)?,
            None => None,
        };
        Ok(Group {
            client: address::restored(row.get(1)?),
            app: known(row.get(2)?),
            name: row.get(3)?,
            intercepted: named(
                &row.get::<_, String>(4)?,
                &Intercepted::ALL,
                Intercepted::name,
            )?,
            issuer: known(row.get(5)?),
            worked: row.get::<_, i64>(6)?.unsigned_abs(),
            failed: row.get::<_, i64>(7)?.unsigned_abs(),
            first: timestamp(row.get(8)?),
            last: timestamp(row.get(9)?),
            causes,
            gateways: self.gateways_of(number, None)?,
            advice: latest.and_then(|it| it.verdict.advice),
        })
    }

    fn causes(&self, group: i64) -> Result<Vec<GroupCause>, DatabaseError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT cause, failed, confidence, last_ns, verdict FROM causes WHERE group_number = ?1
             ORDER BY failed DESC, last_ns DESC, cause",
        )?;
        let mut rows = statement.query([group])?;
        let mut causes = Vec::new();
        while let Some(row) = rows.next()? {
            causes.push(GroupCause {
                cause: named(&row.get::<_, String>(0)?, &Cause::ALL, Cause::name)?,
                failed: row.get::<_, i64>(1)?.unsigned_abs(),
                confidence: row.get(2)?,
                last: timestamp(row.get(3)?),
                verdict: row.get(4)?,
            });
        }
        Ok(causes)
    }
}

fn limit(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, DatabaseError> {
    serde_json::from_str(text).map_err(|error| DatabaseError::Row(error.to_string()))
}

fn named<T: Copy>(
    name: &str,
    all: &[T],
    name_of: impl Fn(T) -> &'static str,
) -> Result<T, DatabaseError> {
    let found = all.iter().copied().find(|it| name_of(*it) == name);
    found.ok_or_else(|| DatabaseError::Row(format!("unknown name {name:?}")))
}

pub(super) fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or_default()
}
