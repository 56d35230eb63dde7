//! The offer of a ClientHello and the choice of the server, for a comparison of connections.

use detector_common::flow::Sender;

use super::facts::Facts;
use crate::flow::timeline::CloseKind;
use crate::flow::tls::extensions::is_grease;

/// An offer, and the server's choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The highest version.
    pub version: u16,
    /// Cipher suites, without GREASE.
    pub suites: Vec<u16>,
    /// Groups, without GREASE.
    pub groups: Vec<u16>,
    /// Protocols of ALPN.
    pub alpn: Vec<String>,
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
        let records = facts.timeline.records_of(Sender::Server).count();
        let is_closed = match facts.first_close {
            Some((Sender::Server, CloseKind::Fin)) => true,
            Some((Sender::Server, CloseKind::Reset)) => !facts.resets.injected(),
            _ => false,
        };
        let is_silent = records == 0 && is_closed && !facts.no_tls_answer && !facts.gaps;
        let answer = handshake.server_hello.as_ref();
        if answer.is_none() && !is_silent {
            return None;
        }
        let mut suites = hello.cipher_suites.clone();
        suites.retain(|suite| !is_grease(*suite));
        Some(Self {
            version: hello.highest_version(),
            suites,
            groups: hello.groups.clone(),
            alpn: hello.alpn.clone(),
            suite: answer.map(|it| it.cipher_suite),
            group: answer.and_then(|it| it.group),
        })
    }

    /// Whether the server answered it.
    #[must_use]
    pub const fn is_answered(&self) -> bool {
        self.suite.is_some()
    }

    /// Whether it is the same, whatever the answer.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let key = |it: &Self| (it.version, it.suites.len(), it.groups.len());
        key(self) == key(other)
            && self.suites == other.suites
            && self.groups == other.groups
            && self.alpn == other.alpn
    }
}
