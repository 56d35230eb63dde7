//! Reading and judging side by side: the engine's output is carried to the pipeline in batches.
//!
//! Verdicts and their order are those of one thread, because the pipeline is called in the same way:
//! with the times before and after each frame that has an observation or bytes. Frames without either
//! only advance time, and the pipeline's result does not depend on how often it advances.

use std::sync::mpsc::{Receiver as Inbox, SyncSender, sync_channel};
use std::thread;

use anyhow::anyhow;
use detector_common::observation::{ChunkHead, Observation};

use crate::flow::preamble::PreambleReport;
use crate::flow::receiver::{Receiver, TimedReceiver};
use crate::flow::unreachable::UnreachableReport;

/// Maximum batches in transit.
const BATCHES: usize = 4;
/// Steps in a batch.
const STEPS: usize = 512;

/// One call of the pipeline. Observations and chunks lie beside the steps, in order.
enum Step {
    NameTap(u32, String),
    UnixOffset(i64),
    AdvanceIfDue(u64),
    Advance(u64),
    EndFlows,
    Observation,
    Chunk { len: usize },
    Preamble(Box<PreambleReport>),
    Unreachable(Box<UnreachableReport>),
}

#[derive(Default)]
struct Batch {
    steps: Vec<Step>,
    observations: Vec<Observation>,
    heads: Vec<ChunkHead>,
    bytes: Vec<u8>,
}

impl Batch {
    /// Runs the steps on the pipeline, and empties the batch.
    fn play(&mut self, pipeline: &mut impl TimedReceiver) {
        let mut observations = self.observations.iter();
        let mut heads = self.heads.iter();
        let mut bytes = self.bytes.as_slice();
        for step in &self.steps {
            match step {
                Step::NameTap(interface, name) => pipeline.name_tap(*interface, name),
                Step::UnixOffset(offset_ns) => pipeline.set_unix_offset(*offset_ns),
                Step::AdvanceIfDue(now_ns) => pipeline.advance_if_due(*now_ns),
                Step::Advance(now_ns) => pipeline.advance(*now_ns),
                Step::EndFlows => pipeline.end_flows(),
                Step::Observation => {
                    if let Some(observation) = observations.next() {
                        pipeline.observation(observation);
                    }
                }
                Step::Preamble(report) => pipeline.preamble(report),
                Step::Unreachable(report) => pipeline.unreachable(report),
                Step::Chunk { len } => {
                    if let (Some(head), Some((chunk, rest))) =
                        (heads.next(), bytes.split_at_checked(*len))
                    {
                        pipeline.chunk(head, chunk);
                        bytes = rest;
                    }
                }
            }
        }
        self.steps.clear();
        self.observations.clear();
        self.heads.clear();
        self.bytes.clear();
    }
}

/// The engine's side: fills batches and sends them.
pub(super) struct Carrier {
    batch: Batch,
    full: SyncSender<Batch>,
    empty: Inbox<Batch>,
    /// Time before a frame that has had no output yet.
    before_ns: Option<u64>,
    /// The frame has had output.
    has_output: bool,
    closed: bool,
}

impl Carrier {
    fn step(&mut self, step: Step) {
        self.batch.steps.push(step);
    }

    /// Pushes a step that belongs to a frame; the time before it comes first.
    fn push(&mut self, step: Step) {
        if let Some(before_ns) = self.before_ns.take() {
            self.step(Step::AdvanceIfDue(before_ns));
        }
        self.has_output = true;
        self.step(step);
    }

    fn send(&mut self) {
        // Batches come back for as long as the pipeline takes any.
        let next = self.empty.try_recv().unwrap_or_default();
        let batch = std::mem::replace(&mut self.batch, next);
        self.closed |= self.full.send(batch).is_err();
    }
}

impl Receiver for Carrier {
    fn observation(&mut self, observation: &Observation) {
        self.push(Step::Observation);
        self.batch.observations.push(*observation);
    }

    fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]) {
        self.push(Step::Chunk { len: bytes.len() });
        self.batch.heads.push(*head);
        self.batch.bytes.extend_from_slice(bytes);
    }

    fn preamble(&mut self, report: &PreambleReport) {
        self.push(Step::Preamble(Box::new(report.clone())));
    }

    fn unreachable(&mut self, report: &UnreachableReport) {
        self.push(Step::Unreachable(Box::new(*report)));
    }
}

impl TimedReceiver for Carrier {
    fn name_tap(&mut self, interface: u32, name: &str) {
        self.push(Step::NameTap(interface, name.to_owned()));
    }

    fn set_unix_offset(&mut self, offset_ns: i64) {
        self.step(Step::UnixOffset(offset_ns));
    }

    fn advance_if_due(&mut self, now_ns: u64) {
        if !self.has_output {
            self.before_ns = Some(now_ns);
            return;
        }
        self.has_output = false;
        self.step(Step::AdvanceIfDue(now_ns));
        if self.batch.steps.len() >= STEPS {
            self.send();
        }
    }

    fn advance(&mut self, now_ns: u64) {
        self.step(Step::Advance(now_ns));
    }

    fn end_flows(&mut self) {
        self.step(Step::EndFlows);
    }

    fn is_closed(&self) -> bool {
        self.closed
    }
}

/// Runs `read` on a thread of its own and the pipeline on this one, until all is read or every reader of
/// verdicts is gone.
///
/// # Errors
/// If the reading thread panicked.
pub(super) fn side_by_side<T: Send>(
    pipeline: &mut impl TimedReceiver,
    read: impl FnOnce(&mut Carrier) -> T + Send,
) -> anyhow::Result<T> {
    let (full, inbox) = sync_channel::<Batch>(BATCHES);
    let (back, empty) = sync_channel::<Batch>(BATCHES);
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut carrier = Carrier {
                batch: Batch::default(),
                full,
                empty,
                before_ns: None,
                has_output: false,
                closed: false,
            };
            let result = read(&mut carrier);
            carrier.send();
            result
        });
        for mut batch in &inbox {
            batch.play(pipeline);
            if pipeline.is_closed() {
                break;
            }
            // A thread that has ended, or has enough batches, needs none back.
            let _ = back.try_send(batch);
        }
        drop(inbox);
        reader
            .join()
            .map_err(|_| anyhow!("the thread that reads captures panicked"))
    })
}
