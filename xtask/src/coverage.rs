//! Lines that tests run, of the engine and of the agent's judge and tracker.

use std::collections::BTreeMap;
use std::fs;
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
/// Tests that count: those of both crates, and of `tests` those that call them in their own process.
const TESTS: &str = "--package detector-common --package detector-user --package tests --lib \
                     --test fast_path --test headers --test tunnel --test engine_properties --test forged \
                     --test captures_disturbed --test differential --test records --test half_seen \
                     --test port_reuse --test refused";

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

/// Runs the tests with instrumented code and prints a table; lists the lines that none ran in `target/coverage`.
///
/// # Errors
/// If the tool is missing and cannot be installed, a test fails, or a folder has less than 90 %.
pub fn measure() -> anyhow::Result<()> {
    let tool = tool()?;
    let folder = target().join("coverage");
    let mut tarpaulin = cargo("tarpaulin --engine llvm --out Lcov --skip-clean --no-fail-fast");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(tool).chain(std::env::split_paths(&path));
    tarpaulin.env("PATH", std::env::join_paths(paths)?);
    tarpaulin.args(["--timeout", "1800", "--output-dir"]);
    tarpaulin.arg(&folder).arg("--target-dir").arg(&folder);
    for part in MEASURED {
        tarpaulin.args(["--include-files", &format!("{part}/*")]);
    }
    tarpaulin.args(TESTS.split_whitespace());
    run(&mut tarpaulin, "a test failed, or cargo-tarpaulin did")?;
    let report = folder.join("lcov.info");
    let report =
        fs::read_to_string(&report).with_context(|| format!("cannot read {}", report.display()))?;
    print(&files(&report, &root()))
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
}
