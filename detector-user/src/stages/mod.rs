//! Captures of the same traffic at two stages of one device, compared.
//!
//! In: captures ([`Traffic::read`]). Out: a [`Comparison`]: each connection with the segments that the device
//! forwarded, inserted, dropped or rewritten. Segments are aligned by their payload and their place in the
//! stream, so that addresses, TTLs and sequence numbers may differ; a proxy's own connection is recognised by
//! the ends or the server name.
//!
//! Not here: judging a connection's cause, and words for people but for a connection's outcome.
#![forbid(unsafe_code)]

mod alignment;
mod compared;
mod comparison;
mod outcome;
mod pair;
mod pairing;
mod segment;
#[cfg(test)]
mod tests;
mod traffic;

pub use compared::{Compared, Counts, Event, Fate, Marks};
pub use comparison::Comparison;
pub use pair::{Clocks, Layout};
pub use segment::{Contents, Segment};
pub use traffic::{Traffic, Unfollowed};
