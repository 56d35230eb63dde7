//! `tlswhy groups`: who fails where.

mod changes;

use super::table::{csv, table};
use super::{past, show};
use crate::operate::cli::{EXIT_DONE, EXIT_FAILED, GroupsArgs, PastOutput};
use crate::outlet::database::Group;
use crate::verdict::written_confidence;

const HEADS: [&str; 10] = [
    "GATEWAYS",
    "CLIENT",
    "NAME",
    "FAILED",
    "WORKED",
    "CAUSE",
    "CONFIDENCE",
    "INTERCEPTED",
    "LAST",
    "APP",
];

/// Shows the groups.
///
/// # Errors
/// The past cannot be read, or the output cannot be written.
pub fn run(arguments: &GroupsArgs) -> anyhow::Result<u8> {
    let (past, is_whole) = past::open(&arguments.past)?;
    if arguments.changes {
        changes::show_changes(arguments, &past)?;
        return Ok(if is_whole { EXIT_DONE } else { EXIT_FAILED });
    }
    let limit = arguments.limit;
    let mut query = arguments.filters.query(arguments.all, limit);
    query.limit = limit.saturating_add(1);
    let mut groups = past.groups(&query)?;
    if groups.len() > limit {
        groups.truncate(limit);
        complain!("tlswhy: the first {limit} groups are shown; --limit shows more");
    }
    if groups.is_empty() {
        complain!("tlswhy: no group matches");
    }
    // The gateways' column is that of a fleet alone.
    let skipped = usize::from(!past.is_of_fleet());
    let text = match arguments.output {
        PastOutput::Text if groups.is_empty() => String::new(),
        PastOutput::Text => table(&HEADS[skipped..], &rows(&groups, skipped)),
        PastOutput::Csv => {
            let heads = HEADS.map(str::to_ascii_lowercase);
            let heads = heads.each_ref().map(String::as_str);
            csv(Some(&heads[skipped..]), &rows(&groups, skipped))?
        }
        PastOutput::Json => {
            let mut text = String::new();
            for group in &groups {
                text.push_str(&serde_json::to_string(group)?);
                text.push('\n');
            }
            text
        }
    };
    show(&text)?;
    Ok(if is_whole { EXIT_DONE } else { EXIT_FAILED })
}

fn rows(groups: &[Group], skipped: usize) -> Vec<Vec<String>> {
    let rows = groups.iter().map(row);
    rows.map(|row| row.into_iter().skip(skipped).collect())
        .collect()
}

fn row(group: &Group) -> [String; 10] {
    let first = group.causes.first();
    let more = match group.causes.len() {
        0 | 1 => String::new(),
        number => format!(" and {} more", number - 1),
    };
    [
        group.gateways.join(" "),
        group.client.to_string(),
        group.name.clone(),
        group.failed.to_string(),
        group.worked.to_string(),
        first.map_or_else(String::new, |it| format!("{}{more}", it.cause)),
        first.map_or_else(String::new, |it| {
            format!("{:.2}", written_confidence(it.confidence))
        }),
        group.intercepted.to_string(),
        format!("{:.0}", group.last),
        group.app.clone().unwrap_or_default(),
    ]
}
