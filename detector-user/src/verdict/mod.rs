//! The verdict: one connection, the cause of its end, and the evidence, in the shape of the JSON.
//!
//! In: the values that the causes' room found. Out: [`Verdict`], which sinks write and readers read
//! back, and the vocabulary it is made of: [`Cause`] with its table, [`Party`], [`Alert`], [`Reset`],
//! [`Evidence`], [`Tunnel`].
//!
//! Field names and their order are a contract with every reader of the output: fields may be added
//! at the end, none is renamed, and an unknown value is `null`, never made up. Not here: knowledge of
//! packets, of rules, or of any output's format but serde's.
#![forbid(unsafe_code)]

mod alert;
mod cause;
pub mod community_id;
mod counted;
mod identity;
mod ladder;
pub(crate) mod named;
mod pan_os;
mod party;
mod written;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use alert::{Alert, AlertDescription, AlertLevel};
pub use cause::{Catalog, Cause, CauseRow, Reference, Scope, Severity, When, Wording};
pub(crate) use counted::counted;
pub use ladder::{Ladder, Rung};
pub use party::{Endpoint, Intercepted, Party};
pub(crate) use written::{written_confidence, written_milliseconds, written_weight};

/// One connection, why it ended, and how sure that is.
///
/// ```
/// use detector_user::verdict::{Cause, Party, Verdict};
///
/// let line = r#"{"time":"2026-11-23T08:30:01.123456789Z","tap":"lan0",
///     "community_id":"1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
///     "client":{"ip":"10.0.1.2","port":40112},"server":{"ip":"10.0.2.2","port":443},
///     "vlan":[],"sni":"api.pinned.test","alpn":["h2"],"ja4":null,"tls_version":"1.3",
///     "cause":"pinning","confidence":0.97,"intercepted":"yes","issuer":null,
///     "ended_by":"client","alert":null,"reset":null,"duration_ms":14.2,"pan_os":"policy-deny",
///     "evidence":[{"name":"client-alert","detail":"fatal unknown_ca (48)","weight":2.5}],
///     "advice":null,"revises":null,"id":"c3d1b0a8e2f45967","revision":0,"supersedes":null}"#;
/// let verdict: Verdict = serde_json::from_str(line)?;
/// assert_eq!((verdict.cause, verdict.ended_by), (Cause::Pinning, Party::Client));
/// assert_eq!(verdict.server.to_string(), "10.0.2.2:443");
///
/// let written = serde_json::to_string(&verdict)?;
/// assert_eq!(written, line.replace("\n    ", ""));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Time of the connection's end, UTC.
    #[serde(with = "written::rfc3339_nanoseconds")]
    pub time: Timestamp,
    /// The interface, or the capture file, the connection was seen on.
    pub tap: String,
    /// Community ID v1, which joins this row with Zeek's and Suricata's.
    pub community_id: String,
    /// Sender of the ClientHello.
    pub client: Endpoint,
    /// Addressee of the ClientHello.
    pub server: Endpoint,
    /// VLAN identifiers, outermost first; empty when untagged.
    pub vlan: Vec<u16>,
    /// Server name of the ClientHello (RFC 6066 §3).
    pub sni: Option<String>,
    /// Protocols the client offers (RFC 7301); empty when it offers none, `null` when not seen.
    pub alpn: Option<Vec<String>>,
    /// JA4 fingerprint of the ClientHello: the app.
    pub ja4: Option<String>,
    /// The version the server chose, such as `1.3`.
    pub tls_version: Option<String>,
    /// Cause of the connection's end.
    pub cause: Cause,
    /// Probability of the cause, 0 to 1; two decimals are written.
    #[serde(serialize_with = "written::confidence")]
    pub confidence: f64,
    /// Whether an interceptor terminated this connection.
    pub intercepted: Intercepted,
    /// Distinguished name of the issuer of the server's certificate.
    pub issuer: Option<String>,
    /// The party that ended the connection.
    pub ended_by: Party,
    /// The most telling alert, if there was one.
    pub alert: Option<Alert>,
    /// The reset that ended the connection, if one did.
    pub reset: Option<Reset>,
    /// Milliseconds from the ClientHello to the end; three decimals are written.
    #[serde(serialize_with = "written::milliseconds")]
    pub duration_ms: Option<f64>,
    /// Session end reason that a PAN-OS firewall would log: the one of the highest rank.
    pub pan_os: Option<String>,
    /// The facts the cause rests on, weightiest first.
    pub evidence: Vec<Evidence>,
    /// Advice, in one sentence.
    pub advice: Option<String>,
    /// The earlier verdict that this one replaces: its time and Community ID, with a space between.
    pub revises: Option<String>,
    /// The leg nearer to the server; only where another tap saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_leg: Option<ServerLeg>,
    /// The tunnel that carried the connection, the outermost of several; only where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// Identifier of this verdict, 16 hexadecimal digits: the same in every output and, of a capture, in
    /// every run; no other verdict has it.
    #[serde(default)]
    pub id: String,
    /// Number of the connection's verdicts before this one; it replaces them.
    #[serde(default)]
    pub revision: u32,
    /// `id` of the verdict that this one replaces: the connection's previous one.
    #[serde(default)]
    pub supersedes: Option<String>,
    /// Destination that the client asked an explicit proxy, the server here, for: `host:port`. Only where
    /// its request was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Session end reason that PAN-OS's documentation gives for the alert, where `pan_os` outranks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pan_os_beneath: Option<String>,
    /// Its records in order; in the database, and in no other output.
    #[serde(skip)]
    pub ladder: Arc<Ladder>,
}

impl Verdict {
    /// Creates a connection's first verdict of which no more is known than where, when and why it ended.
    #[must_use]
    pub fn new(
        time: Timestamp,
        tap: &str,
        community_id: &str,
        [client, server]: [Endpoint; 2],
        cause: Cause,
    ) -> Self {
        let mut verdict = Self {
            time,
            tap: tap.to_owned(),
            community_id: community_id.to_owned(),
            client,
            server,
            vlan: Vec::new(),
            sni: None,
            alpn: None,
            ja4: None,
            tls_version: None,
            cause,
            confidence: 0.5,
            intercepted: Intercepted::Unknown,
            issuer: None,
            ended_by: Party::Unknown,
            alert: None,
            reset: None,
            duration_ms: None,
            pan_os: None,
            evidence: Vec::new(),
            advice: None,
            revises: None,
            server_leg: None,
            tunnel: None,
            id: String::new(),
            revision: 0,
            ladder: Arc::default(),
            supersedes: None,
            target: None,
            pan_os_beneath: None,
        };
        verdict.set_revision(0);
        verdict
    }

    /// Returns the name of the server that the client wants: that of its hello, or the target of a
    /// proxy.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.sni.as_deref().or(self.target.as_deref())
    }
}

/// A tunnel or mirror protocol whose inner addresses are the verdict's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// Its protocol, such as `vxlan`.
    pub kind: String,
    /// Its identifier (VNI, VSID, GRE key, mirror session), where both directions share one.
    pub id: Option<u32>,
}

/// The other half of a connection that an interceptor or a NAT made two of, as its tap saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerLeg {
    /// The tap's name.
    pub tap: String,
    /// Community ID v1 of this leg.
    pub community_id: String,
    /// Sender of this leg's ClientHello: the interceptor, or the client as translated.
    pub client: Endpoint,
    /// Its addressee.
    pub server: Endpoint,
    /// The version agreed on this leg.
    pub tls_version: Option<String>,
    /// Distinguished name of the issuer of the certificate shown on this leg.
    pub issuer: Option<String>,
}

/// A TCP reset and its tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// Its sender, as far as the tells go.
    pub from: Party,
    /// Whether a third party sent it in a peer's name.
    pub injected: bool,
    /// Names of its differences from the flow it claims to belong to.
    pub tells: Vec<String>,
}

/// A named fact a cause rests on, as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// A stable name, such as `client-alert`.
    pub name: String,
    /// The fact, for people.
    pub detail: String,
    /// Log-odds for the cause; negative counts against it. Two decimals are written.
    #[serde(serialize_with = "written::weight")]
    pub weight: f64,
}
