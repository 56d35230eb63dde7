//! Frames of captures, one file after another, through the engine.

use std::collections::HashSet;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

use crate::flow::receiver::TimedReceiver;
use crate::source::capture::{CaptureFile, Frame};
use crate::source::capture_tap::CaptureTap;

/// Maximum overlap of captures that follow each other.
const OVERLAP_NS: u64 = 1_000_000_000;
/// A jump of time, nanoseconds, that may be a clock's: a connection that goes on must not be taken for
/// one that lay idle for as long.
const JUMP_NS: u64 = 60_000_000_000;
/// Time after a jump, nanoseconds, within which connections show that they go on.
const AFTER_JUMP_NS: u64 = 1_000_000_000;
/// Frames between updates of the progress bar and checks for a closed reader.
const BATCH: u64 = 4096;

/// The engine, and the receiver of its observations.
pub(super) struct Replay<'f, R> {
    pub(super) tap: CaptureTap,
    pub(super) receiver: &'f mut R,
    deadlines: DeadlineClock,
}

/// The time up to which connections that show nothing more are over.
#[derive(Default)]
struct DeadlineClock {
    latest_ns: u64,
    /// Time before and after the last jump, until it is believed.
    jump: Option<(u64, u64)>,
}

impl DeadlineClock {
    /// Advances to the time of a frame, or stands still for a moment where that is a jump.
    fn advance(&mut self, time_ns: u64) -> u64 {
        let before = self.latest_ns;
        self.latest_ns = before.max(time_ns);
        if before > 0 && self.latest_ns - before > JUMP_NS && self.jump.is_none() {
            self.jump = Some((before, self.latest_ns));
        }
        match self.jump {
            Some((before, after)) if self.latest_ns - after < AFTER_JUMP_NS => before,
            _ => {
                self.jump = None;
                self.latest_ns
            }
        }
    }
}

impl<'f, R: TimedReceiver> Replay<'f, R> {
    pub(super) fn new(receiver: &'f mut R) -> Self {
        Self {
            tap: CaptureTap::default(),
            receiver,
            deadlines: DeadlineClock::default(),
        }
    }

    /// Reads one capture to its end.
    ///
    /// # Errors
    /// If it is damaged or cannot be read; earlier frames are received.
    pub(super) fn file(&mut self, path: &Path, progress: bool) -> anyhow::Result<()> {
        let mut capture = CaptureFile::open(path)?;
        let bar = progress_bar(path, progress);
        let mut named = HashSet::new();
        let result = loop {
            let frame = match capture.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            if named.is_empty() && frame.time_ns.saturating_add(OVERLAP_NS) < self.tap.now_ns() {
                self.receiver.end_flows();
                self.tap.restart();
                self.deadlines = DeadlineClock::default();
            }
            let due_ns = self.deadlines.advance(frame.time_ns);
            self.receiver.advance_if_due(due_ns);
            let interface = frame.interface;
            if named.insert(interface) {
                // The first frame is copied while its interface is named, which must precede its flow.
                let captured = frame.captured.to_vec();
                let frame = Frame {
                    captured: &[],
                    ..frame
                };
                let name = capture.interface_name(interface).map(str::to_owned);
                self.receiver
                    .name_tap(interface, &name.unwrap_or_else(|| file_name(path)));
                let frame = Frame {
                    captured: &captured,
                    ..frame
                };
                self.tap.capture_frame(&frame, self.receiver);
            } else {
                self.tap.capture_frame(&frame, self.receiver);
            }
            self.receiver.advance_if_due(due_ns);
            if capture.frames().is_multiple_of(BATCH) {
                bar.set_position(capture.offset());
                if self.receiver.is_closed() {
                    break Ok(());
                }
            }
        };
        self.receiver.advance(self.tap.now_ns());
        bar.finish_and_clear();
        Ok(result?)
    }
}

/// Returns the name of the tap of a capture without interface names.
fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// Returns a bar over the file's bytes, hidden if it is not shown.
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

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn deadlines_wait_for_what_goes_on_after_a_jump() {
        let mut clock = DeadlineClock::default();
        let times = [1000, 1001, 4601, 4601, 4602, 4603, 4000, 4604];
        let due = times.map(|time| clock.advance(time * S) / S);
        assert_eq!(due, [1000, 1001, 1001, 1001, 4602, 4603, 4603, 4604]);
    }
}
