//! Questions to the database, as conditions of SQL.

use glob::Pattern;
use ipnet::IpNet;
use jiff::Timestamp;
use rusqlite::types::Value;

use super::address;
use crate::verdict::Cause;

/// A selection of verdicts or groups; by default all. Lists that are empty mean any.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    /// Earliest end of a connection.
    pub since: Option<Timestamp>,
    /// Latest end of a connection.
    pub until: Option<Timestamp>,
    /// Networks of clients.
    pub clients: Vec<IpNet>,
    /// Networks of servers; groups have none.
    pub servers: Vec<IpNet>,
    /// Server ports; groups have none.
    pub ports: Vec<u16>,
    /// Globs of server names.
    pub names: Vec<Pattern>,
    /// JA4 fingerprints of apps.
    pub apps: Vec<String>,
    /// Causes.
    pub causes: Vec<Cause>,
    /// Names of taps; groups have none.
    pub taps: Vec<String>,
    /// Gateways of a fleet.
    pub gateways: Vec<String>,
    /// Minimum confidence of a verdict, or of a group's cause.
    pub min_confidence: f64,
    /// Whether superseded verdicts are selected too, or groups that never failed.
    pub all: bool,
    /// Maximum number of results.
    pub limit: usize,
}

/// Returns the pattern of one name.
#[must_use]
pub fn exactly(name: &str) -> Pattern {
    // An escaped text is always a pattern; the default one matches the empty name alone.
    Pattern::new(&Pattern::escape(name)).unwrap_or_default()
}

/// Conditions, joined by AND, and their parameters in order.
#[derive(Default)]
pub(super) struct Conditions {
    conditions: Vec<String>,
    parameters: Vec<Value>,
}

impl Query {
    /// Returns the conditions on the table of verdicts.
    pub(super) fn of_verdicts(&self) -> Conditions {
        let mut conditions = Conditions::default();
        if !self.all {
            conditions.push("superseded_by IS NULL", []);
        }
        conditions.times("time_ns", "time_ns", self);
        conditions.networks("client", &self.clients);
        conditions.networks("server", &self.servers);
        let ports = self.ports.iter().map(|port| Value::from(i64::from(*port)));
        conditions.one_of("server_port", ports.collect());
        conditions.names("name", &self.names);
        conditions.one_of("app", texts(&self.apps));
        conditions.one_of("tap", texts(&self.taps));
        conditions.one_of("gateway", texts(&self.gateways));
        conditions.one_of("cause", causes(&self.causes));
        if self.min_confidence > 0.0 {
            conditions.push("confidence >= ?", [self.min_confidence.into()]);
        }
        conditions
    }

    /// Returns the conditions on the table of groups.
    pub(super) fn of_groups(&self) -> Conditions {
        let mut conditions = Conditions::default();
        if !self.all {
            conditions.push("failed > 0", []);
        }
        conditions.times("last_ns", "first_ns", self);
        conditions.networks("client", &self.clients);
        conditions.names("name", &self.names);
        conditions.one_of("app", texts(&self.apps));
        if !self.gateways.is_empty() {
            let mut of_verdicts = Conditions::default();
            of_verdicts.push("group_number = groups.number", []);
            of_verdicts.one_of("gateway", texts(&self.gateways));
            let sql = format!(
                "EXISTS (SELECT 1 FROM verdicts WHERE {})",
                of_verdicts.sql()
            );
            conditions.push(&sql, of_verdicts.parameters);
        }
        if !self.causes.is_empty() || self.min_confidence > 0.0 {
            let mut of_causes = Conditions::default();
            of_causes.push("group_number = groups.number", []);
            of_causes.one_of("cause", causes(&self.causes));
            of_causes.push("confidence >= ?", [self.min_confidence.into()]);
            let sql = format!("EXISTS (SELECT 1 FROM causes WHERE {})", of_causes.sql());
            conditions.push(&sql, of_causes.parameters);
        }
        conditions
    }
}

impl Conditions {
    /// Returns them as SQL.
    pub(super) fn sql(&self) -> String {
        if self.conditions.is_empty() {
            return "TRUE".to_owned();
        }
        self.conditions.join(" AND ")
    }

    /// Returns the values of their parameters.
    pub(super) fn into_parameters(self) -> Vec<Value> {
        self.parameters
    }

    /// Adds a condition, with a `?` for each parameter.
    pub(super) fn push(&mut self, condition: &str, parameters: impl IntoIterator<Item = Value>) {
        self.conditions.push(condition.to_owned());
        self.parameters.extend(parameters);
    }

    /// Adds a condition on times: `last` is not before the query's, `first` not after.
    fn times(&mut self, last: &str, first: &str, query: &Query) {
        if let Some(since) = query.since {
            self.push(&format!("{last} >= ?"), [nanoseconds(since)]);
        }
        if let Some(until) = query.until {
            self.push(&format!("{first} <= ?"), [nanoseconds(until)]);
        }
    }

    fn networks(&mut self, column: &str, networks: &[IpNet]) {
        let ranges: Vec<_> = networks.iter().map(|it| address::range(*it)).collect();
        let condition = format!("{column} BETWEEN ? AND ?");
        let values = ranges.into_iter().flat_map(|(first, last)| [first, last]);
        let values: Vec<_> = values.map(|it| Value::Blob(it.to_vec())).collect();
        self.any(&vec![condition; networks.len()], values);
    }

    fn names(&mut self, column: &str, names: &[Pattern]) {
        // SQLite's GLOB has the same `*`, `?` and classes, but for `[!…]`.
        let values = names
            .iter()
            .map(|it| Value::from(it.as_str().to_ascii_lowercase().replace("[!", "[^")));
        let condition = format!("{column} GLOB ?");
        self.any(&vec![condition; names.len()], values.collect());
    }

    fn one_of(&mut self, column: &str, values: Vec<Value>) {
        let condition = format!("{column} = ?");
        self.any(&vec![condition; values.len()], values);
    }

    fn any(&mut self, conditions: &[String], parameters: Vec<Value>) {
        if !conditions.is_empty() {
            self.push(&either(conditions), parameters);
        }
    }
}

/// Joins conditions by OR, as a tree: SQLite takes none that is deeper than a thousand.
fn either(conditions: &[String]) -> String {
    match conditions {
        [] => "FALSE".to_owned(),
        [condition] => condition.clone(),
        _ => {
            let (left, right) = conditions.split_at(conditions.len() / 2);
            format!("({} OR {})", either(left), either(right))
        }
    }
}

fn texts(texts: &[String]) -> Vec<Value> {
    texts.iter().map(|text| text.clone().into()).collect()
}

fn causes(causes: &[Cause]) -> Vec<Value> {
    let names = causes.iter().map(|cause| cause.name().to_owned());
    names.map(Value::from).collect()
}

/// Returns nanoseconds since the UNIX epoch; a time beyond their range is the last.
pub(super) fn nanoseconds(time: Timestamp) -> Value {
    i64::try_from(time.as_nanosecond())
        .unwrap_or(i64::MAX)
        .into()
}
