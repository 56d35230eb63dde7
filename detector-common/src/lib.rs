//! The engine of tlswhy: from the bytes of one frame to an observation about one TLS connection.
//!
//! One code, two hosts. The eBPF programs and the capture reader are thin shells round
//! [`engine::inspect`]; what differs between them (how bytes are read, where flows are kept, where
//! observations go) stands behind three small traits: [`packet::Packet`], [`engine::Tables`] and
//! [`engine::Output`]. The engine measures and never judges.
//!
//! ```text
//! frame ─► headers::walk ─► Segment ─► engine::inspect ─► Observation, HandshakeChunk
//!                                        │      ▲
//!                                        ▼      │
//!                                     Watched / Settled flows
//! ```
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod bytes;
pub mod counter;
pub mod engine;
pub mod flow;
pub mod glance;
pub mod headers;
pub mod observation;
pub mod packet;
pub mod record;
pub mod tag_set;
mod tracking;
