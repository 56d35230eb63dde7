//! Operation: the command line, the configuration, and the commands that connect the other rooms.
//!
//! In: arguments ([`cli`]), the configuration file ([`config`]), signals. Out: an exit code. This is the
//! only room that knows all others. [`pipeline`] is the one place that connects them: observations go in
//! at the tracker and leave as verdicts at the sinks. [`command`] has a module for each command, which
//! feeds the pipeline and owns everything with a lifetime: taps, threads, sockets, the event loop.
//! [`config`] reads defaults below the command line (`config::defaults`), so that neither needs the other.
//!
//! Not here: mechanisms. A command that parses packets, judges or formats verdicts has code of another
//! room.
#![forbid(unsafe_code)]

mod acceptance_counter;
pub mod asker;
pub mod cli;
pub mod command;
pub mod config;
mod connection_counts;
pub mod firewall_log;
pub mod pipeline;
mod progress;
pub mod scope;
pub mod settling;
pub mod unseen_ca;
