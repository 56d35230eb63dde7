//! The engine of tlswhy: from the bytes of one frame to an observation about one TLS connection.
//!
//! One code, two hosts: the eBPF programs and the capture reader are thin shells around
//! [`engine::inspect`]. Three small traits separate them: [`packet::Packet`] reads bytes,
//! [`engine::Tables`] stores flows, [`engine::Output`] sends observations. The engine measures and
//! never judges. It reads hostile bytes; its promises are in `SECURITY.md`.
//!
//! ```text
//! frame ─► headers::walk ─► Segment ─► engine::inspect ─► Report, handshake bytes
//!                                        │      ▲
//!                                        ▼      │
//!                                     Watched / Settled flows
//! ```
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod bytes;
pub mod counter;
pub mod engine;
pub mod fast_path;
pub mod flow;
pub mod headers;
pub mod item;
pub mod observation;
pub mod packet;
pub mod record;
pub mod report;
pub mod syn;
pub mod tag_set;
pub mod tracking;
pub mod tunnel;
