//! `tlswhy compare`: captures of two stages of one device beside each other.

mod json;
mod judged;
mod text;

use std::path::Path;

use anyhow::Context;

use super::show;
use crate::cause::knowledge::Knowledge;
use crate::operate::cli::{CompareArgs, CompareOutput, EXIT_DONE, EXIT_FAILED};
use crate::operate::progress::Progress;
use crate::outlet::database::Past;
use crate::source::capture::CaptureFile;
use crate::stages::{Compared, Comparison, Traffic};
use crate::verdict::{Verdict, counted};
use judged::Captures;

/// Frames between updates of the progress bar and checks for Ctrl-C.
const BATCH: u64 = 4096;
/// Longest time between a verdict's beginning and that of its connection, nanoseconds: a port is used again.
const SAME_NS: i64 = 60_000_000_000;

/// Compares the captures.
///
/// # Errors
/// A capture cannot be opened, or the output cannot be written.
pub fn run(arguments: CompareArgs) -> anyhow::Result<u8> {
    let progress = Progress::begin(!arguments.quiet);
    let mut reading = Reading {
        progress: &progress,
        is_whole: true,
        rest: None,
    };
    let receive = reading.read(&arguments.receive)?;
    let transmit = reading.read(&arguments.transmit)?;
    let mut read = |path: &Path| reading.read(path);
    let firewall = arguments.firewall.as_deref().map(&mut read).transpose()?;
    let drop = arguments.drop.as_deref().map(&mut read).transpose()?;
    let mut is_whole = reading.is_whole;
    if progress.is_interrupted() {
        complain!("tlswhy: interrupted: what was found so far follows");
        is_whole = false;
    }
    let comparison = Comparison::of([&receive, &transmit], firewall.as_ref(), drop.as_ref());
    let names = [&arguments.receive, &arguments.transmit].map(|it| it.display().to_string());
    if comparison.common() == 0 {
        let [receive_name, transmit_name] = &names;
        complain!(
            "tlswhy: no common traffic: {receive_name} has {}, {transmit_name} has {}, and none of them are the same by \
             their payload, sequence numbers, addresses or server names",
            text::connections(receive.len()),
            text::connections(transmit.len()),
        );
        return Ok(EXIT_FAILED);
    }
    // Streams can be read only once, and have no verdicts.
    let paths = [arguments.receive.as_path(), arguments.transmit.as_path()];
    let can_be_judged = paths.iter().all(|path| path.is_file()) && !progress.is_interrupted();
    let captures = Captures {
        paths,
        traffic: [&receive, &transmit],
        layout: comparison.layout,
        offset_ns: comparison.clocks.map_or(0, |it| it.offset_ns),
    };
    let knowledge = Knowledge::from(arguments.knowledge.clone());
    let past = can_be_judged.then(|| captures.judge(knowledge, &progress));
    let past = past.transpose()?;
    let mut shown = Vec::new();
    for compared in &comparison.connections {
        if !arguments.disturbed || compared.is_disturbed() {
            shown.push((compared, verdict(compared, past.as_ref())?));
        }
    }
    let text = match arguments.output {
        CompareOutput::Text => text::written(&names, &comparison, &shown),
        CompareOutput::Json => json::written(&names, &comparison, &shown)?,
    };
    show(&text).context("cannot write the comparison")?;
    for (name, traffic) in names.iter().zip([&receive, &transmit]) {
        let unfollowed = traffic.unfollowed;
        if unfollowed.connections + unfollowed.data > 0 {
            complain!(
                "tlswhy: {name}: not compared: {} of further connections, {} of data behind the \
                 first MiB of a connection",
                counted(unfollowed.connections, "segment", "segments"),
                counted(unfollowed.data, "segment", "segments")
            );
        }
    }
    Ok(if is_whole { EXIT_DONE } else { EXIT_FAILED })
}

/// The reading of one capture after the other.
struct Reading<'p> {
    progress: &'p Progress,
    is_whole: bool,
    /// Time up to which the others are read once one was interrupted, and the time that it lasted: clocks may differ.
    /// Their common part is what can be compared.
    rest: Option<Rest>,
}

/// The part of a capture that belongs to one that was interrupted.
#[derive(Clone, Copy)]
struct Rest {
    until_ns: u64,
    span_ns: u64,
}

impl Rest {
    /// Whether a frame of a capture that begins at `first_ns` is behind that part, by either measure.
    const fn is_over(self, first_ns: u64, time_ns: u64) -> bool {
        time_ns > self.until_ns && time_ns.saturating_sub(first_ns) > self.span_ns
    }
}

impl Reading<'_> {
    /// Reads a capture as far as it can be read, with a message about damage.
    fn read(&mut self, path: &Path) -> anyhow::Result<Traffic> {
        let mut capture = CaptureFile::open(path)?;
        let mut traffic = Traffic::default();
        let bar = self.progress.bar(std::iter::once(path));
        let mut frames: u64 = 0;
        let mut span: Option<(u64, u64)> = None;
        loop {
            if frames.is_multiple_of(BATCH) {
                bar.set_position(capture.offset());
                if self.rest.is_none() && frames > 0 && self.progress.is_interrupted() {
                    break;
                }
            }
            match capture.next_frame() {
                Ok(Some(frame)) => {
                    let (first, last) = span.unwrap_or((frame.time_ns, frame.time_ns));
                    if self
                        .rest
                        .is_some_and(|rest| rest.is_over(first, frame.time_ns))
                    {
                        break;
                    }
                    span = Some((first, last.max(frame.time_ns)));
                    traffic.read(&frame);
                }
                Ok(None) => break,
                Err(error) => {
                    bar.suspend(|| complain!("tlswhy: {error}"));
                    self.is_whole = false;
                    break;
                }
            }
            frames += 1;
        }
        bar.finish_and_clear();
        if self.progress.is_interrupted() && self.rest.is_none() {
            let (first, last) = span.unwrap_or_default();
            self.rest = Some(Rest {
                until_ns: last,
                span_ns: last.saturating_sub(first),
            });
        }
        Ok(traffic)
    }
}

/// Returns the verdict on a connection, by the ends of either stage and its time.
fn verdict(compared: &Compared, past: Option<&Past>) -> anyhow::Result<Option<Verdict>> {
    let Some(past) = past.filter(|_| compared.is_common) else {
        return Ok(None);
    };
    for [client, server] in [compared.outside, compared.inside].into_iter().flatten() {
        let verdicts = past.verdicts_between(client, server)?;
        let apart = |verdict: &Verdict| {
            let time = i64::try_from(verdict.time.as_nanosecond()).unwrap_or(i64::MAX);
            let began = time.saturating_sub((verdict.duration_ms.unwrap_or_default() * 1e6) as i64);
            began.saturating_sub(compared.began_ns).saturating_abs()
        };
        let in_force = verdicts.into_iter().filter(|it| it.superseded_by.is_none());
        let nearest = in_force.map(|it| it.verdict).min_by_key(apart);
        if let Some(verdict) = nearest.filter(|it| apart(it) <= SAME_NS) {
            return Ok(Some(verdict));
        }
    }
    Ok(None)
}
