//! `cargo xtask`: set-up, tests, the demo, benches.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{bench, corpus, demo, inject, old_kernel, package, score, setup, test};

/// tlswhy's own tools.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what building, testing and the demo need (says first what that is)
    Setup,
    /// Run all tests; needs root
    Test(test::Arguments),
    /// Replay the story: an app that pins its server's key, behind an interceptor; needs root
    Demo,
    /// Record labelled captures of real clients, servers and interceptors; needs root
    Corpus(corpus::Arguments),
    /// Measure, and print one table; needs root
    Bench(bench::Arguments),
    /// Run the taps' tests on Debian 12's kernel in an emulated machine
    OldKernel,
    /// Make a .deb and an .rpm
    Package(package::Arguments),
    /// Hold the agent's verdicts on a folder of captures against the folder's labels
    Score(score::Arguments),
    /// Reset connections with a given server name in the server's name, as a middlebox does
    #[command(hide = true)]
    InjectReset(inject::Arguments),
    /// Write rewrites of captures with their labels: other segments, frames, hosts, resets
    #[command(hide = true)]
    CorpusRewrite(corpus::rewrite::command::Arguments),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup => setup::ensure(setup::ALL),
        Command::Test(arguments) => test::run(&arguments),
        Command::Demo => demo::run(),
        Command::Corpus(arguments) => corpus::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::OldKernel => old_kernel::run(),
        Command::Package(arguments) => package::run(&arguments),
        Command::Score(arguments) => score::run(&arguments),
        Command::InjectReset(arguments) => inject::run(&arguments),
        Command::CorpusRewrite(arguments) => corpus::rewrite::command::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
