//! `tlswhy report`: what fails and why, as one HTML page.

use anyhow::{Context, bail};
use jiff::Timestamp;

use super::why::of_groups;
use super::{past, show};
use crate::operate::cli::{EXIT_DONE, EXIT_FAILED, PastArgs, ReportArgs};
use crate::outlet::database::Past;
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
    let html = report(arguments, &past)?.html();
    match &arguments.to {
        Some(path) => std::fs::write(path, html)
            .with_context(|| format!("cannot write {}", path.display()))?,
        None => show(&html).context("cannot write the report")?,
    }
    Ok(if is_whole { EXIT_DONE } else { EXIT_FAILED })
}

fn report(arguments: &ReportArgs, past: &Past) -> anyhow::Result<Report> {
    let filters = &arguments.filters;
    let span = past
        .span()?
        .map(|(first, last)| (timestamp(first), timestamp(last)));
    Ok(Report {
        source: source(&arguments.past),
        made: Timestamp::now(),
        span,
        totals: past.totals(&filters.query(true, arguments.limit))?,
        chart: Chart::of(&past.failures(&filters.query(false, VERDICTS_MAX))?),
        groups: past.groups(&filters.query(false, arguments.limit))?,
        stories: of_groups(past, &filters.query(false, arguments.stories))?,
        exclusions: exclusions(arguments, past)?,
    })
}

fn source(arguments: &PastArgs) -> String {
    if arguments.captures.is_empty() {
        return "From the agent's database".to_owned();
    }
    if arguments.captures.len() > NAMED_MAX {
        return format!("From {} captures", arguments.captures.len());
    }
    let captures = arguments.captures.iter();
    let captures: Vec<_> = captures.map(|it| it.display().to_string()).collect();
    format!("From {}", captures.join(", "))
}

fn exclusions(arguments: &ReportArgs, past: &Past) -> anyhow::Result<Vec<Exclusion>> {
    let mut query = arguments.filters.query(false, VERDICTS_MAX);
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
        max: arguments.limit,
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
