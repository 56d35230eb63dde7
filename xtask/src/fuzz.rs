//! Runs of the fuzz targets, each for so many minutes, and a table of them.

use std::env::consts::ARCH;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::call::run;
use crate::root;

/// A toolchain with sanitizers.
const TOOLCHAIN: &str = "+nightly";
/// Longest time for one input, seconds: libFuzzer reports a slower one as a failure.
const INPUT_MAX_S: u32 = 10;

/// Figures of a run of one target.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    inputs: u64,
    /// Edges of the program's control flow that inputs reached.
    edges: u64,
    kept: u64,
    memory_mb: u64,
}

/// Builds the targets whose name has `only` in it, runs each for `time`, and prints a table.
///
/// # Errors
/// If cargo-fuzz is missing, a target does not build, or an input breaks an invariant.
pub fn run_all(time: Duration, only: Option<&str>) -> anyhow::Result<()> {
    let targets = targets(only.unwrap_or_default())?;
    println!("building {} fuzz targets", targets.len());
    for target in &targets {
        run(
            cargo_fuzz("build").arg(target),
            "a fuzz target did not build",
        )?;
    }
    println!(
        "| target | time | inputs | edges reached | inputs that reach something new | peak memory |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut broken = Vec::new();
    for target in &targets {
        let began = Instant::now();
        let (passed, figures) = fuzz(target, time)?;
        println!(
            "| `{target}` | {} s | {} | {} | {} | {} MB |",
            began.elapsed().as_secs(),
            figures.inputs,
            figures.edges,
            figures.kept,
            figures.memory_mb
        );
        if !passed {
            broken.push(target.as_str());
        }
    }
    if !broken.is_empty() {
        bail!(
            "an invariant was broken in {}; the inputs are in fuzz/artifacts, the messages in fuzz/corpus",
            broken.join(", ")
        );
    }
    Ok(())
}

fn cargo_fuzz(command: &str) -> Command {
    let mut cargo = Command::new("cargo");
    // Overflows and broken assertions are found without the cost of a debug build.
    cargo.args([
        TOOLCHAIN,
        "fuzz",
        command,
        "--release",
        "--debug-assertions",
    ]);
    cargo.current_dir(root());
    cargo
}

fn targets(only: &str) -> anyhow::Result<Vec<String>> {
    let missing = "cannot list the fuzz targets; `cargo install cargo-fuzz --locked` and `rustup toolchain \
                   install nightly`";
    let mut list = Command::new("cargo");
    list.args([TOOLCHAIN, "fuzz", "list"]).current_dir(root());
    let listed = list.output().context(missing)?;
    if !listed.status.success() {
        bail!(missing);
    }
    let names = String::from_utf8_lossy(&listed.stdout);
    let names = names.lines().filter(|name| name.contains(only));
    let names: Vec<_> = names.map(str::to_owned).collect();
    if names.is_empty() {
        bail!("no fuzz target has '{only}' in its name");
    }
    Ok(names)
}

/// Runs a target; returns whether every invariant held, and the figures.
fn fuzz(target: &str, time: Duration) -> anyhow::Result<(bool, Figures)> {
    let corpus = root().join("fuzz/corpus");
    fs::create_dir_all(corpus.join(target)).context("cannot make the folder of the corpus")?;
    let log = corpus.join(format!("{target}.log"));
    let output = fs::File::create(&log).context("cannot write libFuzzer's messages")?;
    let artifacts = root().join("fuzz/artifacts").join(target);
    fs::create_dir_all(&artifacts).context("cannot make the folder of failures")?;
    // The program that was built, not `cargo fuzz run`, which builds it again where a source changed meanwhile.
    let built = format!("fuzz/target/{ARCH}-unknown-linux-gnu/release/{target}");
    let mut fuzzer = Command::new(root().join(built));
    fuzzer.current_dir(root());
    // As cargo-fuzz sets it: one definition rule says nothing about Rust.
    fuzzer.env("ASAN_OPTIONS", "detect_odr_violation=0");
    fuzzer.arg(format!("-artifact_prefix={}/", artifacts.display()));
    fuzzer.args(["-print_final_stats=1", "-verbosity=1"]);
    fuzzer.arg(format!("-max_total_time={}", time.as_secs()));
    fuzzer.arg(format!("-timeout={INPUT_MAX_S}"));
    fuzzer.args([
        format!("fuzz/corpus/{target}"),
        format!("fuzz/seeds/{target}"),
    ]);
    fuzzer.stdout(Stdio::null()).stderr(output);
    let status = fuzzer.status().context("cannot run a fuzz target")?;
    let said = fs::read(&log).context("cannot read libFuzzer's messages")?;
    Ok((status.success(), figures(&String::from_utf8_lossy(&said))))
}

/// Reads libFuzzer's final statistics.
fn figures(said: &str) -> Figures {
    let figure = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok())
            .unwrap_or_default()
    };
    // Each line about progress has the edges so far: `#1024 NEW cov: 611 ft: 1893 …`.
    let edges = said.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once(" cov: ")?;
        rest.split(' ').next()?.parse().ok()
    });
    Figures {
        inputs: figure("stat::number_of_executed_units:"),
        edges: edges.unwrap_or_default(),
        kept: figure("stat::new_units_added:"),
        memory_mb: figure("stat::peak_rss_mb:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_the_final_statistics() {
        let said = "#2 INITED cov: 3 ft: 3\n#7 NEW    cov: 11 ft: 12 corp: 2/5b\nstat::number_of_executed_units: 1700\n\
                    stat::average_exec_per_sec:     56\nstat::new_units_added:          12\n\
                    stat::slowest_unit_time_sec:    0\nstat::peak_rss_mb:              391\n";
        let expected = Figures {
            inputs: 1700,
            edges: 11,
            kept: 12,
            memory_mb: 391,
        };
        assert_eq!(figures(said), expected);
        assert_eq!(figures("no statistics"), Figures::default());
    }
}
