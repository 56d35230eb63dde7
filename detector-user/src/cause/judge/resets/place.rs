//! The place of a reset: the distance of its maker, and the connection's progress by then.

use std::fmt;

use detector_common::flow::Sender;
use detector_common::record::{APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE};

use crate::flow::timeline::{Close, Timeline};
use crate::flow::tls::names::TLS_1_3;

/// Distance of a reset's maker and of the side it names, by their TTLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distance {
    /// TTL of the reset.
    pub ttl: u8,
    /// TTL of the other segments of the side it names, where there are any.
    pub own: Option<u8>,
    /// The side it names.
    pub named: Sender,
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ttl, own, named } = *self;
        write!(f, "a TTL of {ttl} is that of a host {} away", Hops(ttl))?;
        let named = match named {
            Sender::Client => "the client",
            Sender::Server => "the server",
        };
        own.map_or(Ok(()), |own| write!(f, "; {named} is {} away", Hops(own)))
    }
}

/// Hops that a TTL has lost of the next higher value that systems begin with: 64, 128 or 255.
struct Hops(u8);

impl fmt::Display for Hops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let initial = [64, 128].into_iter().find(|initial| self.0 <= *initial);
        match initial.unwrap_or(u8::MAX) - self.0 {
            0 => f.write_str("no hop"),
            1 => f.write_str("about one hop"),
            hops => write!(f, "about {hops} hops"),
        }
    }
}

/// Progress of a connection when it was reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// No byte was sent in either direction.
    Syn,
    /// No answer to the ClientHello was seen.
    #[default]
    ClientHello,
    /// The server had begun its flight.
    ServerFlight,
    /// The client had sent its second flight.
    ClientSecondFlight,
    /// Both sides had sent data.
    Data,
}

impl Stage {
    pub(super) fn of(timeline: &Timeline, reset: &Close) -> Self {
        let reset_us = timeline.micros_until(reset.time_ns);
        let before = |sender: Sender, content_type: u8| {
            timeline.records_of(sender).any(|record| {
                record.content_type == content_type && u64::from(record.at_us) <= reset_us
            })
        };
        let data = |sender| before(sender, APPLICATION_DATA);
        let tls13 = timeline.handshake.version() >= Some(TLS_1_3);
        if timeline.refused {
            Self::Syn
        } else if timeline.settled || (!tls13 && data(Sender::Client) && data(Sender::Server)) {
            Self::Data
        } else if data(Sender::Client) || before(Sender::Client, CHANGE_CIPHER_SPEC) {
            Self::ClientSecondFlight
        } else if before(Sender::Server, HANDSHAKE) {
            Self::ServerFlight
        } else {
            Self::ClientHello
        }
    }
}

impl fmt::Display for Stage {
    /// Writes it as it follows "it came".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syn => "before the first byte",
            Self::ClientHello => "upon the ClientHello",
            Self::ServerFlight => "within the server's flight or right after it",
            Self::ClientSecondFlight => "after the client's second flight",
            Self::Data => "amid data",
        })
    }
}
