//! tlswhy, the agent: from what the kernel or a capture shows of TLS connections to verdicts.

pub mod tap;
