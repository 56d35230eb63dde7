//! `tlswhy groups --changes`: what broke, what is worse and what is fixed.

use jiff::{SignedDuration, Timestamp};

use crate::operate::cli::{GroupsArgs, PastOutput};
use crate::operate::command::show;
use crate::operate::command::table::{csv, table};
use crate::outlet::database::{Change, Past, Rate};

const HEADS: [&str; 7] = [
    "CHANGE", "NAME", "BEFORE", "SINCE", "CLIENTS", "CAUSE", "APP",
];
/// Span that is compared with the one before it by default.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Shows the changes.
///
/// # Errors
/// The past cannot be read, or the output cannot be written.
pub(super) fn show_changes(arguments: &GroupsArgs, past: &Past) -> anyhow::Result<()> {
    let query = arguments.filters.query(false, arguments.limit);
    // A capture has no now but its end.
    let end = match past.span()? {
        Some((_, last)) if !arguments.past.captures.is_empty() => {
            Timestamp::from_nanosecond(i128::from(last))?
        }
        _ => Timestamp::now(),
    };
    let until = query.until.unwrap_or(end);
    let since = query.since.map_or_else(|| until.checked_sub(DAY), Ok)?;
    let found = past.changes(&query, since, until)?;
    match found.counted_from {
        None => complain!("tlswhy: no connection has been counted by the hour yet"),
        Some(from) if from > found.before => {
            complain!("tlswhy: connections are counted by the hour since {from:.0}, not before");
        }
        Some(_) if found.changes.is_empty() => {
            complain!("tlswhy: nothing changed since {:.0}", found.since);
        }
        Some(_) => {}
    }
    let rows: Vec<_> = found.changes.iter().map(row).collect();
    let text = match arguments.output {
        PastOutput::Text if rows.is_empty() => String::new(),
        PastOutput::Text => table(&HEADS, &rows),
        PastOutput::Csv => {
            let heads = HEADS.map(str::to_ascii_lowercase);
            csv(Some(&heads.each_ref().map(String::as_str)), &rows)?
        }
        PastOutput::Json => {
            let lines = found.changes.iter().map(serde_json::to_string);
            lines
                .map(|line| line.map(|it| it + "\n"))
                .collect::<Result<_, _>>()?
        }
    };
    show(&text)?;
    Ok(())
}

fn row(change: &Change) -> [String; 7] {
    [
        change.change.to_string(),
        change.name.clone(),
        rate(change.before),
        rate(change.after),
        change.clients.to_string(),
        change.cause.clone().unwrap_or_default(),
        change.app.clone().unwrap_or_default(),
    ]
}

/// Returns `80 of 85 (94.1 %)`, or `none`.
fn rate(rate: Rate) -> String {
    rate.share().map_or_else(
        || "none".to_owned(),
        |share| format!("{} of {} ({:.1} %)", rate.failed, rate.all, share * 100.0),
    )
}
