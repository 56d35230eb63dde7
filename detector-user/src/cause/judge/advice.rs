//! Circumstances of one connection on which the wording of a cause's advice depends.

use detector_common::flow::Sender;

use crate::cause::judge::facts::Facts;
use crate::verdict::{Intercepted, When};

/// Whether a circumstance holds for a connection by itself.
pub fn holds(when: When, intercepted: Intercepted, facts: &Facts<'_>) -> bool {
    match when {
        When::Always => true,
        When::NotIntercepted => intercepted == Intercepted::No,
        When::ResetIsAllOfItsSender => !facts.resets.comparable,
        When::ResetInClientsName => facts.resets.in_name_of == Some(Sender::Client),
        When::HandshakeFinished => facts.client.finished,
        // Other connections show these.
        When::RefusedFromInterceptorOnly | When::OtherAppsAccept => false,
    }
}
