//! Segments of one direction at two stages, each beside its counterpart.

use std::collections::{HashMap, HashSet};

use detector_common::headers::tcp_flags::{FIN, RST, SYN};

use super::segment::Segment;
use super::traffic::Half;

/// Segments of the same payload that are tried as counterparts of one.
const SAME_MAX: usize = 8;

/// A segment's counterpart at the other stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counterpart {
    /// None.
    None,
    /// The segment of this number.
    Segment(usize),
    /// Its bytes are in other segments.
    Bytes,
}

/// Two halves beside each other.
#[derive(Debug, Default)]
pub(super) struct Alignment {
    /// Counterparts of the first half's segments.
    pub(super) first: Vec<Counterpart>,
    /// Counterparts of the second half's segments.
    pub(super) second: Vec<Counterpart>,
    /// The second's sequence numbers minus the first's.
    pub(super) shift: u32,
    /// Whether both carry bytes, and none of them are the same.
    pub(super) is_separate: bool,
}

impl Alignment {
    /// Aligns two halves.
    pub(super) fn of(first: &Half, second: &Half) -> Self {
        let mut aligned = Self {
            first: vec![Counterpart::None; first.segments.len()],
            second: vec![Counterpart::None; second.segments.len()],
            shift: shift(&first.segments, &second.segments),
            is_separate: false,
        };
        let (a, b) = (&first.segments, &second.segments);
        let shift = aligned.shift;
        let at = |it: &Segment, shift: u32| it.seq.wrapping_add(shift);
        // The same place, bytes and flags; then one of these may differ.
        aligned.join(
            a,
            b,
            |it| (at(it, shift), it.key(), it.control()),
            |it| (at(it, 0), it.key(), it.control()),
            Segment::same_payload,
        );
        aligned.join(
            a,
            b,
            |it| (at(it, shift), it.key(), 0),
            |it| (at(it, 0), it.key(), 0),
            |it, other| it.len > 0 && it.same_payload(other),
        );
        aligned.join(
            a,
            b,
            |it| (0, it.key(), it.control()),
            |it| (0, it.key(), it.control()),
            |it, other| it.is_telling() && it.same_payload(other),
        );
        let same_bytes = |it: &Counterpart, segment: &Segment| {
            segment.len > 0 && matches!(it, Counterpart::Segment(_))
        };
        let has_bytes = |segments: &[Segment]| segments.iter().any(|it| it.len > 0);
        let any_same = aligned
            .first
            .iter()
            .zip(a)
            .any(|(it, segment)| same_bytes(it, segment));
        // Of other lengths they begin alike.
        let heads: HashSet<_> = b
            .iter()
            .filter(|it| it.len > 0)
            .map(|it| (at(it, 0), it.head()))
            .collect();
        let any_same = any_same
            || a.iter()
                .any(|it| it.len > 0 && heads.contains(&(at(it, shift), it.head())));
        let place = |it: &Segment, shift| (at(it, shift), u64::from(it.len), it.control());
        if has_bytes(a) && has_bytes(b) && !any_same {
            let places: HashSet<_> = b.iter().map(|it| place(it, 0)).collect();
            let rewritten = |it: &Segment| it.len == 0 || places.contains(&place(it, shift));
            aligned.is_separate = !a.iter().all(rewritten);
        }
        if !aligned.is_separate {
            aligned.join(
                a,
                b,
                |it| place(it, shift),
                |it| place(it, 0),
                |it, other| it.len > 0 && other.len > 0,
            );
            aligned.cover(a, b);
        }
        // Segments that begin or end a connection have a counterpart at any place in the stream.
        for flag in [SYN, FIN, RST] {
            aligned.join(
                a,
                b,
                |it| (0, 0, it.control()),
                |it| (0, 0, it.control()),
                |it, other| it.has(flag) && other.has(flag) && it.len == 0 && other.len == 0,
            );
        }
        aligned
    }

    /// Joins segments without a counterpart that have the same key, in order.
    fn join<K: std::hash::Hash + Eq>(
        &mut self,
        a: &[Segment],
        b: &[Segment],
        key_of_first: impl Fn(&Segment) -> K,
        key_of_second: impl Fn(&Segment) -> K,
        same: impl Fn(&Segment, &Segment) -> bool,
    ) {
        let mut free: HashMap<K, Vec<usize>> = HashMap::new();
        for (number, segment) in b.iter().enumerate().rev() {
            if self.second.get(number) == Some(&Counterpart::None) {
                free.entry(key_of_second(segment)).or_default().push(number);
            }
        }
        for (number, segment) in a.iter().enumerate() {
            if self.first.get(number) != Some(&Counterpart::None) {
                continue;
            }
            let Some(candidates) = free.get_mut(&key_of_first(segment)) else {
                continue;
            };
            let Some(&other) = candidates.last() else {
                continue;
            };
            if !b.get(other).is_some_and(|it| same(segment, it)) {
                continue;
            }
            candidates.pop();
            if let (Some(mine), Some(its)) =
                (self.first.get_mut(number), self.second.get_mut(other))
            {
                *mine = Counterpart::Segment(other);
                *its = Counterpart::Segment(number);
            }
        }
    }

    /// Finds bytes that the other stage has in segments of other lengths.
    fn cover(&mut self, a: &[Segment], b: &[Segment]) {
        let base = a.first().map_or(0, |it| it.seq.wrapping_add(self.shift));
        let [of_first, of_second] =
            [(a, self.shift), (b, 0)].map(|(segments, shift)| Covered::of(segments, shift, base));
        for (counterparts, segments, shift, other) in [
            (&mut self.first, a, self.shift, &of_second),
            (&mut self.second, b, 0, &of_first),
        ] {
            let matched: Vec<(u32, u32)> = counterparts
                .iter()
                .zip(segments)
                .filter(|(it, _)| **it != Counterpart::None)
                .map(|(_, segment)| (segment.seq, segment.len))
                .collect();
            let matched: HashSet<_> = matched.into_iter().collect();
            for (counterpart, segment) in counterparts.iter_mut().zip(segments) {
                let is_copy = matched.contains(&(segment.seq, segment.len));
                if *counterpart == Counterpart::None
                    && segment.len > 0
                    && !is_copy
                    && other.has(segment, shift, base)
                {
                    *counterpart = Counterpart::Bytes;
                }
            }
        }
    }
}

/// Ranges of a stream, and the place of its end if a FIN shows it.
struct Covered {
    /// First and last byte behind, joined and in order.
    ranges: Vec<(i64, i64)>,
    fins: Vec<i64>,
}

impl Covered {
    fn of(segments: &[Segment], shift: u32, base: u32) -> Self {
        let mut ranges: Vec<_> = segments
            .iter()
            .filter(|it| it.len > 0)
            .map(|it| range(it, shift, base))
            .collect();
        ranges.sort_unstable();
        let mut joined: Vec<(i64, i64)> = Vec::new();
        for (start, end) in ranges {
            match joined.last_mut() {
                Some((_, last)) if *last >= start => *last = (*last).max(end),
                _ => joined.push((start, end)),
            }
        }
        let fins = segments.iter().filter(|it| it.has(FIN));
        let fins = fins.map(|it| range(it, shift, base).1).collect();
        Self {
            ranges: joined,
            fins,
        }
    }

    fn has(&self, segment: &Segment, shift: u32, base: u32) -> bool {
        let (start, end) = range(segment, shift, base);
        let behind = self.ranges.partition_point(|(first, _)| *first <= start);
        let before = behind.checked_sub(1).and_then(|at| self.ranges.get(at));
        let has_bytes = before.is_some_and(|(_, last)| end <= *last);
        has_bytes && (!segment.has(FIN) || self.fins.contains(&end))
    }
}

/// Returns the bytes of a segment, as places in the stream.
fn range(segment: &Segment, shift: u32, base: u32) -> (i64, i64) {
    let start = segment.payload_seq().wrapping_add(shift);
    let start = i64::from(start.wrapping_sub(base).cast_signed());
    (start, start + i64::from(segment.len))
}

/// Returns the difference of sequence numbers that most segments of the same payload show.
fn shift(a: &[Segment], b: &[Segment]) -> u32 {
    let mut of_payload: HashMap<u64, Vec<&Segment>> = HashMap::new();
    for segment in b.iter().filter(|it| it.len > 0 || it.has(SYN)) {
        let same = of_payload.entry(segment.key()).or_default();
        if same.len() < SAME_MAX {
            same.push(segment);
        }
    }
    let mut votes: HashMap<u32, usize> = HashMap::new();
    for segment in a.iter().filter(|it| it.len > 0 || it.has(SYN)) {
        for other in of_payload.get(&segment.key()).into_iter().flatten() {
            if segment.same_payload(other) && segment.control() == other.control() {
                *votes
                    .entry(other.seq.wrapping_sub(segment.seq))
                    .or_default() += 1;
            }
        }
    }
    let best = votes
        .into_iter()
        .max_by_key(|(shift, votes)| (*votes, *shift == 0, std::cmp::Reverse(*shift)));
    best.map_or(0, |(shift, _)| shift)
}
