//! tlswhy, the agent: from what the kernel or a capture shows of TLS connections to verdicts.
//!
//! ```text
//! tap, capture ─► tracker ─► Timeline ─► judge ─► Verdict ─► sink
//! ```

pub mod capture;
pub mod cli;
pub mod command;
pub mod community_id;
pub mod doctor;
pub mod inspection_ca;
pub mod interfaces;
pub mod judge;
mod netlink;
pub mod pipeline;
pub mod sink;
pub mod summary;
pub mod tap;
pub mod timeline;
pub mod tls;
pub mod tracker;
pub mod verdict;
