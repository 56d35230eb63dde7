//! Tells: differences between a reset and the flow it claims to belong to.

use crate::verdict::counted;
use std::fmt;

/// One tell, with the measurements that show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell<'a> {
    /// A TTL never seen in that direction.
    Ttl {
        /// TTL or hop limit of the reset.
        ttl: u8,
        /// Least and greatest of the sender's other segments.
        seen: (u8, u8),
    },
    /// Its sequence number is so many bytes ahead.
    SequenceAhead(i32),
    /// It acknowledges so many bytes that were never sent.
    AcknowledgementAhead(i32),
    /// It carries so many bytes of payload.
    Payload(u32),
    /// A second reset is so many bytes ahead of the first.
    SequenceChange(i32),
    /// Resets in one sender's name have TTLs from the first to the second value.
    TtlsDiffer(u8, u8),
    /// The sender's first reset has no ACK flag, as if its host had no such connection.
    UnknownSocket,
    /// So many resets without effect came before, and its host answers as if it had no such connection.
    ForgedBefore(u8),
    /// Its sender sent so many segments after it.
    SenderSpeaksOn(usize),
    /// It has another source MAC address.
    SourceMac,
    /// It was made between two taps.
    NeverArrived {
        /// The tap that saw it.
        seen_at: &'a str,
        /// The tap nearer to its alleged sender, which did not.
        never_at: &'a str,
    },
    /// Its IP ID is far from the sender's.
    IpId {
        /// The reset's.
        id: u16,
        /// The sender's last.
        seen: u16,
    },
    /// It came sooner than the server can answer.
    TooSoon {
        /// Microseconds behind the segment that it answers.
        after_us: u64,
        /// Microseconds from the SYN to the SYN,ACK.
        round_trip_us: u64,
    },
    /// It has no ACK flag.
    NoAck,
}

impl Tell<'_> {
    /// Returns its stable name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ttl { .. } => "ttl",
            Self::SequenceAhead(_) => "sequence-ahead",
            Self::AcknowledgementAhead(_) => "acknowledgement-ahead",
            Self::Payload(_) => "payload",
            Self::SequenceChange(_) => "sequence-change",
            Self::TtlsDiffer(..) => "ttls-differ",
            Self::UnknownSocket => "unknown-socket",
            Self::ForgedBefore(_) => "forged-before",
            Self::SenderSpeaksOn(_) => "sender-speaks-on",
            Self::SourceMac => "source-mac",
            Self::NeverArrived { .. } => "never-arrived",
            Self::IpId { .. } => "ip-id",
            Self::TooSoon { .. } => "too-soon",
            Self::NoAck => "no-ack",
        }
    }

    /// Log-odds it adds to an injected reset.
    pub const fn weight(&self) -> f64 {
        match self {
            // Proof.
            Self::NeverArrived { .. } => 5.0,
            Self::SequenceChange(_) | Self::SenderSpeaksOn(_) => 2.5,
            Self::Ttl { .. } => 2.2,
            Self::Payload(_) | Self::TtlsDiffer(..) => 2.0,
            Self::SequenceAhead(_) | Self::AcknowledgementAhead(_) => 1.5,
            // The first packet to a host may be slow for reasons of its own.
            Self::TooSoon { .. } => 0.9,
            Self::SourceMac => 1.2,
            // Somebody tried to reset the connection, and its host says that somebody did.
            Self::ForgedBefore(_) => 1.4,
            // A host that restarted answers so, too.
            Self::UnknownSocket => 1.0,
            // Closed sockets use zero or a counter of their own.
            Self::IpId { .. } => 0.3,
            // Half of all honest resets have none.
            Self::NoAck => 0.1,
        }
    }
}

impl fmt::Display for Tell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ttl { ttl, seen } => {
                write!(f, "its TTL is {ttl}, the sender's other segments have ")?;
                match seen {
                    (min, max) if min == max => write!(f, "{min}"),
                    (min, max) => write!(f, "{min} to {max}"),
                }
            }
            Self::SequenceAhead(ahead) => write!(
                f,
                "its sequence number is {ahead} beyond what the sender had sent"
            ),
            Self::AcknowledgementAhead(ahead) => {
                write!(f, "it acknowledges {} never sent", counted(*ahead, "byte that was", "bytes that were"))
            }
            Self::Payload(len) => write!(f, "it carries {} of payload", counted(*len, "byte", "bytes")),
            Self::SequenceChange(step) => write!(
                f,
                "a second reset follows at a sequence number {step} higher"
            ),
            Self::TtlsDiffer(min, max) => write!(
                f,
                "resets in its sender's name have TTLs of {min} to {max}: they come from different hosts"
            ),
            Self::UnknownSocket => f.write_str(
                "it has no ACK flag, as of a host that knows no such connection, though its sender had \
                 neither closed nor been reset: it is forged, or its host was reset behind this tap or \
                 restarted",
            ),
            Self::ForgedBefore(count) => write!(
                f,
                "resets without effect came before it: {count}, and its host knows the connection no more"
            ),
            Self::SenderSpeaksOn(count) => write!(
                f,
                "its sender went on: {} without RST after it",
                counted(*count, "segment", "segments")
            ),
            Self::SourceMac => {
                f.write_str("it came from another MAC address than the sender's other segments")
            }
            Self::NeverArrived { seen_at, never_at } => write!(
                f,
                "it was seen at {seen_at} and never at {never_at}, nearer to its alleged sender: \
                 it was made between"
            ),
            Self::IpId { id, seen } => {
                write!(f, "its IP ID {id} is not near the sender's {seen}")
            }
            Self::TooSoon {
                after_us,
                round_trip_us,
            } => write!(
                f,
                "it came {:.1} ms after what it answers, the way to the server and back takes {:.1} ms",
                *after_us as f64 / 1e3,
                *round_trip_us as f64 / 1e3
            ),
            Self::NoAck => f.write_str("it has no ACK flag"),
        }
    }
}
