//! `tlswhy report`: what fails and why, as one HTML page.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::{past, show, whole_file};
use crate::operate::cli::{
    EXIT_DONE, EXIT_FAILED, REPORT_GROUPS as GROUPS, REPORT_STORIES as STORIES, ReportArgs,
};
use crate::outlet::database::{Past, Query};
use crate::outlet::report::Content;
use crate::verdict::counted;

/// Maximum captures that are named.
const NAMED_MAX: usize = 5;

/// Writes the page.
///
/// # Errors
/// The past cannot be read, or the page cannot be written.
pub fn run(arguments: &ReportArgs) -> anyhow::Result<u8> {
    if arguments.to.is_none() && std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        bail!("the report is a page of HTML; name a file with --to");
    }
    let (past, is_whole) = past::open(&arguments.past)?;
    let mut source = source(&arguments.past.captures);
    if !is_whole {
        source.push_str("; some of it could not be read");
    }
    let content = Content {
        source,
        query: Box::new(|all, limit| arguments.filters.query(all, limit)),
        has_ended: !arguments.past.captures.is_empty(),
        limit: arguments.limit,
        stories: arguments.stories,
    };
    let html = content.report(&past)?.html();
    match &arguments.to {
        Some(path) => write_page(path, &html)?,
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
        has_ended: true,
        limit: GROUPS,
        stories: STORIES,
    };
    write_page(path, &content.report(past)?.html())
}

/// Replaces a page as a whole; in a folder that is not ours, the file is written where it is.
fn write_page(path: &Path, html: &str) -> anyhow::Result<()> {
    let written = match whole_file::replace(path, html) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => std::fs::write(path, html),
        written => written,
    };
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn source(captures: &[PathBuf]) -> String {
    if captures.is_empty() {
        return "From the agent's database".to_owned();
    }
    if captures.len() > NAMED_MAX {
        let captures = counted(captures.len(), "capture", "captures");
        return format!("From {captures}");
    }
    let captures = captures.iter();
    let captures: Vec<_> = captures.map(|it| it.display().to_string()).collect();
    format!("From {}", captures.join(", "))
}
