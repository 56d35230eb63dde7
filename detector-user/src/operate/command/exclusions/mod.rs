//! `tlswhy exclusions`: a list of destinations that an interceptor should pass on.

mod input;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow};

use self::input::Input;
use super::{pcap, report, show};
use crate::cause::knowledge::Knowledge;
use crate::operate::cli::{EXIT_DONE, EXIT_FAILED, ExclusionsArgs};
use crate::operate::pipeline::Pipeline;
use crate::operate::progress::Progress;
use crate::outlet::exclusions::{Criteria, Patterns, Selection, Sighting, difference};
use crate::outlet::sink::{Sink, SinkError, Sinks};
use crate::source::capture_set::rounds;
use crate::verdict::{Cause, Verdict};

/// Writes the list; unread input and hosts that are not listed are named on standard error.
///
/// # Errors
/// If an operator's file cannot be read, or the list cannot be written.
pub fn run(arguments: ExclusionsArgs) -> anyhow::Result<u8> {
    let cause = Cause::from(arguments.cause);
    let last = arguments.diff.as_deref();
    let last = last
        .map(|path| fs::read_to_string(path).with_context(|| reading(path)))
        .transpose()?;
    let knowledge = Knowledge::from(arguments.knowledge);
    let criteria = Criteria {
        cause,
        min_confidence: arguments.min_confidence,
        min_connections: arguments.min_connections,
        min_clients: arguments.min_clients,
        always: patterns(arguments.always.as_deref())?,
        never: patterns(arguments.never.as_deref())?,
        proxies: knowledge.interceptors.clone(),
        max: arguments.max,
    };
    let mut selection = Selection::default();
    let mut is_whole = true;
    let mut captures = Vec::new();
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
    let text = last.map_or(list.text.clone(), |last| difference(&last, &list.text));
    show(&text)?;
    Ok(if is_whole { EXIT_DONE } else { EXIT_FAILED })
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
    let reading = pcap::read(&mut pipeline, &rounds(&[], captures), None, None, &progress)?;
    pipeline.finish();
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
