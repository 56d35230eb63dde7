//! A calendar time that a step of the clock cannot throw forward: ages are measured by it.

use std::time::{Duration, Instant};

/// Advance of the calendar over the clock of the kernel that is no step: more than a leap second, less than
/// a time zone.
const TOLERANCE: Duration = Duration::from_secs(3_600);
/// Time for which the calendar must stay ahead until it is believed: long enough for a person, or for NTP, to
/// correct a wrong one.
const HOLD: Duration = Duration::from_secs(86_400);

/// A calendar time that follows the calendar, but a step forward only a day later. A step back is followed at
/// once: nothing becomes too old by it.
#[derive(Debug)]
pub struct SteadyTime {
    /// Nanoseconds since the UNIX epoch.
    time_ns: i64,
    /// Time of the last reading.
    read: Instant,
    ahead_since: Option<Instant>,
}

/// A reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SteadyReading {
    /// Nanoseconds since the UNIX epoch.
    pub time_ns: i64,
    /// Advance of the calendar that is not believed yet.
    pub ahead: Option<Duration>,
}

impl SteadyTime {
    /// Begins at `latest_ns`, the latest time that is known from before, if the calendar, `calendar_ns`, is
    /// far beyond it; otherwise at the calendar's. Both are in nanoseconds since the UNIX epoch.
    #[must_use]
    pub fn new(latest_ns: Option<i64>, calendar_ns: i64, now: Instant) -> Self {
        let mut steady = Self {
            time_ns: latest_ns.unwrap_or(calendar_ns),
            read: now,
            ahead_since: None,
        };
        steady.read(calendar_ns, now);
        steady
    }

    /// Returns the time at `now`, at which the calendar is `calendar_ns`.
    pub fn read(&mut self, calendar_ns: i64, now: Instant) -> SteadyReading {
        let elapsed = nanoseconds(now.saturating_duration_since(self.read));
        self.read = now;
        let expected = self.time_ns.saturating_add(elapsed);
        let ahead = calendar_ns.saturating_sub(expected);
        let is_believed = |since: Instant| now.saturating_duration_since(since) >= HOLD;
        if ahead <= nanoseconds(TOLERANCE) || self.ahead_since.is_some_and(is_believed) {
            self.time_ns = calendar_ns;
            self.ahead_since = None;
        } else {
            self.time_ns = expected;
            self.ahead_since.get_or_insert(now);
        }
        let is_ahead = self.ahead_since.is_some();
        SteadyReading {
            time_ns: self.time_ns,
            ahead: is_ahead.then(|| Duration::from_nanos(ahead.unsigned_abs())),
        }
    }
}

/// Returns the calendar's time in nanoseconds since the UNIX epoch.
#[must_use]
pub fn calendar_ns() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const DAY_NS: i64 = 86_400_000_000_000;
    /// Some day.
    const THEN: i64 = 20_000 * DAY_NS;

    #[test]
    fn a_step_forward_is_believed_after_a_day() {
        let began = Instant::now();
        let mut steady = SteadyTime::new(Some(THEN), THEN, began);
        let hour = Duration::from_secs(3_600);
        let year = THEN + 365 * DAY_NS;
        let read = steady.read(year, began + hour);
        assert_eq!(read.time_ns, THEN + DAY_NS / 24);
        assert_eq!(read.ahead.map(|it| it.as_secs() / 86_400), Some(364));
        // Corrected in time, nothing has happened.
        let read = steady.read(THEN + DAY_NS / 12, began + 2 * hour);
        assert_eq!((read.time_ns, read.ahead), (THEN + DAY_NS / 12, None));
        steady.read(year, began + 3 * hour);
        let later = began + 3 * hour + DAY;
        let read = steady.read(year + DAY_NS, later);
        assert_eq!((read.time_ns, read.ahead), (year + DAY_NS, None));
    }

    #[test]
    fn a_start_with_a_wrong_clock_is_a_step_too() {
        let began = Instant::now();
        let mut steady = SteadyTime::new(Some(THEN), THEN + 400 * DAY_NS, began);
        let read = steady.read(THEN + 400 * DAY_NS, began);
        assert_eq!(read.time_ns, THEN);
        assert!(read.ahead.is_some());
        let mut new = SteadyTime::new(None, THEN, began);
        assert_eq!(new.read(THEN, began).ahead, None);
    }

    #[test]
    fn a_step_back_is_followed() {
        let began = Instant::now();
        let mut steady = SteadyTime::new(Some(THEN + 400 * DAY_NS), THEN, began);
        let read = steady.read(THEN, began);
        assert_eq!((read.time_ns, read.ahead), (THEN, None));
    }
}
