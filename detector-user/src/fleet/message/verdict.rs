//! Verdicts as gateways share them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::VERSION;
use crate::cause::client_identity::ClientIdentity;
use crate::verdict::Verdict;

/// A verdict with the gateway that made it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatewayVerdict {
    /// [`VERSION`].
    pub version: u32,
    /// The gateway; readers take the subject's.
    pub gateway: String,
    /// The verdict, as in every other output.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl GatewayVerdict {
    /// Creates the message of a verdict.
    #[must_use]
    pub fn new(gateway: &str, verdict: Verdict) -> Self {
        Self {
            version: VERSION,
            gateway: gateway.to_owned(),
            verdict,
        }
    }
}

/// Returns a verdict whose client is named by its identity. With a hashed one, all goes that the address could be
/// guessed from: Community IDs, the server's leg, and the address in sentences.
#[must_use]
pub fn with_clients(verdict: &Verdict, identity: &ClientIdentity) -> Verdict {
    let mut verdict = verdict.clone();
    let address = verdict.client.ip;
    let hashed = identity.of(address);
    if hashed == address {
        return verdict;
    }
    verdict.client.ip = hashed;
    verdict.community_id = String::new();
    verdict.revises = None;
    verdict.server_leg = None;
    let sentences = verdict.evidence.iter_mut().map(|it| &mut it.detail);
    for sentence in sentences.chain(verdict.advice.as_mut()) {
        *sentence = without(sentence, address, hashed);
    }
    verdict
}

/// Returns a sentence with one address in place of another.
fn without(sentence: &str, address: IpAddr, hashed: IpAddr) -> String {
    sentence.replace(&address.to_string(), &hashed.to_string())
}
