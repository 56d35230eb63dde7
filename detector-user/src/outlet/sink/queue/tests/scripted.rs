//! A sink that does as a test tells it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::outlet::sink::{Sink, SinkError};
use crate::verdict::Verdict;

/// A sink that accepts verdicts, is away, or hangs, as the test sets it.
#[derive(Default)]
pub(in crate::outlet::sink::queue) struct Scripted {
    is_away: AtomicBool,
    /// Verdicts that it accepts before it hangs; unlimited by default.
    accepts: Mutex<Option<u32>>,
    is_hanging: AtomicBool,
    got: Mutex<Vec<u16>>,
}

impl Scripted {
    pub(super) fn away() -> Arc<Self> {
        let sink = Arc::<Self>::default();
        sink.set_away(true);
        sink
    }

    pub(super) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }

    pub(super) fn hang_after(&self, number: impl Into<Option<u32>>) {
        *self.accepts.lock().unwrap() = number.into();
    }

    fn may_go_on(&self) -> bool {
        match &mut *self.accepts.lock().unwrap() {
            None => true,
            Some(0) => {
                self.is_hanging.store(true, Ordering::Relaxed);
                false
            }
            Some(number) => {
                *number -= 1;
                true
            }
        }
    }

    pub(super) fn got(&self) -> Vec<u16> {
        self.got.lock().unwrap().clone()
    }

    pub(super) fn is_hanging(&self) -> bool {
        self.is_hanging.load(Ordering::Relaxed)
    }
}

impl Sink for Arc<Scripted> {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        while !self.may_go_on() {
            thread::sleep(Duration::from_millis(1));
        }
        if self.is_away.load(Ordering::Relaxed) {
            let socket = "/x".into();
            return Err(SinkError::JournalMissing { socket });
        }
        self.got.lock().unwrap().push(verdict.client.port);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}
