//! Going through what gathered while no agent ran, or while this one did not get to it.

use detector_common::observation::{ChunkHead, Observation};

use crate::pipeline::Pipeline;
use crate::tap::Receiver;

/// From this age on observations are judged one by one, as of their own time. Younger ones are handed
/// on together, which costs less.
const LATE_NS: u64 = 1_000_000_000;

/// Hands observations on so that late ones lead to what they would have led to in time.
pub(super) struct CatchUp<'a> {
    pipeline: &'a mut Pipeline,
    late_before_ns: u64,
}

impl<'a> CatchUp<'a> {
    /// `now_ns` is on the kernel's clock.
    pub(super) fn new(pipeline: &'a mut Pipeline, now_ns: u64) -> Self {
        Self {
            pipeline,
            late_before_ns: now_ns.saturating_sub(LATE_NS),
        }
    }
}

impl Receiver for CatchUp<'_> {
    fn observation(&mut self, observation: &Observation) {
        let at_ns = observation.time_ns;
        if at_ns >= self.late_before_ns {
            self.pipeline.observation(observation);
            return;
        }
        self.pipeline.keep_up(at_ns);
        self.pipeline.observation(observation);
        self.pipeline.keep_up(at_ns);
    }

    fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]) {
        self.pipeline.chunk(head, bytes);
    }
}
