//! One entry per flow, from its first bytes to the moment after its end.
//!
//! Time comes with [`Tracker::advance`], on the source's clock; a flow that is over is passed on as a
//! [`Timeline`] in UNIX time. Memory is bounded by the number of entries and the bytes each may keep.

mod buffers;
mod deadlines;
mod entry;
mod halves;
mod hello_sizes;
mod latest;
mod outlived;
mod preambles;
mod proxies;
mod refusals;
mod unanswered;
mod unreachables;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use detector_common::flow::Sender;
use detector_common::observation::{ChunkHead, Observation, events};
use detector_common::syn::Syn;
use hashlink::LruCache;
use hashlink::linked_hash_map::RawEntryMut;

use crate::flow::flow_id::FlowId;
use crate::flow::halves::is_joined;
use crate::flow::preamble::PreambleReport;
use crate::flow::timeline::{Close, CloseKind, Ending, FlowEvent, Timeline};
use crate::flow::unreachable::UnreachableReport;
use buffers::Buffers;
pub use deadlines::earliest;
use deadlines::{Deadlines, Scheduled};
use entry::{Entry, endpoint};
use halves::Halves;
pub use halves::SeenHalf;
use hello_sizes::HelloSizes;
use preambles::Preambles;
use proxies::Proxies;
pub use refusals::RefusalCounts;
use refusals::Refusals;
use unanswered::Unanswered;
use unreachables::Unreachables;

/// Number of ended flows that are remembered, so that a late segment of one does not look like a new
/// flow.
const FINISHED_MAX: usize = 1 << 16;
/// A flow without observations for so long is no longer followed: most implementations close idle
/// connections much sooner, and the kernel reports the end of one that goes on.
const IDLE_NS: u64 = 3_600_000_000_000;
/// A beginning that never became a ClientHello.
const PROVISIONAL_NS: u64 = 10_000_000_000;

/// Counts of the tracker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackerCounts {
    /// Flows whose ClientHello was seen.
    pub flows: u64,
    /// Flows evicted before their end to make room.
    pub evicted: u64,
}

/// All flows under way.
pub struct Tracker {
    entries: LruCache<FlowId, Box<Entry>>,
    /// Flows under way that nobody has answered.
    unanswered: Unanswered,
    /// Flows that end with the tracker, the last first.
    ending: Vec<FlowId>,
    capacity: usize,
    due: Deadlines,
    buffers: Buffers,
    finished: LruCache<FlowId, ()>,
    preambles: Preambles,
    proxies: Proxies,
    hello_sizes: HelloSizes,
    refusals: Refusals,
    unreachables: Unreachables,
    taps: HashMap<u32, Arc<str>>,
    unnamed: Arc<str>,
    events: Vec<FlowEvent>,
    counts: TrackerCounts,
    unix_offset_ns: i64,
    knows_direction: bool,
    /// VLAN IDs and tunnel of the first flow.
    path: Option<([u16; 2], u32)>,
    /// A connection may be seen twice: at several taps, or in several VLANs or tunnels.
    several_paths: bool,
    halves: Halves,
}

impl Tracker {
    /// Follows at most `capacity` flows at once.
    pub fn new(capacity: usize) -> Self {
        Self {
            entries: LruCache::new_unbounded(),
            unanswered: Unanswered::default(),
            ending: Vec::new(),
            capacity: capacity.max(1),
            due: Deadlines::default(),
            buffers: Buffers::default(),
            finished: LruCache::new(FINISHED_MAX),
            preambles: Preambles::default(),
            proxies: Proxies::default(),
            hello_sizes: HelloSizes::default(),
            refusals: Refusals::default(),
            unreachables: Unreachables::default(),
            taps: HashMap::new(),
            unnamed: Arc::from("?"),
            events: Vec::new(),
            counts: TrackerCounts::default(),
            unix_offset_ns: 0,
            knows_direction: false,
            path: None,
            several_paths: false,
            halves: Halves::default(),
        }
    }

    /// Sets apart the flows of which one direction alone passes.
    pub fn follow_halves(&mut self) {
        self.halves.is_wanted = true;
    }

    /// Removes the halves that changed or are over, in order.
    pub fn take_halves(&mut self) -> Vec<SeenHalf> {
        std::mem::take(&mut self.halves.seen)
    }

    /// Passes on a half as a connection of its own: its other half was not found.
    pub fn end_alone(&mut self, timeline: Box<Timeline>) {
        self.counts.flows += 1;
        self.events.push(FlowEvent::Over(timeline));
    }

    /// Names the tap of an interface, for flows that begin from now on.
    pub fn name_tap(&mut self, interface: u32, name: &str) {
        self.taps.insert(interface, Arc::from(name));
        let own = self.taps.keys().filter(|it| !is_joined(**it));
        if !is_joined(interface) && own.count() == 2 {
            self.announce_all();
        }
    }

    /// Announces the flows under way: on one path no partner had to know that they began.
    fn announce_all(&mut self) {
        self.several_paths = true;
        let packed: Vec<FlowId> = self.unanswered.flows().collect();
        for id in packed {
            self.unpack(id);
        }
        let ids: Vec<FlowId> = self.entries.iter().map(|(id, _)| *id).collect();
        for id in ids {
            self.announce(id);
        }
    }

    fn record_path(&mut self, id: &FlowId) {
        if is_joined(id.key.interface) {
            return;
        }
        let path = (id.key.vlan, id.key.tunnel);
        if *self.path.get_or_insert(path) != path && !self.several_paths {
            self.announce_all();
        }
    }

    /// Replaces the addresses of interceptors that the operator named.
    pub fn set_interceptors(&mut self, interceptors: &[IpAddr]) {
        self.proxies.set_named(interceptors);
    }

    /// Declares that observations have a direction, ingress or egress; at first they have none.
    pub fn set_knows_direction(&mut self) {
        self.knows_direction = true;
    }

    /// Sets the nanoseconds from the source's clock to UNIX time; 0 at first.
    pub fn set_unix_offset(&mut self, offset_ns: i64) {
        self.unix_offset_ns = offset_ns;
    }

    /// Nanoseconds from the source's clock to UNIX time.
    pub fn unix_offset(&self) -> i64 {
        self.unix_offset_ns
    }

    /// Records an observation.
    pub fn observation(&mut self, observation: &Observation) {
        if observation.events & (events::REFUSED | events::UNANSWERED) != 0 {
            return self.refusal(observation);
        }
        if observation.events & events::HELLO != 0 {
            self.refusals.record_answer(observation);
        }
        let id = FlowId {
            key: observation.key,
            started_ns: observation.watched.flow.started_ns,
        };
        self.record_path(&id);
        self.unpack(id);
        self.make_room(id);
        let halves = self.halves.is_wanted;
        let Some(entry) = entry(&mut self.entries, id, &self.finished, |id| {
            let tap = self.taps.get(&id.key.interface).unwrap_or(&self.unnamed);
            begun(id, tap, halves, &mut self.preambles, &mut self.buffers)
        }) else {
            return;
        };
        let known = entry.has_hello();
        let worked = entry.is_settled();
        entry.observe(observation, &mut self.buffers);
        let is_half = entry.is_half();
        let works = entry.is_settled() && !worked && !is_half;
        if is_half && entry.begin_waiting() {
            self.halves.schedule(id, observation.time_ns);
        }
        let deadline = entry
            .deadline(observation.time_ns)
            .unwrap_or(observation.time_ns.saturating_add(IDLE_NS));
        self.due.set(entry.due_mut(), id, deadline);
        self.counts.flows += u64::from(!known);
        if is_half {
            self.due.remove_stale(&self.entries);
            return;
        }
        if self.several_paths || self.proxies.may_relay(&id.key) {
            self.announce(id);
        }
        if works {
            self.announce_works(id);
        }
        if observation.events & events::HELLO != 0 {
            self.pack_next(id);
        }
        self.due.remove_stale(&self.entries);
    }

    /// Packs the flow that is no longer young now that another says hello, if nobody has answered it.
    fn pack_next(&mut self, hello: FlowId) {
        let Some(flow) = self.unanswered.record(hello, self.entries.len()) else {
            return;
        };
        let Some(entry) = self.entries.peek(&flow) else {
            return;
        };
        let deadline_ns = entry.due().deadline();
        if self.unanswered.insert(flow, entry, deadline_ns)
            && let Some(entry) = self.entries.remove(&flow)
        {
            self.buffers.recycle_entry(entry);
        }
    }

    /// Restores the entry of a flow that was packed.
    fn unpack(&mut self, id: FlowId) {
        if let Some((mut entry, deadline_ns)) = self.unanswered.remove(&id, &mut self.buffers) {
            self.due.set(entry.due_mut(), id, deadline_ns);
            self.entries.insert(id, entry);
        }
    }

    /// Counts a connection that was refused before its first byte, and ends it if there is something to
    /// compare its reset with.
    fn refusal(&mut self, observation: &Observation) {
        let Some(syn_ack) = self.refusals.record(observation) else {
            return;
        };
        let flow = &observation.watched.flow;
        let [syn, _] = flow.syns;
        let id = FlowId {
            key: observation.key,
            started_ns: syn.time_ns,
        };
        let tap = self.taps.get(&id.key.interface).unwrap_or(&self.unnamed);
        let reset = Close {
            kind: CloseKind::Reset,
            sender: Sender::Server,
            time_ns: observation.time_ns,
            egress: observation.egress != 0,
            records_before: 0,
            measured: observation.measured,
            sides: Default::default(),
        };
        let timeline = Timeline {
            tap: Arc::clone(tap),
            client: endpoint(&id, flow.client_endpoint),
            server: endpoint(&id, flow.client_endpoint ^ 1),
            vlan: flow.vlan.into_iter().filter(|id| *id != 0).collect(),
            last_ns: observation.time_ns,
            closes: vec![reset],
            // Of another connection only the origin compares, not the numbers.
            syns: [
                syn,
                Syn {
                    time_ns: syn.time_ns,
                    next_seq: observation.measured.seq,
                    ..syn_ack
                },
            ],
            refused: true,
            ..Timeline::unspoken(id, syn.time_ns)
        };
        let timeline = Box::new(timeline.moved_by(self.unix_offset_ns));
        self.events.push(FlowEvent::Over(timeline));
    }

    /// Records handshake bytes.
    pub fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]) {
        let id = FlowId {
            key: head.key,
            started_ns: head.started_ns,
        };
        self.record_path(&id);
        self.unpack(id);
        self.make_room(id);
        let halves = self.halves.is_wanted;
        let Some(entry) = entry(&mut self.entries, id, &self.finished, |id| {
            let tap = self.taps.get(&id.key.interface).unwrap_or(&self.unnamed);
            begun(id, tap, halves, &mut self.preambles, &mut self.buffers)
        }) else {
            return;
        };
        let sender = if head.sender == 0 {
            Sender::Client
        } else {
            Sender::Server
        };
        entry.feed(sender, head, bytes);
        if !entry.is_scheduled() {
            let deadline = head.time_ns.saturating_add(PROVISIONAL_NS);
            self.due.set(entry.due_mut(), id, deadline);
        }
        if self.several_paths || self.proxies.may_relay(&id.key) {
            self.announce(id);
        }
    }

    /// Records a report of bytes before a ClientHello, or in its place.
    pub fn preamble(&mut self, report: &PreambleReport) {
        let flow = FlowId {
            key: report.key,
            started_ns: report.flow_began_ns.unwrap_or(report.began_ns),
        };
        let client = endpoint(&flow, report.client_endpoint);
        if report.preamble.refusal.is_none() && report.preamble.target.is_some() {
            let proxy = endpoint(&flow, report.client_endpoint ^ 1);
            self.proxies.record(proxy.ip(), client.ip());
        }
        self.unpack(flow);
        if let Some(entry) = self.entries.peek_mut(&flow) {
            entry.set_preamble(Some(Arc::new(report.preamble.clone())));
            return;
        }
        if report.preamble.refusal.is_none() {
            let preamble = report.preamble.clone();
            self.preambles.insert(report.key, client, preamble);
            return;
        }
        let refused = self.preambles.refuse(Box::new(self.refused(flow, report)));
        self.push_refused(refused);
    }

    /// Records a report of an ICMP error about a connection.
    pub fn unreachable(&mut self, report: &UnreachableReport) {
        if let Some(started_ns) = report.flow_began_ns {
            let flow = FlowId {
                key: report.key,
                started_ns,
            };
            self.unpack(flow);
            if let Some(entry) = self.entries.peek_mut(&flow) {
                entry.record_unreachable(report.error.as_ref());
            }
            return;
        }
        let Some(error) = &report.error else {
            return self.unreachables.remove(&report.key);
        };
        if self.unreachables.add(&report.key, error) {
            return;
        }
        let flow = FlowId {
            key: report.key,
            started_ns: report.time_ns,
        };
        let tap = self.taps.get(&flow.key.interface).unwrap_or(&self.unnamed);
        let timeline = Timeline {
            tap: Arc::clone(tap),
            client: endpoint(&flow, report.client_endpoint),
            server: endpoint(&flow, report.client_endpoint ^ 1),
            vlan: report.vlan.into_iter().filter(|id| *id != 0).collect(),
            unreachable: Some(Box::new(*error)),
            refused: true,
            ..Timeline::unspoken(flow, report.time_ns)
        };
        self.unreachables.insert(report.key, Box::new(timeline));
    }

    /// Counts the connections whose SYN got no other answer than an ICMP error until `now_ns`, and ends
    /// those that another than their server rejected.
    fn end_unreachable(&mut self, now_ns: u64) {
        while let Some(mut timeline) = self.unreachables.pop_over(now_ns) {
            let Some(error) = timeline.unreachable.as_deref().copied() else {
                continue;
            };
            timeline.last_ns = error.last_ns;
            if self.refusals.record_unreachable(&timeline)
                && error.code.is_rejection()
                && error.by != timeline.server.ip()
            {
                let timeline = Box::new(timeline.moved_by(self.unix_offset_ns));
                self.events.push(FlowEvent::Over(timeline));
            }
        }
    }

    fn push_refused(&mut self, refused: Option<Box<Timeline>>) {
        let offset_ns = self.unix_offset_ns;
        self.counts.flows += u64::from(refused.is_some());
        let refused = refused.map(|refused| Box::new(refused.moved_by(offset_ns)));
        self.events.extend(refused.map(FlowEvent::Over));
    }

    /// Returns the timeline of a connection that ended before its ClientHello.
    fn refused(&self, flow: FlowId, report: &PreambleReport) -> Timeline {
        let tap = self.taps.get(&flow.key.interface);
        Timeline {
            tap: Arc::clone(tap.unwrap_or(&self.unnamed)),
            client: endpoint(&flow, report.client_endpoint),
            server: endpoint(&flow, report.client_endpoint ^ 1),
            vlan: report.vlan.into_iter().filter(|id| *id != 0).collect(),
            last_ns: report.time_ns,
            preamble: Some(Arc::new(report.preamble.clone())),
            ..Timeline::unspoken(flow, report.began_ns)
        }
    }

    /// Ends the flows that are over at `now_ns` on the source's clock.
    pub fn advance(&mut self, now_ns: u64) {
        while let Some(refused) = self.preambles.pop_over(now_ns) {
            self.push_refused(Some(refused));
        }
        self.end_unreachable(now_ns);
        while let Some((id, _)) = self.unanswered.oldest()
            && self.unanswered.next_deadline() <= Some(now_ns)
        {
            self.unpack(id);
        }
        while let Some(id) = self.due.pop_over(now_ns, &mut self.entries) {
            self.end(id, None);
        }
        while let Some(id) = self.halves.pop_due(now_ns) {
            let offset_ns = self.unix_offset_ns;
            let half = self.entries.peek_mut(&id).and_then(|entry| {
                entry.end_waiting();
                entry.half(id, offset_ns, false)
            });
            self.halves.seen.extend(half.map(|half| SeenHalf {
                half: Box::new(half),
                alone: None,
            }));
        }
    }

    /// Ends all flows, since the capture or the agent ends.
    pub fn finish(&mut self) {
        self.begin_finish();
        self.finish_next(usize::MAX);
    }

    /// Begins to end all flows; [`finish_next`](Self::finish_next) ends them.
    pub fn begin_finish(&mut self) {
        while let Some(refused) = self.preambles.pop_over(u64::MAX) {
            self.push_refused(Some(refused));
        }
        self.end_unreachable(u64::MAX);
        let ids = self.entries.iter().map(|(id, _)| *id);
        self.ending = ids.chain(self.unanswered.flows()).collect();
        self.ending
            .sort_unstable_by_key(|id| Reverse((id.started_ns, id.key)));
        self.due.clear();
    }

    /// Ends the next flows, at most so many. Returns whether there were any.
    pub fn finish_next(&mut self, most: usize) -> bool {
        let mut ended = 0;
        while ended < most
            && let Some(id) = self.ending.pop()
        {
            self.end(id, Some(Ending::Cut));
            ended += 1;
        }
        self.due.clear();
        ended > 0
    }

    /// Reuses the memory of a timeline that nobody needs any more.
    pub fn reuse(&mut self, timeline: Box<Timeline>) {
        self.buffers.recycle_timeline(timeline);
    }

    /// Whether there are events.
    #[must_use]
    pub const fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Removes the events so far, in order.
    pub fn take_events(&mut self) -> impl Iterator<Item = FlowEvent> + '_ {
        self.events.drain(..)
    }

    /// Returns the earliest time when a flow may end without a further observation, on the source's
    /// clock.
    pub fn next_deadline(&self) -> Option<u64> {
        earliest([
            self.due.next(),
            self.unanswered.next_deadline(),
            self.preambles.next_deadline(),
            self.unreachables.next_deadline(),
            self.halves.next_deadline(),
        ])
    }

    /// Returns the number of flows under way.
    pub fn len(&self) -> usize {
        self.entries.len() + self.unanswered.len()
    }

    /// Whether no flow is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the connections refused before their first byte, and the servers with most of them,
    /// at most `limit`.
    pub fn refusals(&self, limit: usize) -> (RefusalCounts, Vec<(SocketAddr, RefusalCounts)>) {
        (self.refusals.counts(), self.refusals.servers(limit))
    }

    /// Counts so far.
    pub fn counts(&self) -> TrackerCounts {
        self.counts
    }

    /// Counts further flows: an earlier process saw them.
    pub fn count_flows(&mut self, flows: u64) {
        self.counts.flows += flows;
    }

    /// Forgets all counts, and of flows the number of those that are `judged`.
    pub fn reset_counts(&mut self, judged: u64) {
        self.counts = TrackerCounts {
            flows: self.counts.flows.saturating_sub(judged),
            evicted: 0,
        };
        self.refusals.reset_counts();
    }

    /// Evicts the oldest flow if this one is new and the tracker is full.
    fn make_room(&mut self, id: FlowId) {
        if self.len() >= self.capacity
            && !self.entries.contains_key(&id)
            && !self.finished.contains_key(&id)
        {
            self.evict();
        }
    }

    fn announce_works(&mut self, id: FlowId) {
        let entry = self.entries.peek(&id);
        let timeline = entry.and_then(|entry| entry.timeline(id, &mut self.buffers));
        if let Some(mut timeline) = timeline {
            timeline.shift(self.unix_offset_ns);
            self.events.push(FlowEvent::Works(timeline));
        }
    }

    fn announce(&mut self, id: FlowId) {
        // A composed connection is one flow, wherever its halves passed.
        if is_joined(id.key.interface) {
            return;
        }
        let knows_direction = self.knows_direction;
        let beginning = self
            .entries
            .peek_mut(&id)
            .and_then(|entry| entry.announce(id, knows_direction, &self.proxies));
        self.events
            .extend(beginning.map(|it| FlowEvent::Began(Box::new(it))));
    }

    fn evict(&mut self) {
        let first = self.entries.iter().next();
        let first = first.map(|(id, entry)| (*id, entry.last_ns()));
        let both = first.into_iter().chain(self.unanswered.oldest());
        if let Some((id, _)) = both.min_by_key(|(_, last_ns)| *last_ns) {
            self.counts.evicted += 1;
            self.end(id, Some(Ending::Evicted));
        }
    }

    fn end(&mut self, id: FlowId, why: Option<Ending>) {
        self.unpack(id);
        let Some(mut entry) = self.entries.remove(&id) else {
            return;
        };
        self.finished.insert(id, ());
        let offset_ns = self.unix_offset_ns;
        // At the agent's end nobody looks for its other half.
        let half = entry
            .half(id, offset_ns, true)
            .filter(|_| why != Some(Ending::Cut));
        let mut timeline = entry.last_timeline(id, why, &mut self.buffers);
        if let Some(timeline) = &mut timeline {
            timeline.client_is_proxy = self.proxies.is_learned(timeline.client.ip());
            timeline.largest_answered = self.hello_sizes.record(timeline);
            timeline.shift(offset_ns);
        }
        self.buffers.recycle_entry(entry);
        match half {
            Some(half) => {
                // It counts once it is judged.
                self.counts.flows = self.counts.flows.saturating_sub(1);
                self.halves.seen.push(SeenHalf {
                    half: Box::new(half),
                    alone: timeline,
                });
            }
            None => self.events.extend(timeline.map(FlowEvent::Over)),
        }
    }
}

/// Returns the flow's entry, new if need be; `None` for a flow that is over.
fn entry<'e>(
    entries: &'e mut LruCache<FlowId, Box<Entry>>,
    id: FlowId,
    finished: &LruCache<FlowId, ()>,
    new: impl FnOnce(FlowId) -> Box<Entry>,
) -> Option<&'e mut Entry> {
    match entries.raw_entry_mut().from_key(&id) {
        RawEntryMut::Occupied(mut entry) => {
            entry.to_back();
            Some(entry.into_mut())
        }
        RawEntryMut::Vacant(_) if finished.contains_key(&id) => None,
        RawEntryMut::Vacant(vacant) => {
            let (_, entry) = vacant.insert(id, new(id));
            Some(entry)
        }
    }
}

/// Returns the entry of a flow that begins, with the exchange that came before its ClientHello.
fn begun(
    id: FlowId,
    tap: &Arc<str>,
    halves: bool,
    preambles: &mut Preambles,
    buffers: &mut Buffers,
) -> Box<Entry> {
    let mut entry = buffers.entry(id.started_ns, Arc::clone(tap));
    if halves && !is_joined(id.key.interface) {
        entry.watch_for_half();
    }
    entry.set_preamble(preambles.remove(&id.key));
    entry
}
