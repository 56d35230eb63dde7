//! A segment as captures show it.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use detector_common::headers::tcp_flags::{ACK, FIN, RST, SYN};
use detector_common::record::{ALERT, HANDSHAKE};

use crate::flow::tls::records::{CLIENT_HELLO, SERVER_HELLO};
use crate::verdict::{AlertDescription, AlertLevel};

/// Bytes of payload by which segments of captures with different snapshot lengths are compared.
const HEAD: usize = 32;
/// PSH and URG, which `tcp_flags` lacks.
const OTHERS: [(u8, &str); 2] = [(0x08, "PSH"), (0x20, "URG")];

/// A segment without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Time on the capture's clock, UNIX nanoseconds.
    pub time_ns: u64,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags.
    pub flags: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Bytes of payload on the wire.
    pub len: u32,
    /// Kind of its payload.
    pub contents: Contents,
    captured: u32,
    hash: u64,
    head_hash: u64,
}

/// Kind of a payload, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// None.
    None,
    /// A ClientHello.
    ClientHello,
    /// A ServerHello.
    ServerHello,
    /// An alert in plaintext: level and code.
    Alert(u8, u8),
    /// An alert of which only the length shows.
    EncryptedAlert,
    /// Anything else.
    Data,
}

impl Contents {
    fn of(payload: &[u8]) -> Self {
        match payload {
            [] => Self::None,
            [HANDSHAKE, 3, 0..=4, _, _, CLIENT_HELLO, ..] => Self::ClientHello,
            [HANDSHAKE, 3, 0..=4, _, _, SERVER_HELLO, ..] => Self::ServerHello,
            [ALERT, 3, 0..=4, 0, 2, level, code, ..] => Self::Alert(*level, *code),
            [ALERT, 3, 0..=4, ..] => Self::EncryptedAlert,
            _ => Self::Data,
        }
    }

    /// Whether it is an alert.
    #[must_use]
    pub const fn is_alert(self) -> bool {
        matches!(self, Self::Alert(..) | Self::EncryptedAlert)
    }
}

impl Segment {
    pub(super) fn of(
        segment: &detector_common::headers::Segment,
        payload: &[u8],
        time_ns: u64,
    ) -> Self {
        let head = payload.get(..HEAD).unwrap_or(payload);
        Self {
            time_ns,
            seq: segment.seq,
            ack: segment.ack,
            flags: segment.flags,
            ttl: segment.ttl,
            len: segment.payload_len,
            contents: Contents::of(payload),
            captured: payload.len() as u32,
            hash: hash(payload),
            head_hash: hash(head),
        }
    }

    /// Whether any of `flags` is set.
    #[must_use]
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// Whether it does more than acknowledge.
    pub(super) const fn counts(&self) -> bool {
        self.len > 0 || self.has(SYN | FIN | RST)
    }

    /// Returns the flags that begin or end a connection.
    pub(super) const fn control(&self) -> u8 {
        self.flags & (SYN | FIN | RST)
    }

    /// Returns the sequence number of the first byte of payload.
    pub(super) const fn payload_seq(&self) -> u32 {
        self.seq.wrapping_add(self.has(SYN) as u32)
    }

    /// Returns a number that segments of the same payload share.
    pub(super) fn key(&self) -> u64 {
        self.head_hash ^ u64::from(self.len).rotate_left(40)
    }

    /// Whether both have the same payload, as far as both captures have it.
    pub(super) const fn same_payload(&self, other: &Self) -> bool {
        if self.len != other.len {
            return false;
        }
        if self.captured == other.captured {
            return self.hash == other.hash;
        }
        self.head_hash == other.head_hash
    }

    /// Returns a number that segments share whose payloads begin alike.
    pub(super) const fn head(&self) -> u64 {
        self.head_hash
    }

    /// Whether its payload is hardly anything else's.
    pub(super) const fn is_telling(&self) -> bool {
        self.captured >= 24
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.contents {
            Contents::None => {}
            Contents::ClientHello => write!(f, "ClientHello, ")?,
            Contents::ServerHello => write!(f, "ServerHello, ")?,
            Contents::Alert(level, code) => {
                let level = AlertLevel::from_wire(level).map_or("", AlertLevel::name);
                let name = AlertDescription::from(code).name().unwrap_or("unassigned");
                write!(f, "alert {level} {name} ({code}), ")?;
            }
            Contents::EncryptedAlert => write!(f, "alert, encrypted, ")?,
            Contents::Data => {}
        }
        if self.len > 0 && self.control() == 0 {
            return write!(f, "{} bytes", self.len);
        }
        let named = [(SYN, "SYN"), (FIN, "FIN"), (RST, "RST")]
            .into_iter()
            .chain(OTHERS)
            .chain([(ACK, "ACK")]);
        let named: Vec<_> = named.filter(|(flag, _)| self.has(*flag)).collect();
        let named: Vec<_> = named.into_iter().map(|(_, name)| name).collect();
        write!(f, "{}", named.join(","))?;
        if self.len > 0 {
            write!(f, ", {} bytes", self.len)?;
        }
        Ok(())
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
