//! Frames of captures through the engine: one capture after another, those of one gateway together.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::flow::receiver::TimedReceiver;
use crate::operate::progress::Progress;
use crate::outlet::summary::CutFrames;
use crate::source::capture::{CaptureError, CaptureFile, Frame};
use crate::source::capture_set::{OVERLAP_NS, TapCapture};
use crate::source::capture_tap::CaptureTap;
use crate::source::packet_filter::PacketFilter;

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
    pub(super) cut_frames: CutFrames,
    /// The frames that are read; all without one.
    pub(super) filter: Option<PacketFilter>,
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
    pub(super) fn new(receiver: &'f mut R, filter: Option<PacketFilter>) -> Self {
        Self {
            tap: CaptureTap::default(),
            receiver,
            cut_frames: CutFrames::default(),
            filter,
            deadlines: DeadlineClock::default(),
        }
    }

    /// Reads captures to their end, in the order of their frames' times. Returns how many are damaged or
    /// cannot be read, after a message about each; their earlier frames are received.
    pub(super) fn round(&mut self, captures: &[TapCapture], progress: &Progress) -> usize {
        let mut merge = Merge::open(captures);
        let bar = progress.bar(captures.iter().map(|it| it.path.as_path()));
        let mut is_first = true;
        let mut ended = None;
        let mut frames: u64 = 0;
        loop {
            if frames.is_multiple_of(BATCH) {
                bar.set_position(merge.offset());
                // The first frames are read in any case, so that something is found.
                let is_interrupted = frames > 0 && progress.is_interrupted();
                if self.receiver.is_closed() || is_interrupted {
                    break;
                }
            }
            if let Some(end) = ended.take() {
                merge.end_last(end);
            }
            let Some(reading) = merge.next() else {
                break;
            };
            let frame = match reading.capture.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    ended = Some(Ok(()));
                    continue;
                }
                Err(error) => {
                    ended = Some(Err(error));
                    continue;
                }
            };
            frames += 1;
            if !self.filter.as_mut().is_none_or(|it| it.accepts(&frame)) {
                continue;
            }
            if is_first && frame.time_ns.saturating_add(OVERLAP_NS) < self.tap.now_ns() {
                self.receiver.end_flows();
                self.tap.restart();
                self.deadlines = DeadlineClock::default();
            }
            is_first = false;
            self.cut_frames
                .record(frame.captured.len(), frame.original_len as usize);
            let due_ns = self.deadlines.advance(frame.time_ns);
            self.receiver.advance_if_due(due_ns);
            let number = frame.interface;
            let interface = reading.of.interface(number);
            let frame = Frame { interface, ..frame };
            if !reading.named.contains(number) {
                reading.named.insert(number);
                // The first frame is copied while its interface is named, which must precede its flow.
                let captured = frame.captured.to_vec();
                let frame = Frame {
                    captured: &[],
                    ..frame
                };
                let name = reading.capture.interface_name(number);
                let name = tap_name(&reading.of, number, name);
                self.receiver.name_tap(interface, &name);
                let frame = Frame {
                    captured: &captured,
                    ..frame
                };
                self.tap.capture_frame(&frame, self.receiver);
            } else {
                self.tap.capture_frame(&frame, self.receiver);
            }
            self.receiver.advance_if_due(due_ns);
        }
        self.receiver.advance(self.tap.now_ns());
        bar.finish_and_clear();
        merge.cut_captures
    }
}

/// A capture that is being read.
struct Reading {
    of: TapCapture,
    capture: CaptureFile,
    /// Interfaces whose taps are named.
    named: Named,
}

/// A set of interfaces of a capture, which are few and asked for with each frame.
#[derive(Default)]
struct Named(Vec<bool>);

impl Named {
    #[inline]
    fn contains(&self, number: u32) -> bool {
        self.0.get(number as usize).copied().unwrap_or(false)
    }

    fn insert(&mut self, number: u32) {
        let at = number as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, false);
        }
        if let Some(is_named) = self.0.get_mut(at) {
            *is_named = true;
        }
    }
}

/// The frames of several captures in the order of their times; each capture's own order is kept.
struct Merge {
    captures: Vec<Reading>,
    /// The time of each capture's next frame, and the capture's position.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    cut_captures: usize,
    /// The capture whose frame was taken last, and that frame's time.
    last: Option<(usize, u64)>,
}

impl Merge {
    fn open(captures: &[TapCapture]) -> Self {
        let mut merge = Self {
            captures: Vec::new(),
            next: BinaryHeap::new(),
            cut_captures: 0,
            last: None,
        };
        for of in captures {
            match CaptureFile::open(&of.path) {
                Ok(capture) => merge.push(Reading {
                    of: of.clone(),
                    capture,
                    named: Named::default(),
                }),
                Err(error) => merge.report(&error),
            }
        }
        merge
    }

    /// Returns the capture with the earliest next frame, which the caller takes. Of the last capture it is not known
    /// whether there is another frame.
    #[inline]
    fn next(&mut self) -> Option<&mut Reading> {
        if let (Some((position, _)), true) = (self.last, self.next.is_empty()) {
            return self.captures.get_mut(position);
        }
        self.next_of_several()
    }

    /// Ends the capture that was returned last.
    fn end_last(&mut self, end: Result<(), CaptureError>) {
        self.last = None;
        if let Err(error) = end {
            self.report(&error);
        }
    }

    fn next_of_several(&mut self) -> Option<&mut Reading> {
        if let Some((position, time_ns)) = self.last.take()
            && let Some(time_ns) = self.next_time(position, time_ns)
        {
            // Most often it is this capture's turn again.
            let next = (time_ns, position);
            let others = self.next.peek_mut().filter(|first| first.0 < next);
            let Some(mut first) = others else {
                self.last = Some((position, time_ns));
                return self.captures.get_mut(position);
            };
            let Reverse(earliest) = std::mem::replace(&mut *first, Reverse(next));
            drop(first);
            self.last = Some((earliest.1, earliest.0));
            return self.captures.get_mut(earliest.1);
        }
        let Reverse((time_ns, position)) = self.next.pop()?;
        self.last = Some((position, time_ns));
        self.captures.get_mut(position)
    }

    /// Adds a capture that was opened.
    fn push(&mut self, reading: Reading) {
        let position = self.captures.len();
        self.captures.push(reading);
        if let Some(time_ns) = self.next_time(position, 0) {
            self.next.push(Reverse((time_ns, position)));
        }
    }

    /// Returns the time of a capture's next frame, which is not before its last one's; `None` at its end.
    fn next_time(&mut self, position: usize, latest_ns: u64) -> Option<u64> {
        match self.captures.get_mut(position)?.capture.next_time() {
            Ok(next) => next.map(|time_ns| time_ns.max(latest_ns)),
            Err(error) => {
                self.report(&error);
                None
            }
        }
    }

    fn report(&mut self, error: &CaptureError) {
        complain!("tlswhy: {error}");
        self.cut_captures += 1;
    }

    /// Returns the bytes read so far.
    fn offset(&self) -> u64 {
        self.captures.iter().map(|it| it.capture.offset()).sum()
    }
}

/// Returns the name of the tap of an interface in a capture, which may have a name itself.
fn tap_name(of: &TapCapture, number: u32, interface: Option<&str>) -> String {
    match (&of.name, interface) {
        (Some(name), Some(interface)) if number > 0 => format!("{name}/{interface}"),
        (Some(name), None) if number > 0 => format!("{name}/{number}"),
        (Some(name), _) => name.clone(),
        (None, Some(interface)) => interface.to_owned(),
        (None, None) => of.label.clone(),
    }
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
