//! Explicit proxies.

use super::case::{Case, Holds};
use crate::cause::judge::evidence::Evidence;

pub(super) fn refused(case: Case<'_>) -> Holds<'_> {
    let refusal = case.facts.timeline.refusal()?;
    Some((Evidence::ProxyAnswer(refusal), 4.0))
}

/// Tests whether the proxy closed before the ClientHello; a reset may answer the hello that came
/// too late.
pub(super) fn closed(case: Case<'_>) -> Holds<'_> {
    let preamble = case.facts.timeline.preamble.as_deref()?;
    let unanswered = !case.facts.server_hello && case.facts.failure_alert().is_none();
    (preamble.closed_before_hello && unanswered).then_some((Evidence::ProxyClosed, 3.0))
}
