//! Helpers for tests that cross crates.

pub mod asymmetric;
pub mod conversation;
pub mod engines;
pub mod foreign;
pub mod gateway;
pub mod halves;
pub mod made;
pub mod memory_group;
pub mod tagging;
pub mod wire;
