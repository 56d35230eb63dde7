//! The laboratory's commands, as `cargo xtask` calls them.

use std::process::ExitCode;

use lab::{corpus, demo, old_kernel, rewrite, score};
use xtask::commands::{self, ArgMatches};

fn main() -> ExitCode {
    let matches = commands::lab().get_matches();
    let result = match matches.subcommand() {
        Some((name, arguments)) => run(name, arguments),
        None => Ok(()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, arguments: &ArgMatches) -> anyhow::Result<()> {
    match name {
        "demo" => demo::run(),
        "corpus" => corpus::run(&corpus::Arguments::of(arguments)),
        "corpus-rewrite" => rewrite::command::run(&rewrite::command::Arguments::of(arguments)),
        "score" => score::run(&score::Arguments::of(arguments)),
        "old-kernel" => old_kernel::run(),
        "inject-reset" => demo::middlebox::run(&demo::middlebox::Arguments::of(arguments)),
        other => anyhow::bail!("no command `{other}`"),
    }
}
