//! Connections that two captures have in common, whatever their addresses.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use super::segment::Contents;
use super::traffic::{Flow, Traffic};

/// First segments with payload of each direction by which it is recognised.
const TELLING_MAX: usize = 8;
/// Directions of the same payload that are candidates for one.
const CANDIDATES_MAX: usize = 64;
/// Longest time from a ClientHello to that of a proxy for it, nanoseconds, and before it for other clocks.
const PROXY_NS: i64 = 5_000_000_000;
const CLOCK_NS: i64 = 1_000_000_000;

/// A direction: a flow's number, and the end that sends.
type Direction = (usize, usize);

/// Numbers of flows of both captures that are one connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Together {
    pub(super) flows: [Vec<usize>; 2],
}

/// Returns the connections of both captures, in the order of the first capture, then of the second.
pub(super) fn together(first: &Traffic, second: &Traffic) -> Vec<Together> {
    let flows = [first.flows.as_slice(), second.flows.as_slice()];
    let mut sets = Sets::new(first.len() + second.len());
    let behind = first.len();
    let mut used = Used::default();
    by_payload(flows, &mut used, &mut sets, behind);
    by_syn(flows, &mut used, &mut sets, behind);
    by_ends(flows, &mut sets, behind);
    by_name(flows, &mut sets, behind);
    let mut groups: HashMap<usize, usize> = HashMap::new();
    let mut all: Vec<Together> = Vec::new();
    for number in 0..sets.len() {
        let root = sets.root(number);
        let place = *groups.entry(root).or_insert_with(|| {
            all.push(Together::default());
            all.len() - 1
        });
        let Some(group) = all.get_mut(place) else {
            continue;
        };
        let [of_first, of_second] = &mut group.flows;
        match number.checked_sub(behind) {
            None => of_first.push(number),
            Some(number) => of_second.push(number),
        }
    }
    all
}

#[derive(Default)]
struct Used {
    first: HashSet<Direction>,
    second: HashSet<Direction>,
}

fn sender(flow: &Flow, end: usize) -> [SocketAddr; 2] {
    let [first, second] = flow.ends;
    if end == 0 {
        [first, second]
    } else {
        [second, first]
    }
}

/// Joins directions that carry the same payload.
fn by_payload([first, second]: [&[Flow]; 2], used: &mut Used, sets: &mut Sets, behind: usize) {
    let mut index: HashMap<u64, Vec<Direction>> = HashMap::new();
    for (number, flow) in second.iter().enumerate() {
        for end in [0, 1] {
            for key in telling(flow, end) {
                let same = index.entry(key.0).or_default();
                if same.len() < CANDIDATES_MAX && same.last() != Some(&(number, end)) {
                    same.push((number, end));
                }
            }
        }
    }
    for (number, flow) in first.iter().enumerate() {
        for end in [0, 1] {
            let mut votes: HashMap<Direction, (usize, bool)> = HashMap::new();
            for (key, is_random) in telling(flow, end) {
                for candidate in index.get(&key).into_iter().flatten() {
                    if !used.second.contains(candidate) {
                        let vote = votes.entry(*candidate).or_default();
                        vote.0 += 1;
                        vote.1 |= is_random;
                    }
                }
            }
            let own = sender(flow, end);
            let rated = votes
                .into_iter()
                .filter_map(|(candidate, (votes, is_random))| {
                    let other = second.get(candidate.0)?;
                    let its = sender(other, candidate.1);
                    let common = own.iter().zip(&its).filter(|(a, b)| a == b).count();
                    let apart = flow.first_ns.abs_diff(other.first_ns);
                    (is_random || votes > 1 || common > 0)
                        .then_some(((votes, common, std::cmp::Reverse(apart)), candidate))
                });
            if let Some((_, candidate)) = rated.max() {
                used.first.insert((number, end));
                used.second.insert(candidate);
                sets.join(number, behind + candidate.0);
            }
        }
    }
}

/// Returns the keys of a direction's first payloads, and whether each is random enough to be of one
/// connection alone.
fn telling(flow: &Flow, end: usize) -> Vec<(u64, bool)> {
    let segments = flow.halves.get(end).map_or(&[][..], |it| &it.segments);
    let telling = segments.iter().filter(|it| it.is_telling());
    let telling = telling.take(TELLING_MAX);
    telling
        .map(|it| {
            let is_hello = matches!(it.contents, Contents::ClientHello | Contents::ServerHello);
            (it.key(), is_hello)
        })
        .collect()
}

/// Joins flows of the same ends that are nearest in time, in order.
fn by_ends([first, second]: [&[Flow]; 2], sets: &mut Sets, behind: usize) {
    let mut index: HashMap<[SocketAddr; 2], [Vec<usize>; 2]> = HashMap::new();
    for (capture, flows) in [first, second].into_iter().enumerate() {
        for (number, flow) in flows.iter().enumerate() {
            let same = index.entry(flow.ends).or_default();
            if let Some(numbers) = same.get_mut(capture) {
                numbers.push(number);
            }
        }
    }
    for [of_first, of_second] in index.values() {
        // Those joined by their payload are no candidates any more.
        let roots: HashSet<_> = of_first.iter().map(|it| sets.root(*it)).collect();
        let free = of_second
            .iter()
            .filter(|it| !roots.contains(&sets.find(behind + **it)));
        let free: Vec<usize> = free.copied().collect();
        let roots: HashSet<_> = of_second.iter().map(|it| sets.root(behind + *it)).collect();
        let wanting = of_first
            .iter()
            .filter(|it| !roots.contains(&sets.find(**it)));
        let wanting: Vec<usize> = wanting.copied().collect();
        let time_ns = |flows: &[Flow], number: usize| flows.get(number).map_or(0, |it| it.first_ns);
        // Both are in the order of time: the nearest one is never before the last that was taken.
        let mut next = 0;
        for number in wanting {
            let apart = |place: usize| {
                let other = free.get(place)?;
                Some(time_ns(first, number).abs_diff(time_ns(second, *other)))
            };
            while let (Some(this), Some(later)) = (apart(next), apart(next + 1))
                && later < this
            {
                next += 1;
            }
            let Some(other) = free.get(next) else {
                break;
            };
            sets.join(number, behind + *other);
            next += 1;
        }
    }
}

/// Joins directions with the same initial sequence number and one end in common: a connection that
/// carries nothing.
fn by_syn([first, second]: [&[Flow]; 2], used: &mut Used, sets: &mut Sets, behind: usize) {
    let mut index: HashMap<(u32, SocketAddr), Vec<Direction>> = HashMap::new();
    for (number, flow) in second.iter().enumerate() {
        for (end, half) in flow.halves.iter().enumerate() {
            let Some(syn) = half.syn else {
                continue;
            };
            for socket in flow.ends {
                let same = index.entry((syn, socket)).or_default();
                if same.len() < CANDIDATES_MAX {
                    same.push((number, end));
                }
            }
        }
    }
    for (number, flow) in first.iter().enumerate() {
        for (end, half) in flow.halves.iter().enumerate() {
            let Some(syn) = half.syn.filter(|_| !used.first.contains(&(number, end))) else {
                continue;
            };
            let own = sender(flow, end);
            let candidates = flow
                .ends
                .iter()
                .filter_map(|socket| index.get(&(syn, *socket)));
            let found = candidates.flatten().find(|candidate| {
                let its = second.get(candidate.0).map(|it| sender(it, candidate.1));
                let common = its.is_some_and(|its| own.iter().zip(&its).any(|(a, b)| a == b));
                common && !used.second.contains(candidate)
            });
            if let Some(found) = found {
                used.first.insert((number, end));
                used.second.insert(*found);
                sets.join(number, behind + found.0);
            }
        }
    }
}

/// Joins a connection with that of a proxy for it: a ClientHello for the same server name, or to the same
/// server, soon after.
fn by_name([first, second]: [&[Flow]; 2], sets: &mut Sets, behind: usize) {
    // Whether a connection has a hello in the first capture, and in the second: one more is another's.
    let mut known: HashMap<usize, [bool; 2]> = HashMap::new();
    let all = [(first, 0, 0), (second, 1, behind)];
    for (flows, capture, offset) in all {
        for (number, _) in flows
            .iter()
            .enumerate()
            .filter(|(_, it)| it.hello_ns.is_some())
        {
            let of_set = known.entry(sets.root(offset + number)).or_default();
            if let Some(has) = of_set.get_mut(capture) {
                *has = true;
            }
        }
    }
    let has = |known: &HashMap<usize, [bool; 2]>, root: usize, capture: usize| {
        known.get(&root).and_then(|it| it.get(capture)) == Some(&true)
    };
    let mut hellos: HashMap<String, Vec<(u64, usize)>> = HashMap::new();
    for (number, flow) in second.iter().enumerate() {
        if let Some(time_ns) = flow.hello_ns
            && !has(&known, sets.root(behind + number), 0)
        {
            let same = hellos.entry(destination(flow)).or_default();
            same.push((time_ns, number));
        }
    }
    hellos.values_mut().for_each(|same| same.sort_unstable());
    let mut taken: HashSet<usize> = HashSet::new();
    for (number, flow) in first.iter().enumerate() {
        let Some(time_ns) = flow.hello_ns else {
            continue;
        };
        if has(&known, sets.root(number), 1) {
            continue;
        }
        let Some(same) = hellos.get(&destination(flow)) else {
            continue;
        };
        let after = |other: u64| other as i64 - time_ns as i64;
        let begin = same.partition_point(|(other, _)| after(*other) < -CLOCK_NS);
        let near = same.iter().skip(begin).take(CANDIDATES_MAX);
        let nearest = near
            .filter(|(other, number)| after(*other) <= PROXY_NS && !taken.contains(number))
            .min_by_key(|(other, _)| after(*other).unsigned_abs());
        if let Some((_, other)) = nearest {
            sets.join(number, behind + *other);
            known.insert(sets.root(number), [true; 2]);
            taken.insert(*other);
        }
    }
}

fn destination(flow: &Flow) -> String {
    let [_, server] = sender(flow, flow.client());
    let name = flow.server_name.as_deref().map(str::to_ascii_lowercase);
    name.unwrap_or_else(|| server.to_string())
}

/// Disjoint sets of flows.
struct Sets {
    parents: Vec<usize>,
    sizes: Vec<usize>,
}

impl Sets {
    fn new(len: usize) -> Self {
        Self {
            parents: (0..len).collect(),
            sizes: vec![1; len],
        }
    }

    const fn len(&self) -> usize {
        self.parents.len()
    }

    /// Returns the number that a set's members share.
    fn find(&self, mut number: usize) -> usize {
        while let Some(&parent) = self.parents.get(number)
            && parent != number
        {
            number = parent;
        }
        number
    }

    fn root(&mut self, number: usize) -> usize {
        let root = self.find(number);
        if let Some(parent) = self.parents.get_mut(number) {
            *parent = root;
        }
        root
    }

    fn size(&mut self, number: usize) -> usize {
        let root = self.root(number);
        self.sizes.get(root).copied().unwrap_or(1)
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return;
        }
        let (size_a, size_b) = (self.size(a), self.size(b));
        let (large, small) = if size_a >= size_b { (a, b) } else { (b, a) };
        if let Some(parent) = self.parents.get_mut(small) {
            *parent = large;
        }
        if let Some(size) = self.sizes.get_mut(large) {
            *size = size_a + size_b;
        }
    }
}
