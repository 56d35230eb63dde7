//! Flows: from observations and handshake bytes to whole connections.
//!
//! In: [`receiver::Receiver`] calls, on the tap's clock. Out: a [`legs::Connection`] for each
//! connection that works or is over, with its timeline and what its handshake said.
//! Not here: any opinion on why a connection ended. Memory is bounded by the number of flows.

pub mod flow_id;
pub mod legs;
pub mod receiver;
pub mod timeline;
pub mod tls;
pub mod tracker;
