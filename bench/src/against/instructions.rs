//! Instructions of a command, counted by callgrind.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// Runs a command in callgrind; returns the instructions of all its threads.
pub(super) fn count(command: &Command, folder: &Path) -> anyhow::Result<f64> {
    let output = folder.join("callgrind.out");
    let status = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", output.display()))
        .arg(command.get_program())
        .args(command.get_args())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot run valgrind: apt-get install valgrind")?;
    ensure!(status.success(), "valgrind ended with {status}");
    let text = std::fs::read_to_string(&output).context("callgrind wrote nothing")?;
    total(&text).context("callgrind's output has no total")
}

/// Returns the total of a callgrind file, which it calls `summary` or `totals`.
fn total(text: &str) -> Option<f64> {
    let total = text.lines().find_map(|line| {
        line.strip_prefix("totals:")
            .or_else(|| line.strip_prefix("summary:"))
    })?;
    total.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_is_read() {
        let text = "version: 1\nevents: Ir\nsummary: 1234567\n\nfn=(1)\n0 3\ntotals: 1234567\n";
        assert_eq!(total(text), Some(1_234_567.0));
        assert_eq!(total("version: 1\n"), None);
    }
}
