//! The client programs whose connections are recorded: real TLS stacks, each asked for one thing.
//!
//! A program gets its request as ten arguments (`lab/programs/clients/request.sh` names them), ends
//! with 0 if and only if the request was answered well, and else says why in one line.

//!
//! In: a [`Request`]. Out: a command line that makes it, for the namespace that it is to run in.
//! Not here: networks and servers, or captures.

mod prepare;
mod program;
mod request;
mod sources;
mod table;
mod version;

pub use program::Client;
pub use request::{Pin, Request, Trust, Version};
pub use table::all;
