//! Several sinks, none of which can stop the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::queue::Queue;
use super::{Sink, SinkError, SinkStatus};
use crate::verdict::Verdict;

/// Writes each verdict to every sink and counts losses.
#[derive(Default)]
pub struct Sinks {
    /// Called directly: the caller waits for them.
    direct: Vec<Direct>,
    /// On threads of their own.
    queues: Vec<Queue>,
}

struct Direct {
    sink: Box<dyn Sink>,
    open: bool,
    /// Verdicts lost, by kind of failure. A kind is reported when it first appears.
    lost: BTreeMap<&'static str, u64>,
}

/// The verdicts that one sink lost for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// The sink's name.
    pub output: &'static str,
    /// [`SinkError::kind`].
    pub kind: &'static str,
    /// Verdicts this sink lost.
    pub verdicts: u64,
}

impl Sinks {
    /// Writes to all of `sinks`, one after the other: a slow reader loses nothing.
    #[must_use]
    pub fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        let direct = |sink| Direct {
            sink,
            open: true,
            lost: BTreeMap::new(),
        };
        Self {
            direct: sinks.into_iter().map(direct).collect(),
            queues: Vec::new(),
        }
    }

    /// Adds a sink, which is called directly.
    pub fn add(&mut self, sink: Box<dyn Sink>) {
        self.direct.push(Direct {
            sink,
            open: true,
            lost: BTreeMap::new(),
        });
    }

    pub(super) fn queued(queues: Vec<Queue>) -> Self {
        Self {
            direct: Vec::new(),
            queues,
        }
    }

    /// Writes `verdict` to every sink that is open. Returns the failures to report: each kind once for
    /// each sink, however often it happens; [`Self::losses`] has the counts.
    #[must_use = "a failure that is not reported is hidden"]
    pub fn write(&mut self, verdict: &Verdict) -> Vec<SinkError> {
        if !self.queues.is_empty() {
            let verdict = Arc::new(verdict.clone());
            for queue in &self.queues {
                queue.push(&verdict);
            }
        }
        self.each(|sink| sink.write(verdict), 1)
    }

    /// Flushes every sink that has no thread of its own. Returns the failures to report, also of those
    /// that have one.
    #[must_use = "a failure that is not reported is hidden"]
    pub fn flush(&mut self) -> Vec<SinkError> {
        self.each(|sink| sink.flush(), 0)
    }

    /// Reopens files that may have been moved.
    pub fn reopen(&mut self) -> Vec<SinkError> {
        for queue in &self.queues {
            queue.reopen();
        }
        self.each(|sink| sink.reopen(), 0)
    }

    /// Ends all sinks: queued verdicts are written within `patience`, and otherwise spilled or counted
    /// as lost.
    pub fn close(&mut self, patience: Duration) -> Vec<SinkError> {
        let end = Instant::now() + patience;
        for queue in &self.queues {
            queue.request_end(end);
        }
        for queue in &self.queues {
            queue.await_end(end);
        }
        self.flush()
    }

    /// Whether every reader is gone: time to end.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !self.direct.iter().any(|slot| slot.open) && self.queues.iter().all(Queue::is_closed)
    }

    /// Returns the numbers of each sink that has a thread of its own.
    pub fn status(&self) -> Vec<SinkStatus> {
        self.queues.iter().map(Queue::status).collect()
    }

    /// Returns the losses so far. A sink whose reader is gone has lost nothing.
    pub fn losses(&self) -> Vec<Loss> {
        let direct = self
            .direct
            .iter()
            .map(|slot| (slot.sink.name(), slot.lost.clone()));
        let queues = self
            .queues
            .iter()
            .map(|queue| (queue.name(), queue.status().lost));
        let mut losses = Vec::new();
        for (output, lost) in direct.chain(queues) {
            let lost = lost.into_iter().filter(|(_, verdicts)| *verdicts > 0);
            losses.extend(lost.map(|(kind, verdicts)| Loss {
                output,
                kind,
                verdicts,
            }));
        }
        losses
    }

    fn each(
        &mut self,
        mut act: impl FnMut(&mut dyn Sink) -> Result<(), SinkError>,
        verdicts: u64,
    ) -> Vec<SinkError> {
        let mut errors: Vec<SinkError> = self.queues.iter().flat_map(Queue::take_errors).collect();
        for slot in self.direct.iter_mut().filter(|slot| slot.open) {
            let Err(error) = act(slot.sink.as_mut()) else {
                continue;
            };
            if error.is_final() {
                slot.open = false;
                errors.push(error);
                continue;
            }
            let known = slot.lost.contains_key(error.kind());
            *slot.lost.entry(error.kind()).or_default() += verdicts;
            if !known {
                errors.push(error);
            }
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::outlet::sink::JsonLines;
    use crate::verdict::tests::pinning;

    /// A sink that fails as scripted, then works; it counts verdicts.
    struct Scripted {
        failures: Vec<SinkError>,
        got: Arc<Mutex<u32>>,
    }

    impl Sink for Scripted {
        fn name(&self) -> &'static str {
            "scripted"
        }

        fn write(&mut self, _: &Verdict) -> Result<(), SinkError> {
            if let Some(error) = self.failures.pop() {
                return Err(error);
            }
            *self.got.lock().unwrap() += 1;
            Ok(())
        }

        fn flush(&mut self) -> Result<(), SinkError> {
            self.failures.pop().map_or(Ok(()), Err)
        }
    }

    fn scripted(failures: Vec<SinkError>) -> (Box<dyn Sink>, Arc<Mutex<u32>>) {
        let got = Arc::default();
        (
            Box::new(Scripted {
                failures,
                got: Arc::clone(&got),
            }),
            got,
        )
    }

    fn missing() -> SinkError {
        SinkError::JournalMissing {
            socket: "/x".into(),
        }
    }

    #[test]
    fn a_sink_that_fails_does_not_stop_the_others_and_is_reported_once() {
        let (bad, got_bad) = scripted(vec![missing(), missing(), missing()]);
        let (good, got_good) = scripted(vec![]);
        let mut sinks = Sinks::new(vec![bad, good]);
        let reported: Vec<_> = (0..5).map(|_| sinks.write(&pinning()).len()).collect();
        assert_eq!(reported, [1, 0, 0, 0, 0]);
        assert_eq!(
            (*got_bad.lock().unwrap(), *got_good.lock().unwrap()),
            (2, 5)
        );
        let loss = Loss {
            output: "scripted",
            kind: "journald-missing",
            verdicts: 3,
        };
        assert_eq!(sinks.losses(), [loss]);
    }

    #[test]
    fn each_kind_is_reported() {
        let busy = SinkError::JournalBusy {
            socket: "/x".into(),
        };
        let (bad, _) = scripted(vec![missing(), busy, missing()]);
        let mut sinks = Sinks::new(vec![bad]);
        let reported: Vec<_> = (0..4).map(|_| sinks.write(&pinning()).len()).collect();
        assert_eq!(reported, [1, 1, 0, 0]);
        assert_eq!(
            sinks.losses().iter().map(|loss| loss.verdicts).sum::<u64>(),
            3
        );
    }

    #[test]
    fn ends_when_the_last_reader_left_and_calls_that_no_loss() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        drop(theirs);
        let mut sinks = Sinks::new(vec![Box::new(JsonLines::new(ours))]);
        assert!(!sinks.is_closed());
        assert_eq!(sinks.write(&pinning()).len(), 1);
        assert!(sinks.is_closed());
        assert!(sinks.write(&pinning()).is_empty());
        assert_eq!(sinks.losses().len(), 0);
    }

    #[test]
    fn a_failed_flush_is_reported_but_loses_no_verdict() {
        let (bad, _) = scripted(vec![missing()]);
        let mut sinks = Sinks::new(vec![bad]);
        assert_eq!(sinks.flush().len(), 1);
        assert_eq!(sinks.losses().len(), 0);
    }
}
