//! The content of a report: what is asked of the past.

use jiff::{SignedDuration, Timestamp};

use super::{Chart, Exclusion, Report};
use crate::outlet::database::{DatabaseError, Past, Query};
use crate::outlet::exclusions::{Criteria, Patterns, Selection, Sighting};
use crate::outlet::stories::of_groups;
use crate::verdict::Cause;

/// Maximum verdicts that the chart and the list are made of; the latest.
const VERDICTS_MAX: usize = 1_000_000;
/// Maximum names, apps, taps and changes.
const RATES_MAX: usize = 20;
/// Span that is compared with the one before it.
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// Minimum confidence of a pin whose destination is listed.
const SURE: f64 = 0.8;

/// The selection that a report shows.
pub struct Content<'a> {
    /// The database or captures that it is about.
    pub source: String,
    /// Returns the question to the past: whether groups that never failed are selected too, and the maximum number of
    /// results.
    pub query: Box<dyn Fn(bool, usize) -> Query + 'a>,
    /// Whether the past ended with its last connection, as that of captures did.
    pub has_ended: bool,
    /// Maximum groups, and maximum destinations to exclude.
    pub limit: usize,
    /// Maximum stories.
    pub stories: usize,
}

impl Content<'_> {
    /// Returns the report on the past.
    ///
    /// # Errors
    /// The past cannot be read.
    pub fn report(&self, past: &Past) -> Result<Report, DatabaseError> {
        let query = &self.query;
        let span = past
            .span()?
            .map(|(first, last)| (timestamp(first), timestamp(last)));
        let made = Timestamp::now();
        let end = span.map_or(made, |(_, last)| if self.has_ended { last } else { made });
        let since = end.checked_sub(DAY).unwrap_or(end);
        let rated = query(true, RATES_MAX);
        Ok(Report {
            source: self.source.clone(),
            made,
            span,
            totals: past.totals(&query(true, self.limit))?,
            chart: Chart::of(&past.failures(&query(false, VERDICTS_MAX))?),
            changes: past.changes(&rated, since, end)?,
            names: past.rates_of_names(&rated)?,
            apps: past.rates_of_apps(&rated)?,
            taps: past.rates_of_taps(&rated)?,
            groups: past.groups(&query(false, self.limit))?,
            stories: of_groups(past, &query(false, self.stories))?,
            exclusions: exclusions(query(false, VERDICTS_MAX), self.limit, past)?,
        })
    }
}

fn exclusions(mut query: Query, max: usize, past: &Past) -> Result<Vec<Exclusion>, DatabaseError> {
    query.causes = vec![Cause::Pinning];
    query.min_confidence = query.min_confidence.max(SURE);
    let mut selection = Selection::default();
    for stored in past.verdicts(&query)? {
        let mut sighting = Sighting::from(&stored.verdict);
        sighting.gateways.extend(stored.gateway);
        selection.record(sighting, Cause::Pinning);
    }
    let criteria = Criteria {
        cause: Cause::Pinning,
        min_confidence: SURE,
        min_connections: 1,
        min_clients: if past.is_of_fleet() { 2 } else { 1 },
        min_gateways: if past.is_of_fleet() { 2 } else { 0 },
        always: Patterns::default(),
        never: Patterns::default(),
        proxies: Vec::new(),
        since: None,
        max,
    };
    let entries = selection.select(&criteria).entries.into_iter();
    Ok(entries
        .map(|entry| Exclusion {
            host: entry.host.to_string(),
            connections: entry.connections,
            clients: entry.clients.len(),
        })
        .collect())
}

fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or_default()
}
