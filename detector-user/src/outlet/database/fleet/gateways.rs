//! Gateways of a fleet: their health, doubts about their facts, and those that are muted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::FleetWriter;
use crate::outlet::database::past::{parsed, timestamp};
use crate::outlet::database::{DatabaseError, Past};

/// Refusals behind one gateway that two others contradict, from which it is told: pairs of app and name.
const CONTRADICTED_MIN: i64 = 5;
/// Gateways behind which an app accepts what it refuses behind one.
const OTHERS_MIN: i64 = 2;

/// A gateway of the fleet, as its last message about itself has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gateway {
    /// Its name.
    pub name: String,
    /// Time of its last message about itself, by the servers' clock.
    pub seen: Timestamp,
    /// That message.
    pub health: serde_json::Value,
    /// Verdicts of it in the database.
    pub verdicts: u64,
    /// Reason to doubt its facts.
    pub doubt: Option<Doubt>,
    /// Whether its verdicts and facts count for nobody.
    pub muted: bool,
}

/// A reason to doubt a gateway's facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doubt {
    /// Apps refuse the interceptor behind it alone: its facts are wrong, or its clients lack a CA.
    Contradicted {
        /// Pairs of app and name that accept it elsewhere.
        refusals: u64,
        /// All that refuse it here.
        of: u64,
    },
    /// Verdicts or facts come faster than a gateway can see connections.
    TooMany {
        /// Messages' content per second.
        per_second: u64,
    },
    /// Several agents have its name: a reader takes the highest count of each gateway, so that those of one count for
    /// nothing.
    SharedName,
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Contradicted { refusals, of } => write!(
                f,
                "{refusals} of {of} apps and names that refuse the interceptor behind it accept it behind two others"
            ),
            Self::TooMany { per_second } => {
                write!(
                    f,
                    "{per_second} facts a second: more than it should have connections"
                )
            }
            Self::SharedName => f.write_str("two agents share this name"),
        }
    }
}

impl FleetWriter {
    /// Records a gateway's message about itself, and when a server took it; the last in the stream's order counts.
    ///
    /// # Errors
    /// [`DatabaseError`]; the transaction is to be rolled back.
    pub fn record_health(
        &mut self,
        gateway: &str,
        seen: Timestamp,
        health: &str,
    ) -> Result<(), DatabaseError> {
        self.begin()?;
        let mut record = self.connection.prepare_cached(
            "INSERT INTO gateways (name, seen_ns, health) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET seen_ns = excluded.seen_ns, health = excluded.health",
        )?;
        let seen_ns = i64::try_from(seen.as_nanosecond()).unwrap_or_default();
        record.execute(params![gateway, seen_ns, health])?;
        Ok(())
    }

    /// Returns the gateways that are muted.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn muted(&self) -> Result<Vec<String>, DatabaseError> {
        self.names("SELECT name FROM muted ORDER BY name")
    }

    /// Mutes exactly these gateways: the verdicts and facts of all others count.
    ///
    /// # Errors
    /// [`DatabaseError`]; the transaction is to be rolled back.
    pub fn mute(&mut self, names: &[String]) -> Result<(), DatabaseError> {
        let known = self.muted()?;
        if known.iter().all(|it| names.contains(it)) && names.iter().all(|it| known.contains(it)) {
            return Ok(());
        }
        self.begin()?;
        for name in names.iter().filter(|it| !known.contains(it)) {
            self.connection
                .execute("INSERT OR IGNORE INTO muted (name) VALUES (?1)", [name])?;
            self.change_all_of(name)?;
        }
        for name in known.iter().filter(|it| !names.contains(it)) {
            self.connection
                .execute("DELETE FROM muted WHERE name = ?1", [name])?;
            self.change_all_of(name)?;
        }
        Ok(())
    }

    fn change_all_of(&mut self, gateway: &str) -> Result<(), DatabaseError> {
        let mut groups = self.connection.prepare(
            "SELECT group_number FROM verdicts WHERE gateway = ?1
             UNION SELECT group_number FROM facts WHERE gateway = ?1",
        )?;
        let groups = groups.query_map([gateway], |row| row.get::<_, i64>(0))?;
        for group in groups {
            self.changed.insert(group?);
        }
        Ok(())
    }

    /// Writes the doubts about gateways: contradicted ones, and others. Returns those that are new.
    ///
    /// # Errors
    /// [`DatabaseError`]; the transaction is to be rolled back.
    pub fn doubt(
        &mut self,
        others: &BTreeMap<String, Doubt>,
    ) -> Result<Vec<(String, Doubt)>, DatabaseError> {
        let mut doubts = self.contradicted()?;
        doubts.extend(others.clone());
        self.begin()?;
        let earlier = self.names("SELECT name FROM gateways WHERE doubt IS NOT NULL")?;
        let mut new = Vec::new();
        for (gateway, doubt) in &doubts {
            let text =
                serde_json::to_string(doubt).map_err(|it| DatabaseError::Row(it.to_string()))?;
            let changed = self.connection.execute(
                "INSERT INTO gateways (name, seen_ns, health, doubt) VALUES (?1, 0, 'null', ?2)
                 ON CONFLICT DO UPDATE SET doubt = excluded.doubt",
                params![gateway, text],
            )?;
            if changed > 0 && !earlier.contains(gateway) {
                new.push((gateway.clone(), doubt.clone()));
            }
        }
        for gateway in earlier.iter().filter(|it| !doubts.contains_key(*it)) {
            self.connection.execute(
                "UPDATE gateways SET doubt = NULL WHERE name = ?1",
                [gateway],
            )?;
        }
        Ok(new)
    }

    /// Returns the number of gateways in doubt.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn doubtful(&self) -> Result<u64, DatabaseError> {
        let names = self.names("SELECT name FROM gateways WHERE doubt IS NOT NULL")?;
        Ok(names.len() as u64)
    }

    fn names(&self, sql: &str) -> Result<Vec<String>, DatabaseError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let names = statement.query_map([], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// Returns the gateways behind which apps refuse the interceptor at names, where the same apps accept it there
    /// behind two others.
    fn contradicted(&self) -> Result<BTreeMap<String, Doubt>, DatabaseError> {
        let mut statement = self.connection.prepare(
            "WITH answers AS MATERIALIZED (
                SELECT gateway, facts.app, name, max(outcome = 'accepted') AS accepted
                FROM facts JOIN parties ON parties.number = group_number
                WHERE intercepted = 'yes' AND outcome <> 'unused' GROUP BY 1, 2, 3),
             accepting AS MATERIALIZED (
                SELECT app, name, count(*) AS gateways FROM answers WHERE accepted GROUP BY 1, 2)
             SELECT gateway, sum(others >= ?2), count(*) FROM (
                SELECT gateway, coalesce(gateways, 0) AS others
                FROM answers LEFT JOIN accepting USING (app, name) WHERE NOT accepted)
             GROUP BY gateway HAVING sum(others >= ?2) >= ?1 AND sum(others >= ?2) * 2 >= count(*)",
        )?;
        let rows = statement.query_map([CONTRADICTED_MIN, OTHERS_MIN], |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
            let (refusals, of) = (count(1)?, count(2)?);
            Ok((row.get(0)?, Doubt::Contradicted { refusals, of }))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Past {
    /// Returns the gateways by name; none where the database is not a fleet's.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn gateways(&self) -> Result<Vec<Gateway>, DatabaseError> {
        if !self.is_of_fleet() {
            return Ok(Vec::new());
        }
        let mut statement = self.connection().prepare_cached(
            "SELECT all_names.name, coalesce(seen_ns, 0), coalesce(health, 'null'), doubt,
                (SELECT count(*) FROM verdicts WHERE gateway = all_names.name),
                EXISTS (SELECT 1 FROM muted WHERE muted.name = all_names.name)
             FROM (SELECT name FROM gateways UNION SELECT name FROM muted
                   UNION SELECT DISTINCT gateway FROM verdicts) AS all_names
             LEFT JOIN gateways ON gateways.name = all_names.name ORDER BY 1",
        )?;
        let mut rows = statement.query([])?;
        let mut gateways = Vec::new();
        while let Some(row) = rows.next()? {
            let doubt: Option<String> = row.get(3)?;
            gateways.push(Gateway {
                name: row.get(0)?,
                seen: timestamp(row.get(1)?),
                health: parsed(&row.get::<_, String>(2)?)?,
                verdicts: row.get::<_, i64>(4)?.unsigned_abs(),
                doubt: doubt.as_deref().map(parsed).transpose()?,
                muted: row.get(5)?,
            });
        }
        Ok(gateways)
    }

    /// Returns the gateways whose verdicts, for `cause` if one is given, make up a group.
    pub(in crate::outlet::database) fn gateways_of(
        &self,
        group: i64,
        cause: Option<&str>,
    ) -> Result<Vec<String>, DatabaseError> {
        if !self.is_of_fleet() {
            return Ok(Vec::new());
        }
        let mut statement = self.connection().prepare_cached(
            "SELECT gateway FROM verdicts WHERE group_number = ?1 AND superseded_by IS NULL
                AND (?2 IS NULL OR cause = ?2) AND gateway NOT IN (SELECT name FROM muted)
             UNION SELECT gateway FROM facts WHERE group_number = ?1 AND ?2 IS NULL
                AND outcome = 'accepted' AND gateway NOT IN (SELECT name FROM muted)
             ORDER BY 1",
        )?;
        let names = statement.query_map(params![group, cause], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }
}
