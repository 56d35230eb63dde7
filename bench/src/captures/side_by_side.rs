//! By the clock: threads side by side, decompression, many files, and the start of the program.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::cost::brief_cost;
use super::{Bench, Capture, Cost, MIX, Mix, OTHERS, median};
use crate::table::{Goal, Row, Table};

/// Runs of which the start is the median.
const STARTS: usize = 201;
/// Small captures that are read by one command.
const FILES: u32 = 600;

impl Bench<'_> {
    /// Measures two threads beside tcpdump, by the clock.
    pub(super) fn two_cores(
        &self,
        table: &mut Table,
        capture: &Capture,
        name: &str,
    ) -> anyhow::Result<()> {
        let [.., (program, of, arguments, _)] = OTHERS;
        let (mut ours, mut others) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            ours.push(self.pcap(capture, "2")?);
            let mut other = Command::new(program);
            others.push(brief_cost(other.args(arguments).arg(&capture.path))?);
        }
        let (ours, other) = (wall(&ours), wall(&others));
        table.add(Row {
            what: format!("`tlswhy pcap`{name}, by the clock on two cores"),
            figure: format!("{:.0} ms", ours * 1e3),
            reference: format!("{of} {:.0} ms", other * 1e3),
            ratio: Some(other / ours),
            goal: Some(Goal::AtLeast(2.0)),
        });
        Ok(())
    }

    /// Measures compressed captures beside their decompression alone.
    pub(super) fn compressed(&self, table: &mut Table, capture: &Capture) -> anyhow::Result<()> {
        for (program, arguments) in [("gzip", ["-1", "-c"]), ("zstd", ["-3", "-c"])] {
            let path = self.folder.join("compressed");
            let status = Command::new(program)
                .args(arguments)
                .arg(&capture.path)
                .stdout(File::create(&path)?)
                .stderr(Stdio::null())
                .status()
                .with_context(|| format!("cannot run {program}"))?;
            ensure!(status.success(), "{program} ended with {status}");
            let compressed = Capture {
                path: path.clone(),
                ..*capture
            };
            let (mut ours, mut others) = (Vec::new(), Vec::new());
            for _ in 0..self.rounds {
                ours.push(self.pcap(&compressed, "2")?);
                let mut other = Command::new(program);
                others.push(brief_cost(other.stdin(File::open(&path)?).arg("-dc"))?);
            }
            let (ours, other) = (wall(&ours), wall(&others));
            table.add(Row {
                what: format!("`tlswhy pcap` of {program}, by the clock on two cores"),
                figure: format!("{:.0} ms", ours * 1e3),
                reference: format!("{program} -dc {:.0} ms", other * 1e3),
                ratio: Some(other / ours),
                goal: Some(Goal::AtLeast(1.0)),
            });
            fs::remove_file(&path)?;
        }
        Ok(())
    }

    /// Measures a small capture, which takes hardly more than the program's start.
    pub(super) fn start(&self, table: &mut Table) -> anyhow::Result<()> {
        let mix = Mix {
            packets: 100,
            at_once: 4,
            ..MIX
        };
        let capture = self.write(mix)?;
        let (mut ours, mut others) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            let mut agent = Command::new(self.agent);
            ours.push(brief_cost(
                agent.args(["pcap", "--quiet"]).arg(&capture.path),
            )?);
            let mut tcpdump = Command::new("tcpdump");
            others.push(brief_cost(tcpdump.args(["-n", "-r"]).arg(&capture.path))?);
        }
        let (ours, other) = (wall(&ours), wall(&others));
        table.add(Row {
            what: format!(
                "`tlswhy pcap`, {} packets, from start to end",
                capture.packets
            ),
            figure: format!("{:.2} ms", ours * 1e3),
            reference: format!("tcpdump -r {:.2} ms", other * 1e3),
            ratio: Some(ours / other),
            goal: Some(Goal::AtMost(1.0)),
        });
        Ok(())
    }

    /// Measures many small captures in one command.
    pub(super) fn many_files(&self, table: &mut Table) -> anyhow::Result<()> {
        let mut paths = Vec::new();
        for number in 0..FILES {
            let mix = Mix {
                packets: 200 + u64::from(number),
                at_once: 8,
                first: 1 + number * 8,
                ..MIX
            };
            let path = self.folder.join(format!("{number}.pcap"));
            paths.push(mix.write(&path)?.path);
        }
        let run = |threads: &str| {
            let mut agent = Command::new(self.agent);
            agent.args(["pcap", "--quiet", "--output", "json", "--threads", threads]);
            brief_cost(agent.args(&paths))
        };
        let (mut one, mut two) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            one.push(run("1")?);
            two.push(run("2")?);
        }
        let (one, two) = (wall(&one), wall(&two));
        table.add(Row {
            what: format!("`tlswhy pcap`, {FILES} small captures, by the clock on two cores"),
            figure: format!("{:.0} ms", two * 1e3),
            reference: format!("one thread {:.0} ms", one * 1e3),
            ratio: Some(one / two),
            goal: Some(Goal::AtLeast(1.5)),
        });
        Ok(())
    }
}

fn wall(costs: &[Cost]) -> f64 {
    median(costs, |cost| cost.wall)
}
