//! Legs: flows of several taps that belong to one connection.
//!
//! A gateway with two taps sees a forwarded connection twice, with the same client random, also
//! behind NAT; so does a mirror of two VLANs, or a capture inside and outside a tunnel. An interceptor
//! between the taps makes two connections of it: the second begins, for the same server name, or
//! without a name to the same server, once the first's ClientHello is there, and its server answers
//! before the first's client is answered; or, where the interceptor waits for its client's request, at
//! once after that, for the same server. Two legs must have that order; names alone, also seen from
//! two clients at two taps, make none.
//!
//! One tap sees both legs of an explicit proxy, and of a relay on its own host: the first ends at the
//! address where the second begins, which needs no order of answers.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;

use detector_common::flow::Sender;
use detector_common::record::APPLICATION_DATA;
use hashlink::LruCache;

use crate::flow::flow_id::FlowId;
use crate::flow::timeline::{Beginning, FlowEvent, Timeline};

/// Maximum number of flows that wait for a partner; beyond it the oldest is judged alone.
const WAITING_MAX: usize = 1 << 16;
/// Maximum number of flows to one server that are searched for a partner.
const SAME_SERVER_MAX: usize = 64;
/// Longest time from a client's hello to its interceptor's own.
const INTERCEPTOR_NS: u64 = 5_000_000_000;
/// Longest time from a client's request to the hello of an interceptor that waits for it.
const REQUESTED_NS: u64 = 2_000_000_000;
/// Longest wait of a leg that is over for the end of the other.
const PARTNER_NS: u64 = 3_000_000_000;

/// A connection through the gateway, as one tap or two saw it.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The leg nearer to the client, or the only one.
    pub client_leg: Box<Timeline>,
    /// The leg nearer to the server, and the fate of the connection between the taps.
    pub server_leg: Option<(Passage, Box<Timeline>)>,
    /// Whether it is passed on early, since it works; its end is yet to come.
    pub goes_on: bool,
    /// Whether all its legs are known, and were not before: true once per connection. Where one tap
    /// alone saw any when it began, that is as soon as it works, otherwise at its end.
    pub newly_complete: bool,
}

/// Fate of a connection between two taps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Passage {
    /// Both taps saw the same client random: it was forwarded.
    Forwarded,
    /// The client randoms differ: an interceptor between the taps terminates TLS.
    Intercepted,
}

/// Property that two legs share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Destination {
    Name(String),
    /// Interceptors that could not read their client's server name ask without one.
    Address(SocketAddr),
}

struct Leg {
    beginning: Beginning,
    partner: Option<FlowId>,
    /// One leg ends where the other begins.
    meets: bool,
    /// Its connection was judged by the other leg alone: what it says comes too late.
    too_late: bool,
    over: Option<Box<Timeline>>,
    deadline: Option<u64>,
}

/// Pairs flows as legs and passes connections on.
pub struct Legs {
    legs: LruCache<FlowId, Leg>,
    by_random: HashMap<[u8; 32], FlowId>,
    by_server: HashMap<Destination, VecDeque<FlowId>>,
    due: BTreeSet<(u64, FlowId)>,
    ready: Vec<Connection>,
    /// Several taps see connections: one that works may still get a second leg.
    several_taps: bool,
    /// Beginning of the latest connection that worked while only one tap saw any, on the tap's clock.
    alone_until_ns: Option<u64>,
}

impl Default for Legs {
    fn default() -> Self {
        Self {
            legs: LruCache::new_unbounded(),
            by_random: HashMap::new(),
            by_server: HashMap::new(),
            due: BTreeSet::new(),
            ready: Vec::new(),
            several_taps: false,
            alone_until_ns: None,
        }
    }
}

impl Legs {
    /// Records an event of the tracker at `now_ns` on the tap's clock.
    pub fn record(&mut self, event: FlowEvent, now_ns: u64) {
        match event {
            FlowEvent::Began(beginning) => self.began(*beginning),
            FlowEvent::Works(timeline) => self.works(timeline),
            FlowEvent::Over(timeline) => self.over(timeline, now_ns),
        }
    }

    /// Ends the waits that are over at `now_ns`.
    pub fn advance(&mut self, now_ns: u64) {
        while let Some(&(deadline, flow)) = self.due.first() {
            if deadline > now_ns {
                break;
            }
            self.due.pop_first();
            self.judge_alone(flow);
        }
    }

    /// Ends all waits: no more events come.
    pub fn finish(&mut self) {
        self.advance(u64::MAX);
    }

    /// Time when the next wait is over, on the tap's clock.
    pub fn next_deadline(&self) -> Option<u64> {
        self.due.first().map(|(deadline, _)| *deadline)
    }

    /// Removes the connections that are ready to be judged.
    pub fn take_ready(&mut self) -> Vec<Connection> {
        std::mem::take(&mut self.ready)
    }

    /// Reuses the memory of a list that [`take_ready`](Self::take_ready) returned.
    pub fn reuse(&mut self, mut list: Vec<Connection>) {
        if self.ready.is_empty() {
            list.clear();
            self.ready = list;
        }
    }

    fn began(&mut self, beginning: Beginning) {
        self.several_taps = true;
        if self.legs.len() >= WAITING_MAX
            && let Some((&oldest, _)) = self.legs.iter().next()
        {
            self.judge_alone(oldest);
        }
        let flow = beginning.flow;
        let partner = self.partner(&beginning);
        let mut meets = false;
        if let Some(partner) = partner
            && let Some(leg) = self.legs.get_mut(&partner)
        {
            leg.partner = Some(flow);
            meets = meet(&leg.beginning, &beginning) || meet(&beginning, &leg.beginning);
            leg.meets = meets;
        } else {
            self.by_random.insert(beginning.random, flow);
        }
        for destination in destinations(&beginning) {
            let same = self.by_server.entry(destination).or_default();
            same.push_back(flow);
            if same.len() > SAME_SERVER_MAX {
                same.pop_front();
            }
        }
        self.legs.insert(
            flow,
            Leg {
                beginning,
                partner,
                meets,
                too_late: false,
                over: None,
                deadline: None,
            },
        );
    }

    /// The leg nearer to the server says of the client nothing that its own does not.
    fn works(&mut self, timeline: Box<Timeline>) {
        let flow = timeline.flow;
        let is_server_leg = self.legs.peek(&flow).is_some_and(|leg| {
            leg.partner
                .and_then(|partner| self.legs.peek(&partner))
                .is_some_and(|other| other.beginning.started_ns <= leg.beginning.started_ns)
        });
        if !is_server_leg {
            if !self.several_taps {
                self.alone_until_ns = self.alone_until_ns.max(Some(timeline.flow.started_ns));
            }
            self.ready.push(Connection {
                newly_complete: self.is_seen_once(&timeline),
                client_leg: timeline,
                server_leg: None,
                goes_on: true,
            });
        }
    }

    /// Whether only one tap saw any connections when this one began. The answer is the same when a
    /// connection works and when it is over, also where another tap sees one meanwhile.
    fn is_seen_once(&self, timeline: &Timeline) -> bool {
        !self.several_taps || Some(timeline.flow.started_ns) <= self.alone_until_ns
    }

    fn partner(&self, beginning: &Beginning) -> Option<FlowId> {
        let own = &beginning.flow.key;
        let at_another_tap = |flow: &FlowId| flow.key.interface != own.interface;
        let on_another_path =
            |flow: &FlowId| flow.key.vlan != own.vlan || flow.key.tunnel != own.tunnel;
        let free = |flow: &FlowId| {
            self.legs
                .peek(flow)
                .is_some_and(|leg| leg.partner.is_none() && leg.over.is_none())
        };
        if let Some(flow) = self.by_random.get(&beginning.random)
            && free(flow)
            && let Some(leg) = self.legs.peek(flow)
            && (at_another_tap(flow)
                || on_another_path(flow)
                || meet(&leg.beginning, beginning)
                || meet(beginning, &leg.beginning))
        {
            return Some(*flow);
        }
        let same_server = self.by_server.get(&destinations(beginning).next()?)?;
        same_server.iter().copied().find(|flow| {
            free(flow)
                && self.legs.peek(flow).is_some_and(|leg| {
                    let elsewhere = at_another_tap(flow);
                    let fits = |first: &Beginning, second: &Beginning| {
                        (elsewhere || first.ends_at_proxy && meet(first, second))
                            && may_be_intercepted(first, second)
                    };
                    // Taps may tell of them in another order than they began in.
                    fits(&leg.beginning, beginning) || fits(beginning, &leg.beginning)
                })
        })
    }

    fn over(&mut self, timeline: Box<Timeline>, now_ns: u64) {
        let flow = timeline.flow;
        let partner = self.legs.peek(&flow).and_then(|leg| leg.partner);
        let Some(partner) = partner.filter(|partner| self.legs.contains_key(partner)) else {
            if self.forget(flow).is_none_or(|leg| !leg.too_late) {
                self.push_over(timeline, None);
            }
            return;
        };
        let other = self.legs.peek_mut(&partner).and_then(|leg| leg.over.take());
        if let Some(other) = other {
            let meets = self.forget(flow).is_some_and(|leg| leg.meets);
            self.forget(partner);
            return self.join(timeline, other, meets);
        }
        if let Some(leg) = self.legs.peek_mut(&flow) {
            let deadline = now_ns.saturating_add(PARTNER_NS);
            leg.over = Some(timeline);
            leg.deadline = Some(deadline);
            self.due.insert((deadline, flow));
        }
    }

    /// Judges a leg that has waited long enough; one still under way only loses its partner.
    fn judge_alone(&mut self, flow: FlowId) {
        let Some(leg) = self.forget(flow) else {
            return;
        };
        if let Some(timeline) = leg.over {
            if let Some(other) = leg.partner.and_then(|other| self.legs.peek_mut(&other)) {
                // What a server leg says once its client's is judged would be a second verdict.
                other.too_late = leg.beginning.started_ns <= other.beginning.started_ns
                    || leg.beginning.random == other.beginning.random;
            }
            self.push_over(timeline, None);
        }
    }

    fn forget(&mut self, flow: FlowId) -> Option<Leg> {
        let leg = self.legs.remove(&flow)?;
        if self.by_random.get(&leg.beginning.random) == Some(&flow) {
            self.by_random.remove(&leg.beginning.random);
        }
        for destination in destinations(&leg.beginning) {
            if let Some(same) = self.by_server.get_mut(&destination) {
                same.retain(|other| *other != flow);
                if same.is_empty() {
                    self.by_server.remove(&destination);
                }
            }
        }
        if let Some(deadline) = leg.deadline {
            self.due.remove(&(deadline, flow));
        }
        Some(leg)
    }

    fn join(&mut self, one: Box<Timeline>, other: Box<Timeline>, meets: bool) {
        let (client_leg, server_leg) = if one.started_ns <= other.started_ns {
            (one, other)
        } else {
            (other, one)
        };
        let passage = passage(&client_leg, &server_leg, meets);
        let Some(passage) = passage else {
            self.push_over(client_leg, None);
            self.push_over(server_leg, None);
            return;
        };
        self.push_over(client_leg, Some((passage, server_leg)));
    }

    fn push_over(
        &mut self,
        client_leg: Box<Timeline>,
        server_leg: Option<(Passage, Box<Timeline>)>,
    ) {
        self.ready.push(Connection {
            newly_complete: !client_leg.settled || !self.is_seen_once(&client_leg),
            client_leg,
            server_leg,
            goes_on: false,
        });
    }
}

/// Destinations of a flow, the most specific first.
fn destinations(beginning: &Beginning) -> impl Iterator<Item = Destination> {
    let name = beginning.server_name.clone().map(Destination::Name);
    name.into_iter().chain([Destination::Address(
        beginning.target.unwrap_or(beginning.server),
    )])
}

/// Whether the first leg ends at the host where the second begins, and goes on elsewhere.
fn meet(first: &Beginning, second: &Beginning) -> bool {
    first.server.ip() == second.client.ip()
        && first.server != second.server
        && first.client != second.client
}

/// Whether the second hello may be an interceptor's, made for the first.
fn may_be_intercepted(first: &Beginning, second: &Beginning) -> bool {
    let wait = second.started_ns.saturating_sub(first.started_ns);
    first.started_ns <= second.started_ns
        && wait <= INTERCEPTOR_NS
        && first.random != second.random
        // A hello that comes in at the other tap too is another client's.
        && first.egress != Some(true)
        && second.egress != Some(false)
}

/// Returns the fate between the taps; `None` if the flows are not legs of one connection. Of legs that meet
/// at one host no order is asked for.
fn passage(client_leg: &Timeline, server_leg: &Timeline, meets: bool) -> Option<Passage> {
    let random = |leg: &Timeline| Some(leg.handshake.client_hello.as_ref()?.random);
    if random(client_leg)? == random(server_leg)? {
        return Some(Passage::Forwarded);
    }
    if meets || is_requested(client_leg, server_leg) {
        return Some(Passage::Intercepted);
    }
    let answered = |leg: &Timeline| {
        let first = leg
            .records
            .iter()
            .find(|record| record.sender == Sender::Server)?;
        Some(leg.started_ns + u64::from(first.at_us) * 1000)
    };
    match (answered(client_leg), answered(server_leg)) {
        // To answer its client an interceptor needs its server's answer.
        (Some(client), Some(server)) => (server <= client).then_some(Passage::Intercepted),
        (Some(client), None) => (server_leg.started_ns <= client).then_some(Passage::Intercepted),
        (None, _) => Some(Passage::Intercepted),
    }
}

/// Whether the server leg is that of an interceptor that answered its client by itself and waited for its
/// request: it begins soon after that, for the same server and name, and the client's answer comes later.
fn is_requested(client_leg: &Timeline, server_leg: &Timeline) -> bool {
    let name = |leg: &Timeline| {
        let hello = leg.handshake.client_hello.as_ref()?;
        hello.server_name.clone()
    };
    let is_tls13 = client_leg.handshake.version_name() == Some("1.3");
    let requested = client_leg
        .records_of(Sender::Client)
        .filter(|record| record.content_type == APPLICATION_DATA)
        // In TLS 1.3 the first is the Finished.
        .nth(usize::from(is_tls13))
        .map(|record| client_leg.nanos_at(record.at_us.into()));
    let waited = requested.and_then(|at| server_leg.started_ns.checked_sub(at));
    client_leg.server == server_leg.server
        && name(client_leg).is_some_and(|it| name(server_leg).as_ref() == Some(&it))
        && waited.is_some_and(|waited| waited <= REQUESTED_NS)
}
