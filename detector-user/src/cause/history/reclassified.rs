//! Connections whose outcome later evidence changed: each counts once, in its latest.

use crate::cause::judge::Judgement;

/// Numbers of connections without a verdict, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// In use.
    pub established: u64,
    /// Closed by the client after the handshake before any use.
    pub unused: u64,
    /// Without an end that shows a cause.
    pub unfinished: u64,
}

/// Connections that were counted with one outcome, and have another. A failure is in neither: it counts by
/// its verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclassified {
    /// Earlier outcomes.
    pub from: Outcomes,
    /// Later outcomes.
    pub to: Outcomes,
}

impl Outcomes {
    /// Counts a connection, unless it failed.
    pub fn count(&mut self, judgement: &Judgement) {
        match judgement {
            Judgement::Established => self.established += 1,
            Judgement::Unused => self.unused += 1,
            Judgement::Unfinished => self.unfinished += 1,
            Judgement::Failed(_) => {}
        }
    }
}

impl Reclassified {
    /// Records that a connection judged `from` is judged `to`.
    pub(super) fn record(&mut self, from: &Judgement, to: &Judgement) {
        if std::mem::discriminant(from) != std::mem::discriminant(to) {
            self.from.count(from);
            self.to.count(to);
        }
    }

    /// Records that connections judged unused are failures.
    pub(super) fn record_refused_late(&mut self, connections: u64) {
        self.from.unused += connections;
    }
}
