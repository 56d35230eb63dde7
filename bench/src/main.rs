//! `cargo xtask bench`: a packet's cost in the kernel, the speed of reading captures, and the
//! agent's cost of a connection.
//!
//! Figures are medians of rounds that take turns, so that a busy moment of the machine meets all
//! programs alike; only ratios within one run are comparable.

mod against;
mod agent;
mod captures;
mod database;
mod gateway;
mod growth;
mod kernel;
mod live;
mod table;
mod turns;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures what tlswhy costs.
#[derive(Parser)]
struct Arguments {
    /// The agent, built for release
    #[arg(long)]
    agent: PathBuf,
    /// Fewer rounds and a smaller capture
    #[arg(long)]
    quick: bool,
    /// One part alone
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// The object of another revision to compare with; needs its agent, too
    #[arg(long, requires = "other_agent")]
    other_object: Option<PathBuf>,
    /// The agent of that revision
    #[arg(long, requires = "other_object")]
    other_agent: Option<PathBuf>,
}

/// A part of the benches.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A packet's cost in the kernel
    Kernel,
    /// A forwarded frame's cost, of real TCP
    Live,
    /// The speed of reading captures
    Captures,
    /// The cost of an event of hostile shapes, and memory, as they become more
    Growth,
    /// The agent's speed and memory
    Agent,
    /// Frames that arrive as from a network card
    Frames,
    /// TCP's throughput through a gateway
    Tcp,
    /// New connections through a gateway
    Connections,
    /// Questions to the database of past verdicts
    Database,
    /// The agent's memory alone, as a number
    Memory,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.only == Some(Part::Memory) {
        return agent::print_memory();
    }
    if let (Some(object), Some(agent)) = (arguments.other_object, arguments.other_agent) {
        let other = against::Other { object, agent };
        return against::compare(&other, &arguments.agent, arguments.quick);
    }
    let wants = |part| arguments.only.is_none_or(|only| only == part);
    let mut table = table::Table::default();
    if wants(Part::Kernel) {
        kernel::measure(&mut table, arguments.quick)?;
    }
    if wants(Part::Live) {
        live::measure(&mut table, arguments.quick)?;
    }
    if wants(Part::Captures) {
        captures::measure(&mut table, &arguments.agent, arguments.quick)?;
    }
    if wants(Part::Growth) && (!arguments.quick || arguments.only.is_some()) {
        growth::measure(&mut table, &arguments.agent, arguments.quick)?;
    }
    if wants(Part::Database) {
        database::measure(&mut table, arguments.quick)?;
    }
    if wants(Part::Frames) && !arguments.quick {
        gateway::measure_frames(&mut table)?;
    }
    if wants(Part::Tcp) && !arguments.quick {
        gateway::measure_tcp(&mut table, &arguments.agent)?;
    }
    if wants(Part::Connections) && !arguments.quick {
        gateway::measure_connections(&mut table, &arguments.agent)?;
    }
    if wants(Part::Agent) && !arguments.quick {
        agent::measure(&mut table)?;
    }
    print!("{table}");
    Ok(())
}
