//! A fleet of gateways: three NATS servers, and agents that share facts over them.
//!
//! In: the shipped configuration, and the agent. Out: figures of load and of faults, and the story of a pin that no
//! single gateway could have told. Not here: messages' formats, which are the agent's.

pub mod cluster;
pub mod demo;
mod disk;
pub mod faults;
pub mod load;
pub mod member;
pub mod reader;
mod run;
