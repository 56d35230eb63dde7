//! Failure rates by name and by app, and what changed between two spans of time.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Row, params_from_iter};
use serde::{Deserialize, Serialize};

use super::hours::HOUR_NS;
use super::past::timestamp;
use super::query::{Conditions, Query};
use super::{DatabaseError, Past};
use crate::verdict::named::named;

/// Minimum difference of two shares that counts as a change.
const DIFFERENCE_MIN: f64 = 0.1;
/// Minimum difference in standard errors: chance alone does as much once in fifty times.
const ERRORS_MIN: f64 = 2.0;

/// Connections, and those of them that failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Connections that failed.
    pub failed: u64,
    /// All connections.
    pub all: u64,
}

impl Rate {
    /// Returns the share that failed, 0 to 1; `None` if there was no connection.
    #[must_use]
    pub fn share(self) -> Option<f64> {
        (self.all > 0).then(|| self.failed as f64 / self.all as f64)
    }
}

named! {
    /// A change of a failure rate.
    pub enum ChangeKind {
        /// Failures after none.
        NewlyBroken = "newly-broken",
        /// A higher share fails.
        Worse = "worse",
        /// No failure any more.
        Fixed = "fixed",
    }
}

/// A server name and an app whose failure rate changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The change.
    pub change: ChangeKind,
    /// Server name, or the server's address.
    pub name: String,
    /// JA4 fingerprint of the app, if known.
    pub app: Option<String>,
    /// Clients with failures in the later span; of what is fixed, in the earlier one.
    pub clients: u64,
    /// Connections of the earlier span.
    pub before: Rate,
    /// Connections of the later span.
    pub after: Rate,
    /// Most frequent cause of all failures.
    pub cause: Option<String>,
}

/// All changes between two spans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Beginning of the later span: a whole hour.
    pub since: Timestamp,
    /// Beginning of the earlier one, which is as long.
    pub before: Timestamp,
    /// The first hour that was counted; `None` if none was.
    pub counted_from: Option<Timestamp>,
    /// The changes: what broke, what is worse, what is fixed, each with most failures first.
    pub changes: Vec<Change>,
}

/// Failures of one name, of one app, or at one tap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rated {
    /// The name, the app or the tap; empty if unknown.
    pub of: String,
    /// All connections.
    pub rate: Rate,
    /// Those that are known to have been intercepted.
    pub intercepted: Rate,
}

impl Past {
    /// Compares the connections of `since` to `until` with those of as long a time before, by whole hours.
    /// Of the query only networks, names, apps, causes and the limit count.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn changes(
        &self,
        query: &Query,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Changes, DatabaseError> {
        let hour = |time: Timestamp| {
            let hour = time.as_nanosecond().div_euclid(i128::from(HOUR_NS));
            i64::try_from(hour).unwrap_or_default()
        };
        let (from, end) = (hour(since), hour(until) + 1);
        let before = from - (end - from);
        let counted_from = self.first_hour()?;
        let mut found = Vec::new();
        if counted_from.is_some() {
            found = self.compared(query, [before, from, end])?;
        }
        found.sort_by(|a, b| {
            let most = |it: &Change| std::cmp::Reverse(it.after.failed.max(it.before.failed));
            let order = (a.change, most(a)).cmp(&(b.change, most(b)));
            order.then_with(|| (&a.name, &a.app).cmp(&(&b.name, &b.app)))
        });
        found.truncate(query.limit);
        for change in &mut found {
            change.cause = self.main_cause(&change.name, change.app.as_deref())?;
        }
        let time = |hour: i64| timestamp(hour.saturating_mul(HOUR_NS));
        Ok(Changes {
            since: time(from),
            before: time(before),
            counted_from: counted_from.map(time),
            changes: found,
        })
    }

    /// Returns the failures of names, those with most first.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn rates_of_names(&self, query: &Query) -> Result<Vec<Rated>, DatabaseError> {
        self.rates("name", query)
    }

    /// Returns the failures of apps, those with most first.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn rates_of_apps(&self, query: &Query) -> Result<Vec<Rated>, DatabaseError> {
        self.rates("app", query)
    }

    fn rates(&self, column: &str, query: &Query) -> Result<Vec<Rated>, DatabaseError> {
        let query = Query {
            all: true,
            ..query.clone()
        };
        let conditions = query.of_groups();
        let sql = format!(
            "SELECT {column}, sum(failed), sum(worked), sum(failed * (intercepted = 'yes')),
                sum(worked * (intercepted = 'yes'))
             FROM groups WHERE {} GROUP BY 1 HAVING sum(failed) > 0 ORDER BY 2 DESC, 1 LIMIT {}",
            conditions.sql(),
            i64::try_from(query.limit).unwrap_or(i64::MAX)
        );
        self.rated(&sql, conditions)
    }

    /// Returns the rows of a query for something, and its connections that failed and that worked, of all and of
    /// those that were intercepted.
    pub(super) fn rated(
        &self,
        sql: &str,
        conditions: Conditions,
    ) -> Result<Vec<Rated>, DatabaseError> {
        let mut statement = self.connection().prepare(sql)?;
        let rows = statement.query_map(params_from_iter(conditions.into_parameters()), |row| {
            Ok(Rated {
                of: row.get(0)?,
                rate: rate(row, 1)?,
                intercepted: rate(row, 3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn first_hour(&self) -> Result<Option<i64>, DatabaseError> {
        let sql = "SELECT 1 FROM sqlite_schema WHERE name = 'hours'";
        if !self.connection().prepare_cached(sql)?.exists([])? {
            return Ok(None);
        }
        let sql = "SELECT min(hour) FROM hours";
        Ok(self.connection().query_row(sql, [], |row| row.get(0))?)
    }

    /// Compares the two spans between three hours.
    fn compared(
        &self,
        query: &Query,
        [before, from, end]: [i64; 3],
    ) -> Result<Vec<Change>, DatabaseError> {
        let query = Query {
            since: None,
            until: None,
            all: true,
            ..query.clone()
        };
        let conditions = query.of_groups();
        let sql = format!(
            "SELECT name, app,
                sum(hours.failed * (hour < ?)), sum(hours.worked * (hour < ?)),
                sum(hours.failed * (hour >= ?)), sum(hours.worked * (hour >= ?)),
                count(DISTINCT CASE WHEN hours.failed > 0 AND hour < ? THEN client END),
                count(DISTINCT CASE WHEN hours.failed > 0 AND hour >= ? THEN client END)
             FROM hours JOIN groups ON groups.number = group_number
             WHERE hour >= ? AND hour < ? AND {}
             GROUP BY 1, 2 HAVING sum(hours.failed) > 0",
            conditions.sql()
        );
        let mut parameters = vec![Value::from(from); 6];
        parameters.extend([before.into(), end.into()]);
        parameters.extend(conditions.into_parameters());
        let mut statement = self.connection().prepare(&sql)?;
        let rows = statement.query_map(params_from_iter(parameters), |row| {
            let (before, after) = (rate(row, 2)?, rate(row, 4)?);
            let Some(change) = kind(before, after) else {
                return Ok(None);
            };
            let clients = if change == ChangeKind::Fixed { 6 } else { 7 };
            Ok(Some(Change {
                change,
                name: row.get(0)?,
                app: Some(row.get(1)?).filter(|app: &String| !app.is_empty()),
                clients: row.get::<_, i64>(clients)?.unsigned_abs(),
                before,
                after,
                cause: None,
            }))
        })?;
        let rows: Vec<Option<Change>> = rows.collect::<Result<_, _>>()?;
        Ok(rows.into_iter().flatten().collect())
    }

    fn main_cause(&self, name: &str, app: Option<&str>) -> Result<Option<String>, DatabaseError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT cause FROM causes JOIN groups ON groups.number = group_number
             WHERE name = ?1 AND app = ?2 GROUP BY cause ORDER BY sum(causes.failed) DESC, cause LIMIT 1",
        )?;
        let mut rows = statement.query([name, app.unwrap_or_default()])?;
        Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
    }
}

/// Reads failed and worked connections from two columns.
fn rate(row: &Row<'_>, column: usize) -> rusqlite::Result<Rate> {
    let failed = row.get::<_, i64>(column)?.max(0).unsigned_abs();
    let worked = row.get::<_, i64>(column + 1)?.max(0).unsigned_abs();
    Ok(Rate {
        failed,
        all: failed + worked,
    })
}

/// Returns the change, if it is more than chance. Without connections before, failures are of what is new;
/// without connections after, nothing is known to be fixed.
fn kind(before: Rate, after: Rate) -> Option<ChangeKind> {
    let later = after.share()?;
    let Some(earlier) = before.share() else {
        return (later >= DIFFERENCE_MIN).then_some(ChangeKind::NewlyBroken);
    };
    let (n, m) = (before.all as f64, after.all as f64);
    let pooled = (before.failed + after.failed) as f64 / (n + m);
    let error = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    let difference = later - earlier;
    if difference.abs() < DIFFERENCE_MIN || difference.abs() < ERRORS_MIN * error {
        return None;
    }
    match (before.failed, after.failed) {
        (0, _) => Some(ChangeKind::NewlyBroken),
        (_, 0) => Some(ChangeKind::Fixed),
        _ => (difference > 0.0).then_some(ChangeKind::Worse),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;
    use rstest::rstest;

    use super::*;
    use crate::outlet::database::{Acceptance, Acceptances, Retention, Writer};
    use crate::verdict::tests::pinning;
    use crate::verdict::{Cause, Intercepted, Verdict};

    #[rstest]
    #[case((0, 120), (80, 85), Some(ChangeKind::NewlyBroken))]
    #[case((0, 0), (1, 1), Some(ChangeKind::NewlyBroken))]
    #[case((0, 0), (1, 100), None)]
    #[case((0, 3), (2, 2), Some(ChangeKind::NewlyBroken))]
    #[case((0, 1), (1, 1), None)]
    #[case((0, 10_000), (5, 10_000), None)]
    #[case((10, 100), (40, 100), Some(ChangeKind::Worse))]
    #[case((10, 100), (14, 100), None)]
    #[case((40, 100), (10, 100), None)]
    #[case((5, 5), (0, 5), Some(ChangeKind::Fixed))]
    #[case((5, 5), (0, 0), None)]
    #[case((1, 100), (0, 100), None)]
    #[case((3, 3), (3, 3), None)]
    fn a_change_is_more_than_chance(
        #[case] before: (u64, u64),
        #[case] after: (u64, u64),
        #[case] expected: Option<ChangeKind>,
    ) {
        let rate = |(failed, all)| Rate { failed, all };
        assert_eq!(kind(rate(before), rate(after)), expected);
    }

    fn now() -> Timestamp {
        pinning().time
    }

    fn ago(hours: i64) -> Timestamp {
        now() - SignedDuration::from_hours(hours)
    }

    fn failed(name: &str, time: Timestamp, number: u16) -> Verdict {
        let mut verdict = pinning();
        verdict.sni = Some(name.to_owned());
        verdict.time = time;
        verdict.client.port = number;
        verdict.community_id = format!("1:{name}{number}");
        verdict.set_revision(0);
        verdict
    }

    fn worked(name: &str, time: Timestamp, to: &Acceptances) {
        to.record(Acceptance {
            client: pinning().client.ip,
            app: pinning().ja4,
            name: name.to_owned(),
            intercepted: Intercepted::Yes,
            issuer: pinning().issuer,
            tap: pinning().tap,
            time_ns: time.as_nanosecond().try_into().unwrap(),
        });
    }

    fn any() -> Query {
        Query {
            limit: 100,
            ..Query::default()
        }
    }

    fn writer() -> Writer {
        let mut writer = Writer::in_memory().unwrap();
        let acceptances = Acceptances::default();
        for number in 0..10 {
            worked("broke.test", ago(30), &acceptances);
            worked("fixed.test", ago(1), &acceptances);
            for (name, time) in [
                ("broke.test", ago(2)),
                ("fixed.test", ago(30)),
                ("same.test", ago(30)),
                ("same.test", ago(1)),
                ("older.test", ago(60)),
            ] {
                writer.insert(&failed(name, time, number)).unwrap();
            }
        }
        writer.take(&acceptances).unwrap();
        writer
    }

    #[test]
    fn what_broke_and_what_is_fixed_stands_with_both_rates() {
        let mut writer = writer();
        // A revision counts once, and in the hour of its connection.
        let mut revised = failed("broke.test", ago(2), 0);
        revised.cause = Cause::CaNotTrusted;
        revised.set_revision(1);
        writer.insert(&revised).unwrap();
        writer.commit().unwrap();
        let past = Past::of(writer);
        let changes = past.changes(&any(), ago(24), now()).unwrap();
        let found: Vec<_> = changes
            .changes
            .iter()
            .map(|it| (it.change, it.name.as_str(), it.before, it.after))
            .collect();
        let rate = |failed, all| Rate { failed, all };
        assert_eq!(
            found,
            [
                (
                    ChangeKind::NewlyBroken,
                    "broke.test",
                    rate(0, 10),
                    rate(10, 10)
                ),
                (ChangeKind::Fixed, "fixed.test", rate(10, 10), rate(0, 10)),
            ]
        );
        let first = &changes.changes[0];
        assert_eq!(
            (first.clients, first.cause.as_deref()),
            (1, Some("pinning"))
        );
        assert_eq!(changes.changes[1].clients, 1);
        assert_eq!(
            changes.since.duration_since(changes.before),
            SignedDuration::from_hours(25)
        );
        assert!(changes.counted_from.is_some_and(|it| it <= ago(60)));
        let query = Query {
            names: vec![glob::Pattern::new("fixed*").unwrap()],
            ..any()
        };
        assert_eq!(
            past.changes(&query, ago(24), now()).unwrap().changes.len(),
            1
        );
        let rates = past.rates_of_names(&any()).unwrap();
        let fixed = rates.iter().find(|it| it.of == "fixed.test").unwrap();
        assert_eq!(
            (fixed.rate, fixed.intercepted),
            (rate(10, 20), rate(10, 20))
        );
        let apps = past.rates_of_apps(&any()).unwrap();
        assert_eq!((apps.len(), apps[0].rate), (1, rate(50, 70)));
    }

    /// A change that broke a name comes before one that fixed it, though more failed of that.
    #[test]
    fn a_limit_leaves_what_broke() {
        let mut writer = writer();
        for number in 10..15 {
            let verdict = failed("fixed.test", ago(30), number);
            writer.insert(&verdict).unwrap();
        }
        writer.commit().unwrap();
        let past = Past::of(writer);
        let names = |limit| -> Vec<_> {
            let query = Query { limit, ..any() };
            let found = past.changes(&query, ago(24), now()).unwrap().changes;
            found.into_iter().map(|it| it.name).collect()
        };
        assert_eq!(names(2), ["broke.test", "fixed.test"]);
        assert_eq!(names(1), ["broke.test"]);
    }

    #[test]
    fn old_hours_are_removed_and_groups_stay() {
        let mut writer = writer();
        let retention = Retention {
            age: Duration::from_secs(365 * 86_400 * 100),
            bytes: 1 << 30,
        };
        let later = now() + SignedDuration::from_hours(8 * 24 - 24);
        let later_ns = i64::try_from(later.as_nanosecond()).unwrap();
        while writer.remove_old(retention, later_ns).unwrap() {}
        writer.commit().unwrap();
        let past = Past::of(writer);
        let changes = past.changes(&any(), ago(24), now()).unwrap();
        assert!(changes.counted_from.is_some_and(|it| it > ago(24)));
        assert_eq!(past.groups(&any()).unwrap().len(), 4);
    }

    #[test]
    fn a_database_of_an_earlier_version_knows_no_hours() {
        let mut writer = writer();
        writer.commit().unwrap();
        let past = Past::of(writer);
        past.connection().execute_batch("DROP TABLE hours").unwrap();
        let changes = past.changes(&any(), ago(24), now()).unwrap();
        assert_eq!((changes.counted_from, changes.changes.len()), (None, 0));
    }
}
