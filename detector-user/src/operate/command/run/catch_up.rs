//! Late observations: those that gathered while no agent ran, or while this one was busy.

use detector_common::observation::{ChunkHead, Observation};

use crate::flow::receiver::{Receiver, TimedReceiver};

/// Age from which observations are judged one by one, as of their own time. Younger ones are passed on
/// together, which costs less.
const LATE_NS: u64 = 1_000_000_000;

/// Passes observations on so that late ones lead to the same verdicts as in time.
pub(super) struct CatchUp<'a, R> {
    receiver: &'a mut R,
    late_before_ns: u64,
}

impl<'a, R: TimedReceiver> CatchUp<'a, R> {
    /// Begins at `now_ns`, on the kernel's clock. An agent that is behind takes all for late: judged together, the
    /// connections that ended meanwhile would keep it from the rings for too long.
    pub(super) fn new(receiver: &'a mut R, now_ns: u64, is_behind: bool) -> Self {
        Self {
            receiver,
            late_before_ns: if is_behind {
                u64::MAX
            } else {
                now_ns.saturating_sub(LATE_NS)
            },
        }
    }
}

impl<R: TimedReceiver> Receiver for CatchUp<'_, R> {
    fn observation(&mut self, observation: &Observation) {
        if observation.time_ns < self.late_before_ns {
            self.receiver.late_observation(observation);
        } else {
            self.receiver.observation(observation);
        }
    }

    fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]) {
        self.receiver.chunk(head, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::knowledge::Knowledge;
    use crate::operate::pipeline::Pipeline;
    use crate::outlet::sink::Sinks;
    use crate::source::capture::CaptureFile;
    use crate::source::capture_tap::CaptureTap;

    const HOUR_NS: u64 = 3_600_000_000_000;

    #[derive(Default)]
    struct Told(Vec<Observation>);

    impl Receiver for Told {
        fn observation(&mut self, observation: &Observation) {
            self.0.push(*observation);
        }

        fn chunk(&mut self, _: &ChunkHead, _: &[u8]) {}
    }

    /// The kernel's observations of a connection, without its handshake bytes.
    fn connection() -> Vec<Observation> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures/corpus/");
        let name = "no-ca-wget-sslsplit-1.2.rejects-office-wget-sslsplit-tls12.pcap.gz";
        let mut capture = CaptureFile::open(format!("{folder}{name}").as_ref()).unwrap();
        let (mut tap, mut told) = (CaptureTap::default(), Told::default());
        while let Some(frame) = capture.next_frame().unwrap() {
            tap.capture_frame(&frame, &mut told);
        }
        told.0
    }

    /// Returns the connections judged after one was passed on and an observation of an hour later, with no
    /// later time.
    fn judged(late_before_ns: u64) -> u64 {
        let mut pipeline = Pipeline::new(100, Knowledge::default(), Sinks::new(Vec::new()), |_| {});
        let mut observations = connection();
        let mut later = observations[0];
        later.watched.flow.started_ns += HOUR_NS;
        later.time_ns += HOUR_NS;
        observations.push(later);
        let mut catch_up = CatchUp {
            receiver: &mut pipeline,
            late_before_ns,
        };
        for observation in &observations {
            catch_up.observation(observation);
        }
        pipeline.tally().outcomes.unfinished
    }

    #[test]
    fn a_late_observation_is_judged_as_of_its_own_time() {
        assert!(judged(u64::MAX) > 0);
        assert_eq!(judged(0), 0, "younger ones wait for the end of the turn");
    }
}
