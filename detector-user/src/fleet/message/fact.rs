//! Facts as gateways share them.

use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Skipped, VERSION};
use crate::cause::history::Answer;
use crate::flow::tls::app::App;

/// Maximum facts of a message that is read.
const FACTS_MAX: usize = 1_024;
/// Maximum length of a name or an issuer that is read, bytes.
const TEXT_MAX: usize = 512;

/// An app as 16 hexadecimal digits: not all readers of JSON have integers of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId(pub App);

impl Serialize for AppId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0.number()))
    }
}

impl<'de> Deserialize<'de> for AppId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = u64::from_str_radix(&text, 16).map_err(de::Error::custom)?;
        Ok(Self(App::of_number(number)))
    }
}

/// The subject of a fact: what is counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FactKey {
    /// The client's address, or its keyed hash in the shape of a multicast address.
    pub client: IpAddr,
    /// The app, by its ClientHello's offers.
    pub app: AppId,
    /// The server name, or the server's address where there is none.
    pub name: String,
    /// Distinguished name of the issuer of the certificate shown, where it came in clear.
    pub issuer: Option<String>,
    /// Whether the connections were surely intercepted; otherwise nothing shows.
    pub intercepted: bool,
    /// The client's answer.
    pub outcome: Answer,
}

/// One gateway's observations of a subject so far. Each only grows, so that a merge is a maximum.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Seen {
    /// When the latest connection began, seconds since the UNIX epoch.
    pub last_s: u64,
    /// Number of connections.
    pub count: u64,
    /// Probability of the answer at the surest of them, at least; 0 to 1.
    pub sure: f64,
}

impl Seen {
    /// Merges another observation of the same gateway. Returns whether that changed anything.
    pub fn merge(&mut self, other: &Self) -> bool {
        let before = *self;
        self.last_s = self.last_s.max(other.last_s);
        self.count = self.count.max(other.count);
        self.sure = self.sure.max(other.sure);
        *self != before
    }
}

/// A fact of one gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SharedFact {
    /// Its subject.
    #[serde(flatten)]
    pub key: FactKey,
    /// The observations.
    #[serde(flatten)]
    pub seen: Seen,
}

/// Facts of one gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FactBatch {
    /// [`VERSION`].
    pub version: u32,
    /// Kind of clients' identities: `clear`, or `hashed:` and a check value of the key.
    pub clients: String,
    /// The facts.
    pub facts: Vec<SharedFact>,
}

impl FactBatch {
    /// Creates a message.
    #[must_use]
    pub const fn new(clients: String, facts: Vec<SharedFact>) -> Self {
        Self {
            version: VERSION,
            clients,
            facts,
        }
    }

    /// Reads a message whose clients have identities of the kind `clients`.
    ///
    /// # Errors
    /// [`Skipped`].
    pub fn read(payload: &[u8], clients: &str) -> Result<Self, Skipped> {
        let batch: Self = super::read(payload)?;
        batch.check(clients)?;
        Ok(batch)
    }

    /// Reads facts of this agent's own file, of any number.
    ///
    /// # Errors
    /// [`Skipped`].
    pub(in crate::fleet) fn read_any_number(
        text: &[u8],
        clients: &str,
    ) -> Result<Vec<SharedFact>, Skipped> {
        let batch: Self = super::read(text)?;
        if batch.clients != clients {
            return Err(Skipped::Clients);
        }
        Ok(batch.facts)
    }

    /// Checks the content beyond its form.
    pub(super) fn check(&self, clients: &str) -> Result<(), Skipped> {
        if self.version != VERSION {
            return Err(Skipped::Version);
        }
        if self.clients != clients {
            return Err(Skipped::Clients);
        }
        if self.facts.len() > FACTS_MAX {
            return Err(Skipped::TooMany);
        }
        let is_short = |text: &str| !text.is_empty() && text.len() <= TEXT_MAX;
        let is_sound = |fact: &SharedFact| {
            is_short(&fact.key.name)
                && fact.key.issuer.as_deref().is_none_or(is_short)
                && (0.0..=1.0).contains(&fact.seen.sure)
        };
        if self.facts.iter().all(is_sound) {
            Ok(())
        } else {
            Err(Skipped::Malformed)
        }
    }
}
