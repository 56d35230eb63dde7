//! `tlswhy exclusions`: a list of destinations that an interceptor should pass on.

mod input;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context, anyhow, bail};
use jiff::{SignedDuration, Timestamp};

use self::input::Input;
use super::{past, pcap, report, show, whole_file};
use crate::cause::knowledge::Knowledge;
use crate::operate::cli::{EXIT_DONE, EXIT_FAILED, ExclusionsArgs};
use crate::operate::pipeline::Pipeline;
use crate::operate::progress::Progress;
use crate::outlet::database::{FILE, FLEET_FILE, Past};
use crate::outlet::exclusions::{
    ClientFormat, Criteria, Patterns, RefusingClient, Selection, Sighting, client_reasons,
    difference, empties, record_past, refusing_clients,
};
use crate::outlet::sink::{Sink, SinkError, Sinks};
use crate::source::capture_set::rounds;
use crate::verdict::{Cause, Verdict};

/// Age beyond which destinations of the database are not listed.
pub(super) const DEFAULT_AGE: Duration = Duration::from_secs(30 * 86_400);

/// Time for which a list with several entries stays that would have none.
const EMPTIED_AFTER: Duration = Duration::from_secs(86_400);

/// Writes the list; unread input and hosts that are not listed are named on standard error.
///
/// # Errors
/// If the database or an operator's file cannot be read, or the list cannot be written.
pub fn run(arguments: ExclusionsArgs) -> anyhow::Result<u8> {
    let last = arguments.diff.as_deref();
    let last = last
        .map(|path| fs::read_to_string(path).with_context(|| reading(path)))
        .transpose()?;
    let is_of_database =
        arguments.files.is_empty() || arguments.database.is_some() || arguments.config.is_some();
    let is_of_database = is_of_database || arguments.fleet;
    let past = if is_of_database {
        let file = if arguments.fleet { FLEET_FILE } else { FILE };
        let database = past::database_of(
            arguments.database.as_deref(),
            arguments.config.as_deref(),
            file,
        )?;
        Some(Past::open(&database)?)
    } else {
        None
    };
    let age = arguments
        .age
        .or_else(|| arguments.files.is_empty().then_some(DEFAULT_AGE));
    let since = age.map(before_now).transpose()?;
    let write = arguments.write.clone();
    let (format, cause) = (arguments.format, Cause::from(arguments.cause));
    let (text, bare, is_whole) = match past {
        Some(past) if arguments.sources => {
            let (format, clients) = sources(&past, &arguments, since)?;
            (format.list(&clients), format.list(&[]), true)
        }
        past => {
            let (text, is_whole) = destinations(arguments, past.as_ref(), since)?;
            (text, format.list(&[], cause).text, is_whole)
        }
    };
    let text = last.map_or(text.clone(), |last| difference(&last, &text));
    let is_written = match &write {
        Some(path) => replace(path, &text, &bare)?,
        None => {
            show(&text)?;
            true
        }
    };
    Ok(if is_whole && is_written {
        EXIT_DONE
    } else {
        EXIT_FAILED
    })
}

fn before_now(age: Duration) -> anyhow::Result<Timestamp> {
    let age = SignedDuration::try_from(age).context("the age is too long")?;
    Timestamp::now()
        .checked_sub(age)
        .context("the age is too long")
}

/// Returns the clients that refuse the interceptor everywhere, and the format of their list.
fn sources(
    past: &Past,
    arguments: &ExclusionsArgs,
    since: Option<Timestamp>,
) -> anyhow::Result<(ClientFormat, Vec<RefusingClient>)> {
    let Some(format) = ClientFormat::of(arguments.format) else {
        bail!("a list of clients is plain, panos-edl or nftables-set; select one by --format");
    };
    let mut clients = refusing_clients(past, arguments.min_confidence, since)?;
    clients.truncate(arguments.max);
    for client in client_reasons(&clients).lines() {
        complain!("tlswhy: {}", client.trim_start_matches("# "));
    }
    Ok((format, clients))
}

/// Returns the list of destinations, and whether all input was read.
fn destinations(
    arguments: ExclusionsArgs,
    past: Option<&Past>,
    since: Option<Timestamp>,
) -> anyhow::Result<(String, bool)> {
    let cause = Cause::from(arguments.cause);
    let knowledge = Knowledge::from(arguments.knowledge);
    // A client alone lists nothing for a whole fleet, and neither does one gateway.
    let at_least = if arguments.fleet { 2 } else { 1 };
    let criteria = Criteria {
        cause,
        min_confidence: arguments.min_confidence,
        min_connections: arguments.min_connections,
        min_clients: arguments.min_clients.unwrap_or(at_least),
        min_gateways: arguments
            .min_gateways
            .unwrap_or(if arguments.fleet { at_least } else { 0 }),
        always: patterns(arguments.always.as_deref())?,
        never: patterns(arguments.never.as_deref())?,
        proxies: knowledge.interceptors.clone(),
        since,
        max: arguments.max,
    };
    let mut selection = Selection::default();
    let mut is_whole = true;
    let mut captures = Vec::new();
    if let Some(past) = past {
        record_past(past, cause, &mut selection)?;
    }
    for file in &arguments.files {
        match Input::open(file) {
            Ok(Input::Other) => captures.push(file.clone()),
            Ok(input) => is_whole &= input.read(file, |it| selection.record(it, cause)),
            Err(error) => {
                complain!("tlswhy: {}: {error}", reading(file));
                is_whole = false;
            }
        }
    }
    if !captures.is_empty() {
        is_whole &= judge(&captures, knowledge, cause, &mut selection)?;
    }
    let selected = selection.select(&criteria);
    let list = arguments.format.list(&selected.entries, cause);
    for notice in selected.notices.iter().chain(&list.notices) {
        complain!("tlswhy: {notice}");
    }
    Ok((list.text, is_whole))
}

/// Replaces a list as a whole, unless it was written within a day and would lose all its entries at once.
/// Returns whether it was replaced.
fn replace(path: &Path, text: &str, bare: &str) -> anyhow::Result<bool> {
    let writing = || format!("cannot write {}", path.display());
    let last = match fs::read_to_string(path) {
        Ok(last) => last,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| reading(path)),
    };
    let written = fs::metadata(path).and_then(|it| it.modified());
    let is_recent = written.is_ok_and(|at| at.elapsed().is_ok_and(|it| it < EMPTIED_AFTER));
    if is_recent && empties(&last, text, bare) {
        complain!(
            "tlswhy: {} stays as it is, for a day: nothing is to be listed now, and it has several entries; \
             if that is meant, remove the file",
            path.display()
        );
        return Ok(false);
    }
    // The interceptor, which is another user's, reads it.
    whole_file::replace(path, text).with_context(writing)?;
    Ok(true)
}

fn reading(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

fn patterns(path: Option<&Path>) -> anyhow::Result<Patterns> {
    let Some(path) = path else {
        return Ok(Patterns::default());
    };
    let text = fs::read_to_string(path).with_context(|| reading(path))?;
    Patterns::parse(&text).map_err(|(line, error)| anyhow!("{}:{line}: {error}", path.display()))
}

/// Judges captures and records their verdicts. Returns whether all were read to their end.
fn judge(
    captures: &[PathBuf],
    knowledge: Knowledge,
    cause: Cause,
    selection: &mut Selection,
) -> anyhow::Result<bool> {
    let shared = Arc::new(Mutex::new(std::mem::take(selection)));
    let collector = Collector {
        selection: Arc::clone(&shared),
        cause,
    };
    let sinks = Sinks::new(vec![Box::new(collector)]);
    let mut pipeline = Pipeline::new(pcap::FLOWS, knowledge, sinks, report);
    let progress = Progress::begin(true);
    let mut captures = captures.to_vec();
    pcap::leave_out_repeats(&mut Vec::new(), &mut captures);
    let reading = pcap::read(
        &mut pipeline,
        &rounds(&[], &captures, pcap::cores()),
        None,
        None,
        &progress,
    )?;
    pcap::finish(&mut pipeline);
    *selection = std::mem::take(&mut *shared.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(reading.cut_captures == 0 && !progress.is_interrupted())
}

/// A sink that keeps the fields that lists need.
struct Collector {
    selection: Arc<Mutex<Selection>>,
    cause: Cause,
}

impl Sink for Collector {
    fn name(&self) -> &'static str {
        "list"
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        let mut selection = self
            .selection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        selection.record(Sighting::from(verdict), self.cause);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}
