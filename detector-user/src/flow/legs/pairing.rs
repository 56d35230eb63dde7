//! The question whether two flows are legs of one connection.

use std::net::SocketAddr;

use detector_common::flow::Sender;
use detector_common::record::APPLICATION_DATA;

use crate::flow::flow_id::FlowId;
use crate::flow::timeline::{Beginning, Timeline};

/// Longest time from a client's hello to its interceptor's own.
const INTERCEPTOR_NS: u64 = 5_000_000_000;
/// Longest time from a client's request to the hello of an interceptor that waits for it.
const REQUESTED_NS: u64 = 2_000_000_000;

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
    Name(String),
    /// Interceptors that could not read their client's server name ask without one.
    Address(SocketAddr),
}

/// A flow that may be one.
pub(super) struct Leg {
    pub(super) beginning: Beginning,
    pub(super) partner: Option<FlowId>,
    /// One leg ends where the other begins.
    pub(super) meets: bool,
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
    match passage(&client.1, &server.1, meets) {
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
    first.started_ns <= second.started_ns
        && wait <= INTERCEPTOR_NS
        && first.random != second.random
        // A hello that comes in at the other tap too is another client's.
        && first.egress != Some(true)
        && second.egress != Some(false)
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
