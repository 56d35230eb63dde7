//! The question whether two flows are legs of one connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use detector_common::flow::{Sender, side_flags};
use detector_common::record::APPLICATION_DATA;

use crate::flow::flow_id::FlowId;
use crate::flow::timeline::{Beginning, Timeline, TimelineRecord};
use crate::flow::tls::names::tls13_lengths;

/// Longest time from a client's hello to its interceptor's own.
const INTERCEPTOR_NS: u64 = 5_000_000_000;
/// Longest time from a client's request to the hello of an interceptor that waits for it.
const REQUESTED_NS: u64 = 2_000_000_000;

/// Longest record with an alert and nothing else in TLS 1.3, padding included.
const ALERT_MAX: u16 = 40;

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
pub(super) enum Destination {
    Name(Arc<str>),
    /// Interceptors that could not read their client's server name ask without one.
    Address(SocketAddr),
}

/// A flow that may be one.
pub(super) struct Leg {
    pub(super) beginning: Beginning,
    pub(super) partner: Option<FlowId>,
    /// The first copy of it: the same hello at another tap.
    pub(super) copy: Option<FlowId>,
    /// It is such a copy of a leg that has another partner, and tells nothing that the leg does not.
    pub(super) is_copy: bool,
    /// One leg ends where the other begins.
    pub(super) meets: bool,
    /// The interceptor's earlier leg, where that began again once it was over.
    pub(super) earlier: Option<Box<Ended>>,
    /// The client's leg whose interceptor began this one beside an earlier leg that is not over.
    pub(super) retry_of: Option<FlowId>,
    /// Such legs of the interceptor of this client's leg.
    pub(super) retries: Vec<FlowId>,
    /// One of them worked: the earlier leg's failure was not its client's.
    pub(super) served_again: bool,
    /// Its connection was judged by the other leg alone: its end comes too late.
    pub(super) too_late: bool,
    pub(super) over: Option<Box<Timeline>>,
    pub(super) deadline: Option<u64>,
}

/// A leg that ended.
pub(super) type Ended = (Leg, Box<Timeline>);
/// Both legs of a connection: the client's, and the server's with its passage.
pub(super) type Joined = (Box<Timeline>, (Passage, Box<Timeline>));

/// Joins two legs; returns them if they are none of one connection.
pub(super) fn joined(one: Ended, other: Ended) -> Result<Joined, Box<[Ended; 2]>> {
    let meets = one.0.meets && other.0.partner == Some(one.0.beginning.flow);
    let (client, server) = if one.1.started_ns <= other.1.started_ns {
        (one, other)
    } else {
        (other, one)
    };
    // Other clients' connections may pass the taps of a forwarded one: of an origin that did not answer,
    // nothing tells the interceptor's leg from theirs.
    let both_answered = answered_ns(&client.1).is_some() && answered_ns(&server.1).is_some();
    let fits = |it: &Passage| {
        *it == Passage::Forwarded || client.0.copy.is_none() || meets || both_answered
    };
    match passage(&client.1, &server.1, meets).filter(fits) {
        Some(passage) => Ok((client.1, (passage, server.1))),
        None => Err(Box::new([client, server])),
    }
}

/// Destinations of a flow, the most specific first.
pub(super) fn destinations(beginning: &Beginning) -> impl Iterator<Item = Destination> {
    let name = beginning.server_name.clone().map(Destination::Name);
    name.into_iter().chain([Destination::Address(
        beginning.target.unwrap_or(beginning.server),
    )])
}

/// Whether the first leg ends at the host where the second begins, and goes on elsewhere.
pub(super) fn meet(first: &Beginning, second: &Beginning) -> bool {
    first.server.ip() == second.client.ip()
        && first.server != second.server
        && first.client != second.client
}

/// Whether the second hello may be an interceptor's, made for the first.
pub(super) fn may_be_intercepted(first: &Beginning, second: &Beginning) -> bool {
    let wait = second.started_ns.saturating_sub(first.started_ns);
    wait <= INTERCEPTOR_NS && may_be_for(first, second)
}

/// The same of an interceptor that may have begun earlier legs for the first hello.
pub(super) fn may_be_for(first: &Beginning, second: &Beginning) -> bool {
    first.started_ns <= second.started_ns
        && first.random != second.random
        && first.egress != Some(true)
        && may_be_interceptors(second)
}

/// Whether a hello may be an interceptor's: one that comes in at a tap is another client's.
pub(super) fn may_be_interceptors(hello: &Beginning) -> bool {
    hello.egress != Some(false)
}

/// Returns the fate between the taps; `None` if the flows are not legs of one connection. Of legs that meet
/// at one host no order is asked for.
pub(super) fn passage(
    client_leg: &Timeline,
    server_leg: &Timeline,
    meets: bool,
) -> Option<Passage> {
    let random = |leg: &Timeline| Some(leg.handshake.client_hello.as_ref()?.random);
    if random(client_leg)? == random(server_leg)? {
        return Some(Passage::Forwarded);
    }
    if meets || is_requested(client_leg, server_leg) {
        return Some(Passage::Intercepted);
    }
    if !may_have_asked(client_leg) && asked_after_its_handshake(server_leg) {
        return None;
    }
    match (answered_ns(client_leg), answered_ns(server_leg)) {
        // To answer its client an interceptor needs its server's answer.
        (Some(client), Some(server)) => (server <= client).then_some(Passage::Intercepted),
        (Some(client), None) => (server_leg.started_ns <= client).then_some(Passage::Intercepted),
        (None, _) => Some(Passage::Intercepted),
    }
}

/// Whether the server of a leg took its client's handshake: it sent more than an alert after that.
pub(super) fn is_served(leg: &Timeline) -> bool {
    let is_tls13 = leg.handshake.version_name() == Some("1.3");
    let data = leg
        .records
        .iter()
        .filter(|record| record.content_type == APPLICATION_DATA);
    let mut after_client = data.skip_while(|it| is_tls13 && it.sender == Sender::Server);
    let tells =
        |it: &TimelineRecord| it.sender == Sender::Server && (!is_tls13 || it.length > ALERT_MAX);
    leg.settled || after_client.any(tells)
}

/// Returns the time of the server's first record.
fn answered_ns(leg: &Timeline) -> Option<u64> {
    let first = leg.records_of(Sender::Server).next()?;
    Some(leg.nanos_at(first.at_us.into()))
}

/// Whether the client of a leg may have sent data of its own. A Finished and alerts behind it are none.
fn may_have_asked(leg: &Timeline) -> bool {
    let is_tls13 = leg.handshake.version_name() == Some("1.3");
    let hello = leg.handshake.client_hello.as_ref();
    let unseen = leg.settled || leg.side(Sender::Client).has(side_flags::GAP);
    let mut data = leg.records_of(Sender::Client).filter(|record| {
        record.content_type == APPLICATION_DATA && (!is_tls13 || record.length > ALERT_MAX)
    });
    let early = hello.is_none_or(|hello| hello.early_data);
    unseen || early || data.nth(usize::from(is_tls13)).is_some()
}

/// Whether the client of a leg sent a request, and no part of its handshake. In TLS 1.3 that comes behind a
/// record as long as a Finished, or behind the server's tickets: a client certificate may be as long.
fn asked_after_its_handshake(leg: &Timeline) -> bool {
    let handshake = &leg.handshake;
    let is_tls13 = handshake.version_name() == Some("1.3");
    let finished = handshake.cipher_suite().and_then(tls13_lengths);
    let is_data = |it: &&TimelineRecord| it.content_type == APPLICATION_DATA;
    let mut records = leg.records.iter().filter(is_data);
    if is_tls13 {
        let is_finished = |it: &TimelineRecord| finished.is_some_and(|at| at.finished == it.length);
        let first = records.find(|it| it.sender == Sender::Client);
        if !first.is_some_and(is_finished) {
            records.find(|it| it.sender == Sender::Server || is_finished(it));
        }
    }
    let mut asked = records.filter(|it| it.sender == Sender::Client);
    asked.any(|it| it.length > ALERT_MAX)
}

/// Whether the server leg is that of an interceptor that answered its client by itself and waited for its
/// request: it begins soon after that, for the same server and name, and the client's answer comes later.
fn is_requested(client_leg: &Timeline, server_leg: &Timeline) -> bool {
    fn name(leg: &Timeline) -> Option<&str> {
        let hello = leg.handshake.client_hello.as_ref()?;
        hello.server_name.as_deref()
    }
    let is_tls13 = client_leg.handshake.version_name() == Some("1.3");
    let requested = client_leg
        .records_of(Sender::Client)
        .filter(|record| record.content_type == APPLICATION_DATA)
        // In TLS 1.3 the first is the Finished.
        .nth(usize::from(is_tls13))
        .map(|record| client_leg.nanos_at(record.at_us.into()));
    let Some(requested_ns) = requested else {
        return false;
    };
    let waited = server_leg.started_ns.checked_sub(requested_ns);
    client_leg.server == server_leg.server
        && name(client_leg).is_some_and(|it| name(server_leg) == Some(it))
        && waited.is_some_and(|waited| waited <= REQUESTED_NS)
        && !are_neighbours(client_leg.client.ip(), server_leg.client.ip())
        && !is_answered_before(client_leg, server_leg, requested_ns)
}

/// Whether the client had its whole answer before the server leg had any.
fn is_answered_before(client_leg: &Timeline, server_leg: &Timeline, requested_ns: u64) -> bool {
    let last = client_leg.records_of(Sender::Server).last();
    let last_ns = last.map(|record| client_leg.nanos_at(record.at_us.into()));
    let answer_ns = last_ns.filter(|last_ns| *last_ns > requested_ns);
    answer_ns.is_some_and(|at| answered_ns(server_leg).is_some_and(|server| at < server))
}

/// Whether two addresses are different hosts of one network as most networks are: the second is another client
/// then, and no gateway.
fn are_neighbours(one: IpAddr, other: IpAddr) -> bool {
    let same_network = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.octets()[..3] == other.octets()[..3],
        (IpAddr::V6(one), IpAddr::V6(other)) => one.octets()[..8] == other.octets()[..8],
        _ => false,
    };
    one != other && same_network
}
