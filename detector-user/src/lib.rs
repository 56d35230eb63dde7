//! tlswhy, the agent: from what the kernel or a capture shows of TLS connections to verdicts.
//!
//! ```text
//! tap, capture ─► tracker ─► legs ─► interception ─► judge ─► history ─► sink
//! ```

pub mod capture;
pub mod cli;
pub mod command;
pub mod community_id;
pub mod config;
pub mod doctor;
mod ethtool;
pub mod history;
pub mod inspection_ca;
pub mod interception;
pub mod interfaces;
pub mod judge;
pub mod legs;
pub mod metrics;
mod netlink;
mod network_namespace;
pub mod pipeline;
mod privileges;
pub mod scope;
mod service_manager;
pub mod sink;
pub mod summary;
pub mod tap;
pub mod timeline;
pub mod tls;
pub mod tracker;
pub mod verdict;
