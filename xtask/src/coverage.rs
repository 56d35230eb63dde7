//! Lines that tests run, of the engine and of the agent's judge and tracker.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::call::{cargo, run};
use crate::{root, target};

/// Reads raw profiles by itself: no tools of LLVM are needed.
const TOOL: &str = "cargo-tarpaulin";
const VERSION: &str = "0.37.5";
/// Minimum share of lines, percent.
const MINIMUM: f64 = 90.0;
/// Measured folders.
const MEASURED: [&str; 3] = [
    "detector-common/src",
    "detector-user/src/cause/judge",
    "detector-user/src/flow/tracker",
];
/// Packages whose tests count.
const PACKAGES: &str = "--package detector-common --package detector-user --package tests";
/// Tests that count: those of both crates, and of `tests` those on frames and captures, in this process or the agent's.
const TESTS: &str = "--lib --test fast_path --test headers --test inside --test tunnel --test engine_properties \
                     --test forged --test captures_disturbed --test records --test half_seen --test refused \
                     --test halves --test differential --test golden";
/// Names of tests of no measured part: rooms behind the judge.
const OTHERS: [&str; 4] = ["fleet::", "firewall::", "outlet::", "probe::"];
/// Runs cargo without the flags of the tool, which would instrument all that is built: others' code isn't measured, and
/// would have to be built once more.
const CARGO: &str = r#"#!/bin/sh
unset CARGO_ENCODED_RUSTFLAGS
exec "@PATH@" "$@"
"#;
/// Runs the compiler for the workspace's own crates, but for the kernel's, of which no code could count.
const COMPILER: &str = r#"#!/bin/sh
case " $* " in
    *" --target bpf"*) exec "$@" ;;
    *) exec "$@" -Cinstrument-coverage ;;
esac
"#;
/// Runs the agent so that all its processes of one test add to one profile.
const AGENT: &str = r#"#!/bin/sh
LLVM_PROFILE_FILE="${LLVM_PROFILE_FILE%-%p*}-agent.profraw" exec "@PATH@" "$@"
"#;

/// Lines of a file, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lines {
    all: usize,
    run: usize,
}

impl Lines {
    fn percent(self) -> f64 {
        100.0 * self.run as f64 / self.all.max(1) as f64
    }
}

/// Runs the tests with instrumented code and prints a table; lists the lines that none ran in
/// `target/coverage/lcov.info`.
///
/// # Errors
/// If the tool is missing and cannot be installed, a test fails, or a folder has less than 90 %.
pub fn measure() -> anyhow::Result<()> {
    let tool = tool()?;
    let folder = target().join("coverage");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let scripts = folder.join("bin");
    script(&scripts, "cargo", CARGO, Path::new(env!("CARGO")))?;
    let compiler = script(&scripts, "compiler", COMPILER, Path::new(""))?;
    let agent = agent(&folder, &compiler)?;
    let merging = script(&scripts, "agent", AGENT, &agent)?;

    let mut tests = cargo("tarpaulin --engine llvm --out Lcov --skip-clean --no-fail-fast");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = [scripts, tool].into_iter();
    let paths = paths.chain(std::env::split_paths(&path));
    tests.env("PATH", std::env::join_paths(paths)?);
    tests.env("RUSTC_WORKSPACE_WRAPPER", &compiler);
    tests.env("TLSWHY_AGENT", &merging);
    tests.args(["--timeout", "1800", "--output-dir"]);
    tests.arg(&folder).arg("--objects").arg(&agent);
    for part in MEASURED {
        tests.args(["--include-files", &format!("{part}/*")]);
    }
    tests.args(PACKAGES.split_whitespace());
    tests.args(TESTS.split_whitespace());
    tests.arg("--");
    for other in OTHERS {
        tests.args(["--skip", other]);
    }
    run(&mut tests, "a test failed, or cargo-tarpaulin did")?;
    let report = folder.join("lcov.info");
    let report =
        fs::read_to_string(&report).with_context(|| format!("cannot read {}", report.display()))?;
    print(&files(&report, &root()))
}

/// Builds an agent that is measured, and moves it to a place where nothing else takes it for the usual one.
fn agent(folder: &Path, compiler: &Path) -> anyhow::Result<PathBuf> {
    let mut build = cargo("build --bin tlswhy --example documents");
    build.args(PACKAGES.split_whitespace());
    build.env("RUSTC_WORKSPACE_WRAPPER", compiler);
    // Build scripts are measured, too.
    build.env("LLVM_PROFILE_FILE", "/dev/null");
    run(&mut build, "the agent did not build")?;
    let agent = folder.join("tlswhy");
    fs::rename(target().join("debug/tlswhy"), &agent).context("cannot move the agent")?;
    Ok(agent)
}

/// Writes a script with a path in it; returns its own.
fn script(folder: &Path, name: &str, text: &str, path: &Path) -> anyhow::Result<PathBuf> {
    let to = folder.join(name);
    let text = text.replace("@PATH@", &path.display().to_string());
    let failed = || format!("cannot write {}", to.display());
    fs::create_dir_all(folder).with_context(failed)?;
    fs::write(&to, text).with_context(failed)?;
    fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).with_context(failed)?;
    Ok(to)
}

/// Returns the folder of the tool, which it installs if it is not there.
fn tool() -> anyhow::Result<PathBuf> {
    let home = target().join("tools");
    let folder = home.join("bin");
    let version = Command::new(folder.join(TOOL))
        .args(["tarpaulin", "--version"])
        .stderr(Stdio::null())
        .output();
    if version.is_ok_and(|it| String::from_utf8_lossy(&it.stdout).contains(VERSION)) {
        return Ok(folder);
    }
    println!("installing {TOOL} {VERSION} into {}", home.display());
    let mut install = cargo("install --quiet --locked --debug --no-default-features");
    install
        .arg(format!("{TOOL}@{VERSION}"))
        .arg("--root")
        .arg(&home);
    install.arg("--target-dir").arg(home.join("build"));
    // Reading profiles takes longer than a little optimisation.
    install.env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
    run(
        &mut install,
        "coverage requires cargo-tarpaulin, which could not be installed from crates.io",
    )?;
    Ok(folder)
}

/// Returns the lines of each file in an lcov report, by its path below `root`.
fn files(report: &str, root: &Path) -> BTreeMap<String, Lines> {
    let mut files: BTreeMap<String, Lines> = BTreeMap::new();
    let mut file = String::new();
    for line in report.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            let path = Path::new(path);
            file = path
                .strip_prefix(root)
                .unwrap_or(path)
                .display()
                .to_string();
        } else if let Some((_, hits)) = line.strip_prefix("DA:").and_then(|it| it.split_once(',')) {
            let lines = files.entry(file.clone()).or_default();
            lines.all += 1;
            lines.run += usize::from(hits != "0");
        }
    }
    files
}

/// Prints the lines of each folder and its files with least.
fn print(files: &BTreeMap<String, Lines>) -> anyhow::Result<()> {
    println!("| part | lines | run by tests |");
    println!("| --- | --- | --- |");
    let mut low = Vec::new();
    for part in MEASURED {
        let mut all = Lines::default();
        for (_, lines) in files.iter().filter(|(path, _)| path.starts_with(part)) {
            all.all += lines.all;
            all.run += lines.run;
        }
        println!("| `{part}` | {} | {:.1} % |", all.all, all.percent());
        if all.all == 0 || all.percent() < MINIMUM {
            low.push(part);
        }
    }
    println!("\nfiles with less than {MINIMUM} %:");
    for (path, lines) in files.iter().filter(|(_, it)| it.percent() < MINIMUM) {
        println!(
            "  {path}: {} of {} ({:.1} %)",
            lines.run,
            lines.all,
            lines.percent()
        );
    }
    if !low.is_empty() {
        bail!("less than {MINIMUM} % of {}", low.join(" and of "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_report_are_counted_by_file() {
        let report = "TN:\nSF:/clone/a/src/x.rs\nDA:1,5\nDA:2,0\nLF:2\nend_of_record\n\
                      SF:/clone/b.rs\nDA:9,1\nend_of_record\n";
        let files = files(report, Path::new("/clone"));
        assert_eq!(files["a/src/x.rs"], Lines { all: 2, run: 1 });
        assert_eq!(files["b.rs"], Lines { all: 1, run: 1 });
        assert_eq!(files.len(), 2);
    }

    #[test]
    fn a_folder_without_lines_is_not_covered() {
        assert!(print(&BTreeMap::new()).is_err());
    }

    #[test]
    fn the_kernels_crates_are_not_instrumented() {
        let folder = std::env::temp_dir().join(format!("coverage-{}", std::process::id()));
        let compiler = script(&folder, "compiler", COMPILER, Path::new("")).unwrap();
        let flags = |target: &str| {
            let mut call = Command::new("sh");
            call.arg(&compiler)
                .args(["echo", "--target", target, "a b"]);
            String::from_utf8(call.output().unwrap().stdout).unwrap()
        };
        let [host, kernel] = ["x86_64-unknown-linux-gnu", "bpfel-unknown-none"].map(flags);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(
            host,
            "--target x86_64-unknown-linux-gnu a b -Cinstrument-coverage\n"
        );
        assert_eq!(kernel, "--target bpfel-unknown-none a b\n");
    }
}
