//! Captures, read and written.
//!
//! In: files, plain or compressed. Out: [`Frame`]s, their TCP segments, and files again.
//!
//! Not here: the agent's reader. The scorer reads captures by other code than the agent's.

mod file;
mod frame;
mod link_type;
pub mod pcapng;
pub mod reader;
pub mod segment;

pub use file::{Capture, Format};
pub use frame::Frame;
pub use link_type::{ETHERNET, LINUX_SLL, LINUX_SLL2, RAW};
