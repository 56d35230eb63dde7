//! `tlswhy explain`: the reasons behind a firewall's log.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::table::csv;
use super::{past, show};
use crate::firewall::explain::{Clock, Explained, explain};
use crate::firewall::filter::{DEFAULT, Filter};
use crate::firewall::{LogReader, Row, Unread, is_selected};
use crate::operate::cli::{EXIT_DONE, EXIT_FAILED, ExplainArgs, PastOutput};
use crate::operate::progress::Progress;
use crate::outlet::sink::escaped;
use crate::source::capture::decompressed;
use crate::verdict::{Endpoint, Verdict, written_confidence};

/// Broken lines of a log that are named one by one.
const NAMED_MAX: u64 = 20;

/// Explains the logs, one after the other.
///
/// # Errors
/// A log or the past cannot be read, or the output cannot be written.
pub fn run(arguments: &ExplainArgs) -> anyhow::Result<u8> {
    let (past, mut is_whole) = past::open(&arguments.past)?;
    let progress = Progress::begin(true);
    let mut is_first = true;
    for path in &arguments.logs {
        let log = read(path, arguments, &progress)?;
        is_whole &= log.broken == 0;
        let (clocks, explained) = explain(log.selected, &past)?;
        let text = match arguments.output {
            PastOutput::Text => text(path, log.rows, &clocks, &explained),
            PastOutput::Json => json(path, &explained)?,
            PastOutput::Csv => csv(
                is_first.then_some(&HEADS[..]),
                &explained
                    .iter()
                    .map(|it| columns(path, it))
                    .collect::<Vec<_>>(),
            )?,
        };
        is_first = false;
        show(&text).context("cannot write the explanations")?;
        if log.broken > 0 {
            complain!(
                "tlswhy: {}: {} of {} lines are no rows",
                path.display(),
                log.broken,
                log.rows + log.broken
            );
        }
    }
    if progress.is_interrupted() {
        complain!("tlswhy: interrupted: the rows that were read are explained");
        is_whole = false;
    }
    Ok(if is_whole { EXIT_DONE } else { EXIT_FAILED })
}

/// A log as it was read.
#[derive(Default)]
struct Log {
    selected: Vec<Row>,
    rows: u64,
    broken: u64,
}

fn read(path: &Path, arguments: &ExplainArgs, progress: &Progress) -> anyhow::Result<Log> {
    let reading = || format!("cannot read {}", path.display());
    let bar = progress.bar(std::iter::once(path));
    let bytes = if path.as_os_str() == "-" {
        decompressed(io::stdin())
    } else {
        File::open(path).and_then(|file| decompressed(bar.wrap_read(file)))
    };
    let mut reader = LogReader::new(BufReader::new(bytes.with_context(reading)?));
    let default: Filter = DEFAULT.parse()?;
    let selects = |row: &Row| match &arguments.filter {
        Some(filter) => filter.selects(row),
        None => arguments.all || is_selected(row, &default),
    };
    let mut log = Log::default();
    while let Some(row) = reader.next_row().with_context(reading)? {
        // The first rows are read in any case, so that something is explained.
        if log.rows > 0 && progress.is_interrupted() {
            break;
        }
        match row {
            Ok(row) => {
                log.rows += 1;
                if selects(&row) {
                    log.selected.push(row);
                }
            }
            Err(Unread { line, error }) => {
                log.broken += 1;
                if log.broken <= NAMED_MAX {
                    bar.suspend(|| {
                        complain!(
                            "tlswhy: {}:{line}: {}",
                            path.display(),
                            escaped(&error.to_string())
                        );
                    });
                }
            }
        }
    }
    bar.finish_and_clear();
    Ok(log)
}

fn text(path: &Path, rows: u64, clocks: &[Clock], explained: &[Explained]) -> String {
    let mut text = String::new();
    for clock in clocks {
        let firewall = match clocks {
            [_] => String::new(),
            _ => format!("{}: ", escaped(&clock.firewall)),
        };
        let _ = writeln!(text, "{}: {firewall}{clock}", path.display());
    }
    for explained in explained {
        block(&mut text, explained);
    }
    let found = explained.iter().filter(|it| it.verdict.is_ok()).count();
    let _ = writeln!(
        text,
        "{}: {} of {rows} rows selected, {found} explained",
        path.display(),
        explained.len()
    );
    text
}

fn block(text: &mut String, explained: &Explained) {
    let row = &explained.row;
    let line = |text: &mut String, label: &str, words: &str| {
        let _ = writeln!(text, "  {label:<10} {}", escaped(words));
    };
    let rule = match row.field("rule") {
        "" => String::new(),
        rule => format!(", rule {rule}"),
    };
    let _ = writeln!(
        text,
        "line {}: {} → {}, {}{}",
        row.line,
        row.ends.client,
        row.ends.server,
        row.kind,
        escaped(&rule)
    );
    let decrypted = match row.decrypted {
        Some(true) => ", decrypted",
        Some(false) => ", not decrypted",
        None => "",
    };
    line(text, "firewall", &format!("{}{decrypted}", row.words()));
    match &explained.verdict {
        Ok(verdict) => found(text, verdict, line),
        Err(reason) => line(text, "tlswhy", &reason.to_string()),
    }
    text.push('\n');
}

fn found(text: &mut String, verdict: &Verdict, line: impl Fn(&mut String, &str, &str)) {
    let name = verdict.server_name().map(str::to_owned);
    let name = name.unwrap_or_else(|| verdict.server.ip.to_string());
    let confidence = written_confidence(verdict.confidence) * 100.0;
    line(
        text,
        "tlswhy",
        &format!(
            "{}: {} ({confidence:.0} %). {}",
            name,
            verdict.cause,
            verdict.cause.meaning()
        ),
    );
    if let Some(evidence) = verdict.evidence.first() {
        line(text, "evidence", &evidence.detail);
    }
    if let Some(advice) = &verdict.advice {
        line(text, "advice", advice);
    }
}

/// A row as JSON.
#[derive(Serialize)]
struct Written<'a> {
    log: String,
    line: u64,
    kind: &'static str,
    client: Endpoint,
    server: Endpoint,
    decrypted: Option<bool>,
    firewall: std::collections::BTreeMap<&'static str, &'a str>,
    verdict: Option<&'a Verdict>,
    unexplained: Option<String>,
}

fn json(path: &Path, explained: &[Explained]) -> anyhow::Result<String> {
    let mut text = String::new();
    for Explained { row, verdict } in explained {
        let fields = row
            .fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let written = Written {
            log: path.display().to_string(),
            line: row.line,
            kind: row.kind,
            client: row.ends.client.into(),
            server: row.ends.server.into(),
            decrypted: row.decrypted,
            firewall: fields.filter(|(_, value)| !value.is_empty()).collect(),
            verdict: verdict.as_deref().ok(),
            unexplained: verdict.as_ref().err().map(ToString::to_string),
        };
        text.push_str(&serde_json::to_string(&written)?);
        text.push('\n');
    }
    Ok(text)
}

const HEADS: [&str; 10] = [
    "log",
    "line",
    "client",
    "server",
    "firewall",
    "name",
    "cause",
    "confidence",
    "advice",
    "unexplained",
];

fn columns(path: &Path, Explained { row, verdict }: &Explained) -> [String; 10] {
    let found = verdict.as_ref().ok();
    let of = |value: fn(&Verdict) -> String| found.map_or_else(String::new, |it| value(it));
    [
        path.display().to_string(),
        row.line.to_string(),
        row.ends.client.to_string(),
        row.ends.server.to_string(),
        row.words(),
        of(|it| it.server_name().unwrap_or_default().to_owned()),
        of(|it| it.cause.to_string()),
        of(|it| format!("{:.2}", written_confidence(it.confidence))),
        of(|it| it.advice.clone().unwrap_or_default()),
        verdict
            .as_ref()
            .err()
            .map_or_else(String::new, ToString::to_string),
    ]
}
