//! Helpers for tests that cross crates.
#![expect(
    reason = "helpers of tests: a failure here is a failed test"
)]

pub mod conversation;
pub mod engines;
pub mod gateway;
