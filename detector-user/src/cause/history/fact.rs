//! A fact: the evidence of one connection about a client, an app and a name.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::cause::client_identity::ClientIdentity;
use crate::cause::interception::Mark;
use crate::cause::judge::subject::{Outcome, Subject};
use crate::cause::registrable_domain::{NameHashes, name_hashes};
use crate::flow::tls::app::App;

/// A silent close counts as a refusal of the app only if it is this sure.
const REFUSAL_COUNTS: f64 = 0.4;
/// From here on it was not merely dropped.
const REFUSAL_SURE: f64 = 0.85;

/// A host name and its registrable domain, as hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Name {
    pub(super) host: u64,
    pub(super) domain: u64,
}

/// One app on one client and one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Triple {
    pub(super) client: IpAddr,
    pub(super) app: App,
    pub(super) name: Name,
}

/// The evidence of one connection for others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Fact {
    #[serde(flatten)]
    pub(super) triple: Triple,
    /// When the connection began, seconds since the UNIX epoch.
    pub(super) time_s: u64,
    /// The issuer of the certificate shown.
    pub(super) issuer: Option<Mark>,
    /// Whether the client accepted it.
    pub(super) accepted: bool,
    /// Whether a refusal is sure enough to count for others.
    pub(super) counts: bool,
    /// Whether it is so sure that the connection was not merely dropped.
    #[serde(default)]
    pub(super) sure: bool,
}

impl Name {
    pub(super) fn of(name: &str) -> Self {
        let NameHashes { host, domain } = name_hashes(name);
        Self { host, domain }
    }
}

impl Triple {
    /// Returns client, app and name of a connection; `None` if its app is not known.
    pub(super) fn of(subject: &Subject, identity: &ClientIdentity) -> Option<Self> {
        Some(Self {
            client: identity.of(subject.client),
            app: subject.app?,
            name: Name::of(&subject.name),
        })
    }
}

impl Fact {
    /// Returns the fact that a connection of `triple` shows; `None` if it showed no certificate, or
    /// its client neither accepted nor refused it.
    pub(super) fn of(triple: Triple, subject: &Subject) -> Option<Self> {
        if !subject.certificate_shown {
            return None;
        }
        let (accepted, probability) = match subject.outcome {
            Outcome::Accepted => (true, 1.0),
            Outcome::Refused { probability } => (false, probability),
            Outcome::Nothing => return None,
        };
        let [issuer, ..] = subject.interception.marks;
        Some(Self {
            triple,
            time_s: subject.time_ns / 1_000_000_000,
            issuer,
            accepted,
            counts: probability >= REFUSAL_COUNTS,
            sure: probability >= REFUSAL_SURE,
        })
    }

    /// Returns a fact of another agent, whose outcome is at least this sure.
    pub(super) const fn told(
        triple: Triple,
        time_s: u64,
        issuer: Option<Mark>,
        accepted: bool,
        sure: f64,
    ) -> Self {
        Self {
            triple,
            time_s,
            issuer,
            accepted,
            counts: sure >= REFUSAL_COUNTS,
            sure: sure >= REFUSAL_SURE,
        }
    }

    /// Returns the probability of the outcome, at least.
    pub(super) const fn least_sure(&self) -> f64 {
        match (self.accepted, self.sure, self.counts) {
            (true, ..) => 1.0,
            (_, true, _) => REFUSAL_SURE,
            (_, _, true) => REFUSAL_COUNTS,
            _ => 0.0,
        }
    }

    /// Returns the same, seen at another time, in seconds since the UNIX epoch.
    pub(super) const fn at(self, time_s: u64) -> Self {
        Self { time_s, ..self }
    }
}
