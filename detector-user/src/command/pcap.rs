//! `tlswhy pcap`: the engine over captures.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use super::report;
use crate::capture::{CaptureFile, Frame, LinkType};
use crate::cli::{EXIT_DONE, EXIT_FAILED, PcapArgs};
use crate::pipeline::Pipeline;
use crate::sink::Sinks;
use crate::summary::Summary;
use crate::tap::capture::{CaptureTap, SETTLED_MAX, link_type};

/// Flows tracked at once; a capture of more live ones is judged in part, and says so.
const FLOWS: usize = 1 << 20;
/// Captures that follow each other may overlap by so much.
const OVERLAP_NS: u64 = 1_000_000_000;
/// Frames between looks at the clock and the progress bar.
const BATCH: u64 = 4096;

/// Reads the captures in the order given, as one run: a connection may go on in the next file,
/// unless that begins earlier than this one ends. What was learned stays in any case.
///
/// # Errors
/// If an output cannot be opened.
pub fn run(arguments: PcapArgs) -> anyhow::Result<u8> {
    let sinks = Sinks::open(&arguments.outputs()).context("cannot open an output")?;
    let progress = arguments.shows_progress();
    let mut replay = Replay {
        tap: CaptureTap::default(),
        pipeline: Pipeline::new(FLOWS, arguments.knowledge, sinks, report),
        unread: BTreeMap::new(),
    };
    let mut code = EXIT_DONE;
    for file in &arguments.files {
        if let Err(error) = replay.file(file, progress) {
            eprintln!("tlswhy: {error}");
            code = EXIT_FAILED;
        }
        if replay.pipeline.is_closed() {
            return Ok(code);
        }
    }
    replay.pipeline.finish();
    for (link, frames) in &replay.unread {
        eprintln!(
            "tlswhy: {frames} frames of link type {} were not read",
            LinkType(*link)
        );
        code = EXIT_FAILED;
    }
    if !arguments.quiet {
        let counters = replay.tap.counters().collect();
        eprintln!(
            "{}",
            Summary {
                tally: replay.pipeline.tally(),
                counters,
                settled_max: SETTLED_MAX as u64,
            }
        );
    }
    Ok(code)
}

struct Replay {
    tap: CaptureTap,
    pipeline: Pipeline,
    /// Frames of link types the engine does not read.
    unread: BTreeMap<u32, u64>,
}

impl Replay {
    fn file(&mut self, path: &Path, progress: bool) -> anyhow::Result<()> {
        let mut capture = CaptureFile::open(path)?;
        let bar = progress_bar(path, progress);
        let mut named = HashSet::new();
        let result = loop {
            let frame = match capture.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            let Some(link) = link_type(frame.link_type) else {
                *self.unread.entry(frame.link_type.0).or_default() += 1;
                continue;
            };
            if named.is_empty() && frame.time_ns.saturating_add(OVERLAP_NS) < self.tap.now_ns() {
                self.pipeline.end_flows();
                self.tap.restart();
            }
            self.pipeline.keep_up(frame.time_ns);
            let interface = frame.interface;
            if named.insert(interface) {
                // The first frame is kept aside while its interface is named, before any flow is.
                let captured = frame.captured.to_vec();
                let frame = Frame {
                    captured: &[],
                    ..frame
                };
                let name = capture.interface_name(interface).map(str::to_owned);
                self.pipeline
                    .name_tap(interface, &name.unwrap_or_else(|| file_name(path)));
                let frame = Frame {
                    captured: &captured,
                    ..frame
                };
                self.tap.frame(&frame, link, interface, &mut self.pipeline);
            } else {
                self.tap.frame(&frame, link, interface, &mut self.pipeline);
            }
            self.pipeline.keep_up(self.tap.now_ns());
            if capture.frames().is_multiple_of(BATCH) {
                bar.set_position(capture.offset());
                if self.pipeline.is_closed() {
                    break Ok(());
                }
            }
        };
        self.pipeline.advance(self.tap.now_ns());
        bar.finish_and_clear();
        Ok(result?)
    }
}

/// What a capture without interface names calls its tap.
fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// A bar over the file's bytes, or nothing where nobody would see it.
fn progress_bar(path: &Path, shown: bool) -> ProgressBar {
    let len = std::fs::metadata(path)
        .map(|metadata| metadata.len())
        .unwrap_or(0);
    if !shown || len == 0 {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(len);
    let style = ProgressStyle::with_template("{msg} {bar:40} {bytes}/{total_bytes} {eta}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_message(file_name(path));
    bar
}
