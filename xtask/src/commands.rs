//! The command line of `cargo xtask`: one definition, which the laboratory's own binary shares.
//!
//! So `--help` and wrong usage are answered before the laboratory is built.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, Command, value_parser};

use crate::cross;

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
            "Install the packages for building, testing and the demo; prints them first",
        ))
        .subcommand(test())
        .subcommand(demo())
        .subcommand(corpus())
        .subcommand(bench())
        .subcommand(chaos())
        .subcommand(command(
            "coverage",
            "Measure which lines of the engine, the judge and the tracker tests run; installs cargo-tarpaulin into target",
        ))
        .subcommand(sbom())
        .subcommand(old_kernel())
        .subcommand(package())
        .subcommand(command(
            "check-arm64",
            "Cross-build the agent for arm64, run it in an emulator, and compare its verdicts",
        ))
        .subcommand(command(
            "test-arm64",
            "Cross-build the unit tests for arm64, and run them in an emulator",
        ))
        .subcommand(fuzz())
        .subcommand(score())
        .subcommand(sites())
        .subcommand(corpus_rewrite())
        .subcommand(fleet_demo())
        .subcommand(fleet_load())
        .subcommand(fleet_faults())
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
        .subcommand(chaos())
        .subcommand(sbom())
        .subcommand(old_kernel())
        .subcommand(fleet_demo())
        .subcommand(fleet_load())
        .subcommand(fleet_faults())
        .subcommand(fleet_member())
        .subcommand(fleet_read())
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

/// Returns an option with a value.
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
            .help("Arguments for `cargo test`"),
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
        "Part of the names of the scenarios to play [default: all scenarios]",
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
            "Interception of a single capture: yes, no, or nothing if unknown",
        )
        .default_value(""),
    )
    .arg(
        option(
            "ended-by",
            "SIDE",
            "Side that ended a single capture: client, server, middlebox, or nothing if unknown",
        )
        .default_value(""),
    )
    .arg(
        option(
            "stream",
            "N",
            "TCP connection of a capture to rewrite (Wireshark's tcp.stream); repeatable [default: all]",
        )
        .action(ArgAction::Append)
        .value_parser(value_parser!(usize)),
    )
    .arg(
        path(option(
            "out",
            "FOLDER",
            "Folder for rewrites and their labels.tsv, to which rows are appended",
        ))
        .required(true),
    )
    .arg(
        option(
            "most",
            "N",
            "Maximum rewrites of each base and kind, chosen at random; 0 means all",
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
        "Agent to score [default: built from this clone]",
    )))
    .arg(
        option(
            "inspection-ca",
            "FILE-OR-NAME",
            "Inspection CA passed to every run, in addition to the labels'; repeatable [default: none]",
        )
        .action(ArgAction::Append),
    )
    .arg(option(
        "intercepted",
        "WHEN",
        "--intercepted of every run: auto, always or never [default: auto]",
    ))
    .arg(flag(
        "alone",
        "Judge each capture alone, without its group",
    ))
    .arg(
        option(
            "without",
            "CONTROLS",
            "Judge each refusal of a group without captures that would help to tell its cause \
             [default: with its whole group]",
        )
        .value_parser([
            PossibleValue::new("name-accepted")
                .help("Without captures in which another app accepts the refused name"),
            PossibleValue::new("other-names").help("Without captures of other names"),
            PossibleValue::new("all").help("Alone"),
        ])
        .conflicts_with_all(["alone", "compare"]),
    )
    .arg(flag(
        "compare",
        "Add the results of tshark's alerts, the IMC 2022 rule and interceptors' own logs on the \
         same labels",
    ))
    .arg(
        option("output", "OUTPUT", "Format of the score")
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
    command("bench", "Measure, and print one table; needs root")
        .arg(flag(
            "quick",
            "Under two minutes: fewer rounds, a smaller capture",
        ))
        .arg(option(
            "only",
            "PART",
            "One part alone: kernel, live, captures, growth, database, frames, tcp, connections or agent",
        ))
        .arg(
            option(
                "against",
                "REV",
                "Compare with a revision of the repository, by turns in one run",
            )
            .conflicts_with("only"),
        )
}

fn fuzz() -> Command {
    command(
        "fuzz",
        "Try hostile inputs on everything that reads bytes of strangers; needs cargo-fuzz and a nightly toolchain",
    )
    .arg(
        option("minutes", "N", "Time for each target")
            .default_value("1")
            .value_parser(value_parser!(u64).range(1..)),
    )
    .arg(option(
        "only",
        "PART",
        "Part of the names of the targets to run [default: all]",
    ))
}

fn chaos() -> Command {
    command(
        "chaos",
        "Flood a gateway, kill the agent a hundred times, let it reach its memory limit, and run two million frames through both engines; needs root",
    )
    .arg(option(
        "only",
        "PART",
        "Part of the name of a flood, frames, kills or memory [default: all]",
    ))
    .arg(path(option(
        "tlswhy",
        "PATH",
        "Agent to flood [default: built from this clone]",
    )))
}

fn sbom() -> Command {
    command(
        "sbom",
        "Write a bill of materials of the agent (CycloneDX) to target/tlswhy.cdx.json",
    )
}

fn old_kernel() -> Command {
    command(
        "vmtest",
        "Run the taps' tests on Debian 12's kernel in an emulated machine",
    )
    .alias("old-kernel")
}

fn package() -> Command {
    command("package", "Make a .deb and an .rpm")
        .arg(option("revision", "N", "Debian's revision, and the RPM's release").default_value("1"))
        .arg(
            option(
                "target",
                "TARGET",
                "Machine that the packages are for [default: this one's kind]",
            )
            .value_parser([cross::TARGET]),
        )
}

fn fleet_demo() -> Command {
    command(
        "fleet-demo",
        "Show a pin that two gateways tell together over three NATS servers, and neither alone; needs root",
    )
}

fn fleet_load() -> Command {
    command(
        "fleet-load",
        "Share generated facts over a cluster of three NATS servers, and measure; needs root",
    )
}

fn fleet_faults() -> Command {
    command(
        "fleet-faults",
        "Let servers, networks and members of a fleet fail, and check that nothing is lost; needs root",
    )
}

fn fleet_member() -> Command {
    let number = |name, help| {
        option(name, "N", help)
            .required(true)
            .value_parser(value_parser!(u64))
    };
    fleet_client(
        "fleet-member",
        "Share generated facts as a member of a fleet",
    )
    .arg(path(option("state", "DIR", "State directory")).required(true))
    .arg(number(
        "rate",
        "Facts a second; 0: as fast as they are taken",
    ))
    .arg(number("from", "Number of the first fact"))
    .arg(number("to", "Number behind that of the last"))
}

fn fleet_read() -> Command {
    fleet_client(
        "fleet-read",
        "Count the facts and verdicts in a fleet's streams",
    )
    .arg(
        option(
            "publish",
            "TEXT",
            "Subject, and again: content of a message to publish instead",
        )
        .action(ArgAction::Append),
    )
}

fn fleet_client(name: &'static str, about: &'static str) -> Command {
    let file = |name, help| path(option(name, "FILE", help)).required(true);
    command(name, about)
        .arg(option("gateway", "NAME", "User at the servers").required(true))
        .arg(
            option("url", "URL", "Server; repeatable")
                .required(true)
                .action(ArgAction::Append),
        )
        .arg(file("ca", "CA of the servers, in PEM"))
        .arg(file("certificate", "Own certificate, in PEM"))
        .arg(file("key", "Its key, in PEM"))
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
