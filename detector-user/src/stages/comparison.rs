//! Two captures beside each other.

use std::collections::HashSet;
use std::net::SocketAddr;

use detector_common::headers::tcp_flags::{FIN, RST};

use super::alignment::{Alignment, Counterpart};
use super::outcome;
use super::pairing::{Together, together};
use super::segment::Segment;
use super::traffic::{Half, Traffic};
use crate::verdict::Party;

/// Longest time beyond the other capture's beginning and end, nanoseconds, at which a segment's counterpart
/// is missed.
const BEYOND_NS: i64 = 1_000_000_000;
/// Longest passage through a device whose stages have one clock, nanoseconds.
const PASSAGE_MAX_NS: i64 = 100_000_000;
/// Maximum TTL steps from a stage to the next.
const HOPS_MAX: i16 = 4;

/// The places of the two captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Segments of both directions pass the first capture, then the second: the stages of one device.
    Stages,
    /// The first is nearer to the clients, the second nearer to the servers: two interfaces.
    Sides,
    /// The first is nearer to the servers.
    SidesSwapped,
}

impl Layout {
    /// Returns the number of the capture that a direction passes first.
    const fn before(self, from: Party) -> usize {
        match (self, from) {
            (Self::Stages, _) | (Self::Sides, Party::Client) => 0,
            (Self::SidesSwapped, Party::Client) | (Self::Sides, _) => 1,
            (Self::SidesSwapped, _) => 0,
        }
    }
}

/// The fate of a segment between the captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrived and left.
    Forwarded,
    /// It arrived, and left with other bytes or flags.
    Rewritten,
    /// It left, and had not arrived.
    Inserted,
    /// It arrived, and did not leave.
    Dropped,
}

impl Fate {
    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Rewritten => "rewritten",
            Self::Inserted => "inserted",
            Self::Dropped => "dropped",
        }
    }
}

/// Traces of a segment in captures of further stages; `None` without such a capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Whether the capture of the firewall stage has it.
    pub firewall: Option<bool>,
    /// Whether the capture of dropped packets has it.
    pub drop: Option<bool>,
}

/// A segment and its fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Time on the first capture's clock, UNIX nanoseconds.
    pub time_ns: i64,
    /// The side that it comes from, or claims to.
    pub from: Party,
    /// The segment: as it arrived, or as it left if it was inserted.
    pub segment: Segment,
    /// Number of the capture that has it.
    pub capture: usize,
    /// Its fate.
    pub fate: Fate,
    /// Differences of what left, but for those of the whole connection.
    pub changes: Vec<String>,
    /// Whether a copy of its bytes was forwarded.
    pub is_copy: bool,
    /// Traces at further stages.
    pub marks: Marks,
    /// TTL of most segments of its direction, if its own is another.
    pub usual_ttl: Option<u8>,
}

/// Numbers of a direction's segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Forwarded.
    pub forwarded: u64,
    /// Rewritten.
    pub rewritten: u64,
    /// Inserted.
    pub inserted: u64,
    /// Dropped.
    pub dropped: u64,
}

/// A connection in both captures, or in one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Client and server, as the client sees them.
    pub outside: Option<[SocketAddr; 2]>,
    /// Client and server, as the server sees them.
    pub inside: Option<[SocketAddr; 2]>,
    /// Time of its first segment, UNIX nanoseconds on the first capture's clock.
    pub began_ns: i64,
    /// Server name of the ClientHello.
    pub server_name: Option<String>,
    /// Whether the device has connections of its own to both sides.
    pub is_proxied: bool,
    /// Whether both captures have it.
    pub is_common: bool,
    /// Differences of all its segments.
    pub changes: Vec<String>,
    /// Segments from the client, and from the server.
    pub counts: [Counts; 2],
    /// Segments with their fate, in order: those that are not forwarded as they are, and of the others those that
    /// begin or end something.
    pub events: Vec<Event>,
    /// Sentences on its outcome.
    pub outcome: Vec<String>,
    /// The party that ended it: the device, or the side that a forwarded end came from.
    pub ended_by: Option<Party>,
}

impl Compared {
    /// Whether anything was inserted, dropped or rewritten.
    #[must_use]
    pub fn is_disturbed(&self) -> bool {
        let counts = self.counts.iter();
        let mut counts = counts.map(|it| it.inserted + it.dropped + it.rewritten);
        counts.any(|it| it > 0)
    }
}

/// Clocks of the captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// The second capture's clock minus the first's, nanoseconds.
    pub offset_ns: i64,
    /// Median passage through the device, nanoseconds.
    pub passage_ns: i64,
    /// Segments that show it.
    pub segments: usize,
}

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

/// One direction of a connection in a capture: sender, addressee, segments.
#[derive(Clone, Copy)]
struct Way<'a> {
    ends: [SocketAddr; 2],
    half: &'a Half,
}

/// A connection's directions in both captures, aligned.
struct Pair<'a> {
    first_ns: u64,
    server_name: Option<&'a str>,
    /// From the client, then from the server; each in both captures.
    ways: [[Option<Way<'a>>; 2]; 2],
    alignments: [Alignment; 2],
    is_common: bool,
}

static NOTHING: Half = Half {
    segments: Vec::new(),
    syn: None,
    first_seq: None,
    is_cut: false,
};

impl<'a> Pair<'a> {
    fn of(captures: [&'a Traffic; 2], together: &Together) -> Self {
        let mut ways: [[Option<Way<'a>>; 2]; 2] = [[None; 2]; 2];
        let mut first_ns = u64::MAX;
        let mut server_name = None;
        for (capture, (traffic, numbers)) in captures.iter().zip(&together.flows).enumerate() {
            let flows = numbers
                .iter()
                .filter_map(|number| traffic.flows.get(*number));
            for flow in flows {
                first_ns = first_ns.min(flow.first_ns);
                server_name = server_name.or(flow.server_name.as_deref());
                let client = flow.client();
                for (end, half) in flow.halves.iter().enumerate() {
                    let [first, second] = flow.ends;
                    let ends = if end == 0 {
                        [first, second]
                    } else {
                        [second, first]
                    };
                    let direction = usize::from(end != client);
                    let Some(way) = ways.get_mut(direction).and_then(|it| it.get_mut(capture))
                    else {
                        continue;
                    };
                    let known = way.map_or(0, |it| it.half.segments.len());
                    if half.segments.len() > known {
                        *way = Some(Way { ends, half });
                    }
                }
            }
        }
        let alignments = ways.each_ref().map(|[first, second]| {
            let [first, second] = [first, second].map(|it| it.map_or(&NOTHING, |it| it.half));
            Alignment::of(first, second)
        });
        let [first, second] = &together.flows;
        Self {
            first_ns,
            server_name,
            ways,
            alignments,
            is_common: !first.is_empty() && !second.is_empty(),
        }
    }

    fn is_proxied(&self) -> bool {
        self.alignments.iter().any(|it| it.is_separate)
    }

    fn segments(&self, direction: usize, capture: usize) -> &'a [Segment] {
        let way = self.ways.get(direction).and_then(|it| it.get(capture));
        way.and_then(|it| *it).map_or(&[], |it| &it.half.segments)
    }

    /// Returns the segments of a direction that both captures have, as they are in both.
    fn matched(&self, direction: usize) -> impl Iterator<Item = (&'a Segment, &'a Segment)> {
        let [first, second] = [0, 1].map(|capture| self.segments(direction, capture));
        let aligned = self.alignments.get(direction);
        let counterparts = aligned.filter(|it| !it.is_separate);
        let counterparts = counterparts.map_or(&[][..], |it| &it.first);
        let pairs: Vec<_> = counterparts
            .iter()
            .zip(first)
            .filter_map(|(counterpart, segment)| match counterpart {
                Counterpart::Segment(number) => Some((segment, second.get(*number)?)),
                _ => None,
            })
            .collect();
        pairs.into_iter()
    }

    /// Returns the delay from the first capture to the second, also of a proxy's own first segment.
    fn delays(&self, direction: usize) -> Vec<i64> {
        let apart = |a: &Segment, b: &Segment| b.time_ns as i64 - a.time_ns as i64;
        let matched: Vec<_> = self.matched(direction).map(|(a, b)| apart(a, b)).collect();
        if !matched.is_empty() {
            return matched;
        }
        let [first, second] = [0, 1].map(|capture| {
            let mut segments = self.segments(direction, capture).iter();
            segments.find(|it| it.len > 0)
        });
        first
            .zip(second)
            .map(|(a, b)| apart(a, b))
            .into_iter()
            .collect()
    }
}

/// Recognises the captures' places: a segment loses TTL on its way, and time passes.
fn layout(pairs: &[Pair<'_>]) -> Layout {
    let [hops_of_clients, hops_of_servers] = [0, 1].map(|direction| {
        let lost = pairs.iter().flat_map(|pair| pair.matched(direction));
        let lost = lost.map(|(a, b)| i16::from(a.ttl) - i16::from(b.ttl));
        lost.filter(|it| it.abs() <= HOPS_MAX)
            .map(|it| i64::from(it.signum()))
            .sum::<i64>()
    });
    let [of_clients, of_servers] = [0, 1].map(|direction| {
        let delays = pairs
            .iter()
            .filter_map(|pair| median(pair.delays(direction)));
        median(delays.collect())
    });
    let back_by_time =
        matches!((of_clients, of_servers), (Some(there), Some(back)) if back < 0 && there >= 0);
    let servers_go_back = hops_of_servers < 0 || (hops_of_servers == 0 && back_by_time);
    match (hops_of_clients < 0, servers_go_back) {
        (true, _) => Layout::SidesSwapped,
        (false, true) => Layout::Sides,
        (false, false) => Layout::Stages,
    }
}

fn clocks(pairs: &[Pair<'_>], layout: Layout) -> Option<Clocks> {
    let [there, back] = [0, 1].map(|direction| {
        let delays = pairs.iter().flat_map(|pair| pair.matched(direction));
        let delays = delays.map(|(a, b)| b.time_ns as i64 - a.time_ns as i64);
        delays.collect::<Vec<_>>()
    });
    let segments = there.len() + back.len();
    let [median_there, median_back] = [&there, &back].map(|it| median(it.clone()));
    match (layout, median_there, median_back) {
        (Layout::Sides | Layout::SidesSwapped, Some(there), Some(back)) => Some(Clocks {
            offset_ns: there / 2 + back / 2,
            passage_ns: (there / 2 - back / 2).abs(),
            segments,
        }),
        _ => {
            let all: Vec<_> = there.into_iter().chain(back).collect();
            let fastest = *all.iter().min()?;
            // Nothing leaves before it arrives.
            let is_one_clock = (0..PASSAGE_MAX_NS).contains(&fastest);
            let offset_ns = if is_one_clock { 0 } else { fastest };
            Some(Clocks {
                offset_ns,
                passage_ns: median(all)? - offset_ns,
                segments,
            })
        }
    }
}

fn median(mut of: Vec<i64>) -> Option<i64> {
    let middle = of.len() / 2;
    (!of.is_empty()).then(|| *of.select_nth_unstable(middle).1)
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
                    is_copy: self.is_copy(segment, segments, counterparts),
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

    /// Whether a segment of the same place and length has a counterpart.
    fn is_copy(&self, segment: &Segment, all: &[Segment], counterparts: &[Counterpart]) -> bool {
        segment.len > 0
            && all.iter().zip(counterparts).any(|(other, counterpart)| {
                *counterpart != Counterpart::None
                    && !std::ptr::eq(other, segment)
                    && (other.seq, other.len) == (segment.seq, segment.len)
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
