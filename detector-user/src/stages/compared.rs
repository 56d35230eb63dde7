//! A connection as two stages have it, and the fate of its segments.

use std::net::SocketAddr;

use super::segment::Segment;
use crate::verdict::Party;

/// The fate of a segment between the captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrived and left.
    Forwarded,
    /// It arrived, and left with other bytes or flags.
    Rewritten,
    /// It left, and had not arrived.
    Inserted,
    /// It arrived, and did not leave.
    Dropped,
}

impl Fate {
    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Rewritten => "rewritten",
            Self::Inserted => "inserted",
            Self::Dropped => "dropped",
        }
    }
}

/// Traces of a segment in captures of further stages; `None` without such a capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Whether the capture of the firewall stage has it.
    pub firewall: Option<bool>,
    /// Whether the capture of dropped packets has it.
    pub drop: Option<bool>,
}

/// A segment and its fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Time on the first capture's clock, UNIX nanoseconds.
    pub time_ns: i64,
    /// The side that it comes from, or claims to.
    pub from: Party,
    /// The segment: as it arrived, or as it left if it was inserted.
    pub segment: Segment,
    /// Number of the capture that has it.
    pub capture: usize,
    /// Its fate.
    pub fate: Fate,
    /// Differences of what left, but for those of the whole connection.
    pub changes: Vec<String>,
    /// Whether a copy of its bytes was forwarded.
    pub is_copy: bool,
    /// Traces at further stages.
    pub marks: Marks,
    /// TTL of most segments of its direction, if its own is another.
    pub usual_ttl: Option<u8>,
}

/// Numbers of a direction's segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Forwarded.
    pub forwarded: u64,
    /// Rewritten.
    pub rewritten: u64,
    /// Inserted.
    pub inserted: u64,
    /// Dropped.
    pub dropped: u64,
}

/// A connection in both captures, or in one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Client and server, as the client sees them.
    pub outside: Option<[SocketAddr; 2]>,
    /// Client and server, as the server sees them.
    pub inside: Option<[SocketAddr; 2]>,
    /// Time of its first segment, UNIX nanoseconds on the first capture's clock.
    pub began_ns: i64,
    /// Server name of the ClientHello.
    pub server_name: Option<String>,
    /// Whether the device has connections of its own to both sides.
    pub is_proxied: bool,
    /// Whether both captures have it.
    pub is_common: bool,
    /// Differences of all its segments.
    pub changes: Vec<String>,
    /// Segments from the client, and from the server.
    pub counts: [Counts; 2],
    /// Segments with their fate, in order: those that are not forwarded as they are, and of the others those that
    /// begin or end something.
    pub events: Vec<Event>,
    /// Sentences on its outcome.
    pub outcome: Vec<String>,
    /// The party that ended it: the device, or the side that a forwarded end came from.
    pub ended_by: Option<Party>,
}

impl Compared {
    /// Whether it is more than forwarded.
    #[must_use]
    pub fn is_notable(&self) -> bool {
        self.is_disturbed() || !self.outcome.is_empty()
    }

    /// Whether anything was inserted, dropped or rewritten.
    #[must_use]
    pub fn is_disturbed(&self) -> bool {
        let counts = self.counts.iter();
        let mut counts = counts.map(|it| it.inserted + it.dropped + it.rewritten);
        counts.any(|it| it > 0)
    }
}
