//! Resets, a third party's and a side's own.

use detector_common::flow::Sender;

use super::case::{Case, Holds};
use crate::cause::judge::evidence::Evidence;
use crate::cause::judge::facts::Facts;
use crate::flow::timeline::CloseKind;
use crate::verdict::Intercepted;

/// Whether the resets may be the cause. One after the client's own refusal changes nothing: it stands
/// beside it as evidence.
fn counts(facts: &Facts<'_>) -> bool {
    facts.resets.any()
        && !facts.resets.after_farewell
        && facts.failure_alert().is_none()
        && !facts.client.alert_for_finished
}

pub(super) fn injected(case: Case<'_>) -> Holds<'_> {
    let resets = &case.facts.resets;
    (counts(case.facts) && resets.injected())
        .then(|| (Evidence::ResetTells(&resets.tells), resets.score()))
}

pub(super) fn of_endpoint(case: Case<'_>) -> Holds<'_> {
    let facts = case.facts;
    let by = facts.resets.in_name_of?;
    // A server that refuses a connection by itself is counted.
    if facts.timeline.refused {
        return None;
    }
    // A spare connection that is closed with tickets unread is reset.
    if facts.unused() && (case.intercepted == Intercepted::No || !facts.left_soon()) {
        return None;
    }
    if !counts(facts) || facts.resets.injected() {
        return None;
    }
    if facts.established {
        let cut = facts.left_unfinished()?;
        return (cut.kind == CloseKind::Reset).then_some((Evidence::CutShort(*cut), 2.0));
    }
    if facts.unacknowledged && by == Sender::Client {
        return None;
    }
    // It may have worked in the segments that were not seen.
    if facts.gaps && facts.client.finished {
        return None;
    }
    // A reset that answers a FIN tells nothing that the FIN had not.
    if matches!(facts.first_close, Some((_, CloseKind::Fin))) {
        return None;
    }
    // Without another segment of its sender there is nothing to tell a forged one by.
    let comparable = facts.resets.comparable && !facts.resets.too_soon();
    let refusal = by == Sender::Client && facts.server_flight();
    // A client that has all it needs to refuse may do so by a reset.
    // Tells that do not suffice leave room for a third party.
    let doubt = facts.resets.score() / 2.0;
    let weight = match (comparable, refusal) {
        (true, false) => 2.0 - doubt,
        (true, true) if facts.client.finished => 0.5,
        (true, true) => 0.6,
        (false, _) => 0.6,
    };
    Some((Evidence::Reset { by, comparable }, weight))
}
