//! tlswhy's laboratory.
//!
//! ```text
//!  host ── network ─┐                             chaos
//!          clients ─┴─ corpus ──┐                 demo       old_kernel
//!          capture ── rewrite ──┴── labels ── score      sites
//! ```
//!
//! In: the programs of a Debian machine, or captures with labels. Out: labelled captures (`corpus`,
//! `rewrite`), scores of the agent's verdicts on them (`score`), and the story that the demo tells.
//! Tests and benches use [`host`], too.
//!
//! Not here: anything that decides a verdict. The agent is run as a program; of its library only
//! the names of causes are used, so that the agent and its scorer have no other code in common.
//! Only generated sites call its history directly, which they are made for ([`sites`]).
#![forbid(unsafe_code)]

pub mod build;
pub mod capture;
pub mod chaos;
pub mod clients;
pub mod corpus;
pub mod demo;
pub mod fleet;
pub mod host;
pub mod labels;
pub mod network;
pub mod old_kernel;
pub mod rewrite;
pub mod sbom;
pub mod score;
pub mod sites;
