//! The ladder of a connection: its records and its end in the order in which they were seen.

use serde::{Deserialize, Serialize};

use super::Party;

/// Records and segments of a connection's end, in order. It is no part of a verdict's JSON: `tlswhy why`
/// shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ladder(pub Vec<Rung>);

/// A record, FIN or reset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// Microseconds since the ClientHello.
    #[serde(rename = "t")]
    pub at_us: u64,
    /// The sender by its addresses: client or server.
    #[serde(rename = "f")]
    pub from: Party,
    /// Its kind and its size or fields.
    #[serde(rename = "w")]
    pub what: String,
    /// Whether the connection ended by it.
    #[serde(rename = "d", default, skip_serializing_if = "std::ops::Not::not")]
    pub decides: bool,
}
