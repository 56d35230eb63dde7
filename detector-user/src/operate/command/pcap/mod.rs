//! `tlswhy pcap`: the engine over captures.

mod replay;
mod side_by_side;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::Context;
use detector_common::counter::Counter;

use super::collector::Collector;
use super::report;
use crate::cause::knowledge::Knowledge;
use crate::flow::fair_share::Shed;
use crate::flow::receiver::TimedReceiver;
use crate::operate::cli::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE, PcapArgs};
use crate::operate::pipeline::Pipeline;
use crate::operate::progress::Progress;
use crate::operate::scope::Scope;
use crate::operate::unseen_ca::CERTIFICATES_MIN_AT_END;
use crate::outlet::database::Past;
use crate::outlet::sink::Sinks;
use crate::outlet::summary::{CutFrames, Summary};
use crate::source::capture::LinkType;
use crate::source::capture_set::{Round, remove_repeats, rounds};
use crate::source::capture_tap::SETTLED_MAX;
use crate::source::packet_filter::{FilterError, PacketFilter};
use crate::source::tap::counters::forgotten;
use crate::source::unread::Unread;
use crate::verdict::counted;
use replay::Replay;
use side_by_side::side_by_side;

/// Writes a report on captures to a file.
pub type WriteReport = fn(&Path, &[PathBuf], &Past) -> anyhow::Result<()>;

/// Maximum tracked flows; a capture of more simultaneous ones is judged in part, with a count.
pub(super) const FLOWS: usize = 1 << 20;

/// The result of reading.
pub(super) struct Reading {
    /// Captures that could not be read to their end.
    pub(super) cut_captures: usize,
    pub(super) cut_frames: CutFrames,
    counters: Vec<(Counter, u64)>,
    unread: BTreeMap<Unread, u64>,
    filter: Option<PacketFilter>,
}

impl Reading {
    /// Whether there were captures, and none of them could be read at all.
    pub(super) fn is_nothing(&self) -> bool {
        let frames: u64 = self.counters.iter().map(|(_, count)| count).sum();
        self.cut_captures > 0 && frames == 0 && self.unread.is_empty()
    }
}

/// Leaves out captures that are the same as one before, and says so.
pub(super) fn leave_out_repeats(named: &mut Vec<(String, PathBuf)>, files: &mut Vec<PathBuf>) {
    for repeat in remove_repeats(named, files) {
        complain!(
            "tlswhy: {} is the same capture as {}: it is read once",
            repeat.path.display(),
            repeat.of.display()
        );
    }
}

/// Reads the captures as one run, those of one gateway's taps together, and otherwise in the order of their
/// beginnings: a connection may continue in the next file, unless that begins before this one ends. Learned facts
/// are kept in any case.
///
/// # Errors
/// If an output cannot be opened, or the report cannot be written.
pub fn run(mut arguments: PcapArgs, write_report: WriteReport) -> anyhow::Result<u8> {
    let filter = arguments.expression.as_deref();
    let filter = match filter.map(PacketFilter::new).transpose() {
        Ok(filter) => filter,
        Err(error @ FilterError::Expression { .. }) => {
            complain!("tlswhy: {error}");
            return Ok(EXIT_USAGE);
        }
        Err(error) => return Err(error.into()),
    };
    let mut sinks = Sinks::open(&arguments.outputs(), arguments.writing.folds())
        .context("cannot open an output")?;
    let collector = arguments.report.as_ref().map(|_| Collector::new());
    let collector = collector.transpose()?;
    if let Some(collector) = &collector {
        sinks.add(collector.sink());
    }
    leave_out_repeats(&mut arguments.taps, &mut arguments.files);
    if let (false, Some(first)) = (arguments.taps.is_empty(), arguments.files.first()) {
        complain!(
            "tlswhy: {} is read by itself, as all captures without a name beside --tap; name it to join its \
             connections: --tap NAME={0}",
            first.display()
        );
    }
    let captures: Vec<_> = arguments.paths().map(Path::to_path_buf).collect();
    let progress = Progress::begin(!arguments.quiet);
    let threads = arguments.threads;
    let knowledge = Knowledge::from(arguments.knowledge);
    let mut pipeline = Pipeline::new(FLOWS, knowledge.clone(), sinks, report);
    if let Some(collector) = &collector {
        pipeline.count_acceptances(collector.acceptances.clone());
    }
    let ignored = arguments.filter.ignored();
    pipeline.set_knowledge(
        knowledge,
        Scope {
            clients: Vec::new(),
            ignored,
        },
    );
    pipeline.set_filter(arguments.filter.filter());
    if let Some(wait) = arguments.writing.settle {
        pipeline.settle_after(wait);
    }
    let several = arguments.files.len() > 1;
    let readers = if several {
        threads_or_cores(threads)
    } else {
        1
    };
    let rounds = rounds(&arguments.taps, &arguments.files, readers);
    let Reading {
        cut_captures,
        cut_frames,
        counters,
        unread,
        mut filter,
    } = read(&mut pipeline, &rounds, filter, threads, &progress)?;
    let mut code = if cut_captures > 0 || progress.is_interrupted() {
        EXIT_FAILED
    } else {
        EXIT_DONE
    };
    if pipeline.is_closed() {
        return Ok(code);
    }
    finish(&mut pipeline);
    for error in filter.iter_mut().flat_map(PacketFilter::take_errors) {
        complain!("tlswhy: {error}");
        code = EXIT_FAILED;
    }
    for (kind, frames) in &unread {
        if let Unread::LinkType(link) = kind {
            complain!(
                "tlswhy: skipped {} of unsupported link type {}",
                counted(*frames, "frame", "frames"),
                LinkType(*link)
            );
            code = EXIT_FAILED;
        }
    }
    let summary = Summary {
        tally: pipeline.tally(),
        forgotten: forgotten(&counters, SETTLED_MAX as u64),
        shed: Shed::default(),
        counters,
        unread: named(&unread),
        rejected: filter.map_or(0, |filter| filter.rejected()),
        cut_captures,
        cut_frames,
    };
    complain!("{summary}");
    if !summary.tally.lost_verdicts.is_empty() {
        code = EXIT_FAILED;
    }
    drop(pipeline);
    if let (Some(path), Some(collector)) = (&arguments.report, collector) {
        write_report(path, &captures, &collector.into_past()?)?;
    }
    Ok(code)
}

/// Reads the frames of captures that a filter accepts into a pipeline, which is not finished yet, on so
/// many threads.
///
/// # Errors
/// If no thread can be started.
pub(super) fn read(
    pipeline: &mut Pipeline,
    rounds: &[Round],
    filter: Option<PacketFilter>,
    threads: Option<u16>,
    progress: &Progress,
) -> anyhow::Result<Reading> {
    let reading = if self::threads(rounds, threads) > 1 {
        side_by_side(pipeline, |carrier| {
            replay(Replay::new(carrier, filter), rounds, progress)
        })?
    } else {
        replay(Replay::new(pipeline, filter), rounds, progress)
    };
    if progress.is_interrupted() {
        complain!("tlswhy: interrupted: what was found so far follows");
    }
    Ok(reading)
}

/// Judges what is left at the end of captures, and reports a CA that was named and issued nothing.
pub(super) fn finish(pipeline: &mut Pipeline) {
    pipeline.finish();
    if let Some(message) = pipeline.take_unseen_ca(CERTIFICATES_MIN_AT_END) {
        complain!("tlswhy: {message}");
    }
}

/// Reads the frames of captures into a receiver, on this thread.
pub(super) fn read_into<R: TimedReceiver>(
    receiver: &mut R,
    rounds: &[Round],
    progress: &Progress,
) -> Reading {
    replay(Replay::new(receiver, None), rounds, progress)
}

/// Bytes of captures that are read and judged before another thread would have begun.
const FEW: u64 = 1 << 20;

/// Returns the number of threads for reading and judging. A stream has one: its verdicts are not delayed.
fn threads(rounds: &[Round], wanted: Option<u16>) -> usize {
    let mut len = 0;
    for capture in rounds.iter().flatten() {
        match capture.path.metadata() {
            Ok(file) if file.is_file() => len += file.len(),
            _ => return 1,
        }
    }
    if len <= FEW {
        return 1;
    }
    threads_or_cores(wanted)
}

fn threads_or_cores(wanted: Option<u16>) -> usize {
    wanted.map_or_else(cores, usize::from)
}

/// Returns the number of cores.
pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn replay<R: TimedReceiver>(
    mut replay: Replay<'_, R>,
    rounds: &[Round],
    progress: &Progress,
) -> Reading {
    let mut cut_captures = 0;
    for round in rounds {
        cut_captures += replay.round(round, progress);
        if replay.receiver.is_closed() || progress.is_interrupted() {
            break;
        }
    }
    Reading {
        cut_captures,
        cut_frames: replay.cut_frames,
        counters: replay.tap.counters().collect(),
        unread: replay.tap.unread().clone(),
        filter: replay.filter,
    }
}

/// Names the kinds of frames that were not read, the most frequent first.
fn named(unread: &BTreeMap<Unread, u64>) -> Vec<(String, u64)> {
    let kinds = unread.iter();
    let kinds = kinds.filter(|(kind, _)| !matches!(kind, Unread::LinkType(_)));
    let mut named: Vec<_> = kinds
        .map(|(kind, frames)| (kind.to_string(), *frames))
        .collect();
    named.sort_by_key(|(_, frames)| std::cmp::Reverse(*frames));
    named
}
