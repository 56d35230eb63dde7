//! Groups: connections of one client, one app, one server name and one interceptor.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

use crate::verdict::{Cause, Intercepted, Verdict};

/// Parties of the connections of a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct GroupKey {
    pub(super) client: IpAddr,
    /// JA4; empty if unknown.
    pub(super) app: String,
    /// The server's name, or its address where there is none.
    pub(super) name: String,
    pub(super) intercepted: Intercepted,
    /// The interceptor's name in certificates; empty if unknown, or if nothing was intercepted.
    pub(super) issuer: String,
}

impl GroupKey {
    pub(super) fn of(verdict: &Verdict) -> Self {
        let issuer = verdict.issuer.clone();
        Self {
            client: verdict.client.ip,
            app: verdict.ja4.clone().unwrap_or_default(),
            name: name(verdict),
            intercepted: verdict.intercepted,
            issuer: issuer
                .filter(|_| verdict.intercepted == Intercepted::Yes)
                .unwrap_or_default(),
        }
    }
}

/// Returns a verdict's server name in lower case (RFC 4343), or the server's address.
pub(super) fn name(verdict: &Verdict) -> String {
    let name = verdict.server_name().map(str::to_ascii_lowercase);
    name.unwrap_or_else(|| verdict.server.ip.to_string())
}

/// A group and the numbers of its connections.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// Address of the client.
    pub client: IpAddr,
    /// JA4 fingerprint of the app, if known.
    pub app: Option<String>,
    /// Server name, or the server's address.
    pub name: String,
    /// Whether the connections were intercepted.
    pub intercepted: Intercepted,
    /// Distinguished name of the interceptor, if its certificates could be read.
    pub issuer: Option<String>,
    /// Connections that worked.
    pub worked: u64,
    /// Connections that failed.
    pub failed: u64,
    /// Time of the first connection's end.
    pub first: Timestamp,
    /// Time of the last connection's end.
    pub last: Timestamp,
    /// Causes of failures, the most frequent first.
    pub causes: Vec<GroupCause>,
    /// Advice of the latest verdict of the most frequent cause.
    pub advice: Option<String>,
    /// Gateways of a fleet that saw it; empty without a fleet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<String>,
}

/// A cause of a group's failures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupCause {
    /// The cause.
    pub cause: Cause,
    /// Connections that failed for it.
    pub failed: u64,
    /// Confidence of the latest verdict with it.
    pub confidence: f64,
    /// Time of the latest.
    pub last: Timestamp,
    /// Identifier of the latest verdict.
    pub verdict: String,
}

/// Numbers of the connections of several groups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Connections that worked.
    pub worked: u64,
    /// Connections that failed.
    pub failed: u64,
    /// Connections that are known to have been intercepted.
    pub intercepted: u64,
    /// Those of them that failed.
    pub intercepted_failed: u64,
    /// Failures by cause, the most frequent first.
    pub causes: Vec<(Cause, u64)>,
}
