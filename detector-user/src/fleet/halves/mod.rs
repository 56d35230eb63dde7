//! Halves of connections: those that pass here go to the gateway that joins them, and those that this gateway joins
//! come back as inputs of the pipeline.

mod exchange;
mod joiner;
mod owner;
#[cfg(test)]
mod tests;

pub(super) use exchange::HalfExchange;
pub use joiner::Ready;
pub(super) use joiner::{Clock, Joiner, Outgoing};

/// Maximum messages that wait for a server, or for the pipeline.
pub(super) const WAITING_MAX: usize = 4_096;
