//! ICMP errors that ended a connection.

use detector_common::flow::Sender;

use super::case::{Case, Holds};
use crate::cause::judge::evidence::Evidence;
use crate::cause::judge::facts::Facts;
use crate::flow::unreachable::Unreachable;

pub(super) fn rejected_on_the_way(case: Case<'_>) -> Holds<'_> {
    let error = case.facts.unreachable()?;
    let on_the_way = error.code.is_rejection()
        && !is_by_host(case.facts, error)
        && !is_by_sender(case.facts, error);
    on_the_way.then_some((Evidence::Unreachable(error), 3.0))
}

pub(super) fn rejected_by_host(case: Case<'_>) -> Holds<'_> {
    let error = case.facts.unreachable()?;
    let by_host = error.code.is_rejection() && is_by_host(case.facts, error);
    // A server that refuses a connection by itself is counted.
    (by_host && !case.facts.timeline.refused).then_some((Evidence::Unreachable(error), 2.0))
}

pub(super) fn no_way(case: Case<'_>) -> Holds<'_> {
    let error = case.facts.unreachable()?;
    let no_way = !error.code.is_rejection() || is_by_sender(case.facts, error);
    (no_way && !case.facts.timeline.refused).then_some((Evidence::Unreachable(error), 2.2))
}

/// Whether the host that the segments were sent to answered by itself.
fn is_by_host(facts: &Facts<'_>, error: &Unreachable) -> bool {
    facts.peer_of(error.about).ip() == error.by
}

/// Whether the sender of the segments did, whose own firewall rejects them.
fn is_by_sender(facts: &Facts<'_>, error: &Unreachable) -> bool {
    let sender = match error.about {
        Sender::Client => facts.peer_of(Sender::Server),
        Sender::Server => facts.peer_of(Sender::Client),
    };
    sender.ip() == error.by
}
