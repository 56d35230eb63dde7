//! tlswhy, the agent: from what the kernel or a capture shows of TLS connections to verdicts.
//!
//! ```text
//! source ─► flow ─► cause ─► verdict ─► outlet        host: the machine underneath
//! └──────────────── operate ────────────────┘
//! ```
//!
//! Each room's documentation says what comes in, what goes out, and what may not be done there.

pub mod cause;
pub mod flow;
pub mod host;
pub mod operate;
pub mod outlet;
pub mod probe;
pub mod source;
pub mod verdict;
