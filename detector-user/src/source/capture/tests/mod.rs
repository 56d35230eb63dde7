//! Tests of the capture reader.

mod damaged;
mod fixtures;
mod formats;
mod hostile;
mod other_formats;
mod scouting;
