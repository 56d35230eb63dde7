//! Calls of cargo: tests, benches, and the laboratory's commands.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context, bail};

use crate::left_behind::{Before, TEST_RUN};
use crate::revision::{self, Built};
use crate::{root, target};

/// Returns a call of cargo in the repository's root; no argument may have white space.
///
/// Variables that an outer cargo set for this process or a test are left out: build scripts that name them
/// in `rerun-if-env-changed`, as ring's does, would run again, and all that depends on them would be compiled again.
#[must_use]
pub fn cargo(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root()).args(line.split_whitespace());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "OUT_DIR"]
            .iter()
            .any(|it| text.starts_with(it))
        {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end.
///
/// # Errors
/// If it cannot be run, or `failed` if it does not succeed.
pub fn run(command: &mut Command, failed: &'static str) -> anyhow::Result<()> {
    let status = command.status();
    let status = status.with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !status.success() {
        bail!(failed);
    }
    Ok(())
}

/// Returns the arguments that build something with the features of `cargo test`, whose dependencies are
/// used again.
///
/// An example has them chosen as tests have: with the features that tests ask for, which change a procedural
/// macro's dependency and so nearly all others.
#[must_use]
pub fn as_tests(wanted: &str) -> String {
    format!("build --workspace {wanted} --example documents")
}

/// Builds and runs all tests of the workspace, and checks that nothing of them is left.
///
/// # Errors
/// If one fails, or leaves something behind: a list of that.
pub fn tests(arguments: &[String]) -> anyhow::Result<()> {
    let of_cargo = arguments.iter().take_while(|argument| *argument != "--");
    println!("[2/4] building the tests");
    run(
        cargo("test --workspace --no-run").args(of_cargo),
        "the tests did not build",
    )?;
    println!("[3/4] running the tests");
    let before = Before::record();
    let mut tests = cargo("test --workspace");
    tests.args(arguments).env(TEST_RUN, before.mark());
    let passed = run(&mut tests, "tests failed");
    println!("[4/4] looking for processes, namespaces, mounts, links and pins of the tests");
    let left = before.check();
    match (passed, left) {
        (Err(failed), Err(left)) => Err(left.context(failed)),
        (passed, left) => passed.and(left),
    }
}

/// Builds the agent and the benches in release mode and runs them.
///
/// # Errors
/// If one does not build or run.
pub fn bench(quick: bool, only: Option<&str>, against: Option<&str>) -> anyhow::Result<()> {
    let other = against.map(revision::build).transpose()?;
    run(
        &mut cargo("build --release --package detector-user --bin tlswhy"),
        "tlswhy did not build",
    )?;
    let mut bench = cargo("run --quiet --release --package bench -- --agent");
    bench.arg(target().join("release/tlswhy"));
    bench.args(quick.then_some("--quick"));
    if let Some(part) = only {
        bench.args(["--only", part]);
    }
    if let Some(Built { object, agent }) = other {
        bench.arg("--other-object").arg(object);
        bench.arg("--other-agent").arg(agent);
    }
    run(&mut bench, "the bench did not run to its end")
}

/// Frames of each program, with and without halves, and of the host's engine.
const FRAMES: &str = "500000";

/// Runs two million frames through both engines, kills the agent a hundred times, lets it reach its memory limit, and
/// floods a gateway: all, or the part that `only` is in the name of.
///
/// # Errors
/// If something does not build, or does not hold.
pub fn chaos(only: Option<&str>, arguments: impl Iterator<Item = OsString>) -> anyhow::Result<()> {
    let wants = |part: &str| only.is_none_or(|only| only == part);
    if wants("frames") {
        println!(
            "frames: generated and damaged, through the kernel's programs and the host's engine"
        );
        let mut frames =
            cargo("test --package tests --test differential generated_frames -- --nocapture");
        run(frames.env("TLSWHY_FRAMES", FRAMES), "the engines differ")?;
    }
    if wants("kills") {
        println!("kills: the agent at random moments, amid failing connections");
        let kills = "test --package tests --test restart hundred_kills -- --ignored --nocapture";
        run(&mut cargo(kills), "a verdict was lost")?;
    }
    if wants("memory") {
        println!("memory: agents that reach their limit, amid failing connections");
        let limit = "test --package tests --test restart memory_limit -- --ignored --nocapture";
        run(&mut cargo(limit), "a verdict was lost")?;
    }
    if matches!(only, Some("frames" | "kills" | "memory")) {
        return Ok(());
    }
    println!("floods: beside real failures");
    lab(true, arguments)
}

/// Builds the laboratory and becomes it; it reads the command line again.
///
/// In release mode it is built beside the agent that it runs, so that both share their dependencies;
/// for the older kernel's machine it is built as `cargo test` builds it.
///
/// # Errors
/// If it does not build.
pub fn lab(release: bool, arguments: impl Iterator<Item = OsString>) -> anyhow::Result<()> {
    let (line, program) = if release {
        (
            "build --release --package lab --package detector-user --bin lab".to_owned(),
            "release/lab",
        )
    } else {
        (as_tests("--bin lab"), "debug/lab")
    };
    run(&mut cargo(&line), "the laboratory did not build")?;
    let mut lab = Command::new(target().join(program));
    Err(lab.args(arguments).exec()).context("cannot run the laboratory")
}
