//! The report of a probe.

use std::net::SocketAddr;

use jiff::Timestamp;
use rustls::CertificateError;
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::handshake::Attempt;
use super::{ProbeError, Target};
use crate::cause::inspection_ca::InspectionCa;
use crate::flow::tls::distinguished_name::distinguished_name;

/// The report of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The name that was asked for.
    pub name: String,
    /// The port.
    pub port: u16,
    /// The address that answered.
    pub address: Option<SocketAddr>,
    /// Time of the probe.
    pub time: Timestamp,
    /// Its result.
    pub outcome: Outcome,
    /// The mistake in an invalid certificate.
    pub problem: Option<Problem>,
    /// The reason in words; of a valid certificate only where it is trusted itself, and not its issuer.
    pub detail: Option<String>,
    /// The version that both sides chose.
    pub tls_version: Option<String>,
    /// The versions that the server speaks.
    pub versions: VersionSupport,
    /// The cipher suite.
    pub cipher_suite: Option<String>,
    /// The protocol that the server chose of `h2` and `http/1.1`.
    pub alpn: Option<String>,
    /// Whether the server wants a client certificate; `None` without a handshake.
    pub client_certificate: Option<ClientCertificate>,
    /// The server's certificates as it sent them, its own first.
    pub chain: Vec<Certificate>,
}

/// The result of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The origin's certificate is valid for the name.
    Valid,
    /// It is not.
    Invalid,
    /// An interceptor answered: nothing is known about the origin.
    Intercepted,
    /// Nobody showed a certificate: nothing is known about the origin.
    Failed,
}

/// The mistake in an invalid certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// It is no longer valid.
    Expired,
    /// It is not valid yet.
    NotYetValid,
    /// It is for other names.
    WrongName,
    /// It is signed by its own key.
    SelfSigned,
    /// No chain leads to a root that this machine trusts.
    UnknownIssuer,
    /// It is for another use.
    WrongUse,
    /// It is revoked.
    Revoked,
    /// A signature or encoding is bad.
    Damaged,
}

/// Whether a server wants a client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificate {
    /// It does not ask.
    NotAsked,
    /// It asks, and does without.
    Optional,
    /// It asks, and refuses clients without.
    Required,
}

/// The versions that a server speaks; `None` if unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct VersionSupport {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    pub tls12: Option<bool>,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    pub tls13: Option<bool>,
}

/// A certificate of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Distinguished name of the subject.
    pub subject: String,
    /// Distinguished name of the issuer.
    pub issuer: String,
    /// Start of validity.
    pub not_before: Option<Timestamp>,
    /// End of validity.
    pub not_after: Option<Timestamp>,
    /// Names and addresses that it is for.
    pub names: Vec<String>,
    /// SHA-256 of its DER, in hexadecimal.
    pub sha256: String,
}

impl Report {
    pub(crate) fn new(target: &Target) -> Self {
        Self {
            name: target.name.clone(),
            port: target.port,
            address: None,
            time: Timestamp::now(),
            outcome: Outcome::Failed,
            problem: None,
            detail: None,
            tls_version: None,
            versions: VersionSupport::default(),
            cipher_suite: None,
            alpn: None,
            client_certificate: None,
            chain: Vec::new(),
        }
    }

    pub(super) fn fail(&mut self, error: &ProbeError) {
        self.detail = Some(error.to_string());
    }

    pub(super) fn record(&mut self, attempt: &Attempt, inspection_cas: &[InspectionCa]) {
        self.tls_version = attempt.version.map(str::to_owned);
        self.cipher_suite.clone_from(&attempt.cipher_suite);
        self.alpn.clone_from(&attempt.alpn);
        self.chain = attempt.chain.iter().filter_map(Certificate::read).collect();
        if attempt.chain.is_empty() {
            return;
        }
        self.client_certificate = Some(match (attempt.asked, attempt.refused) {
            (false, _) => ClientCertificate::NotAsked,
            (true, false) => ClientCertificate::Optional,
            (true, true) => ClientCertificate::Required,
        });
        let interceptor = self.chain.iter().find(|certificate| {
            let names = [&certificate.issuer, &certificate.subject];
            inspection_cas
                .iter()
                .any(|ca| names.iter().any(|name| ca.matches(name)))
        });
        if let Some(certificate) = interceptor {
            self.outcome = Outcome::Intercepted;
            self.detail = Some(format!(
                "{} signed the certificate: the interceptor answered, which says nothing about the origin",
                certificate.issuer
            ));
            return;
        }
        match &attempt.problem {
            None => {
                self.outcome = Outcome::Valid;
                self.detail = attempt.is_trusted_itself.then(|| {
                    "it is itself among the certificates that are trusted here, and needs no issuer"
                        .to_owned()
                });
            }
            Some(problem) => {
                self.outcome = Outcome::Invalid;
                let (problem, detail) = self.explain(problem);
                self.problem = Some(problem);
                self.detail = Some(detail);
            }
        }
    }

    fn explain(&self, error: &CertificateError) -> (Problem, String) {
        let leaf = self.chain.first();
        let until = |time: Option<Timestamp>| {
            time.map_or_else(|| "a time unknown".to_owned(), |it| it.to_string())
        };
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                // Any certificate of the chain may be the expired one.
                let expired = self
                    .chain
                    .iter()
                    .find(|it| it.not_after.is_some_and(|end| end < self.time));
                let expired = expired.or(leaf);
                let subject = expired.map_or("a certificate", |it| it.subject.as_str());
                let detail = format!(
                    "{subject} expired at {}",
                    until(expired.and_then(|it| it.not_after))
                );
                (Problem::Expired, detail)
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                let start = until(leaf.and_then(|it| it.not_before));
                (Problem::NotYetValid, format!("it is valid from {start} on"))
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                let names = leaf.map(|it| it.names.join(", ")).unwrap_or_default();
                let names = if names.is_empty() {
                    "no name".to_owned()
                } else {
                    names
                };
                (Problem::WrongName, format!("it is for {names}"))
            }
            CertificateError::Revoked => (Problem::Revoked, "it is revoked".to_owned()),
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                (Problem::WrongUse, "it is not for TLS servers".to_owned())
            }
            CertificateError::BadEncoding | CertificateError::BadSignature => {
                (Problem::Damaged, error.to_string())
            }
            _ if leaf.is_some_and(|it| it.subject == it.issuer) => (
                Problem::SelfSigned,
                "it is signed by its own key".to_owned(),
            ),
            _ => {
                let issuer = self.chain.last().map_or("unknown", |it| it.issuer.as_str());
                let alone = match self.chain.len() {
                    1 => ", and the server sends no intermediate certificate",
                    _ => "",
                };
                let detail = format!("no root of this machine signed for {issuer}{alone}");
                (Problem::UnknownIssuer, detail)
            }
        }
    }
}

impl Certificate {
    fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let time = |seconds| Timestamp::from_second(seconds).ok();
        let validity = certificate.validity();
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names
            .map(|it| it.value.general_names.as_slice())
            .unwrap_or_default();
        Some(Self {
            subject: distinguished_name(certificate.subject()),
            issuer: distinguished_name(certificate.issuer()),
            not_before: time(validity.not_before.timestamp()),
            not_after: time(validity.not_after.timestamp()),
            names: names.iter().filter_map(general_name).collect(),
            sha256: Sha256::digest(der)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        })
    }
}

fn general_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => Some(std::net::Ipv4Addr::from(*octets.first_chunk::<4>()?).to_string()),
            16 => Some(std::net::Ipv6Addr::from(*octets.first_chunk::<16>()?).to_string()),
            _ => None,
        },
        _ => None,
    }
}
