//! `cargo xtask bench`: what a packet costs in the kernel, and how fast captures are read.
//!
//! Figures are medians of rounds that take turns, so that a busy moment of the machine meets all
//! programs alike; what counts are ratios within one run.

mod captures;
mod kernel;
mod table;

use std::path::PathBuf;

use clap::Parser;

/// Measures what tlswhy costs.
#[derive(Parser)]
struct Arguments {
    /// The agent, built for release
    #[arg(long)]
    agent: PathBuf,
    /// Fewer rounds and a smaller capture
    #[arg(long)]
    quick: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut table = table::Table::default();
    kernel::measure(&mut table, arguments.quick)?;
    captures::measure(&mut table, &arguments.agent, arguments.quick)?;
    print!("{table}");
    Ok(())
}
