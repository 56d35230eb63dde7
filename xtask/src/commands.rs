//! The command line of `cargo xtask`: one definition, which the laboratory's own binary shares.
//!
//! So `--help` and wrong usage are answered before the laboratory is built.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, Command, value_parser};

pub use clap::ArgMatches;

const SCORE_EXAMPLES: &str = "\
Examples:
  cargo xtask score ~/captures
  cargo xtask score ~/captures --tlswhy /usr/bin/tlswhy --inspection-ca 'CN=Inspection CA'
  cargo xtask score target/corpus --compare --require-goals
  cargo xtask score target/corpus -o json | jq '.cases[] | select(.judgement == \"wrong\")'

docs/scoring.md has the format of the labels and what counts as right.";

/// Returns the definition of `cargo xtask`.
#[must_use]
pub fn xtask() -> Command {
    base("cargo xtask", "tlswhy's development commands")
        .subcommand(command(
            "setup",
            "Install what building, testing and the demo need (prints the packages first)",
        ))
        .subcommand(test())
        .subcommand(demo())
        .subcommand(corpus())
        .subcommand(bench())
        .subcommand(old_kernel())
        .subcommand(package())
        .subcommand(score())
        .subcommand(sites())
        .subcommand(corpus_rewrite())
        .subcommand(inject_reset().hide(true))
}

/// Returns the definition of the laboratory's own binary.
#[must_use]
pub fn lab() -> Command {
    base("lab", "tlswhy's laboratory")
        .subcommand(demo())
        .subcommand(corpus())
        .subcommand(corpus_rewrite())
        .subcommand(score())
        .subcommand(sites())
        .subcommand(old_kernel())
        .subcommand(inject_reset())
}

/// Returns an argument's value, if it was given or has a default.
#[must_use]
pub fn value<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<T> {
    matches.get_one(name).cloned()
}

/// Returns the values of a repeatable argument.
#[must_use]
pub fn values<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Vec<T> {
    let values = matches.get_many(name).unwrap_or_default();
    values.cloned().collect()
}

/// Parses this process's command line, runs the command it names, and prints an error on one line.
pub fn main(
    definition: Command,
    run: impl FnOnce(&str, &ArgMatches) -> anyhow::Result<()>,
) -> ExitCode {
    let matches = definition.get_matches();
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

fn base(name: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .bin_name(name)
        .about(about)
        .subcommand_required(true)
        .arg_required_else_help(true)
}

fn command(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about)
}

/// An option with a value.
fn option(name: &'static str, value_name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value_name).help(help)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

fn path(arg: Arg) -> Arg {
    arg.value_parser(value_parser!(PathBuf))
}

fn test() -> Command {
    command("test", "Run all tests; needs root").arg(
        Arg::new("rest")
            .num_args(0..)
            .trailing_var_arg(true)
            .allow_hyphen_values(true)
            .help("Passed on to `cargo test`"),
    )
}

fn demo() -> Command {
    command(
        "demo",
        "Replay the story: an app that pins its server's key, behind an interceptor; needs root",
    )
}

fn corpus() -> Command {
    command(
        "corpus",
        "Record labelled captures of real clients, servers and interceptors; needs root",
    )
    .arg(path(
        Arg::new("folder").help("Folder to make [default: target/corpus]"),
    ))
    .arg(option(
        "only",
        "PART",
        "Play only scenarios whose name has this in it",
    ))
    .arg(flag(
        "live",
        "Watch both sides of the gateway with the agent meanwhile, and compare its verdicts with \
         those on the recording",
    ))
}

fn corpus_rewrite() -> Command {
    command(
        "corpus-rewrite",
        "Write rewrites of captures with their labels: other segments, frames, hosts, resets",
    )
    .arg(path(option(
        "in",
        "FILE-OR-FOLDER",
        "A capture (classic pcap, Ethernet), or a folder with labels.tsv and perhaps connections.tsv",
    )))
    .arg(
        option("cause", "CAUSE", "Truth of a single capture").default_value("established"),
    )
    .arg(
        option(
            "intercepted",
            "INTERCEPTED",
            "Whether an interceptor was in it: yes, no, or nothing if unknown",
        )
        .default_value(""),
    )
    .arg(
        option(
            "ended-by",
            "SIDE",
            "Who ended it: client, server, middlebox, or nothing if unknown",
        )
        .default_value(""),
    )
    .arg(
        option(
            "stream",
            "N",
            "Take only this TCP connection of a capture (Wireshark's tcp.stream); repeatable",
        )
        .action(ArgAction::Append)
        .value_parser(value_parser!(usize)),
    )
    .arg(
        path(option(
            "out",
            "FOLDER",
            "Where rewrites and their labels.tsv go; rows are added to what is there",
        ))
        .required(true),
    )
    .arg(
        option(
            "most",
            "N",
            "Of each base and kind of rewrite, at most so many, drawn by lot; 0 means all",
        )
        .default_value("0")
        .value_parser(value_parser!(usize)),
    )
    .arg(flag("noise", "Also write traffic that isn't TLS"))
}

fn score() -> Command {
    command(
        "score",
        "Compare the agent's verdicts on a folder of captures with the folder's labels",
    )
    .after_help(SCORE_EXAMPLES)
    .arg(
        path(Arg::new("folder").value_name("DIR").help(
            "Folder with captures, labels.tsv and, where a capture holds several connections, \
             connections.tsv",
        ))
        .required(true),
    )
    .arg(path(option(
        "tlswhy",
        "PATH",
        "The agent to score; built first if not given",
    )))
    .arg(
        option(
            "inspection-ca",
            "FILE-OR-NAME",
            "Told to every run, besides the labels' column of that name; repeatable",
        )
        .action(ArgAction::Append),
    )
    .arg(option(
        "intercepted",
        "WHEN",
        "Told to every run: auto, always or never",
    ))
    .arg(flag(
        "alone",
        "Give every capture alone, whatever its group",
    ))
    .arg(flag(
        "compare",
        "Add what tshark's alerts, the IMC 2022 rule and interceptors' own logs yield on the same \
         labels",
    ))
    .arg(
        option("output", "OUTPUT", "How the score is written")
            .short('o')
            .default_value("text")
            .value_parser([
                PossibleValue::new("text").help("For people"),
                PossibleValue::new("json").help("One JSON object"),
            ]),
    )
    .arg(flag(
        "require-goals",
        "Fail unless every goal of docs/scoring.md is met",
    ))
}

fn sites() -> Command {
    command(
        "sites",
        "Generate whole sites with known truth, and score the history's verdicts on them",
    )
    .arg(
        option("seeds", "N", "Number of sites")
            .default_value("1000")
            .value_parser(value_parser!(u64)),
    )
    .arg(
        option("first", "SEED", "Seed of the first site; the others follow")
            .default_value("1")
            .value_parser(value_parser!(u64)),
    )
    .arg(flag(
        "observer",
        "Also print what an ideal observer would say, which takes longer",
    ))
}

fn bench() -> Command {
    command("bench", "Measure, and print one table; needs root").arg(flag(
        "quick",
        "Under 50 seconds: fewer rounds, a smaller capture",
    ))
}

fn old_kernel() -> Command {
    command(
        "old-kernel",
        "Run the taps' tests on Debian 12's kernel in an emulated machine",
    )
}

fn package() -> Command {
    command("package", "Make a .deb and an .rpm")
        .arg(option("revision", "N", "Debian's revision, and the RPM's release").default_value("1"))
}

fn inject_reset() -> Command {
    command(
        "inject-reset",
        "Reset connections with a given server name in the server's name, as a middlebox does",
    )
    .arg(option("sni", "SNI", "Server name of connections to reset").required(true))
    .arg(
        option("ttl", "TTL", "TTL of the resets")
            .default_value("128")
            .value_parser(value_parser!(u8)),
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn definitions_are_consistent() {
        super::xtask().debug_assert();
        super::lab().debug_assert();
    }
}
