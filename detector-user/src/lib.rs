//! tlswhy, the agent: from the TLS connections in the kernel or a capture to verdicts.
//!
//! ```text
//! source ─► flow ─► cause ─► verdict ─► outlet        host: the machine underneath
//! └──────────────── operate ────────────────┘
//! ```
//!
//! Each room's documentation states its input, its output, and the work that does not belong there.

pub mod cause;
pub mod firewall;
pub mod fleet;
pub mod flow;
pub mod host;
pub mod operate;
pub mod outlet;
pub mod probe;
pub mod source;
pub mod stages;
pub mod verdict;
