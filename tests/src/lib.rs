//! Helpers for tests that cross crates.

pub mod conversation;
pub mod engines;
pub mod gateway;
