//! The verdict: what the agent says about one connection, and the shape it has in JSON.
//!
//! Field names and their order are a contract with whoever reads the output. Fields may be added
//! at the end, none is renamed. What is not known is `null`, never a made-up value.

pub mod community_id;

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One connection, why it ended, and how sure that is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// When the connection ended, UTC.
    #[serde(with = "rfc3339_nanoseconds")]
    pub time: Timestamp,
    /// The interface, or the capture file, the connection was seen on.
    pub tap: String,
    /// Community ID v1, which joins this row with Zeek's and Suricata's.
    pub community_id: String,
    /// Who sent the ClientHello.
    pub client: Endpoint,
    /// Who it was sent to.
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
    /// Why the connection ended as it did.
    pub cause: Cause,
    /// How sure the cause is, 0 to 1; two decimals are written.
    #[serde(serialize_with = "confidence")]
    pub confidence: f64,
    /// Whether an interceptor terminated this connection.
    pub intercepted: Intercepted,
    /// Distinguished name of who issued the server's certificate.
    pub issuer: Option<String>,
    /// Who ended the connection.
    pub ended_by: Party,
    /// The alert that tells most, if there was one.
    pub alert: Option<Alert>,
    /// The reset that ended the connection, if one did.
    pub reset: Option<Reset>,
    /// Milliseconds from the ClientHello to the end; three decimals are written.
    #[serde(serialize_with = "milliseconds")]
    pub duration_ms: Option<f64>,
    /// The session end reason a PAN-OS firewall would log.
    pub pan_os: Option<String>,
    /// The facts the cause rests on, weightiest first.
    pub evidence: Vec<Evidence>,
    /// What to do about it.
    pub advice: Option<String>,
    /// The earlier verdict that this one replaces: its time and Community ID, with a space between.
    pub revises: Option<String>,
    /// The leg nearer to the server; only where another tap saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_leg: Option<ServerLeg>,
}

/// The other half of a connection that an interceptor or a NAT made two of, as its tap saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerLeg {
    /// The tap's name.
    pub tap: String,
    /// Community ID v1 of this leg.
    pub community_id: String,
    /// Who sent this leg's ClientHello: the interceptor, or the client as translated.
    pub client: Endpoint,
    /// Who it was sent to.
    pub server: Endpoint,
    /// The version agreed on this leg.
    pub tls_version: Option<String>,
    /// Distinguished name of who issued the certificate shown on this leg.
    pub issuer: Option<String>,
}

/// An address and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// IPv4 or IPv6 address.
    pub ip: IpAddr,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    /// `192.0.2.1:443` or `[2001:db8::1]:443`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.ip, self.port).fmt(f)
    }
}

/// Why a connection ended as it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The app accepts only its own certificate or key.
    Pinning,
    /// The client, or this app's own trust store, rejects every intercepted destination.
    CaNotTrusted,
    /// Rejected, and the facts do not yet tell pinning from a missing CA.
    CertificateRejected,
    /// The origin's own certificate is expired, self-signed, or for another name.
    ServerCertInvalid,
    /// No common version, cipher, group or ALPN.
    UnsupportedParameters,
    /// `bad_record_mac`, `decode_error`, `decrypt_error` and the like.
    DecryptError,
    /// The server wants a client certificate.
    ClientAuth,
    /// A third party reset the connection.
    InjectedReset,
    /// A peer itself reset it.
    EndpointReset,
    /// A peer closed without a word during or right after the handshake.
    Abandoned,
    /// It worked.
    Established,
}

impl Cause {
    /// Every cause, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::Pinning,
        Self::CaNotTrusted,
        Self::CertificateRejected,
        Self::ServerCertInvalid,
        Self::UnsupportedParameters,
        Self::DecryptError,
        Self::ClientAuth,
        Self::InjectedReset,
        Self::EndpointReset,
        Self::Abandoned,
        Self::Established,
    ];

    /// The name used in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pinning => "pinning",
            Self::CaNotTrusted => "ca-not-trusted",
            Self::CertificateRejected => "certificate-rejected",
            Self::ServerCertInvalid => "server-cert-invalid",
            Self::UnsupportedParameters => "unsupported-parameters",
            Self::DecryptError => "decrypt-error",
            Self::ClientAuth => "client-auth",
            Self::InjectedReset => "injected-reset",
            Self::EndpointReset => "endpoint-reset",
            Self::Abandoned => "abandoned",
            Self::Established => "established",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Who did something to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Party {
    /// Who sent the ClientHello.
    Client,
    /// Who it was sent to, or whoever answers in its place.
    Server,
    /// A device between the gateway and a peer.
    Middlebox,
    /// The gateway itself.
    Gateway,
    /// The facts do not tell.
    Unknown,
}

impl Party {
    /// The name used in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Middlebox => "middlebox",
            Self::Gateway => "gateway",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Whether an interceptor terminated the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intercepted {
    /// Shown by the issuer, by two legs, or told by the operator.
    Yes,
    /// Shown not to be.
    No,
    /// Nothing shows either.
    Unknown,
}

impl Intercepted {
    /// The name used in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Intercepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A TLS alert (RFC 8446 §6). An encrypted one shows neither level nor code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Who sent it.
    pub from: Party,
    /// Its level; `null` when encrypted or not one of the registry's two.
    pub level: Option<AlertLevel>,
    /// Its number in the TLS alert registry.
    pub code: Option<u8>,
    /// Its name in the TLS alert registry; `null` when encrypted or unassigned.
    pub description: Option<String>,
    /// Whether it was known by its shape and place only.
    pub encrypted: bool,
}

/// Level of an alert (RFC 5246 §7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertLevel {
    /// 1.
    Warning,
    /// 2.
    Fatal,
}

impl AlertLevel {
    /// The name used in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Fatal => "fatal",
        }
    }
}

impl fmt::Display for AlertLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A TCP reset and what it gives away about its sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// Who sent it, as far as the tells go.
    pub from: Party,
    /// Whether a third party sent it in a peer's name.
    pub injected: bool,
    /// What about it differs from the flow it claims to belong to.
    pub tells: Vec<String>,
}

/// A named fact a cause rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// A stable name, such as `client-alert`.
    pub name: String,
    /// The fact, for people.
    pub detail: String,
    /// How much it counts; negative counts against the cause. Two decimals are written.
    #[serde(serialize_with = "weight")]
    pub weight: f64,
}

/// Times as `2026-11-23T08:30:01.123456789Z`, always with nine decimals.
mod rfc3339_nanoseconds {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{time:.9}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

fn round(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    // Adding zero turns -0.0 into 0.0.
    (value * scale).round() / scale + 0.0
}

/// A confidence as it is written: within 0 to 1, two decimals. What is no number gives no
/// confidence at all.
pub(crate) fn written_confidence(value: f64) -> f64 {
    if value.is_nan() {
        0.0
    } else {
        round(value.clamp(0.0, 1.0), 2)
    }
}

/// A weight as it is written: two decimals.
pub(crate) fn written_weight(value: f64) -> f64 {
    if value.is_finite() {
        round(value, 2)
    } else {
        0.0
    }
}

/// A duration as it is written: milliseconds with three decimals.
pub(crate) fn written_milliseconds(value: Option<f64>) -> Option<f64> {
    value.filter(|ms| ms.is_finite()).map(|ms| round(ms, 3))
}

fn confidence<S: serde::Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(written_confidence(*value))
}

fn weight<S: serde::Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(written_weight(*value))
}

fn milliseconds<S: serde::Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
    written_milliseconds(*value).serialize(to)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The example of the design document, field by field.
    pub(crate) const EXAMPLE: &str = concat!(
        r#"{"time":"2026-11-23T08:30:01.123456789Z","tap":"lan0","community_id":"1:LQU9qZlK+B5F3KDmev6m5PMibrg=","#,
        r#""client":{"ip":"10.0.1.2","port":40112},"server":{"ip":"10.0.2.2","port":443},"vlan":[],"#,
        r#""sni":"api.pinned.test","alpn":["h2","http/1.1"],"ja4":"t13d1516h2_8daaf6152771_02713d6af862","tls_version":"1.3","#,
        r#""cause":"pinning","confidence":0.97,"intercepted":"yes","issuer":"CN=Inspection CA","#,
        r#""ended_by":"client","alert":{"from":"client","level":"fatal","code":46,"description":"certificate_unknown","encrypted":false},"#,
        r#""reset":null,"duration_ms":14.2,"pan_os":"policy-deny","#,
        r#""evidence":[{"name":"client-alert","detail":"fatal certificate_unknown (46) after the server's Certificate","weight":2.5}],"#,
        r#""advice":"exclude api.pinned.test from decryption","revises":null}"#,
    );

    /// A verdict with every kind of field filled in.
    pub(crate) fn pinning() -> Verdict {
        Verdict {
            time: "2026-11-23T08:30:01.123456789Z".parse().unwrap(),
            tap: "lan0".into(),
            community_id: "1:LQU9qZlK+B5F3KDmev6m5PMibrg=".into(),
            client: Endpoint {
                ip: "10.0.1.2".parse().unwrap(),
                port: 40112,
            },
            server: Endpoint {
                ip: "10.0.2.2".parse().unwrap(),
                port: 443,
            },
            vlan: vec![],
            sni: Some("api.pinned.test".into()),
            alpn: Some(vec!["h2".into(), "http/1.1".into()]),
            ja4: Some("t13d1516h2_8daaf6152771_02713d6af862".into()),
            tls_version: Some("1.3".into()),
            cause: Cause::Pinning,
            confidence: 0.97,
            intercepted: Intercepted::Yes,
            issuer: Some("CN=Inspection CA".into()),
            ended_by: Party::Client,
            alert: Some(Alert {
                from: Party::Client,
                level: Some(AlertLevel::Fatal),
                code: Some(46),
                description: Some("certificate_unknown".into()),
                encrypted: false,
            }),
            reset: None,
            duration_ms: Some(14.2),
            pan_os: Some("policy-deny".into()),
            evidence: vec![Evidence {
                name: "client-alert".into(),
                detail: "fatal certificate_unknown (46) after the server's Certificate".into(),
                weight: 2.5,
            }],
            advice: Some("exclude api.pinned.test from decryption".into()),
            revises: None,
            server_leg: None,
        }
    }

    /// A reset nobody could look behind: as little is known as can be.
    pub(crate) fn injected_reset() -> Verdict {
        Verdict {
            time: "2026-11-23T08:30:02Z".parse().unwrap(),
            tap: "wan0".into(),
            client: Endpoint {
                ip: "2001:db8::12".parse().unwrap(),
                port: 50000,
            },
            server: Endpoint {
                ip: "2001:db8::443".parse().unwrap(),
                port: 443,
            },
            vlan: vec![100, 7],
            sni: None,
            alpn: None,
            ja4: None,
            tls_version: None,
            cause: Cause::InjectedReset,
            confidence: 0.8,
            intercepted: Intercepted::Unknown,
            issuer: None,
            ended_by: Party::Middlebox,
            alert: None,
            reset: Some(Reset {
                from: Party::Middlebox,
                injected: true,
                tells: vec![
                    "ttl 61, the server's were 52".into(),
                    "the server went on".into(),
                ],
            }),
            duration_ms: Some(0.25),
            evidence: vec![],
            advice: None,
            ..pinning()
        }
    }

    #[test]
    fn is_written_as_the_contract_says() {
        assert_eq!(serde_json::to_string(&pinning()).unwrap(), EXAMPLE);
    }

    #[test]
    fn unknown_is_null() {
        insta::assert_json_snapshot!(injected_reset());
    }

    #[test]
    fn is_read_back_as_it_was_written() {
        assert_eq!(serde_json::from_str::<Verdict>(EXAMPLE).unwrap(), pinning());
        let reset = serde_json::to_string(&injected_reset()).unwrap();
        assert_eq!(
            serde_json::from_str::<Verdict>(&reset).unwrap(),
            injected_reset()
        );
    }

    #[test]
    fn a_later_field_does_not_stop_an_older_reader() {
        let later = EXAMPLE.replacen('{', r#"{"process":"java","#, 1);
        assert_eq!(serde_json::from_str::<Verdict>(&later).unwrap(), pinning());
    }

    #[test]
    fn an_encrypted_alert_has_no_code() {
        let alert = Alert {
            from: Party::Client,
            level: None,
            code: None,
            description: None,
            encrypted: true,
        };
        assert_eq!(
            serde_json::to_string(&alert).unwrap(),
            r#"{"from":"client","level":null,"code":null,"description":null,"encrypted":true}"#
        );
    }

    #[test]
    fn names_are_the_ones_in_json() {
        for cause in Cause::ALL {
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.name());
        }
        use Party::{Client, Gateway, Middlebox, Server, Unknown};
        for party in [Client, Server, Middlebox, Gateway, Unknown] {
            assert_eq!(serde_json::to_value(party).unwrap(), party.name());
        }
        for intercepted in [Intercepted::Yes, Intercepted::No, Intercepted::Unknown] {
            assert_eq!(
                serde_json::to_value(intercepted).unwrap(),
                intercepted.name()
            );
        }
        for level in [AlertLevel::Warning, AlertLevel::Fatal] {
            assert_eq!(serde_json::to_value(level).unwrap(), level.name());
        }
    }

    #[rstest::rstest]
    #[case(0.966_66, 14.199_999_9, 0.97, 14.2)]
    #[case(1.5, 0.0, 1.0, 0.0)]
    #[case(-0.001, 1_234.567_89, 0.0, 1_234.568)]
    fn numbers_are_rounded(
        #[case] confidence: f64,
        #[case] duration: f64,
        #[case] confidence_written: f64,
        #[case] duration_written: f64,
    ) {
        let verdict = Verdict {
            confidence,
            duration_ms: Some(duration),
            ..pinning()
        };
        let json = serde_json::to_value(verdict).unwrap();
        assert_eq!(json["confidence"], confidence_written);
        assert_eq!(json["duration_ms"], duration_written);
    }

    #[test]
    fn what_is_no_number_still_reads_back() {
        let mut verdict = Verdict {
            confidence: f64::NAN,
            duration_ms: Some(f64::INFINITY),
            ..pinning()
        };
        verdict.evidence[0].weight = f64::NEG_INFINITY;
        let json = serde_json::to_string(&verdict).unwrap();
        let read: Verdict = serde_json::from_str(&json).unwrap();
        assert_eq!(read.confidence, 0.0);
        assert_eq!(read.duration_ms, None);
        assert_eq!(read.evidence[0].weight, 0.0);
    }
}
