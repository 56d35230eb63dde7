//! A client's request, and the ten arguments that carry it.

use std::ffi::OsString;
use std::path::PathBuf;

/// The TLS versions that a client may offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.2 and nothing else.
    Tls12,
    /// TLS 1.3 and nothing else.
    Tls13,
    /// The client's own choice.
    Any,
}

/// The CAs that a client trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The CAs of a PEM file and, where the client lets its own be replaced, no others.
    Only(PathBuf),
    /// The client's own store.
    Default,
}

/// The keys that a client accepts, beyond a chain that it trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Anything.
    None,
    /// One key. A client uses whichever of the two forms it knows.
    Key {
        /// SHA-256 of the SubjectPublicKeyInfo, base64 (RFC 7469 §2.4).
        spki_sha256_base64: String,
        /// SHA-256 of the certificate, hexadecimal without separators.
        certificate_sha256_hex: String,
    },
}

/// A client's request.
#[derive(Clone, Debug)]
pub struct Request {
    /// A name that the system's resolver knows where the client runs.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path with its leading slash.
    pub path: String,
    /// CAs to trust.
    pub trust: Trust,
    /// The key to accept.
    pub pin: Pin,
    /// The versions to offer.
    pub version: Version,
    /// Certificate and key, PEM (PKCS #8), to show if the server asks.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Connections in a row, at least 1. Above 1, the later ones may resume the first's session.
    pub times: u32,
}

/// Returns the ten arguments that every program takes.
pub(super) fn arguments(request: &Request) -> Vec<OsString> {
    let none = || OsString::from("-");
    let version = match request.version {
        Version::Tls12 => "tls12",
        Version::Tls13 => "tls13",
        Version::Any => "any",
    };
    let authorities = match &request.trust {
        Trust::Only(file) => file.into(),
        Trust::Default => none(),
    };
    let (key, fingerprint) = match &request.pin {
        Pin::None => (none(), none()),
        Pin::Key {
            spki_sha256_base64,
            certificate_sha256_hex,
        } => (spki_sha256_base64.into(), certificate_sha256_hex.into()),
    };
    let (certificate, private_key) = match &request.client_certificate {
        Some((certificate, key)) => (certificate.into(), key.into()),
        None => (none(), none()),
    };
    vec![
        (&request.host).into(),
        request.port.to_string().into(),
        (&request.path).into(),
        version.into(),
        authorities,
        key,
        fingerprint,
        certificate,
        private_key,
        request.times.to_string().into(),
    ]
}
