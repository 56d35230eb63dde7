//! The server's certificate as TLS up to 1.2 shows it in the clear (RFC 5246 §7.4.2).

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The leaf certificate, as far as judging needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Distinguished name of the subject, `CN=…, O=…`.
    pub subject: String,
    /// Distinguished name of the issuer.
    pub issuer: String,
    /// Start of validity, seconds since the UNIX epoch.
    pub not_before: i64,
    /// End of validity, likewise.
    pub not_after: i64,
    /// dNSName entries of the subject alternative name, in lower case.
    pub dns_names: Vec<String>,
    /// Common name of the subject.
    pub common_name: Option<String>,
    /// Certificates in the message.
    pub chain_len: usize,
}

/// Why a Certificate message has no leaf to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The list is empty.
    #[error("the server's Certificate message is empty")]
    Empty,
    /// It is no DER, or no certificate.
    #[error("the server's certificate is damaged: {0}")]
    Damaged(String),
}

/// The certificates of a Certificate message's body, as DER.
fn entries(body: &[u8]) -> Vec<&[u8]> {
    let mut entries = Vec::new();
    let Some((_, mut rest)) = body.split_first_chunk::<3>() else {
        return entries;
    };
    while let Some(([a, b, c], tail)) = rest.split_first_chunk::<3>() {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some((entry, next)) = tail.split_at_checked(length) else {
            break;
        };
        entries.push(entry);
        rest = next;
    }
    entries
}

/// How many certificates a Certificate message's body holds.
pub fn count(body: &[u8]) -> usize {
    entries(body).len()
}

impl Leaf {
    /// Reads the first certificate of a Certificate message's body.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn parse(body: &[u8]) -> Result<Self, CertificateError> {
        let entries = entries(body);
        let der = entries.first().ok_or(CertificateError::Empty)?;
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|error| CertificateError::Damaged(error.to_string()))?;
        let dns_names = match certificate.subject_alternative_name() {
            Ok(Some(extension)) => extension
                .value
                .general_names
                .iter()
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        };
        let common_name = certificate
            .subject()
            .iter_common_name()
            .find_map(|name| name.as_str().ok().map(str::to_ascii_lowercase));
        Ok(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            dns_names,
            common_name,
            chain_len: entries.len(),
        })
    }

    /// Whether subject and issuer are the same name.
    pub fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }

    /// Whether it is valid at a time, seconds since the UNIX epoch.
    pub fn is_valid_at(&self, time: i64) -> bool {
        (self.not_before..=self.not_after).contains(&time)
    }

    /// Whether it is for a host: by its DNS names, or without any by its common name
    /// (RFC 9525 §6.3, RFC 6125 §6.4.4).
    pub fn is_for(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        if self.dns_names.is_empty() {
            return self
                .common_name
                .as_ref()
                .is_some_and(|name| matches(name, &host));
        }
        self.dns_names.iter().any(|name| matches(name, &host))
    }
}

/// A wildcard stands for the whole leftmost label.
fn matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest == parent),
        None => pattern == host,
    }
}
