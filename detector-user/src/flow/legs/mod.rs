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

mod copies;
mod pairing;
mod retries;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};

use hashlink::{DefaultHashBuilder, LruCache};

use crate::flow::flow_id::FlowId;
use crate::flow::timeline::{Beginning, FlowEvent, Timeline};
use pairing::{
    Destination, Ended, Leg, destinations, joined, may_be_intercepted, may_be_interceptors, meet,
    passage,
};
use retries::LEFT_WAITING_NS;

pub use pairing::Passage;

/// Maximum number of flows that wait for a partner; beyond it the oldest is judged alone.
const WAITING_MAX: usize = 1 << 16;
/// Maximum number of flows to one server that are searched for a partner.
const SAME_SERVER_MAX: usize = 64;
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

/// Pairs flows as legs and passes connections on.
pub struct Legs {
    legs: LruCache<FlowId, Leg>,
    by_random: HashMap<[u8; 32], FlowId, DefaultHashBuilder>,
    by_server: HashMap<Destination, VecDeque<FlowId>, DefaultHashBuilder>,
    /// Ends of waits: every leg that is over has one.
    due: BTreeSet<(u64, FlowId)>,
    /// Time of the latest hello, on the tap's clock.
    latest_ns: u64,
    ready: Vec<Connection>,
    /// Flows that ended and are of connections judged by other flows.
    further: u64,
    /// Several taps see connections: one that works may still get a second leg.
    several_taps: bool,
    /// Beginning of the latest connection that worked while only one tap saw any, on the tap's clock.
    alone_until_ns: Option<u64>,
}

impl Default for Legs {
    fn default() -> Self {
        Self {
            legs: LruCache::new_unbounded(),
            by_random: HashMap::default(),
            by_server: HashMap::default(),
            due: BTreeSet::new(),
            latest_ns: 0,
            ready: Vec::new(),
            further: 0,
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

    /// Returns the time when the next wait is over, on the tap's clock.
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
        let original = self.original(&beginning);
        let may_be_interceptors = may_be_interceptors(&beginning);
        let partner = match original {
            Some(original) => self.record_copy(original, flow),
            None if may_be_interceptors => self
                .partner(&beginning)
                .or_else(|| self.again(&beginning))
                .or_else(|| self.partner_of_copies(&beginning)),
            None => self.partner(&beginning),
        };
        let is_copy = original.is_some() && partner.is_none();
        let retry_of = match (original, partner) {
            (None, None) if may_be_interceptors => self.record_retry(&beginning),
            _ => None,
        };
        let mut meets = false;
        if let Some(partner) = partner
            && let Some(leg) = self.legs.get_mut(&partner)
        {
            leg.partner = Some(flow);
            meets = meet(&leg.beginning, &beginning) || meet(&beginning, &leg.beginning);
            leg.meets = meets;
        }
        if original.is_none() && !self.has_random(partner, &beginning) {
            self.by_random.insert(beginning.random, flow);
        }
        self.index(&beginning);
        self.latest_ns = self.latest_ns.max(beginning.started_ns);
        let earlier = None;
        self.legs.insert(
            flow,
            Leg {
                beginning,
                partner,
                copy: None,
                is_copy,
                meets,
                earlier,
                retry_of,
                retries: Vec::new(),
                served_again: false,
                too_late: false,
                over: None,
                deadline: None,
            },
        );
    }

    /// Lets a flow be found by its destinations.
    fn index(&mut self, beginning: &Beginning) {
        for destination in destinations(beginning) {
            let same = self.by_server.entry(destination).or_default();
            same.push_back(beginning.flow);
            if same.len() > SAME_SERVER_MAX {
                same.pop_front();
            }
        }
    }

    /// Passes on a connection that works. The leg nearer to the server says nothing of the client
    /// that the other does not.
    fn works(&mut self, timeline: Box<Timeline>) {
        let flow = timeline.flow;
        let leg = (!self.legs.is_empty()).then(|| self.legs.peek(&flow));
        let is_server_leg = leg.flatten().is_some_and(|leg| {
            let partner = leg.partner.and_then(|partner| self.legs.peek(&partner));
            let is_later = |other: &Leg| other.beginning.started_ns <= leg.beginning.started_ns;
            leg.is_copy || partner.is_some_and(is_later)
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
                .is_some_and(|leg| leg.partner.is_none() && leg.over.is_none() && !leg.is_copy)
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
        // Most hellos come in, after all others: by their name or server they belong to no leg that is there.
        if !may_be_interceptors(beginning) && self.latest_ns < beginning.started_ns {
            return None;
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

    /// Returns the client's leg whose interceptor begins again: it had only looked at the certificate, or tries
    /// other parameters. Its earlier leg counts only if the new one turns out not to be the client's.
    fn again(&mut self, beginning: &Beginning) -> Option<FlowId> {
        let same_server = self.by_server.get(&destinations(beginning).next()?)?;
        let (flow, earlier) = same_server.iter().find_map(|flow| {
            let client = self.legs.peek(flow)?;
            let partner = client.partner?;
            let earlier = self.legs.peek(&partner)?;
            let first = &client.beginning;
            let elsewhere = flow.key.interface != beginning.flow.key.interface;
            let fits = (elsewhere || first.ends_at_proxy && meet(first, beginning))
                && may_be_intercepted(first, beginning)
                && first.started_ns <= earlier.beginning.started_ns
                && earlier.beginning.client.ip() == beginning.client.ip();
            let ended = client.over.is_none() && earlier.over.is_some();
            (fits && ended).then_some((*flow, partner))
        })?;
        let earlier = self.ended(earlier).map(Box::new);
        self.legs.get_mut(&flow)?.earlier = earlier;
        Some(flow)
    }

    fn over(&mut self, timeline: Box<Timeline>, now_ns: u64) {
        let flow = timeline.flow;
        // One tap announces no beginnings.
        if self.legs.is_empty() {
            return self.push_over(timeline, None);
        }
        if self.legs.peek(&flow).is_some_and(|leg| leg.is_copy) {
            self.forget(flow);
            self.further += 1;
            return;
        }
        if self.is_retry(flow) {
            return self.retry_over(timeline, now_ns);
        }
        let partner = self.legs.peek(&flow).and_then(|leg| leg.partner);
        let Some(partner) = partner.filter(|partner| self.legs.contains_key(partner)) else {
            let leg = self.forget(flow);
            self.further += u64::from(leg.as_ref().is_some_and(|leg| leg.earlier.is_some()));
            if leg.is_none_or(|leg| !leg.too_late) {
                self.push_over(timeline, None);
            } else {
                self.further += 1;
            }
            return;
        };
        let other = self.legs.peek_mut(&partner).and_then(|leg| leg.over.take());
        if let Some(other) = other {
            let own = self.forget(flow).map(|leg| (leg, timeline));
            let other = self.forget(partner).map(|leg| (leg, other));
            if let (Some(own), Some(other)) = (own, other) {
                self.join(own, other, now_ns);
            }
            return;
        }
        let wait_ns = if self.leaves_waiting(partner, &timeline) {
            LEFT_WAITING_NS
        } else {
            PARTNER_NS
        };
        if let Some(leg) = self.legs.peek_mut(&flow) {
            let deadline = now_ns.saturating_add(wait_ns);
            leg.over = Some(timeline);
            leg.deadline = Some(deadline);
            self.due.insert((deadline, flow));
        }
    }

    /// Judges a leg that has waited long enough; one still under way only loses its partner.
    fn judge_alone(&mut self, flow: FlowId) {
        let is_known = self.repeats_a_failure(flow);
        let Some(leg) = self.forget(flow) else {
            return;
        };
        if is_known {
            self.further += u64::from(leg.over.is_some());
            return;
        }
        self.further += u64::from(leg.earlier.is_some());
        if let Some(timeline) = leg.over {
            if let Some(other) = leg.partner.and_then(|other| self.legs.peek_mut(&other)) {
                // A server leg that ends once its client's is judged would make a second verdict.
                other.too_late = leg.beginning.started_ns <= other.beginning.started_ns
                    || leg.beginning.random == other.beginning.random;
            }
            self.push_over(timeline, None);
        }
    }

    /// Returns the number of flows that ended and are of connections judged by other flows, and forgets it.
    pub fn take_further(&mut self) -> u64 {
        std::mem::take(&mut self.further)
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

    /// Joins two legs, or looks for other partners of each: of several connections to one name that begin at
    /// once, the interceptor's may come in another order.
    fn join(&mut self, one: Ended, other: Ended, now_ns: u64) {
        if let Some([flow, second]) = self.exchange(&one, &other)
            && let (Some(with_one), Some(with_other)) = (self.ended(flow), self.ended(second))
        {
            let pairs = [joined(one, with_one), joined(other, with_other)];
            for (client_leg, server_leg) in pairs.into_iter().flatten() {
                self.push_over(client_leg, Some(server_leg));
            }
            return;
        }
        if let Some(apart) = self.join_or_part(one, other) {
            for ended in apart {
                self.rematch(ended, now_ns);
            }
        }
    }

    /// Returns two waiting legs that belong to these two, each to one, if these belong to others.
    fn exchange(&self, one: &Ended, other: &Ended) -> Option<[FlowId; 2]> {
        let waiting = |ended: &Ended| self.ended_like(&ended.0.beginning);
        let fits = |ended: &Ended, flow: &FlowId| {
            let leg = self.legs.peek(flow);
            let timeline = leg.and_then(|leg| leg.over.as_deref());
            timeline.is_some_and(|timeline| {
                let [first, second] = if ended.1.started_ns <= timeline.started_ns {
                    [&ended.1, timeline]
                } else {
                    [timeline, &ended.1]
                };
                passage(first, second, false).is_some()
            })
        };
        let with_one = waiting(one).into_iter().find(|flow| fits(one, flow))?;
        let with_other = waiting(other).into_iter().find(|flow| fits(other, flow))?;
        (with_one != with_other).then_some([with_one, with_other])
    }

    /// Removes a leg that ended and waits.
    fn ended(&mut self, flow: FlowId) -> Option<Ended> {
        let mut leg = self.forget(flow)?;
        let timeline = leg.over.take()?;
        Some((leg, timeline))
    }

    /// Joins a leg whose partner was none to another one, or lets it wait for one.
    fn rematch(&mut self, (leg, timeline): Ended, now_ns: u64) {
        let mut ended = (leg, timeline);
        for flow in self.ended_like(&ended.0.beginning) {
            let Some(other) = self.ended(flow) else {
                continue;
            };
            match joined(ended, other) {
                Ok((client_leg, server_leg)) => {
                    return self.push_over(client_leg, Some(server_leg));
                }
                Err(apart) => {
                    let [own, other] = *apart;
                    ended = own;
                    self.wait(other, now_ns);
                }
            }
        }
        self.wait(ended, now_ns);
    }

    /// Returns the legs that ended, lost their partners, and may belong to one that begins so.
    fn ended_like(&self, beginning: &Beginning) -> Vec<FlowId> {
        if self.due.is_empty() {
            return Vec::new();
        }
        let same = destinations(beginning).next();
        let same = same.and_then(|destination| self.by_server.get(&destination));
        let is_waiting = |flow: &FlowId| {
            let apart = flow.key.interface != beginning.flow.key.interface;
            apart
                && self.legs.peek(flow).is_some_and(|leg| {
                    let (one, other) = (&leg.beginning, beginning);
                    let fits = may_be_intercepted(one, other) || may_be_intercepted(other, one);
                    leg.partner.is_none() && leg.over.is_some() && fits
                })
        };
        let same = same.into_iter().flatten().copied();
        same.filter(is_waiting).collect()
    }

    /// Lets a leg that ended wait for a partner, once.
    fn wait(&mut self, (mut leg, timeline): Ended, now_ns: u64) {
        let flow = leg.beginning.flow;
        let deadline = *leg
            .deadline
            .get_or_insert(now_ns.saturating_add(PARTNER_NS));
        leg.partner = None;
        leg.over = Some(timeline);
        self.due.insert((deadline, flow));
        self.index(&leg.beginning);
        self.legs.insert(flow, leg);
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
