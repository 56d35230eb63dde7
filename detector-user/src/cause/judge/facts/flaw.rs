//! Visible flaws of a certificate.

use std::fmt;

use crate::flow::timeline::Timeline;
use crate::flow::tls::certificate::{Leaf, Validity};

/// A flaw of a certificate, for the name it was shown for and at the time it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw<'f> {
    /// Its validity is over.
    Expired,
    /// Its validity has not begun.
    NotYetValid,
    /// It is for another name.
    OtherName {
        /// Distinguished name of its subject.
        subject: &'f str,
        /// The name that the client asked for.
        name: &'f str,
    },
    /// Its issuer is its subject.
    SelfSigned {
        /// Distinguished name of both.
        subject: &'f str,
    },
}

impl<'f> Flaw<'f> {
    /// Returns the first flaw of a leaf. Without a server name only its dates are looked at.
    pub fn first(leaf: &'f Leaf, timeline: &'f Timeline) -> Option<Self> {
        Self::of_dates(leaf, timeline).or_else(|| {
            server_name(timeline)?;
            Self::of_name(leaf, timeline).or_else(|| Self::of_issuer(leaf))
        })
    }

    /// Returns the flaw of its dates: outdated, or not valid yet.
    pub fn of_dates(leaf: &Leaf, timeline: &Timeline) -> Option<Self> {
        let now_s = i64::try_from(timeline.started_ns / 1_000_000_000).ok()?;
        match leaf.validity_at(now_s) {
            Validity::Expired => Some(Self::Expired),
            Validity::NotYet => Some(Self::NotYetValid),
            Validity::Valid => None,
        }
    }

    /// Returns the flaw of its name: another than the client asked for.
    pub fn of_name(leaf: &'f Leaf, timeline: &'f Timeline) -> Option<Self> {
        let name = server_name(timeline)?;
        let subject = &leaf.subject;
        (!leaf.is_for(name)).then_some(Self::OtherName { subject, name })
    }

    /// Returns the flaw of its issuer: itself.
    pub fn of_issuer(leaf: &'f Leaf) -> Option<Self> {
        let subject = &leaf.subject;
        leaf.is_self_signed()
            .then_some(Self::SelfSigned { subject })
    }
}

fn server_name(timeline: &Timeline) -> Option<&str> {
    let hello = timeline.handshake.client_hello.as_ref()?;
    hello.server_name.as_deref()
}

impl fmt::Display for Flaw<'_> {
    /// Writes it as it follows "the certificate".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("has expired"),
            Self::NotYetValid => f.write_str("is not valid yet"),
            Self::OtherName { subject, name } => write!(f, "is for {subject}, not for {name}"),
            Self::SelfSigned { subject } => write!(f, "is self-signed: {subject}"),
        }
    }
}
