//! Buffers of flows that are over, recycled for new ones.

use detector_common::flow::RECORDS_MAX;

use crate::flow::timeline::{Close, TimelineRecord};
use crate::flow::tls::HandshakeView;

/// Initial capacity for closes: each side's FIN.
const CLOSES: usize = 2;
/// Maximum number of empty buffers of each kind.
const KEPT: usize = 2048;
/// Maximum size in bytes of a recycled handshake buffer.
const VIEW_MAX: usize = 16 * 1024;

/// Empty buffers with their capacity.
#[derive(Default)]
pub(super) struct Buffers {
    records: Vec<Vec<TimelineRecord>>,
    closes: Vec<Vec<Close>>,
    views: Vec<HandshakeView>,
}

impl Buffers {
    /// Returns a buffer for all records of an observation.
    pub(super) fn records(&mut self) -> Vec<TimelineRecord> {
        let spare = self.records.pop();
        spare.unwrap_or_else(|| Vec::with_capacity(2 * RECORDS_MAX))
    }

    pub(super) fn closes(&mut self) -> Vec<Close> {
        let spare = self.closes.pop();
        spare.unwrap_or_else(|| Vec::with_capacity(CLOSES))
    }

    pub(super) fn view(&mut self) -> HandshakeView {
        self.views.pop().unwrap_or_default()
    }

    pub(super) fn recycle_records(&mut self, mut records: Vec<TimelineRecord>) {
        if records.capacity() >= 2 * RECORDS_MAX && self.records.len() < KEPT {
            records.clear();
            self.records.push(records);
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
