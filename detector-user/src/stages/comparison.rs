//! Two captures beside each other.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use detector_common::headers::tcp_flags::{FIN, RST};

use super::alignment::Counterpart;
use super::compared::{Compared, Counts, Event, Fate, Marks};
use super::outcome;
use super::pair::{Clocks, Layout, Pair, clocks, layout, median};
use super::pairing::together;
use super::segment::Segment;
use super::traffic::Traffic;
use crate::verdict::Party;

/// Longest time beyond the other capture's beginning and end, nanoseconds, at which a segment's counterpart
/// is missed.
const BEYOND_NS: i64 = 1_000_000_000;

/// Two captures beside each other.
#[derive(Debug)]
pub struct Comparison {
    /// The captures' places.
    pub layout: Layout,
    /// Their clocks, if they have segments in common.
    pub clocks: Option<Clocks>,
    /// All connections, in the order of their beginnings.
    pub connections: Vec<Compared>,
}

impl Comparison {
    /// Compares `captures`, in the order that a client's segments pass them; of the further stages
    /// the marks are taken.
    #[must_use]
    pub fn of(captures: [&Traffic; 2], firewall: Option<&Traffic>, drop: Option<&Traffic>) -> Self {
        let [first, second] = captures;
        let pairs: Vec<Pair<'_>> = together(first, second)
            .iter()
            .map(|it| Pair::of(captures, it))
            .collect();
        let layout = layout(&pairs);
        let clocks = clocks(&pairs, layout);
        let context = Context {
            captures,
            layout,
            offset_ns: clocks.map_or(0, |it| it.offset_ns),
            firewall: firewall.map(Known::of),
            drop: drop.map(Known::of),
        };
        let mut connections: Vec<_> = pairs
            .iter()
            .map(|pair| (pair.first_ns, context.compared(pair)))
            .collect();
        connections.sort_by_key(|(first_ns, _)| *first_ns);
        Self {
            layout,
            clocks,
            connections: connections.into_iter().map(|(_, it)| it).collect(),
        }
    }

    /// Returns the number of connections that both captures have.
    #[must_use]
    pub fn common(&self) -> usize {
        self.connections.iter().filter(|it| it.is_common).count()
    }
}

/// Segments of a further stage.
struct Known(HashSet<(SocketAddr, SocketAddr, u32, u8, u64)>);

impl Known {
    fn of(traffic: &Traffic) -> Self {
        let mut known = HashSet::new();
        for flow in &traffic.flows {
            let [first, second] = flow.ends;
            for (half, (from, to)) in flow.halves.iter().zip([(first, second), (second, first)]) {
                let segments = half.segments.iter();
                known.extend(segments.map(|it| (from, to, it.seq, it.control(), it.key())));
            }
        }
        Self(known)
    }

    fn has(&self, ends: &[[SocketAddr; 2]], seqs: [u32; 2], segment: &Segment) -> bool {
        ends.iter().any(|[from, to]| {
            seqs.iter().any(|seq| {
                self.0
                    .contains(&(*from, *to, *seq, segment.control(), segment.key()))
            })
        })
    }
}

struct Context<'a> {
    captures: [&'a Traffic; 2],
    layout: Layout,
    offset_ns: i64,
    firewall: Option<Known>,
    drop: Option<Known>,
}

impl Context<'_> {
    fn compared(&self, pair: &Pair<'_>) -> Compared {
        let mut compared = Compared {
            began_ns: pair.first_ns as i64,
            server_name: pair.server_name.map(str::to_owned),
            is_proxied: pair.is_proxied(),
            is_common: pair.is_common,
            ..Compared::default()
        };
        self.ends(pair, &mut compared);
        for (direction, from) in [Party::Client, Party::Server].into_iter().enumerate() {
            self.direction(pair, direction, from, &mut compared);
        }
        compared.changes = self.changes(pair, &compared);
        compared.events.sort_by_key(|it| it.time_ns);
        outcome::describe(&mut compared);
        compared
    }

    fn ends(&self, pair: &Pair<'_>, compared: &mut Compared) {
        for (direction, from) in [Party::Client, Party::Server].into_iter().enumerate() {
            let before = self.layout.before(from);
            let ways = pair.ways.get(direction);
            let of = |capture: usize| {
                let [from, to] = ways?.get(capture).copied()??.ends;
                Some(if direction == 0 {
                    [from, to]
                } else {
                    [to, from]
                })
            };
            // The client's side is where its segments come from, and where the server's go.
            let (outside, inside) = match from {
                Party::Client => (of(before), of(1 - before)),
                _ => (of(1 - before), of(before)),
            };
            compared.outside = compared.outside.or(outside);
            compared.inside = compared.inside.or(inside);
        }
    }

    fn direction(
        &self,
        pair: &Pair<'_>,
        direction: usize,
        from: Party,
        compared: &mut Compared,
    ) -> Option<()> {
        let before = self.layout.before(from);
        let aligned = pair.alignments.get(direction)?;
        let mut counts = Counts::default();
        let counterparts = [&aligned.first, &aligned.second];
        let is_cut = [0, 1].map(|capture| self.is_cut(pair, direction, capture));
        for (capture, counterparts) in counterparts.into_iter().enumerate() {
            let arrives = capture == before;
            let segments = pair.segments(direction, capture);
            let usual_ttl = usual_ttl(segments);
            let mut passed: HashMap<(u32, u32), u32> = HashMap::new();
            for (segment, counterpart) in segments.iter().zip(counterparts) {
                if *counterpart != Counterpart::None {
                    *passed.entry((segment.seq, segment.len)).or_default() += 1;
                }
            }
            // A segment of the same place and length passed, too.
            let is_copy = |segment: &Segment, counterpart: &Counterpart| {
                let passed = passed.get(&(segment.seq, segment.len));
                let own = u32::from(*counterpart != Counterpart::None);
                segment.len > 0 && passed.is_some_and(|passed| *passed > own)
            };
            for (segment, counterpart) in segments.iter().zip(counterparts) {
                let is_control = segment.control() != 0 || segment.contents.is_alert();
                if aligned.is_separate && !is_control {
                    continue;
                }
                let other = match counterpart {
                    Counterpart::Segment(number) => {
                        pair.segments(direction, 1 - capture).get(*number)
                    }
                    _ => None,
                };
                let changes = match other {
                    Some(other) if !aligned.is_separate => changes(segment, other),
                    _ => Vec::new(),
                };
                let fate = match (counterpart, arrives) {
                    (Counterpart::None, _) if !self.is_covered(segment, capture) => continue,
                    (Counterpart::None, _) if is_control || !is_cut.contains(&true) => {
                        if arrives {
                            Fate::Dropped
                        } else {
                            Fate::Inserted
                        }
                    }
                    (Counterpart::None, _) | (_, false) => continue,
                    _ if changes.is_empty() => Fate::Forwarded,
                    _ => Fate::Rewritten,
                };
                let count = match fate {
                    Fate::Forwarded => &mut counts.forwarded,
                    Fate::Rewritten => &mut counts.rewritten,
                    Fate::Inserted => &mut counts.inserted,
                    Fate::Dropped => &mut counts.dropped,
                };
                *count += 1;
                let ends_something = segment.has(FIN | RST) || segment.contents.is_alert();
                if fate == Fate::Forwarded && !ends_something {
                    continue;
                }
                let shift = if capture == 0 {
                    aligned.shift
                } else {
                    aligned.shift.wrapping_neg()
                };
                let other_ttl = usual_ttl.filter(|it| it.abs_diff(segment.ttl) > 1);
                compared.events.push(Event {
                    time_ns: self.on_first_clock(segment, capture),
                    from,
                    segment: *segment,
                    capture,
                    fate,
                    changes,
                    is_copy: is_copy(segment, counterpart),
                    marks: self.marks(pair, direction, segment, shift),
                    usual_ttl: other_ttl,
                });
            }
        }
        *compared.counts.get_mut(direction)? = counts;
        Some(())
    }

    fn is_cut(&self, pair: &Pair<'_>, direction: usize, capture: usize) -> bool {
        let way = pair.ways.get(direction).and_then(|it| it.get(capture));
        way.and_then(|it| *it).is_some_and(|it| it.half.is_cut)
    }

    fn on_first_clock(&self, segment: &Segment, capture: usize) -> i64 {
        let time_ns = segment.time_ns as i64;
        if capture == 0 {
            time_ns
        } else {
            time_ns - self.offset_ns
        }
    }

    /// Whether the other capture was running when its counterpart should have passed.
    fn is_covered(&self, segment: &Segment, capture: usize) -> bool {
        let [first, second] = self.captures;
        let (other, offset_ns) = if capture == 0 {
            (second, self.offset_ns)
        } else {
            (first, 0)
        };
        let time_ns = self.on_first_clock(segment, capture);
        other.span.is_some_and(|(first_ns, last_ns)| {
            let from = first_ns as i64 - offset_ns - BEYOND_NS;
            (from..=last_ns as i64 - offset_ns + BEYOND_NS).contains(&time_ns)
        })
    }

    fn marks(&self, pair: &Pair<'_>, direction: usize, segment: &Segment, shift: u32) -> Marks {
        let ways = pair.ways.get(direction).map_or(&[][..], |it| it);
        let mut ends: Vec<_> = ways.iter().flatten().map(|it| it.ends).collect();
        // A reset may come from nowhere: the other direction has its ends, too.
        let other = pair.ways.get(1 - direction.min(1)).map_or(&[][..], |it| it);
        ends.extend(other.iter().flatten().map(|it| [it.ends[1], it.ends[0]]));
        let seqs = [segment.seq, segment.seq.wrapping_add(shift)];
        let has = |known: &Option<Known>| Some(known.as_ref()?.has(&ends, seqs, segment));
        Marks {
            firewall: has(&self.firewall),
            drop: has(&self.drop),
        }
    }

    /// Returns the differences that all segments of a connection have.
    fn changes(&self, pair: &Pair<'_>, compared: &Compared) -> Vec<String> {
        let mut changes = Vec::new();
        if let (Some([client, server]), Some([client_inside, server_inside])) =
            (compared.outside, compared.inside)
        {
            if client != client_inside {
                changes.push(format!("client {client} → {client_inside}"));
            }
            if server != server_inside {
                changes.push(format!("server {server} → {server_inside}"));
            }
        }
        for (direction, from) in [Party::Client, Party::Server].into_iter().enumerate() {
            let sign = if self.layout.before(from) == 0 { 1 } else { -1 };
            let side = from.name();
            let steps = pair.matched(direction);
            let steps = steps.map(|(a, b)| sign * (i64::from(b.ttl) - i64::from(a.ttl)));
            if let Some(step) = median(steps.collect())
                && step != 0
            {
                changes.push(format!("{side}'s TTL {step:+}"));
            }
            let Some(aligned) = pair.alignments.get(direction) else {
                continue;
            };
            if aligned.shift != 0 && !aligned.is_separate {
                let shift = sign * i64::from(aligned.shift.cast_signed());
                changes.push(format!("{side}'s sequence numbers {shift:+}"));
            }
        }
        changes
    }
}

/// Returns the differences of a segment that left from the one that arrived.
fn changes(arrived: &Segment, left: &Segment) -> Vec<String> {
    let mut changes = Vec::new();
    if !arrived.same_payload(left) {
        changes.push(if arrived.len == left.len {
            format!("{} bytes with other contents", left.len)
        } else {
            format!("{} bytes → {}", arrived.len, left.len)
        });
    }
    if arrived.control() != left.control() {
        changes.push(format!("{arrived} → {left}"));
    }
    changes
}

/// Returns the TTL of most segments that reset nothing.
fn usual_ttl(segments: &[Segment]) -> Option<u8> {
    let mut numbers = [0_u32; 256];
    for segment in segments.iter().filter(|it| !it.has(RST)) {
        if let Some(number) = numbers.get_mut(usize::from(segment.ttl)) {
            *number += 1;
        }
    }
    let (ttl, number) = (0..=u8::MAX)
        .zip(numbers)
        .max_by_key(|(_, number)| *number)?;
    (number > 0).then_some(ttl)
}
