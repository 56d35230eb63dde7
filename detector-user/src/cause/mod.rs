//! Causes: from a connection to the reason it failed, alone and beside all others.
//!
//! In: [`crate::flow::legs::Connection`], and the operator's [`knowledge`]. Out:
//! [`crate::verdict::Verdict`]. Not here: output formats, clocks, I/O other than the facts that
//! the history keeps on disk.
#![forbid(unsafe_code)]

pub mod client_identity;
mod hash;
pub mod history;
pub mod inspection_ca;
pub mod interception;
pub mod judge;
pub mod knowledge;
mod registrable_domain;
pub mod runtime;
