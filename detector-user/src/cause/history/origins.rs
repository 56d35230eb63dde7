//! Origins that were asked for their own certificates, and the questions that are worth asking.

use std::net::IpAddr;

use hashlink::LruCache;
use serde::{Deserialize, Serialize};

use super::likelihoods::Sign;
use crate::cause::hash::hash;
use crate::verdict::Verdict;

/// Maximum number of names.
const ORIGINS_MAX: usize = 4096;
/// An answer is evidence for so long.
const COUNTS_S: u64 = 7 * 86_400;
/// A name is asked again only after this time.
const ASKED_AGAIN_S: u64 = 86_400;

/// A question to an origin: whether its own certificate is valid for the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name that clients ask for.
    pub name: String,
    /// The address that they reach it at; `None` behind an explicit proxy, which resolves it.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

/// An origin's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OriginAnswer {
    /// Its certificate is valid for the name.
    Valid,
    /// It is expired, of another name, signed by its own key, or otherwise at fault.
    Invalid,
    /// No root of trust leads to it: its CA may be a private one.
    Untrusted,
    /// An interceptor answered instead: nothing is known.
    Intercepted,
    /// Nobody answered.
    None,
}

impl Question {
    /// Returns the question about the origin of a verdict's connection; `None` if its client named none.
    pub(super) fn of(verdict: &Verdict) -> Option<Self> {
        let name = verdict.sni.clone()?;
        if name.parse::<IpAddr>().is_ok() {
            return None;
        }
        let (address, port) = match &verdict.target {
            // Of the form HOST:PORT.
            Some(target) => (None, target.rsplit_once(':')?.1.parse().ok()?),
            None => (Some(verdict.server.ip), verdict.server.port),
        };
        Some(Self {
            name,
            address,
            port,
        })
    }
}

/// Answers by name.
pub(super) struct Origins(LruCache<u64, (OriginAnswer, u64)>);

impl Default for Origins {
    fn default() -> Self {
        Self(LruCache::new(ORIGINS_MAX))
    }
}

impl Origins {
    /// Inserts the answer for a name by its hash, at `now_s`, seconds since the UNIX epoch.
    pub(super) fn insert(&mut self, host: u64, answer: OriginAnswer, now_s: u64) {
        self.0.insert(host, (answer, now_s));
    }

    /// Returns the answer for a name that still counts.
    pub(super) fn answer(&self, host: u64, now_s: u64) -> Option<OriginAnswer> {
        let (answer, asked_s) = self.0.peek(&host)?;
        (now_s.saturating_sub(*asked_s) < COUNTS_S).then_some(*answer)
    }

    /// Whether a name may be asked: it was not within a day.
    pub(super) fn may_ask(&self, name: &str, now_s: u64) -> bool {
        self.0
            .peek(&hash(name))
            .is_none_or(|(_, asked_s)| now_s.saturating_sub(*asked_s) >= ASKED_AGAIN_S)
    }
}

impl OriginAnswer {
    /// Returns the sign that an answer is; `None` of one that shows nothing.
    pub(super) const fn sign(self) -> Option<Sign> {
        match self {
            Self::Valid => Some(Sign::OriginValid),
            Self::Invalid => Some(Sign::OriginInvalid),
            Self::Untrusted => Some(Sign::OriginUntrusted),
            Self::Intercepted | Self::None => None,
        }
    }
}
