//! `tlswhy report`: what fails and why, as one HTML page.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use jiff::Timestamp;

use super::why::of_groups;
use super::{past, show};
use crate::operate::cli::{
    EXIT_DONE, EXIT_FAILED, REPORT_GROUPS as GROUPS, REPORT_STORIES as STORIES, ReportArgs,
};
use crate::outlet::database::{Past, Query};
use crate::outlet::exclusions::{Criteria, Patterns, Selection, Sighting};
use crate::outlet::report::{Chart, Exclusion, Report};
use crate::verdict::Cause;

/// Maximum verdicts that the chart and the list are made of; the latest.
const VERDICTS_MAX: usize = 1_000_000;
/// Maximum captures that are named.
const NAMED_MAX: usize = 5;
/// Minimum confidence of a pin whose destination is listed.
const SURE: f64 = 0.8;

/// Writes the page.
///
/// # Errors
/// The past cannot be read, or the page cannot be written.
pub fn run(arguments: &ReportArgs) -> anyhow::Result<u8> {
    if arguments.to.is_none() && std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        bail!("the report is a page of HTML; name a file with --to");
    }
    let (past, is_whole) = past::open(&arguments.past)?;
    let content = Content {
        source: source(&arguments.past.captures),
        query: Box::new(|all, limit| arguments.filters.query(all, limit)),
        limit: arguments.limit,
        stories: arguments.stories,
    };
    let html = content.report(&past)?.html();
    match &arguments.to {
        Some(path) => std::fs::write(path, html)
            .with_context(|| format!("cannot write {}", path.display()))?,
        None => show(&html).context("cannot write the report")?,
    }
    Ok(if is_whole { EXIT_DONE } else { EXIT_FAILED })
}

/// Writes a report on captures to `path`, as `tlswhy report` does by default.
///
/// # Errors
/// The past cannot be read, or the page cannot be written.
pub fn write(path: &Path, captures: &[PathBuf], past: &Past) -> anyhow::Result<()> {
    let content = Content {
        source: source(captures),
        query: Box::new(|all, limit| Query {
            all,
            limit,
            ..Query::default()
        }),
        limit: GROUPS,
        stories: STORIES,
    };
    std::fs::write(path, content.report(past)?.html())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The selection that a report shows.
struct Content<'a> {
    source: String,
    query: Box<dyn Fn(bool, usize) -> Query + 'a>,
    limit: usize,
    stories: usize,
}

impl Content<'_> {
    fn report(&self, past: &Past) -> anyhow::Result<Report> {
        let query = &self.query;
        let span = past
            .span()?
            .map(|(first, last)| (timestamp(first), timestamp(last)));
        Ok(Report {
            source: self.source.clone(),
            made: Timestamp::now(),
            span,
            totals: past.totals(&query(true, self.limit))?,
            chart: Chart::of(&past.failures(&query(false, VERDICTS_MAX))?),
            groups: past.groups(&query(false, self.limit))?,
            stories: of_groups(past, &query(false, self.stories))?,
            exclusions: exclusions(query(false, VERDICTS_MAX), self.limit, past)?,
        })
    }
}

fn source(captures: &[PathBuf]) -> String {
    if captures.is_empty() {
        return "From the agent's database".to_owned();
    }
    if captures.len() > NAMED_MAX {
        return format!("From {} captures", captures.len());
    }
    let captures = captures.iter();
    let captures: Vec<_> = captures.map(|it| it.display().to_string()).collect();
    format!("From {}", captures.join(", "))
}

fn exclusions(mut query: Query, max: usize, past: &Past) -> anyhow::Result<Vec<Exclusion>> {
    query.causes = vec![Cause::Pinning];
    query.min_confidence = query.min_confidence.max(SURE);
    let mut selection = Selection::default();
    for stored in past.verdicts(&query)? {
        selection.record(Sighting::from(&stored.verdict), Cause::Pinning);
    }
    let criteria = Criteria {
        cause: Cause::Pinning,
        min_confidence: SURE,
        min_connections: 1,
        min_clients: 1,
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
