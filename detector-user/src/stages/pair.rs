//! A connection's directions in both captures, aligned, and the places and clocks that all of them show.

use std::net::SocketAddr;

use super::alignment::{Alignment, Counterpart};
use super::pairing::Together;
use super::segment::Segment;
use super::traffic::{Half, Traffic};
use crate::verdict::Party;

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
    pub(super) const fn before(self, from: Party) -> usize {
        match (self, from) {
            (Self::Stages, _) | (Self::Sides, Party::Client) => 0,
            (Self::SidesSwapped, Party::Client) | (Self::Sides, _) => 1,
            (Self::SidesSwapped, _) => 0,
        }
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

/// One direction of a connection in a capture: sender, addressee, segments.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) ends: [SocketAddr; 2],
    pub(super) half: &'a Half,
}

/// A connection's directions in both captures, aligned.
pub(super) struct Pair<'a> {
    pub(super) first_ns: u64,
    pub(super) server_name: Option<&'a str>,
    /// From the client, then from the server; each in both captures.
    pub(super) ways: [[Option<Way<'a>>; 2]; 2],
    pub(super) alignments: [Alignment; 2],
    pub(super) is_common: bool,
}

static NOTHING: Half = Half {
    segments: Vec::new(),
    syn: None,
    first_seq: None,
    is_cut: false,
};

impl<'a> Pair<'a> {
    pub(super) fn of(captures: [&'a Traffic; 2], together: &Together) -> Self {
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

    pub(super) fn is_proxied(&self) -> bool {
        self.alignments.iter().any(|it| it.is_separate)
    }

    pub(super) fn segments(&self, direction: usize, capture: usize) -> &'a [Segment] {
        let way = self.ways.get(direction).and_then(|it| it.get(capture));
        way.and_then(|it| *it).map_or(&[], |it| &it.half.segments)
    }

    /// Returns the segments of a direction that both captures have, as they are in both.
    pub(super) fn matched(
        &self,
        direction: usize,
    ) -> impl Iterator<Item = (&'a Segment, &'a Segment)> {
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
pub(super) fn layout(pairs: &[Pair<'_>]) -> Layout {
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

pub(super) fn clocks(pairs: &[Pair<'_>], layout: Layout) -> Option<Clocks> {
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

pub(super) fn median(mut of: Vec<i64>) -> Option<i64> {
    let middle = of.len() / 2;
    (!of.is_empty()).then(|| *of.select_nth_unstable(middle).1)
}
