//! Operation: the command line, the configuration, and the commands that connect the other rooms.
//!
//! In: arguments, the configuration file, signals. Out: an exit code. The only room that knows all
//! others; not here: mechanisms. A command that grows logic of its own has put it in the wrong place.

pub mod cli;
pub mod command;
pub mod config;
pub mod pipeline;
pub mod scope;
