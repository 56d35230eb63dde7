//! Interception: whether a connection was intercepted, by evidence that grows with every connection.
//!
//! In: [`Connection`], and the operator's [`Knowledge`]. Out: [`Interception`], which the judge and the
//! history read. Not here: causes, clients and apps, I/O.
//!
//! Known at once: the operator's word, two legs with different client randoms, an issuer that is
//! named or is a product's. Learned: a private CA that issues for unrelated names with one key
//! (`issuers`); a destination that was seen intercepted (`destinations`); a ServerHello and a
//! distance that are an interceptor's (`fingerprints`).
//! Late discoveries come with the next connection as [`Interception::recognized`], so that earlier
//! verdicts can be revised. Assessing changes nothing; each connection is recorded once.

mod destinations;
mod evidence;
mod fingerprints;
mod issuers;
mod mark;
mod products;
mod small_set;

use std::sync::Arc;

pub use evidence::InterceptionEvidence;
pub use mark::{Mark, Marks};

use crate::cause::inspection_ca::InspectionCa;
use crate::cause::knowledge::{InterceptedWhen, Knowledge};
use crate::flow::legs::{Connection, Passage};
use crate::flow::timeline::Timeline;
use crate::flow::tls::certificate::Leaf;
use crate::verdict::Intercepted;
use destinations::{Destinations, Source};
use fingerprints::{Fingerprints, Shown};
use issuers::Issuers;
use mark::{leaf, marks, server_name};
use products::product;

/// A connection's interception: its status, and the marks by which later connections may change it.
#[derive(Clone, Debug, PartialEq)]
pub struct Interception {
    /// Whether it was intercepted.
    pub status: Intercepted,
    /// The evidence for that; `None` where there is none.
    pub evidence: Option<InterceptionEvidence>,
    /// Features that would show it once one of them is known to be an interceptor's.
    pub marks: Marks,
    /// Marks that this connection let recognize: earlier ones that have them were intercepted.
    pub recognized: Vec<Mark>,
}

impl Interception {
    fn new(evidence: Option<InterceptionEvidence>, marks: Marks) -> Self {
        Self {
            status: status(evidence.as_ref()),
            evidence,
            marks,
            recognized: Vec::new(),
        }
    }
}

/// Features of interceptors, learned from connections.
///
/// ```
/// use detector_user::cause::interception::Interceptors;
/// use detector_user::cause::knowledge::{InterceptedWhen, Knowledge};
/// use detector_user::flow::legs::Connection;
/// use detector_user::verdict::Intercepted;
///
/// fn is_intercepted(connection: &Connection) -> bool {
///     let knowledge = Knowledge {
///         inspection_cas: vec!["CN=Inspection CA".parse().expect("a name")],
///         intercepted: InterceptedWhen::Auto,
///         interceptors: vec![],
///     };
///     let mut interceptors = Interceptors::default();
///     interceptors.examine(connection, &knowledge).status == Intercepted::Yes
/// }
/// ```
#[derive(Default)]
pub struct Interceptors {
    issuers: Issuers,
    destinations: Destinations,
    fingerprints: Fingerprints,
}

impl Interceptors {
    /// Restores a mark that was recognized before a restart: an issuer, a destination or a
    /// fingerprint; marks of different kinds are never alike. A destination teaches nothing further
    /// until it is shown again.
    pub fn remember(&mut self, mark: Mark) {
        self.issuers.recognize(mark);
        self.fingerprints.remember(mark);
        self.destinations.remember(mark);
    }

    /// Returns a connection's interception as far as it is known, and records it if its legs are
    /// complete now and were not before: a connection that works is judged twice, as soon as it
    /// does and at its end.
    pub fn examine(&mut self, connection: &Connection, knowledge: &Knowledge) -> Interception {
        if connection.newly_complete {
            self.record(connection, knowledge)
        } else {
            self.assess(connection, knowledge)
        }
    }

    /// Returns a connection's interception as far as it is known.
    #[must_use]
    pub fn assess(&self, connection: &Connection, knowledge: &Knowledge) -> Interception {
        let marks = marks(&connection.client_leg);
        let evidence = self
            .shown(connection, marks, knowledge)
            .or_else(|| self.by_likeness(marks));
        Interception::new(evidence, marks)
    }

    /// Records a connection, which counts again each time. Returns its interception then, with the
    /// marks that it let recognize.
    pub fn record(&mut self, connection: &Connection, knowledge: &Knowledge) -> Interception {
        let leg = &*connection.client_leg;
        let marks = marks(leg);
        let [issuer, destination, _] = marks;
        let mut recognized = Vec::new();
        if let (Some(mark), Some(leaf), Some(name)) = (issuer, leaf(leg), server_name(leg)) {
            recognized.extend(self.issuers.record(mark, leaf, name).then_some(mark));
        }
        let shown = self.shown(connection, marks, knowledge);
        let source = match shown {
            Some(_) => Source::Shown,
            None => self.destinations.source(destination),
        };
        let mut evidence = shown.or_else(|| self.by_likeness(marks));
        if knowledge.intercepted == InterceptedWhen::Auto {
            let status = status(evidence.as_ref());
            if let Some(mark) = destination
                && self.destinations.record(mark, status, source)
            {
                recognized.push(mark);
            }
            self.record_fingerprint(marks, leg, (status, source), &mut recognized);
        }
        if !recognized.is_empty() {
            evidence = evidence.or_else(|| self.by_likeness(marks));
        }
        Interception {
            recognized,
            ..Interception::new(evidence, marks)
        }
    }

    fn record_fingerprint(
        &mut self,
        marks: Marks,
        leg: &Timeline,
        known: (Intercepted, Source),
        recognized: &mut Vec<Mark>,
    ) {
        let shown = match known {
            (Intercepted::Yes, Source::Shown | Source::Destination) => Shown::Intercepted,
            (Intercepted::No, _) => Shown::Direct,
            _ => Shown::Nothing,
        };
        let new = self.fingerprints.record(marks, leg, shown);
        recognized.extend(new.fingerprint);
        let destinations = new.destinations.into_iter();
        recognized.extend(destinations.filter(|mark| self.destinations.insert_likeness(*mark)));
    }

    /// Returns the evidence that is more than a likeness.
    fn shown(
        &self,
        connection: &Connection,
        marks: Marks,
        knowledge: &Knowledge,
    ) -> Option<InterceptionEvidence> {
        let leg = &*connection.client_leg;
        let certificate = || self.by_certificate(leaf(leg)?, marks, knowledge);
        let legs = by_legs(connection);
        // Both taps may be on one side of the interceptor.
        let is_forwarded = matches!(legs, Some(InterceptionEvidence::SameRandom { .. }));
        let is_intercepted = |it: &InterceptionEvidence| it.status() == Intercepted::Yes;
        by_operator(knowledge, connection)
            .or_else(|| certificate().filter(|it| is_forwarded && is_intercepted(it)))
            .or(legs)
            .or_else(certificate)
    }

    fn by_certificate(
        &self,
        leaf: &Leaf,
        [issuer_mark, ..]: Marks,
        knowledge: &Knowledge,
    ) -> Option<InterceptionEvidence> {
        let issuer = || Arc::clone(&leaf.issuer);
        let is_inspection_ca = |ca: &InspectionCa| ca.matches(&leaf.issuer);
        if knowledge.inspection_cas.iter().any(is_inspection_ca) {
            return Some(InterceptionEvidence::InspectionCa { issuer: issuer() });
        }
        if let Some(product) = product(&leaf.issuer) {
            return Some(InterceptionEvidence::ProductCa {
                issuer: issuer(),
                product,
            });
        }
        if issuer_mark.is_some_and(|mark| self.issuers.is_recognized(mark)) {
            return Some(InterceptionEvidence::LearnedCa { issuer: issuer() });
        }
        if !knowledge.inspection_cas.is_empty() {
            return Some(InterceptionEvidence::OtherCa { issuer: issuer() });
        }
        leaf.has_timestamps
            .then(|| InterceptionEvidence::PublicCa { issuer: issuer() })
    }

    fn by_likeness(&self, [_, destination, fingerprint]: Marks) -> Option<InterceptionEvidence> {
        if destination.is_some_and(|mark| self.destinations.contains(mark)) {
            return Some(InterceptionEvidence::InterceptedDestination);
        }
        self.fingerprints
            .is_recognized(fingerprint?)
            .then_some(InterceptionEvidence::LearnedFingerprint)
    }
}

fn status(evidence: Option<&InterceptionEvidence>) -> Intercepted {
    evidence.map_or(Intercepted::Unknown, InterceptionEvidence::status)
}

/// Returns the evidence by the client's address, or the operator's word on all connections.
fn by_operator(knowledge: &Knowledge, connection: &Connection) -> Option<InterceptionEvidence> {
    let leg = &*connection.client_leg;
    let client = leg.client.ip().to_canonical();
    // Of an app on the proxy's own host both legs are known.
    let is_alone = connection.server_leg.is_none();
    // Further proxies behind it may intercept.
    let is_direct = leg.target().is_none();
    if is_alone && is_direct && knowledge.interceptors.contains(&client) {
        return Some(InterceptionEvidence::InterceptorAddress(client));
    }
    if is_alone && is_direct && leg.client_is_proxy {
        return Some(InterceptionEvidence::ProxyAddress(client));
    }
    InterceptionEvidence::told(knowledge.intercepted)
}

fn by_legs(connection: &Connection) -> Option<InterceptionEvidence> {
    let (passage, server_leg) = connection.server_leg.as_ref()?;
    // A mirror of several VLANs, or of a tunnel's both ends, is nowhere between an interceptor's legs.
    let same_tap = connection.client_leg.flow.key.interface == server_leg.flow.key.interface;
    if same_tap && *passage == Passage::Forwarded {
        return None;
    }
    let client_tap = Arc::clone(&connection.client_leg.tap);
    let server_tap = Arc::clone(&server_leg.tap);
    Some(match passage {
        Passage::Forwarded => InterceptionEvidence::SameRandom {
            client_tap,
            server_tap,
        },
        Passage::Intercepted => InterceptionEvidence::TwoLegs {
            client_tap,
            server_tap,
        },
    })
}

#[cfg(test)]
mod tests;
