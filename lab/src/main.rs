//! The laboratory's commands, as `cargo xtask` calls them.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use lab::{chaos, corpus, demo, fleet, old_kernel, rewrite, sbom, score, sites};
use xtask::commands::{self, ArgMatches};

fn main() -> ExitCode {
    commands::main(commands::lab(), run)
}

fn run(name: &str, arguments: &ArgMatches) -> anyhow::Result<()> {
    match name {
        "demo" => demo::run(),
        "corpus" => corpus::run(&corpus::Arguments::of(arguments)),
        "corpus-rewrite" => rewrite::command::run(&rewrite::command::Arguments::of(arguments)),
        "score" => score::run(&score::Arguments::of(arguments)),
        "sites" => sites::run(&sites::Arguments::of(arguments)),
        "fleet-demo" => fleet::demo::run(),
        "fleet-load" => fleet::load::run(),
        "fleet-faults" => fleet::faults::run(),
        "fleet-member" => fleet::member::run(&fleet::member::Arguments::of(arguments)),
        "fleet-read" => fleet::reader::run(&fleet::reader::Arguments::of(arguments)),
        "chaos" => chaos::run(&chaos::Arguments::of(arguments)),
        "sbom" => sbom::run(),
        "vmtest" => old_kernel::run(),
        "inject-reset" => demo::middlebox::run(&demo::middlebox::Arguments::of(arguments)),
        other => anyhow::bail!("no command `{other}`"),
    }
}
