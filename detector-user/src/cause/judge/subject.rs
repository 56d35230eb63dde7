//! The parties of a connection, and the client's answer to the certificate: the history's input.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::cause::interception::Interception;
use crate::cause::judge::facts::Facts;
use crate::flow::tls::app::{App, Versions, app};
use crate::flow::tls::certificate::Validity;
use crate::flow::tls::client_hello::EchOffer;
use crate::verdict::AlertDescription;

/// Client, app, name and interceptor of one connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// The client's address.
    pub client: IpAddr,
    /// Its application; `None` if its hello did not come whole.
    pub app: Option<App>,
    /// The versions that its hello offers.
    pub versions: Versions,
    /// The server name, or the server's address where there is none.
    pub name: Arc<str>,
    /// The server's address.
    pub server: SocketAddr,
    /// Whether that is an explicit proxy's, behind which there are many servers.
    pub by_proxy: bool,
    /// The client's offer of ECH, real or GREASE; the name is the outer one then.
    pub ech: Option<EchOffer>,
    /// Time of its beginning, nanoseconds since the UNIX epoch.
    pub time_ns: u64,
    /// Whether it was intercepted, and the interceptor.
    pub interception: Interception,
    /// Whether the server showed a certificate: a resumed session's did not.
    pub certificate_shown: bool,
    /// Whether the certificate is in order as far as one can see: dates and name.
    pub certificate_in_order: Option<bool>,
    /// The certificate, if it was shown in the clear.
    pub certificate: Option<ShownCertificate>,
    /// Description of the alert that the client refused with, if it did so in the clear.
    pub alert: Option<AlertDescription>,
    /// Whether the client had finished the handshake.
    pub after_handshake: bool,
    /// Time of its end, likewise.
    pub ended_ns: u64,
    /// Whether the client had no answer from the server when it ended.
    pub unanswered: bool,
    /// Whether the client left without giving a reason, so that it may just have had no use for it.
    pub quiet: bool,
    /// The client's answer to the certificate.
    pub outcome: Outcome,
}

/// A server's certificate, as far as an app may be bound to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownCertificate {
    /// Fingerprint of its key.
    pub key: u64,
    /// Distinguished name of its issuer.
    pub issuer: Arc<str>,
}

/// The client's answer to the certificate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// It used the connection.
    Accepted,
    /// It refused, as far as one can tell.
    Refused {
        /// Probability of that, 0 to 1.
        probability: f64,
    },
    /// That does not show.
    Nothing,
}

impl Subject {
    pub(super) fn of(facts: &Facts<'_>, interception: Interception, outcome: Outcome) -> Self {
        let timeline = facts.timeline;
        let hello = timeline.handshake.client_hello.as_ref();
        let name = timeline.shared_server_name();
        let now = i64::try_from(timeline.started_ns / 1_000_000_000).unwrap_or(i64::MAX);
        let in_order = facts.leaf().map(|leaf| {
            leaf.validity_at(now) == Validity::Valid
                && name.as_ref().is_none_or(|name| leaf.is_for(name))
        });
        Self {
            client: timeline.client.ip(),
            app: hello.and_then(app),
            versions: hello.map(Versions::of).unwrap_or_default(),
            name: name.unwrap_or_else(|| timeline.server.ip().to_string().into()),
            server: timeline.server,
            by_proxy: timeline.target().is_some(),
            ech: hello.and_then(|hello| hello.ech),
            time_ns: timeline.started_ns,
            interception,
            certificate_shown: !facts.resumed,
            certificate_in_order: in_order,
            certificate: facts.leaf().map(|leaf| ShownCertificate {
                key: leaf.key_fingerprint,
                issuer: Arc::clone(&leaf.issuer),
            }),
            alert: facts.failure_alert().and_then(|alert| alert.description),
            quiet: quiet(facts),
            after_handshake: facts.client.finished,
            unanswered: !facts.server_hello,
            ended_ns: facts.failed_ns().unwrap_or(timeline.last_ns),
            outcome,
        }
    }
}

/// A client that waits so long for an answer wanted one.
const PATIENT_NS: u64 = 3_000_000_000;

fn quiet(facts: &Facts<'_>) -> bool {
    let timeline = facts.timeline;
    let waited_ns = timeline.last_ns.saturating_sub(timeline.started_ns);
    let waited_in_vain = !facts.server_hello && waited_ns > PATIENT_NS;
    facts.failure_alert().is_none()
        && !facts.client.alert_for_finished
        && !waited_in_vain
        && (facts.unused() || facts.turned_away() || facts.client_left())
}
