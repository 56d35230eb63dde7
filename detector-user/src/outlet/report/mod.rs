//! The report: one self-contained HTML page, without a script and without a request to anywhere.
//!
//! In: the past, asked by [`Content`]. Out: [`Report::html`]. All text from the network is escaped
//! twice over: what could move a cursor or turn the reading direction by [`crate::outlet::sink::escaped`], what is HTML by maud.

mod chart;
mod content;
mod page;

#[cfg(test)]
mod tests;

use jiff::Timestamp;

use super::database::{Changes, Group, Rated, Totals};
use super::story::Story;
use crate::verdict::Cause;

pub use chart::Chart;
pub use content::Content;
pub use page::live_page;
pub(in crate::outlet) use page::{named, percent, safe, share, time};

/// All that a report shows.
#[derive(Debug)]
pub struct Report {
    /// The database or captures that it is about.
    pub source: String,
    /// Time of the report.
    pub made: Timestamp,
    /// Earliest and latest end of a connection.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Numbers of connections.
    pub totals: Totals,
    /// Failures over time.
    pub chart: Chart,
    /// Changes of the last day.
    pub changes: Changes,
    /// Failures by server name, those with most first.
    pub names: Vec<Rated>,
    /// Failures by app.
    pub apps: Vec<Rated>,
    /// Connections by tap, those with most failures first.
    pub taps: Vec<Rated>,
    /// Failing groups, those with the most failures first.
    pub groups: Vec<Group>,
    /// The stories of the first of them, in the same order.
    pub stories: Vec<Story>,
    /// Destinations that an interceptor should pass on, each with the number of connections and clients.
    pub exclusions: Vec<Exclusion>,
}

/// A destination that an interceptor should pass on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    /// The host.
    pub host: String,
    /// Connections that failed.
    pub connections: usize,
    /// Their clients.
    pub clients: usize,
}

impl Report {
    /// Returns the page.
    #[must_use]
    pub fn html(&self) -> String {
        page::page(self).into_string()
    }

    /// Returns the page's header and sections alone.
    #[must_use]
    pub fn content(&self) -> String {
        page::content(self).into_string()
    }

    /// Returns a report on nothing.
    #[must_use]
    pub fn empty(source: String, made: Timestamp) -> Self {
        Self {
            source,
            made,
            span: None,
            totals: Totals::default(),
            chart: Chart::default(),
            changes: Changes::default(),
            names: Vec::new(),
            apps: Vec::new(),
            taps: Vec::new(),
            groups: Vec::new(),
            stories: Vec::new(),
            exclusions: Vec::new(),
        }
    }

    /// Returns the failures of each cause, the most frequent first.
    fn causes(&self) -> &[(Cause, u64)] {
        &self.totals.causes
    }
}
