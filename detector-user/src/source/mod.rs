//! Sources of observations: taps in the kernel, and captures.
//!
//! In: frames, seen by the eBPF programs or read from a file. Out: observations and handshake bytes
//! to a [`crate::flow::receiver::Receiver`]. Not here: anything about what a flow means; a source
//! attaches, reads, counts, and hands on.

pub mod capture;
pub mod capture_tap;
pub mod tap;
