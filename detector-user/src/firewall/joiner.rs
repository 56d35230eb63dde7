//! Rows and verdicts that arrive one by one, in either order, joined by ends, translation and time.
//!
//! Bounded: the oldest verdict is forgotten, and the oldest row is given up.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashlink::LruCache;

use super::explain::{APART_MAX_NS, ZONE_NS, began_ns, pairs};
use super::row::{Ends, Row};
use super::time::RowTime;
use crate::verdict::Verdict;

/// Maximum ends whose verdicts are known.
const ENDS_MAX: usize = 65_536;
/// Maximum verdicts of the same ends; a port is used again.
const SAME_MAX: usize = 4;
/// Maximum rows that wait for their verdict.
const WAITING_MAX: usize = 16_384;

/// A row and its verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    /// The row.
    pub row: Row,
    /// The verdict on its connection.
    pub verdict: Arc<Verdict>,
}

/// Rows that wait for their verdicts, and verdicts for their rows.
pub struct Joiner {
    verdicts: LruCache<Ends, VecDeque<Arc<Verdict>>>,
    waiting: HashMap<u64, Row>,
    /// Waiting rows by ends; rows that are gone are removed with the ends.
    by_ends: HashMap<Ends, Vec<u64>>,
    deadlines: VecDeque<(Instant, u64)>,
    next: u64,
    wait: Duration,
    /// Rows that were given up.
    pub unexplained: u64,
}

impl Joiner {
    /// Creates one whose rows wait so long for their verdicts.
    #[must_use]
    pub fn new(wait: Duration) -> Self {
        Self {
            verdicts: LruCache::new(ENDS_MAX),
            waiting: HashMap::new(),
            by_ends: HashMap::new(),
            deadlines: VecDeque::new(),
            next: 0,
            wait,
            unexplained: 0,
        }
    }

    /// Takes a row. Returns it with its verdict if that is known, and otherwise keeps it.
    pub fn record_row(&mut self, row: Row, now: Instant) -> Option<Joined> {
        let pairs = pairs(&row);
        let known = pairs
            .iter()
            .filter_map(|ends| self.verdicts.get(ends).cloned());
        let known: Vec<_> = known.flatten().collect();
        let nearest = known
            .into_iter()
            .filter_map(|verdict| Some((apart(&row, &verdict)?, verdict)))
            .min_by_key(|(apart, _)| *apart);
        if let Some((_, verdict)) = nearest {
            return Some(Joined { row, verdict });
        }
        if pairs.is_empty() {
            // Not TCP: there will be none.
            self.unexplained += 1;
            return None;
        }
        if self.waiting.len() >= WAITING_MAX {
            self.give_up_oldest();
        }
        for ends in pairs {
            self.by_ends.entry(ends).or_default().push(self.next);
        }
        self.deadlines.push_back((now + self.wait, self.next));
        self.waiting.insert(self.next, row);
        self.next += 1;
        None
    }

    /// Takes a verdict. Returns the rows that waited for it.
    pub fn record_verdict(&mut self, verdict: &Arc<Verdict>) -> Vec<Joined> {
        let ends = Ends {
            client: (verdict.client.ip, verdict.client.port).into(),
            server: (verdict.server.ip, verdict.server.port).into(),
        };
        if !self.verdicts.contains_key(&ends) {
            self.verdicts.insert(ends, VecDeque::new());
        }
        if let Some(known) = self.verdicts.get_mut(&ends) {
            // A revision replaces the verdict before it.
            known.retain(|it| verdict.supersedes.as_deref() != Some(it.id.as_str()));
            known.push_back(Arc::clone(verdict));
            if known.len() > SAME_MAX {
                known.pop_front();
            }
        }
        let waiting = self.by_ends.get(&ends).cloned().unwrap_or_default();
        let fitting = waiting.into_iter().filter(|number| {
            let row = self.waiting.get(number);
            row.is_some_and(|row| apart(row, verdict).is_some())
        });
        let fitting: Vec<_> = fitting.collect();
        let rows = fitting.into_iter().filter_map(|number| self.remove(number));
        rows.map(|row| Joined {
            row,
            verdict: Arc::clone(verdict),
        })
        .collect()
    }

    /// Gives up the rows whose time is over.
    pub fn expire(&mut self, now: Instant) {
        while self
            .deadlines
            .front()
            .is_some_and(|(until, _)| *until <= now)
        {
            self.give_up_oldest();
        }
    }

    /// Returns the number of rows that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn give_up_oldest(&mut self) {
        while let Some((_, number)) = self.deadlines.pop_front() {
            if self.remove(number).is_some() {
                self.unexplained += 1;
                return;
            }
        }
    }

    fn remove(&mut self, number: u64) -> Option<Row> {
        let row = self.waiting.remove(&number)?;
        for ends in pairs(&row) {
            if let Some(numbers) = self.by_ends.get_mut(&ends) {
                numbers.retain(|it| *it != number);
                if numbers.is_empty() {
                    self.by_ends.remove(&ends);
                }
            }
        }
        Some(row)
    }
}

/// Returns how far a row's time is from its connection's, nanoseconds; `None` if it is of another one. A
/// local time may be that of any zone.
fn apart(row: &Row, verdict: &Verdict) -> Option<i64> {
    let Some(time) = row.began else {
        return Some(APART_MAX_NS);
    };
    let apart = time.nanoseconds() - began_ns(verdict);
    let rest = match time {
        RowTime::Zoned(_) => apart,
        RowTime::Local(_) => apart - (apart + ZONE_NS / 2).div_euclid(ZONE_NS) * ZONE_NS,
    };
    (rest.abs() <= APART_MAX_NS).then_some(rest.abs())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::firewall::LogReader;
    use crate::verdict::tests::pinning;

    fn verdict(port: u16, seconds: i64) -> Arc<Verdict> {
        let mut verdict = pinning();
        verdict.client.port = port;
        verdict.time += SignedDuration::from_secs(seconds);
        verdict.set_revision(0);
        Arc::new(verdict)
    }

    fn row(port: u16, time: &str) -> Row {
        let text = format!(
            "1,{time},0018,TRAFFIC,deny,2049,{time},10.0.1.2,10.0.2.2,0.0.0.0,0.0.0.0,r,,,ssl,v,a,b,e,f,l,,1,1,\
             {port},443,0,0,0x400000,tcp,allow,0,0,0,0,{time},1,any,0,99,0x0,,,0,7,7,policy-deny"
        );
        let mut reader = LogReader::new(text.as_bytes());
        reader.next_row().unwrap().unwrap().unwrap()
    }

    const WAIT: Duration = Duration::from_secs(30);

    #[test]
    fn a_row_and_its_verdict_meet_in_either_order() {
        let now = Instant::now();
        // Two hours east of the taps.
        let row = row(40_112, "2026/11/23 10:30:05");
        let verdict = verdict(40_112, 0);
        let mut joiner = Joiner::new(WAIT);
        assert_eq!(joiner.record_row(row.clone(), now), None);
        let joined = joiner.record_verdict(&verdict);
        assert_eq!((joined.len(), joiner.waiting()), (1, 0));
        assert!(joiner.by_ends.is_empty());
        let mut joiner = Joiner::new(WAIT);
        assert!(joiner.record_verdict(&verdict).is_empty());
        let joined = joiner.record_row(row, now).unwrap();
        assert_eq!(joined.verdict, verdict);
    }

    #[test]
    fn a_row_of_another_connection_waits_and_is_given_up() {
        let now = Instant::now();
        let mut joiner = Joiner::new(WAIT);
        joiner.record_verdict(&verdict(40_112, 0));
        joiner.record_verdict(&verdict(40_113, 0));
        // The same port five minutes later, and another one.
        assert_eq!(
            joiner.record_row(row(40_112, "2026/11/23 08:35:05"), now),
            None
        );
        assert_eq!(
            joiner.record_row(row(40_114, "2026/11/23 08:30:05"), now),
            None
        );
        joiner.expire(now + WAIT / 2);
        assert_eq!((joiner.waiting(), joiner.unexplained), (2, 0));
        joiner.expire(now + WAIT);
        assert_eq!((joiner.waiting(), joiner.unexplained), (0, 2));
        assert!(joiner.by_ends.is_empty());
    }

    #[test]
    fn a_revision_replaces_the_verdict_before_it() {
        let mut joiner = Joiner::new(WAIT);
        let first = verdict(40_112, 0);
        let mut revised = (*first).clone();
        revised.set_revision(1);
        revised.supersedes = Some(first.id.clone());
        let revised = Arc::new(revised);
        joiner.record_verdict(&first);
        joiner.record_verdict(&revised);
        let joined = joiner.record_row(row(40_112, "2026/11/23 08:30:01"), Instant::now());
        assert_eq!(joined.unwrap().verdict.id, revised.id);
    }

    #[test]
    fn rows_that_wait_are_bounded() {
        let now = Instant::now();
        let mut joiner = Joiner::new(WAIT);
        for _ in 0..WAITING_MAX + 5 {
            joiner.record_row(row(40_112, "2026/11/23 08:30:01"), now);
        }
        assert_eq!((joiner.waiting(), joiner.unexplained), (WAITING_MAX, 5));
    }
}
