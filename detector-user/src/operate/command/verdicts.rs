//! `tlswhy verdicts`: verdicts found so far, one by one.

use std::thread;
use std::time::Duration;

use anyhow::Context;

use super::table::{csv, table};
use super::{past, show};
use crate::operate::cli::{EXIT_DONE, EXIT_FAILED, PastOutput, VerdictsArgs};
use crate::outlet::database::{Past, StoredVerdict};
use crate::verdict::written_confidence;

/// Pause between two looks for verdicts that are new.
const PAUSE: Duration = Duration::from_millis(500);
const HEADS: [&str; 8] = [
    "TIME",
    "TAP",
    "CLIENT",
    "SERVER",
    "NAME",
    "CAUSE",
    "CONFIDENCE",
    "APP",
];

/// Shows the verdicts.
///
/// # Errors
/// The past cannot be read, or the output cannot be written.
pub fn run(arguments: &VerdictsArgs) -> anyhow::Result<u8> {
    let (past, is_whole) = past::open(&arguments.past)?;
    // Before the first look, so that none is missed that comes between.
    let last = past.last_number()?;
    let verdicts = past.verdicts(&arguments.query())?;
    if verdicts.is_empty() && !arguments.follow {
        eprintln!("tlswhy: no verdict matches");
    }
    write(&verdicts, arguments.output, true)?;
    if arguments.follow {
        follow(&past, last, arguments)?;
    }
    Ok(if is_whole { EXIT_DONE } else { EXIT_FAILED })
}

fn follow(past: &Past, mut last: i64, arguments: &VerdictsArgs) -> anyhow::Result<()> {
    loop {
        thread::sleep(PAUSE);
        let verdicts = past.verdicts_after(last, &arguments.query())?;
        if let Some(newest) = verdicts.last() {
            last = newest.number;
            write(&verdicts, arguments.output, false)?;
        }
    }
}

fn write(verdicts: &[StoredVerdict], output: PastOutput, is_first: bool) -> anyhow::Result<()> {
    let rows = || -> Vec<_> { verdicts.iter().map(row).collect() };
    let heads = HEADS.map(str::to_ascii_lowercase);
    let text = match output {
        PastOutput::Text if verdicts.is_empty() => return Ok(()),
        PastOutput::Text => table(HEADS, &rows()),
        PastOutput::Csv => csv(
            is_first.then(|| heads.each_ref().map(String::as_str)),
            &rows(),
        )?,
        PastOutput::Json => {
            let mut text = String::new();
            for stored in verdicts {
                text.push_str(&serde_json::to_string(&stored.verdict)?);
                text.push('\n');
            }
            text
        }
    };
    show(&text).context("cannot write the verdicts")
}

fn row(stored: &StoredVerdict) -> [String; 8] {
    let verdict = &stored.verdict;
    let replaced = if stored.superseded_by.is_some() {
        " (replaced)"
    } else {
        ""
    };
    [
        format!("{:.3}", verdict.time),
        verdict.tap.clone(),
        verdict.client.to_string(),
        verdict.server.to_string(),
        verdict.server_name().unwrap_or_default().to_owned(),
        format!("{}{replaced}", verdict.cause),
        format!("{:.2}", written_confidence(verdict.confidence)),
        verdict.ja4.clone().unwrap_or_default(),
    ]
}
