//! `cargo xtask`: parses a command, installs its needs, and calls the crate that does the rest.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use xtask::commands::{ArgMatches, value, values};
use xtask::setup::{self, Group};
use xtask::{call, commands, coverage, cross, fuzz, is_root, package};

const TEST_COST: &str = "\
On two cores the first run takes about half an hour: 5 minutes to install packages, 10 to build, 15 to
test. It needs 7 GB of disk in target/ and 3 GB for packages. Later runs build and install what changed.";

const DEMO_COST: &str = "\
On two idle cores the first run takes about ten minutes: some to install packages, most to build as for a
release, and half a minute for the story. It needs 1.5 GB of disk in target/.";

fn main() -> ExitCode {
    commands::main(commands::xtask(), run)
}

fn run(name: &str, arguments: &ArgMatches) -> anyhow::Result<()> {
    if matches!(
        name,
        "test" | "demo" | "corpus" | "bench" | "chaos" | "inject-reset"
    ) || name.starts_with("fleet-")
    {
        need_root(name)?;
    }
    if name == "test" {
        println!("{TEST_COST}\n[1/4] packages");
    }
    if name == "demo" {
        println!("{DEMO_COST}");
    }
    let needed = match name {
        "setup" | "demo" | "fleet-demo" | "fleet-load" | "fleet-faults" => &[Group::Base][..],
        "test" | "chaos" => Group::TESTS,
        "corpus" => Group::CORPUS,
        "vmtest" => &[Group::Base, Group::OldKernel],
        _ => &[],
    };
    if !needed.is_empty() {
        setup::ensure(needed)?;
    }
    match name {
        "setup" => Ok(()),
        "test" => call::tests(&values::<String>(arguments, "rest")),
        "bench" => call::bench(
            arguments.get_flag("quick"),
            value::<String>(arguments, "only").as_deref(),
            value::<String>(arguments, "against").as_deref(),
        ),
        "package" => package::make(
            &value::<String>(arguments, "revision").unwrap_or_default(),
            value::<String>(arguments, "target").as_deref(),
        ),
        "check-arm64" => cross::check(),
        "test-arm64" => cross::test(),
        "fuzz" => fuzz::run_all(
            Duration::from_secs(60 * value::<u64>(arguments, "minutes").unwrap_or(1)),
            value::<String>(arguments, "only").as_deref(),
        ),
        "chaos" => call::chaos(
            value::<String>(arguments, "only").as_deref(),
            std::env::args_os().skip(1),
        ),
        "coverage" => coverage::measure(),
        "vmtest" | "sbom" => call::lab(false, std::env::args_os().skip(1)),
        _ => call::lab(true, std::env::args_os().skip(1)),
    }
}

/// Fails with the fix unless this process is root.
fn need_root(command: &str) -> anyhow::Result<()> {
    if !is_root() {
        bail!(
            "`cargo xtask {command}` requires root for network namespaces and eBPF programs; run `sudo -E env PATH=\"$PATH\" cargo xtask {command}`"
        );
    }
    Ok(())
}
