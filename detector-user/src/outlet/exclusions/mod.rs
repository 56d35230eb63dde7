//! Exclusions: lists of destinations that interceptors should pass on uninspected.
//!
//! In: verdicts, as JSON lines, journal entries or the database say them ([`Sighting`]). Out: the destinations of the
//! last word on each connection ([`Selection`]), and their list in the grammar of one interceptor
//! ([`Format`]). A list is a hole in inspection, and its names come from ClientHellos: a name is a host
//! name or an address ([`Host`]) or it is refused, so that none can add a line; public suffixes and the
//! public names of ECH are refused, and no name is widened to others.
//!
//! Not here: I/O, and judging.

mod asked;
mod difference;
mod format;
mod host;
mod patterns;
mod reasons;
mod selection;
mod sighting;
mod standing;

pub use asked::{DatabaseFacts, record_past, refusing_clients};
pub use difference::{difference, empties};
pub use format::{Format, List};
pub use host::{Host, HostError};
pub use patterns::{HostPattern, Patterns};
pub use reasons::{ClientFormat, RefusingClient, client_reasons, reasons};
pub use selection::{Criteria, Entry, Selected, Selection};
pub use sighting::{Sighting, SightingError};
pub use standing::{Change, Former, Known, Standing, StandingEntry};
