//! A sink that writes the first of repeats, and then their count.

use std::time::{Duration, Instant};

use super::fold::{Fold, Repeats};
use super::{Sink, SinkError};
use crate::verdict::Verdict;

/// Shortest time between two looks for counts that are due.
const LOOK: Duration = Duration::from_secs(1);

/// A sink that can write the count of repeats.
pub(super) trait WriteRepeats: Sink {
    /// Writes a count.
    ///
    /// # Errors
    /// As [`Sink::write`].
    fn write_repeats(&mut self, repeats: &Repeats) -> Result<(), SinkError>;
}

/// Counts repeats of a verdict for an interval each, instead of writing them.
pub(super) struct Folding<S> {
    sink: S,
    fold: Fold,
    folded: u64,
    looked: Instant,
}

impl<S: WriteRepeats> Folding<S> {
    /// Creates it for a duration; zero counts none.
    pub(super) fn new(sink: S, interval: Duration) -> Self {
        Self {
            sink,
            fold: Fold::new(interval),
            folded: 0,
            looked: Instant::now(),
        }
    }

    fn write_counts(&mut self, due: Vec<Repeats>) -> Result<(), SinkError> {
        let mut due = due.into_iter();
        while let Some(repeats) = due.next() {
            if let Err(error) = self.sink.write_repeats(&repeats) {
                self.fold.defer([repeats]);
                self.fold.defer(due);
                return Err(error);
            }
            self.fold.confirm(&repeats);
        }
        Ok(())
    }
}

impl<S: WriteRepeats> Sink for Folding<S> {
    fn name(&self) -> &'static str {
        self.sink.name()
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        let now = Instant::now();
        if now.duration_since(self.looked) >= LOOK {
            self.tick()?;
        }
        if self.fold.count(verdict, now) {
            self.folded += 1;
            return Ok(());
        }
        self.sink.write(verdict)?;
        self.fold.record_written(verdict, now);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        let rest = self.fold.take_rest();
        self.write_counts(rest)?;
        self.sink.flush()
    }

    fn tick(&mut self) -> Result<(), SinkError> {
        self.looked = Instant::now();
        let due = self.fold.take_due(self.looked);
        self.write_counts(due)?;
        self.sink.tick()
    }

    fn has_periodic_work(&self) -> bool {
        self.fold.unreported() > 0 || self.sink.has_periodic_work()
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        self.sink.reopen()
    }

    fn folded(&self) -> u64 {
        self.folded
    }

    fn unreported(&self) -> u64 {
        self.fold.unreported()
    }

    fn take_dropped(&mut self) -> u64 {
        self.fold.take_dropped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlet::sink::{JsonLines, Text};
    use crate::verdict::tests::{injected_reset, pinning};

    const HOUR: Duration = Duration::from_secs(3600);

    /// Verdicts of which the first comes three times.
    fn write(sink: &mut impl Sink) {
        for verdict in [pinning(), injected_reset(), pinning(), pinning()] {
            sink.write(&verdict).unwrap();
        }
        assert_eq!((sink.folded(), sink.unreported()), (2, 2));
        sink.flush().unwrap();
        assert_eq!((sink.folded(), sink.unreported()), (2, 0));
    }

    #[test]
    fn json_has_the_last_of_the_repeats_with_their_number() {
        let mut out = Vec::new();
        write(&mut Folding::new(JsonLines::new(&mut out), HOUR));
        let lines: Vec<serde_json::Value> = String::from_utf8(out)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[..2].iter().all(|line| line.get("repeats").is_none()));
        let mut last = lines[2].as_object().unwrap().clone();
        assert_eq!(last.remove("repeats").unwrap(), 2);
        assert_eq!(last.remove("first_time").as_ref(), lines[0].get("time"));
        assert_eq!(&last, lines[0].as_object().unwrap());
    }

    #[test]
    fn text_has_a_line_with_their_number() {
        let mut out = Vec::new();
        write(&mut Folding::new(Text::new(&mut out, false), HOUR));
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("api.pinned.test").count(), 3, "{text}");
        let last = text.lines().last().unwrap();
        assert_eq!(last, "  repeats       2 more since 2026-11-23T08:30:01Z");
    }

    #[test]
    fn without_an_interval_all_are_written() {
        let mut out = Vec::new();
        let mut sink = Folding::new(JsonLines::new(&mut out), Duration::ZERO);
        for _ in 0..3 {
            sink.write(&pinning()).unwrap();
        }
        sink.flush().unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 3);
    }
}
