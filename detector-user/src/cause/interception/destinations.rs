//! Servers that were seen intercepted, by address, name and distance.

use hashlink::LruCache;

use super::mark::Mark;
use super::mark::REMEMBERED;
use crate::verdict::Intercepted;

/// The source of knowing that a connection was intercepted. An inference from a likeness does not
/// teach another likeness, or one error would feed the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The operator, two legs, or a certificate.
    Shown,
    /// A destination of which that was shown.
    Destination,
    /// Likeness.
    Likeness,
}

/// Destinations that were seen intercepted.
pub(super) struct Destinations(LruCache<Mark, Source>);

impl Default for Destinations {
    fn default() -> Self {
        Self(LruCache::new(REMEMBERED))
    }
}

impl Destinations {
    /// Whether a destination was seen intercepted.
    pub(super) fn contains(&self, mark: Mark) -> bool {
        self.0.contains_key(&mark)
    }

    /// Inserts a destination that was intercepted before a restart. It teaches nothing further until
    /// it is shown again.
    pub(super) fn remember(&mut self, mark: Mark) {
        self.0.insert(mark, Source::Destination);
    }

    /// Inserts a destination that looks intercepted. Returns false if it is there.
    pub(super) fn insert_likeness(&mut self, mark: Mark) -> bool {
        let new = !self.contains(mark);
        if new {
            self.0.insert(mark, Source::Likeness);
        }
        new
    }

    /// Returns the source of the status of a connection to this destination that has no evidence of
    /// its own.
    pub(super) fn source(&self, mark: Option<Mark>) -> Source {
        match mark.and_then(|mark| self.0.peek(&mark)) {
            Some(Source::Shown) => Source::Destination,
            _ => Source::Likeness,
        }
    }

    /// Records a connection. Returns true if its destination is recognized by it.
    pub(super) fn record(&mut self, mark: Mark, status: Intercepted, source: Source) -> bool {
        match (status, source) {
            (Intercepted::Yes, Source::Shown) => self.0.insert(mark, Source::Shown).is_none(),
            (Intercepted::No, _) => {
                self.0.remove(&mark);
                false
            }
            _ => false,
        }
    }
}
