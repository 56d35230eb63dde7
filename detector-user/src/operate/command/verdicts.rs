//! `tlswhy verdicts`: verdicts found so far, one by one.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::table::{csv, table};
use super::{past, show};
use crate::operate::cli::{EXIT_DONE, EXIT_FAILED, PastOutput, VerdictsArgs};
use crate::outlet::database::{DatabaseError, Past, Query, StoredVerdict};
use crate::verdict::{Verdict, written_confidence};

/// Pause between two looks for verdicts that are new.
const PAUSE: Duration = Duration::from_millis(500);
const HEADS: [&str; 9] = [
    "GATEWAY",
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
    let mut last = past.last_number()?;
    let verdicts = past.verdicts(&arguments.query())?;
    last = verdicts.iter().map(|it| it.number).fold(last, i64::max);
    if verdicts.is_empty() && !arguments.follow {
        complain!("tlswhy: no verdict matches");
    }
    let is_of_fleet = past.is_of_fleet();
    write(&verdicts, arguments.output, is_of_fleet, true)?;
    if arguments.follow {
        let path = past::database(&arguments.past)?;
        follow(Following::new(path, past, last), arguments)?;
    }
    Ok(if is_whole { EXIT_DONE } else { EXIT_FAILED })
}

fn follow(mut following: Following, arguments: &VerdictsArgs) -> anyhow::Result<()> {
    loop {
        thread::sleep(PAUSE);
        let verdicts = following.next(&arguments.query())?;
        if !verdicts.is_empty() {
            write(
                &verdicts,
                arguments.output,
                following.past.is_of_fleet(),
                false,
            )?;
        }
    }
}

/// The verdicts that the agent writes, also to a database that takes a damaged one's place.
struct Following {
    path: PathBuf,
    file: Option<u64>,
    past: Past,
    last: i64,
}

impl Following {
    fn new(path: PathBuf, past: Past, last: i64) -> Self {
        Self {
            file: inode(&path),
            path,
            past,
            last,
        }
    }

    /// Returns the verdicts of a query that are new.
    fn next(&mut self, query: &Query) -> Result<Vec<StoredVerdict>, DatabaseError> {
        let file = inode(&self.path);
        if file.is_some() && file != self.file {
            match Past::open(&self.path) {
                Ok(past) => (self.past, self.last, self.file) = (past, 0, file),
                // The agent is making it.
                Err(DatabaseError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let verdicts = self.past.verdicts_after(self.last, query)?;
        if let Some(newest) = verdicts.last() {
            self.last = newest.number;
        }
        Ok(verdicts)
    }
}

fn inode(path: &Path) -> Option<u64> {
    Some(std::fs::metadata(path).ok()?.ino())
}

fn write(
    verdicts: &[StoredVerdict],
    output: PastOutput,
    is_of_fleet: bool,
    is_first: bool,
) -> anyhow::Result<()> {
    // The gateway's column is that of a fleet alone.
    let skipped = usize::from(!is_of_fleet);
    let rows = || -> Vec<Vec<String>> {
        let rows = verdicts.iter().map(row);
        rows.map(|row| row.into_iter().skip(skipped).collect())
            .collect()
    };
    let upper: Vec<&str> = HEADS.into_iter().skip(skipped).collect();
    let lower: Vec<String> = upper.iter().map(|it| it.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let text = match output {
        PastOutput::Text if verdicts.is_empty() => return Ok(()),
        PastOutput::Text => table(&upper, &rows()),
        PastOutput::Csv => csv(is_first.then_some(&*lower), &rows())?,
        PastOutput::Json => {
            let mut text = String::new();
            for stored in verdicts {
                text.push_str(&serde_json::to_string(&OfFleet {
                    verdict: &stored.verdict,
                    gateway: stored.gateway.as_deref(),
                })?);
                text.push('\n');
            }
            text
        }
    };
    show(&text)
}

/// A verdict with its gateway behind its own fields.
#[derive(serde::Serialize)]
struct OfFleet<'a> {
    #[serde(flatten)]
    verdict: &'a Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<&'a str>,
}

fn row(stored: &StoredVerdict) -> [String; 9] {
    let verdict = &stored.verdict;
    let replaced = if stored.superseded_by.is_some() {
        " (replaced)"
    } else {
        ""
    };
    [
        stored.gateway.clone().unwrap_or_default(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlet::database::{FILE, Writer};
    use crate::verdict::tests::{injected_reset, pinning};

    #[test]
    fn another_database_in_the_place_of_the_first_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let write = |verdict| {
            let (mut writer, _) = Writer::open(&path).unwrap();
            writer.insert(&verdict).unwrap();
            writer.commit().unwrap();
        };
        write(pinning());
        let past = Past::open(&path).unwrap();
        let last = past.last_number().unwrap();
        let mut following = Following::new(path.clone(), past, last);
        let query = Query {
            limit: 10,
            ..Query::default()
        };
        assert_eq!(following.next(&query).unwrap(), []);
        std::fs::rename(&path, folder.path().join("aside")).unwrap();
        assert_eq!(following.next(&query).unwrap(), []);
        write(injected_reset());
        assert_eq!(following.next(&query).unwrap().len(), 1);
        assert_eq!(following.next(&query).unwrap(), []);
    }
}
