//! Parts of this machine that a test or the demo borrows: network namespaces, certificates, programs, a
//! container.
//!
//! In: names and command lines. Out: guards; dropped, they remove the objects they stand for. Not
//! here: which network, which servers, which clients. Those are `network`, `clients` and `demo`.

pub mod certificate;
mod command;
pub mod machine;
pub mod namespace;
pub mod process;

pub use certificate::Authority;
pub use command::{output, run, words};
pub use machine::Machine;
pub use namespace::{Namespace, connect};
pub use process::Process;
