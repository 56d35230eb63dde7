//! Connections of which it is not known whether they were intercepted, by the marks that may show
//! it later.

use hashlink::LruCache;

use super::fact::Fact;
use crate::cause::interception::{Mark, Marks};

/// Maximum connections, counted once per mark.
pub(super) const UNDECIDED_MAX: usize = 4096;
/// Connections of one mark: the latest.
const PER_MARK: u64 = 64;

/// Facts of connections that an interceptor's mark may turn out to concern.
pub(super) struct Undecided {
    /// By mark and place among the latest of it.
    connections: LruCache<(Mark, u64), Connection>,
    count: u64,
}

#[derive(Clone, Copy)]
struct Connection {
    /// When it began, nanoseconds since the UNIX epoch.
    time_ns: u64,
    fact: Option<Fact>,
}

impl Default for Undecided {
    fn default() -> Self {
        Self {
            connections: LruCache::new(UNDECIDED_MAX),
            count: 0,
        }
    }
}

impl Undecided {
    /// Inserts a connection that began at `time_ns`, with the fact it shows.
    pub(super) fn insert(&mut self, marks: Marks, time_ns: u64, fact: Option<Fact>) {
        self.count = self.count.wrapping_add(1);
        let place = self.count % PER_MARK;
        for mark in marks.into_iter().flatten() {
            self.connections
                .insert((mark, place), Connection { time_ns, fact });
        }
    }

    /// Removes the connections that have a mark, and returns their facts in the order they began.
    pub(super) fn remove(&mut self, mark: Mark) -> Vec<Fact> {
        let mut connections: Vec<Connection> = (0..PER_MARK)
            .filter_map(|place| self.connections.remove(&(mark, place)))
            .collect();
        connections.sort_by_key(|connection| connection.time_ns);
        connections.into_iter().filter_map(|it| it.fact).collect()
    }
}
