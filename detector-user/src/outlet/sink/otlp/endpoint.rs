//! The collector's address, and the settings of requests.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use hyper::Uri;

use crate::outlet::client_tls::ClientTlsFiles;

/// Settings of OTLP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtlpSettings {
    /// The collector; `None`: verdicts are not sent.
    pub endpoint: Option<OtlpEndpoint>,
    /// Headers of each request, one a line.
    pub headers_file: Option<PathBuf>,
    /// Files of its TLS.
    pub tls: ClientTlsFiles,
}

/// Address that logs are posted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint {
    uri: Uri,
    pub(super) is_tls: bool,
    /// Name, or address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl OtlpEndpoint {
    /// Returns the request's target in the form of origins.
    pub(super) fn path(&self) -> &str {
        self.uri.path_and_query().map_or("/", |it| it.as_str())
    }

    /// Returns the value of `Host`.
    pub(super) fn authority(&self) -> &str {
        self.uri.authority().map_or("", |it| it.as_str())
    }
}

impl FromStr for OtlpEndpoint {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{given:?} is no address of a collector: {why}");
        let uri: Uri = given.parse().map_err(|error| wrong(&format!("{error}")))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("it begins with http:// or https://")),
        };
        if given.contains('@') {
            return Err(wrong("credentials belong into otlp.headers_file"));
        }
        if matches!(uri.path(), "" | "/") {
            return Err(wrong("it lacks a path, usually /v1/logs"));
        }
        let host = uri.host().unwrap_or_default();
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        if host.is_empty() || port == 0 {
            return Err(wrong("it lacks a host or a port"));
        }
        Ok(Self {
            uri,
            is_tls,
            host,
            port,
        })
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}
