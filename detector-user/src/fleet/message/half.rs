//! Halves of connections, and the word that two were joined.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use detector_common::flow::{FlowKey, Sender};
use detector_common::observation::{LAYOUT_VERSION, Observation};
use serde::{Deserialize, Serialize};

use super::{Skipped, VERSION};
use crate::flow::flow_id::FlowId;
use crate::flow::halves::{HANDSHAKE_MAX, Half, OBSERVATIONS_MAX};

/// Maximum size of a message that is read, bytes without compression.
const TEXT_MAX: usize = 128 << 10;
/// Maximum length of a tap's name.
const TAP_MAX: usize = 64;
/// Maximum pieces of handshake bytes, between which others are missing.
const PIECES_MAX: usize = 64;
const LEVEL: i32 = 3;
/// Layout of observations: their version, and the order of bytes, which is the gateway's own.
const LAYOUT: u32 = LAYOUT_VERSION
    | if cfg!(target_endian = "big") {
        1 << 31
    } else {
        0
    };

/// A connection's direction as one gateway saw it, compressed with zstd where it is sent; or the answer of the gateway
/// that joined it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    version: u32,
    layout: u32,
    tap: String,
    unix_offset_ns: i64,
    side: u8,
    is_over: bool,
    is_joined: bool,
    observations: Vec<String>,
    handshake: Vec<(u32, String)>,
}

/// A message about a half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HalfMessage {
    /// A half, for the gateway that joins it.
    Half(Box<Half>),
    /// The first observation of a half that was joined, for the gateway that sent it.
    Joined(Box<Observation>),
}

impl HalfMessage {
    /// Returns it as it is sent.
    ///
    /// # Errors
    /// If it cannot be compressed.
    pub fn compressed(&self) -> std::io::Result<Vec<u8>> {
        let encode = |observation: &Observation| STANDARD.encode(observation.to_item().as_bytes());
        let written = match self {
            Self::Half(half) => Written {
                version: VERSION,
                layout: LAYOUT,
                tap: half.tap.to_string(),
                unix_offset_ns: half.unix_offset_ns,
                side: half.side as u8,
                is_over: half.is_over,
                is_joined: false,
                observations: half.observations.iter().map(encode).collect(),
                handshake: half
                    .handshake
                    .iter()
                    .map(|(at, bytes)| (*at, STANDARD.encode(bytes)))
                    .collect(),
            },
            Self::Joined(first) => Written {
                version: VERSION,
                layout: LAYOUT,
                tap: String::new(),
                unix_offset_ns: 0,
                side: first.sender,
                is_over: false,
                is_joined: true,
                observations: vec![encode(first)],
                handshake: Vec::new(),
            },
        };
        zstd::bulk::compress(&super::write(&written)?, LEVEL)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`Skipped`].
    pub fn read(stored: &[u8]) -> Result<Self, Skipped> {
        let text = zstd::bulk::decompress(stored, TEXT_MAX).map_err(|_| Skipped::Malformed)?;
        let written: Written = super::read(&text)?;
        if written.layout != LAYOUT {
            return Err(Skipped::Version);
        }
        written.read().ok_or(Skipped::Malformed)
    }
}

impl Written {
    /// Returns the message; `None` if it is none that a gateway writes.
    fn read(self) -> Option<HalfMessage> {
        let (observations, handshake) = (&self.observations, &self.handshake);
        if observations.len() > OBSERVATIONS_MAX || handshake.len() > PIECES_MAX {
            return None;
        }
        let side = match self.side {
            0 => Sender::Client,
            1 => Sender::Server,
            _ => return None,
        };
        let decode = |text: &String| Observation::read(&STANDARD.decode(text).ok()?);
        let observations: Vec<Observation> =
            observations.iter().map(decode).collect::<Option<_>>()?;
        let first = observations.first()?;
        if self.is_joined {
            return Some(HalfMessage::Joined(Box::new(*first)));
        }
        let flow = flow_of(first);
        let is_sound = |it: &Observation| {
            flow_of(it) == flow
                && it.sender == self.side
                && it.watched.flow.client_endpoint <= 1
                && it.watched.flow.client_endpoint == first.watched.flow.client_endpoint
        };
        let in_order = observations.is_sorted_by_key(|it| it.time_ns);
        let is_shown = |letter: char| !letter.is_control();
        let tap_is_sound = self.tap.len() <= TAP_MAX && self.tap.chars().all(is_shown);
        if !(in_order && tap_is_sound && observations.iter().all(is_sound)) {
            return None;
        }
        let pieces = handshake.iter();
        let decode = |(at, text): &(u32, String)| Some((*at, STANDARD.decode(text).ok()?));
        let pieces: Vec<(u32, Vec<u8>)> = pieces.map(decode).collect::<Option<_>>()?;
        let len: usize = pieces.iter().map(|(_, bytes)| bytes.len()).sum();
        (len <= HANDSHAKE_MAX).then(|| {
            HalfMessage::Half(Box::new(Half {
                flow,
                side,
                tap: Arc::from(self.tap.as_str()),
                unix_offset_ns: self.unix_offset_ns,
                observations,
                handshake: pieces,
                is_over: self.is_over,
            }))
        })
    }
}

/// Returns the flow of an observation.
fn flow_of(observation: &Observation) -> FlowId {
    FlowId {
        key: FlowKey { ..observation.key },
        started_ns: observation.watched.flow.started_ns,
    }
}
