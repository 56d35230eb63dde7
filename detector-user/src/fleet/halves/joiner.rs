//! Both ends of joining: halves seen here, which wait for the word that they were joined, and halves of all gateways
//! that this one joins. Time comes with the calls.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use detector_common::flow::Sender;
use detector_common::observation::Observation;
use hashlink::LruCache;

use super::owner::Members;
use crate::fleet::message::HalfMessage;
use crate::flow::flow_id::FlowId;
use crate::flow::halves::{Composed, Half, JOINED_INTERFACES, compose, first_seq};
use crate::flow::timeline::Timeline;
use crate::flow::tracker::SeenHalf;
use crate::verdict::community_id::community_id_v1;

/// Wait of a half that is over for the word that it was joined; then it is judged alone.
const ALONE_AFTER: Duration = Duration::from_secs(10);
/// Interval of looks at all that wait.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Wait for the end of the other half.
const OTHER_END: Duration = Duration::from_secs(2);
/// Age from which a half that is over is joined no more: its gateway may judge it alone before the word arrives.
const JOINED_WITHIN: Duration = Duration::from_secs(6);
/// Age from which a half without a partner is forgotten.
const PARTNER_WITHIN: Duration = Duration::from_secs(60);
/// Maximum halves of this gateway that wait.
const SEEN_MAX: usize = 16_384;
/// Maximum connections of which halves are here to be joined, and their bytes.
const JOINTS_MAX: usize = 16_384;
const BYTES_MAX: usize = 64 << 20;
/// Maximum gateways and taps that saw the same half.
const COPIES_MAX: usize = 8;
/// Maximum gateways that a half went to, one after the other.
const OWNERS_MAX: usize = 8;
/// Maximum halves a second that a gateway publishes, and that are taken of one.
const RATE_MAX: u32 = 5_000;
/// Composed taps with names of their own.
const TAPS: u32 = 1_024;

/// The two ends of a connection: client, server.
type Ends = (SocketAddr, SocketAddr);

/// The name of a half, the same on all taps that see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct HalfId {
    ends: Ends,
    side: u8,
    start_seq: u32,
}

impl HalfId {
    /// Returns the name of the half that an observation is of.
    fn of(first: &Observation) -> Self {
        let flow = FlowId {
            key: first.key,
            started_ns: 0,
        };
        let client = first.watched.flow.client_endpoint;
        Self {
            ends: (flow.endpoint(client), flow.endpoint(client ^ 1)),
            side: first.sender,
            start_seq: first_seq(first),
        }
    }
}

/// A half that was seen here.
struct Own {
    /// The flow that is published; other taps may see the same half.
    flow: FlowId,
    /// When it was over.
    over: Option<Instant>,
    alone: Vec<Timeline>,
    joined: bool,
    /// The gateways that it went to, of which one joins it: the word of others is none.
    owners: Vec<Arc<str>>,
}

/// A half that was received.
struct Received {
    gateway: Arc<str>,
    half: Half,
    at: Instant,
}

/// Halves of one connection.
#[derive(Default)]
struct Joint {
    client: Option<Received>,
    server: Option<Received>,
    /// Further gateways and taps that saw them.
    copies: Vec<(Arc<str>, Box<Observation>)>,
}

/// A message to a gateway.
pub(in crate::fleet) struct Outgoing {
    pub(in crate::fleet) to: Arc<str>,
    pub(in crate::fleet) message: HalfMessage,
}

/// An input of the pipeline.
pub enum Ready {
    /// A connection of two halves, and its tap: a number and a name.
    Joined(Box<Composed>, u32, String),
    /// A half whose other one was not found.
    Alone(Box<Timeline>),
}

/// Clocks of this gateway.
#[derive(Clone, Copy, Debug)]
pub(in crate::fleet) struct Clock {
    pub(in crate::fleet) now: Instant,
    /// Time on the taps' clock, nanoseconds.
    pub(in crate::fleet) now_ns: u64,
    /// Nanoseconds from there to UNIX time.
    pub(in crate::fleet) unix_offset_ns: i64,
}

/// Numbers so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::fleet) struct JoinerCounts {
    pub(in crate::fleet) joined: u64,
    /// Of clients, which are judged, and of servers.
    pub(in crate::fleet) alone: [u64; 2],
    pub(in crate::fleet) dropped: u64,
    /// Gateways that join, this one included.
    pub(in crate::fleet) gateways: u64,
}

/// Halves per second, of one gateway.
struct Rate {
    since: Instant,
    number: u32,
}

impl Rate {
    /// Counts one. Returns whether it is within the limit.
    fn admits(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= Duration::from_secs(1) {
            (self.since, self.number) = (now, 0);
        }
        self.number = self.number.saturating_add(1);
        self.number <= RATE_MAX
    }
}

/// The joiner.
pub(in crate::fleet) struct Joiner {
    gateway: Arc<str>,
    members: Members,
    own: LruCache<HalfId, Own>,
    joints: LruCache<Ends, Joint>,
    bytes: usize,
    /// Halves that this gateway joined.
    done: LruCache<HalfId, ()>,
    rates: LruCache<Arc<str>, Rate>,
    taps: HashMap<String, u32>,
    outgoing: Vec<Outgoing>,
    ready: Vec<Ready>,
    counts: JoinerCounts,
    looked: Option<Instant>,
}

impl Joiner {
    pub(in crate::fleet) fn new(gateway: &Arc<str>) -> Self {
        Self {
            gateway: Arc::clone(gateway),
            members: Members::new(gateway),
            own: LruCache::new_unbounded(),
            joints: LruCache::new_unbounded(),
            bytes: 0,
            done: LruCache::new(2 * JOINTS_MAX),
            rates: LruCache::new(JOINTS_MAX),
            taps: HashMap::new(),
            outgoing: Vec::new(),
            ready: Vec::new(),
            counts: JoinerCounts::default(),
            looked: None,
        }
    }

    pub(in crate::fleet) const fn counts(&self) -> JoinerCounts {
        self.counts
    }

    #[cfg(test)]
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Removes the messages to other gateways.
    pub(in crate::fleet) fn take_outgoing(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.outgoing)
    }

    /// Records a sign of life of a gateway, or that it joins no more.
    pub(in crate::fleet) fn record_member(&mut self, gateway: &str, joins: bool, now: Instant) {
        self.members.record(gateway, joins, now);
    }

    /// Records a half that was seen here.
    pub(in crate::fleet) fn record_seen(&mut self, seen: SeenHalf, now: Instant) {
        let SeenHalf { half, alone } = seen;
        let Some(first) = half.observations.first() else {
            self.ready.extend(alone.map(Ready::Alone));
            return;
        };
        let id = HalfId::of(first);
        if self.own.len() >= SEEN_MAX && !self.own.contains_key(&id) {
            self.evict_own();
        }
        let flow = half.flow;
        let own = self.own.entry(id).or_insert_with(|| Own {
            flow,
            over: None,
            alone: Vec::new(),
            joined: false,
            owners: Vec::new(),
        });
        if own.joined {
            return;
        }
        if let Some(alone) = alone {
            own.over.get_or_insert(now);
            if own.alone.len() < COPIES_MAX {
                own.alone.push(*alone);
            }
        }
        if own.flow != flow {
            return;
        }
        let (client, server) = id.ends;
        let community_id = community_id_v1(0, client, server);
        let to: Arc<str> = self.members.owner(&community_id, now).into();
        if !own.owners.contains(&to) && own.owners.len() < OWNERS_MAX {
            own.owners.push(Arc::clone(&to));
        }
        if to == self.gateway {
            self.record_received(&to, *half, now);
        } else if self.admits(&Arc::clone(&self.gateway), now) {
            let message = HalfMessage::Half(half);
            self.outgoing.push(Outgoing { to, message });
        }
    }

    /// Records a message of a gateway.
    pub(in crate::fleet) fn record_message(
        &mut self,
        gateway: &Arc<str>,
        message: HalfMessage,
        now: Instant,
    ) {
        match message {
            HalfMessage::Half(half) => {
                if self.admits(gateway, now) {
                    self.record_received(gateway, *half, now);
                }
            }
            HalfMessage::Joined(first) => self.record_joined(gateway, &first, now),
        }
    }

    fn admits(&mut self, gateway: &Arc<str>, now: Instant) -> bool {
        let rate = self.rates.entry(Arc::clone(gateway));
        let rate = rate.or_insert_with(|| Rate {
            since: now,
            number: 0,
        });
        let admits = rate.admits(now);
        self.counts.dropped += u64::from(!admits);
        admits
    }

    /// Records a gateway's word that it joined a half of this one.
    fn record_joined(&mut self, by: &Arc<str>, first: &Observation, now: Instant) {
        let id = HalfId::of(first);
        if let Some(own) = self.own.get_mut(&id)
            && own.owners.contains(by)
        {
            own.joined = true;
            own.alone.clear();
            own.over = Some(now);
        }
    }

    fn record_received(&mut self, gateway: &Arc<str>, half: Half, now: Instant) {
        let Some(first) = half.observations.first().copied() else {
            return;
        };
        let id = HalfId::of(&first);
        if self.done.contains_key(&id) {
            // The word did not reach it, or it is another tap.
            self.tell_joined(gateway, &first, now);
            return;
        }
        self.bytes += size(&half);
        let mut joint = self.joints.remove(&id.ends).unwrap_or_default();
        let slot = match half.side {
            Sender::Client => &mut joint.client,
            Sender::Server => &mut joint.server,
        };
        let received = Received {
            gateway: Arc::clone(gateway),
            half,
            at: now,
        };
        let other = match slot {
            None => slot.replace(received),
            Some(known) => {
                let known_id = known.half.observations.first().map(HalfId::of);
                let is_same_tap =
                    known.gateway == *gateway && known.half.flow == received.half.flow;
                if known_id == Some(id) && !is_same_tap {
                    if joint.copies.len() < COPIES_MAX {
                        joint.copies.push((Arc::clone(gateway), Box::new(first)));
                    }
                    Some(received)
                } else {
                    // A later state, or another connection on the same ports.
                    slot.replace(received)
                }
            }
        };
        if let Some(other) = other {
            self.bytes = self.bytes.saturating_sub(size(&other.half));
        }
        self.joints.insert(id.ends, joint);
        while self.joints.len() > JOINTS_MAX || self.bytes > BYTES_MAX {
            let Some((_, joint)) = self.joints.remove_lru() else {
                break;
            };
            self.counts.dropped += 1;
            self.forget(&joint);
        }
    }

    fn forget(&mut self, joint: &Joint) {
        let halves = [&joint.client, &joint.server].into_iter().flatten();
        let bytes: usize = halves.map(|it| size(&it.half)).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Tells a gateway that its half was joined.
    fn tell_joined(&mut self, gateway: &Arc<str>, first: &Observation, now: Instant) {
        if *gateway == self.gateway {
            return self.record_joined(gateway, first, now);
        }
        self.outgoing.push(Outgoing {
            to: Arc::clone(gateway),
            message: HalfMessage::Joined(Box::new(*first)),
        });
    }

    /// Returns the inputs of the pipeline that are ready.
    pub(in crate::fleet) fn advance(&mut self, clock: Clock) -> Vec<Ready> {
        let is_due = |looked: Instant| clock.now.duration_since(looked) >= LOOK_EVERY;
        if self.looked.is_none_or(is_due) {
            self.looked = Some(clock.now);
            self.counts.gateways = self.members.number(clock.now) as u64;
            self.join(clock);
            self.end_waits(clock.now);
        }
        std::mem::take(&mut self.ready)
    }

    /// Returns the halves that wait, at the agent's end.
    pub(in crate::fleet) fn finish(&mut self) -> Vec<Ready> {
        while !self.own.is_empty() {
            self.evict_own();
        }
        std::mem::take(&mut self.ready)
    }

    fn evict_own(&mut self) {
        if let Some((id, own)) = self.own.remove_lru() {
            self.judge_alone(id, own);
        }
    }

    fn judge_alone(&mut self, id: HalfId, own: Own) {
        if own.joined || own.alone.is_empty() {
            return;
        }
        let [clients, servers] = &mut self.counts.alone;
        if id.side == Sender::Client as u8 {
            *clients += 1;
            let alone = own.alone.into_iter().map(Box::new);
            self.ready.extend(alone.map(Ready::Alone));
        } else {
            // Without a name and an app there is nothing to tell.
            *servers += 1;
        }
    }

    /// Judges the halves alone that have waited long enough.
    fn end_waits(&mut self, now: Instant) {
        let is_over = |own: &Own| {
            let over = own.over;
            over.is_some_and(|over| now.duration_since(over) >= ALONE_AFTER)
        };
        let over: Vec<HalfId> = self
            .own
            .iter()
            .filter(|(_, own)| is_over(own))
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            if let Some(own) = self.own.remove(&id) {
                self.judge_alone(id, own);
            }
        }
    }

    /// Joins the halves that are complete, and forgets those that are too old.
    fn join(&mut self, clock: Clock) {
        let now = clock.now;
        let mut over: Vec<Ends> = Vec::new();
        let mut ready: Vec<Ends> = Vec::new();
        for (ends, joint) in &self.joints {
            let halves = [&joint.client, &joint.server].into_iter().flatten();
            let latest = halves.map(|it| it.at).max();
            if latest.is_none_or(|at| now.duration_since(at) >= PARTNER_WITHIN) {
                over.push(*ends);
            } else if joint.is_complete(now) {
                ready.push(*ends);
            }
        }
        for ends in over {
            if let Some(joint) = self.joints.remove(&ends) {
                self.forget(&joint);
            }
        }
        for ends in ready {
            if let Some(joint) = self.joints.remove(&ends) {
                self.forget(&joint);
                self.join_both(joint, clock);
            }
        }
    }

    fn join_both(&mut self, joint: Joint, clock: Clock) {
        let (Some(client), Some(server)) = (&joint.client, &joint.server) else {
            return;
        };
        let name = format!(
            "{}/{}+{}/{}",
            client.gateway, client.half.tap, server.gateway, server.half.tap
        );
        let number = self.number_of(&name);
        let composed = compose_on(&client.half, &server.half, number, clock);
        let Some(composed) = composed else {
            // Of different connections on the same ports: the later one may still find its other half.
            let keeps_client = client.at > server.at;
            let (ends, kept) = if keeps_client {
                (joint.client, true)
            } else {
                (joint.server, false)
            };
            if let Some(kept_half) = ends
                && let Some(first) = kept_half.half.observations.first()
            {
                let ends = HalfId::of(first).ends;
                self.bytes += size(&kept_half.half);
                let mut again = Joint::default();
                if kept {
                    again.client = Some(kept_half);
                } else {
                    again.server = Some(kept_half);
                }
                self.joints.insert(ends, again);
            }
            return;
        };
        self.counts.joined += 1;
        self.ready
            .push(Ready::Joined(Box::new(composed), number, name));
        let both = [joint.client, joint.server].into_iter().flatten();
        let firsts =
            both.filter_map(|it| Some((it.gateway, Box::new(*it.half.observations.first()?))));
        for (gateway, first) in firsts.chain(joint.copies) {
            self.done.insert(HalfId::of(&first), ());
            self.tell_joined(&gateway, &first, clock.now);
        }
    }

    /// Returns the number of a composed tap. The names of the oldest go to new ones where there are many.
    fn number_of(&mut self, name: &str) -> u32 {
        if let Some(number) = self.taps.get(name) {
            return *number;
        }
        if self.taps.len() >= TAPS as usize {
            self.taps.clear();
        }
        let number = JOINED_INTERFACES + self.taps.len() as u32;
        self.taps.insert(name.to_owned(), number);
        number
    }
}

impl Joint {
    /// Whether both halves are there and say all that they will.
    fn is_complete(&self, now: Instant) -> bool {
        let (Some(client), Some(server)) = (&self.client, &self.server) else {
            return false;
        };
        let is_over = [client, server].map(|it| it.half.is_over);
        let is_fresh =
            |it: &Received| !it.half.is_over || now.duration_since(it.at) < JOINED_WITHIN;
        let waited = |it: &Received| now.duration_since(it.at) >= OTHER_END;
        let one_is_over = [client, server]
            .into_iter()
            .any(|it| it.half.is_over && waited(it));
        let is_ready = is_over == [true; 2] || one_is_over;
        is_ready && is_fresh(client) && is_fresh(server)
    }
}

/// Composes two halves on this gateway's clock, by that of the client's gateway; nothing is in the future.
fn compose_on(client: &Half, server: &Half, number: u32, clock: Clock) -> Option<Composed> {
    let shift_ns = client.unix_offset_ns.saturating_sub(clock.unix_offset_ns);
    let composed = compose(client, server, number, shift_ns)?;
    if composed.last_ns <= clock.now_ns {
        return Some(composed);
    }
    let ahead_ns = composed.last_ns.wrapping_sub(clock.now_ns).cast_signed();
    compose(client, server, number, shift_ns.saturating_sub(ahead_ns))
}

/// Returns the bytes that a half takes.
fn size(half: &Half) -> usize {
    let bytes: usize = half.handshake.iter().map(|(_, bytes)| bytes.len()).sum();
    size_of::<Half>() + half.observations.len() * size_of::<Observation>() + bytes
}
