//! Connections that a side closed without giving a reason.

use detector_common::flow::Sender;

use super::case::{Case, Holds};
use crate::cause::judge::evidence::Evidence;
use crate::flow::timeline::CloseKind;
use crate::verdict::Intercepted;

pub(super) fn closed_unused(case: Case<'_>) -> Holds<'_> {
    let facts = case.facts;
    let telling = !facts.resumed && !facts.idled() && case.intercepted != Intercepted::No;
    let weight = if case.intercepted == Intercepted::Yes {
        0.3
    } else {
        0.6
    };
    (facts.unused() && telling).then_some((Evidence::ClosedUnused, weight))
}

/// Finds a fatal alert whose code is not registered: it ended the connection and tells no more.
pub(super) fn unassigned_alert(case: Case<'_>) -> Holds<'_> {
    let alert = *case.facts.failure_alert()?;
    let unassigned = alert.description.is_some_and(|it| it.name().is_none());
    (unassigned && !case.facts.established).then_some((Evidence::UnassignedAlert(alert), 1.5))
}

pub(super) fn closed_early(case: Case<'_>) -> Holds<'_> {
    let facts = case.facts;
    let (by, kind) = facts.first_close?;
    let unfinished = !facts.client.finished && !facts.client.alert_for_finished;
    if facts.unacknowledged && by == Sender::Client && !facts.resets.injected() && unfinished {
        return Some((Evidence::Unacknowledged, 2.2));
    }
    // Leave in the clear has a reason.
    if kind != CloseKind::Fin || !unfinished || facts.failure_alert().is_some() || facts.left_tls()
    {
        return None;
    }
    let in_flight = by == Sender::Client && facts.server_flight();
    let (answered, weight) = match by {
        _ if in_flight => (true, 0.5),
        _ if facts.server_hello => (true, 1.2),
        Sender::Client => (false, 1.5),
        Sender::Server => (false, 1.2),
    };
    Some((Evidence::ClosedEarly { by, answered }, weight))
}
