//! Buffers of flows that are over, recycled for new ones.

use std::sync::Arc;

use super::entry::Entry;
use super::latest::Latest;
use crate::flow::flow_id::FlowId;
use crate::flow::timeline::{Close, Timeline};
use crate::flow::tls::HandshakeView;

/// Initial capacity for closes: each side's FIN.
const CLOSES: usize = 2;
/// Maximum number of empty buffers of each kind.
const KEPT: usize = 2048;
/// Maximum number of timelines; few are read at once.
const KEPT_TIMELINES: usize = 256;
/// Maximum size in bytes of a recycled handshake buffer.
const VIEW_MAX: usize = 16 * 1024;

/// Empty buffers with their capacity.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "the boxes are what is recycled")]
pub(super) struct Buffers {
    latest: Vec<Box<Latest>>,
    closes: Vec<Vec<Close>>,
    views: Vec<HandshakeView>,
    /// Entries without buffers.
    entries: Vec<Box<Entry>>,
    timelines: Vec<Box<Timeline>>,
}

impl Buffers {
    /// Returns room for all records of an observation, with any in it.
    pub(super) fn latest(&mut self) -> Box<Latest> {
        self.latest.pop().unwrap_or_default()
    }

    pub(super) fn closes(&mut self) -> Vec<Close> {
        let spare = self.closes.pop();
        spare.unwrap_or_else(|| Vec::with_capacity(CLOSES))
    }

    /// Returns the entry of a flow that begins.
    pub(super) fn entry(&mut self, started_ns: u64, tap: Arc<str>) -> Box<Entry> {
        let view = self.views.pop().unwrap_or_default();
        let entry = Entry::new(started_ns, tap, view);
        match self.entries.pop() {
            Some(mut spare) => {
                *spare = entry;
                spare
            }
            None => Box::new(entry),
        }
    }

    /// Returns a timeline to be written over.
    pub(super) fn timeline(&mut self) -> Box<Timeline> {
        let spare = self.timelines.pop();
        spare.unwrap_or_else(|| Box::new(Timeline::unspoken(FlowId::default(), 0)))
    }

    pub(super) fn recycle_entry(&mut self, mut entry: Box<Entry>) {
        let (latest, closes, view) = entry.take_buffers();
        self.recycle_latest(latest);
        self.recycle_closes(closes);
        self.recycle_view(view);
        if self.entries.len() < KEPT {
            self.entries.push(entry);
        }
    }

    pub(super) fn recycle_timeline(&mut self, timeline: Box<Timeline>) {
        if self.timelines.len() < KEPT_TIMELINES {
            self.timelines.push(timeline);
        }
    }

    pub(super) fn recycle_latest(&mut self, latest: Option<Box<Latest>>) {
        if self.latest.len() < KEPT {
            self.latest.extend(latest);
        }
    }

    pub(super) fn recycle_closes(&mut self, mut closes: Vec<Close>) {
        if closes.capacity() > 0 && self.closes.len() < KEPT {
            closes.clear();
            self.closes.push(closes);
        }
    }

    pub(super) fn recycle_view(&mut self, mut view: HandshakeView) {
        if (1..=VIEW_MAX).contains(&view.memory()) && self.views.len() < KEPT {
            view.restart();
            self.views.push(view);
        }
    }
}
