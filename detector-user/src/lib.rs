//! The agent's parts: taps and captures, tracker, judge, and the sinks that verdicts go to.

pub mod cli;
pub mod doctor;
pub mod inspection_ca;
pub mod interfaces;
mod netlink;
pub mod sink;
pub mod verdict;
