//! The offer of a ClientHello and the choice of the server, for a comparison of connections.

use std::sync::Arc;

use detector_common::flow::Sender;

use super::facts::Facts;
use crate::flow::timeline::CloseKind;
use crate::flow::tls::extensions::is_grease;
use crate::flow::tls::offers::Offers;

/// An offer, and the server's choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The client's offers.
    pub client: Arc<Offers>,
    /// The cipher suite that the server chose; `None` if it did not answer.
    pub suite: Option<u16>,
    /// The group that it chose, where that shows.
    pub group: Option<u16>,
}

impl Offer {
    /// Returns the offer of a connection that the server answered by a ServerHello, or closed or reset
    /// without a word.
    pub(super) fn of(facts: &Facts<'_>) -> Option<Self> {
        let handshake = &facts.timeline.handshake;
        let hello = handshake.client_hello.as_ref().filter(|it| it.complete)?;
        let answer = handshake.server_hello.as_ref();
        if answer.is_none() && !is_silent(facts) {
            return None;
        }
        Some(Self {
            client: Arc::clone(hello.offers()),
            suite: answer.map(|it| it.cipher_suite),
            group: answer.and_then(|it| it.group),
        })
    }

    /// Whether the server answered it.
    #[must_use]
    pub const fn is_answered(&self) -> bool {
        self.suite.is_some()
    }

    /// Returns the highest version.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.client.highest_version()
    }

    /// Whether it has a cipher suite.
    #[must_use]
    pub fn has_suite(&self, suite: u16) -> bool {
        !is_grease(suite) && self.client.cipher_suites.contains(&suite)
    }

    /// Whether it is the same, whatever the answer.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        // Most clients of a server run few programs.
        Arc::ptr_eq(&self.client, &other.client) || self.client.are_like(&other.client)
    }
}

/// Whether the server closed or reset without a word.
fn is_silent(facts: &Facts<'_>) -> bool {
    let mut records = facts.timeline.records_of(Sender::Server);
    let is_closed = match facts.first_close {
        Some((Sender::Server, CloseKind::Fin)) => true,
        Some((Sender::Server, CloseKind::Reset)) => !facts.resets.injected(),
        _ => false,
    };
    records.next().is_none() && is_closed && !facts.no_tls_answer && !facts.gaps
}
