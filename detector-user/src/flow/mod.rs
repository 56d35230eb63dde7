//! Flows: from observations and handshake bytes to whole connections.
//!
//! In: calls of a [`receiver::TimedReceiver`], on the source's clock, for the [`tracker`].
//! Out: from [`legs`] a [`legs::Connection`] for each connection that works or is over, with its
//! [`timeline`] and its handshake in the clear ([`tls`]).
//! Not here: opinions on why a connection ended, and clocks of the machine: time comes with the calls.
//! Memory is bounded by the number of flows and by the bytes that each may keep.
#![forbid(unsafe_code)]

pub mod fair_share;
pub mod flow_id;
pub mod halves;
pub mod legs;
pub mod preamble;
pub mod receiver;
pub mod timeline;
pub mod tls;
pub mod tracker;
pub mod unreachable;
