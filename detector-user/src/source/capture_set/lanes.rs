//! The tap of each capture of a gateway.

use std::collections::BTreeSet;

use super::OVERLAP_NS;
use super::kinship::Relatives;
use super::outline::Outline;

/// Taps so far, each with the addresses of its latest capture.
#[derive(Default)]
pub(super) struct Lanes {
    latest: Vec<BTreeSet<u64>>,
}

impl Lanes {
    /// Records a capture that is read alone: it is of the first tap.
    pub(super) fn follow(&mut self, outline: &Outline) {
        self.set(0, outline);
    }

    /// Returns the captures of a group, each with its tap. A capture that begins where one of a tap ended
    /// is of that tap, and of the one with most addresses in common if several are possible.
    pub(super) fn assign(
        &mut self,
        group: &[usize],
        outlines: &[Option<Outline>],
        related: &Relatives,
    ) -> Vec<(usize, u32)> {
        let outline = |file: usize| outlines.get(file).and_then(Option::as_ref);
        let mut by_start = group.to_vec();
        by_start.sort_by_key(|file| outline(*file).map(|it| it.first_ns));
        let mut taken: Vec<(usize, u32)> = Vec::new();
        for file in by_start {
            let Some(own) = outline(file) else {
                continue;
            };
            let lane = self.free(own, file, &taken, outlines, related);
            self.set(lane, own);
            taken.push((file, lane as u32));
        }
        taken.sort_by_key(|(file, _)| *file);
        taken
    }

    fn free(
        &self,
        own: &Outline,
        file: usize,
        taken: &[(usize, u32)],
        outlines: &[Option<Outline>],
        related: &Relatives,
    ) -> usize {
        let is_busy = |lane: usize| {
            let of_lane = taken.iter().filter(|(_, it)| *it as usize == lane);
            of_lane.into_iter().any(|(other, _)| {
                let other_outline = outlines.get(*other).and_then(Option::as_ref);
                let follows = other_outline.is_some_and(|it| follows(own, it));
                related.are(file, *other) || !follows
            })
        };
        let candidates = self
            .latest
            .iter()
            .enumerate()
            .filter(|(lane, _)| !is_busy(*lane));
        let common = |marks: &BTreeSet<u64>| marks.intersection(&own.marks).count();
        // Of equals the first.
        let best = candidates
            .map(|(lane, marks)| (common(marks), lane))
            .filter(|(common, _)| *common > 0)
            .max_by_key(|(common, lane)| (*common, std::cmp::Reverse(*lane)));
        best.map_or(self.latest.len(), |(_, lane)| lane)
    }

    fn set(&mut self, lane: usize, outline: &Outline) {
        let marks = outline.marks.clone();
        match self.latest.get_mut(lane) {
            Some(known) => *known = marks,
            None => self.latest.push(marks),
        }
    }
}

/// Whether a capture begins where another ended.
fn follows(own: &Outline, other: &Outline) -> bool {
    own.first_ns.saturating_add(OVERLAP_NS) >= other.last_ns && own.last_ns > other.last_ns
}
