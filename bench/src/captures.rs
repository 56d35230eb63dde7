//! The speed of reading captures, beside others on the same file, and how that grows.

mod cost;
mod side_by_side;
mod traffic;

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::table::{Goal, Row, Table};
pub(crate) use cost::{Cost, cost};
pub(crate) use traffic::{Capture, MIX, Mix, SHORT, Writer};

/// The others, the work of each on the file, and the factor by which the agent is to be faster.
const OTHERS: [(&str, &str, &[&str], f64); 3] = [
    (
        "tshark",
        "tshark -Y tls.alert_message",
        &["-Y", "tls.alert_message", "-r"],
        100.0,
    ),
    ("ndpiReader", "ndpiReader", &["-q", "-i"], 10.0),
    (
        "tcpdump",
        "tcpdump, byte filter",
        &["-n", "tcp[((tcp[12]&0xf0)>>2)]=21", "-r"],
        1.0,
    ),
];

/// Adds the rows.
pub(crate) fn measure(table: &mut Table, agent: &Path, quick: bool) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let bench = Bench {
        agent,
        folder: folder.path(),
        rounds: if quick { 3 } else { 7 },
    };
    let packets = if quick { 200_000 } else { MIX.packets };
    for (name, mix) in [("", MIX), (", short connections", SHORT)] {
        let capture = bench.write(Mix { packets, ..mix })?;
        bench.beside_others(table, &capture, name)?;
        bench.two_cores(table, &capture, name)?;
    }
    bench.start(table)?;
    if !quick {
        let capture = bench.write(MIX)?;
        bench.threads(table, &capture)?;
        bench.compressed(table, &capture)?;
        bench.many_files(table)?;
        bench.length(table)?;
        bench.concurrency(table)?;
        bench.records(table)?;
    }
    Ok(())
}

struct Bench<'a> {
    agent: &'a Path,
    folder: &'a Path,
    rounds: usize,
}

impl Bench<'_> {
    fn write(&self, mix: Mix) -> anyhow::Result<Capture> {
        let capture = mix.write(&self.folder.join("capture.pcap"))?;
        eprintln!(
            "captures: {} packets, {} MB, {} connections at once",
            capture.packets,
            capture.bytes / 1_000_000,
            mix.at_once
        );
        Ok(capture)
    }

    fn pcap(&self, capture: &Capture, threads: &str) -> anyhow::Result<Cost> {
        cost(
            Command::new(self.agent)
                .args(["pcap", "--quiet", "--output", "json", "--threads", threads])
                .arg(&capture.path),
        )
    }

    /// Returns the median round's CPU time a packet, nanoseconds, by one thread.
    fn per_packet(&self, capture: &Capture) -> anyhow::Result<f64> {
        let mut rounds = Vec::new();
        for _ in 0..self.rounds {
            rounds.push(self.pcap(capture, "1")?);
        }
        Ok(median(&rounds, |cost| cost.cpu) / capture.packets as f64 * 1e9)
    }

    fn beside_others(
        &self,
        table: &mut Table,
        capture: &Capture,
        name: &str,
    ) -> anyhow::Result<()> {
        let mut ours = Vec::new();
        let mut others = OTHERS.map(|_| Vec::new());
        for round in 0..self.rounds {
            ours.push(self.pcap(capture, "1")?);
            for ((program, _, arguments, _), costs) in OTHERS.iter().zip(&mut others) {
                // Seconds long, so that few rounds do.
                if round < 3 || *program == "tcpdump" {
                    let mut command = Command::new(program);
                    costs.push(cost(command.args(*arguments).arg(&capture.path)));
                }
            }
        }
        let seconds = median(&ours, |cost| cost.cpu);
        let rate = |seconds: f64| capture.packets as f64 / seconds / 1e6;
        for ((program, of, _, goal), costs) in OTHERS.iter().zip(others) {
            let costs: Result<Vec<Cost>, _> = costs.into_iter().collect();
            let (reference, ratio) = match costs {
                Ok(costs) => {
                    let other = median(&costs, |cost| cost.cpu);
                    let reference = format!("{of} {:.3} M packets/s", rate(other));
                    (reference, Some(other / seconds))
                }
                Err(error) => (format!("no {program} here ({error:#})"), None),
            };
            table.add(Row {
                what: format!(
                    "`tlswhy pcap`, {} packets{name}, per CPU-second",
                    capture.packets
                ),
                figure: format!(
                    "{:.2} M packets/s, {:.2} GB/s",
                    rate(seconds),
                    capture.bytes as f64 / seconds / 1e9
                ),
                reference,
                ratio,
                goal: Some(Goal::AtLeast(*goal)),
            });
        }
        Ok(())
    }

    fn threads(&self, table: &mut Table, capture: &Capture) -> anyhow::Result<()> {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            one.push(self.pcap(capture, "1")?);
            two.push(self.pcap(capture, "2")?);
        }
        let (one, two) = (
            median(&one, |cost| cost.wall),
            median(&two, |cost| cost.wall),
        );
        table.add(Row {
            what: "`tlswhy pcap`, reading and judging side by side, by the clock".to_owned(),
            figure: format!("{:.0} ms", two * 1e3),
            reference: format!("one thread {:.0} ms", one * 1e3),
            ratio: Some(one / two),
            goal: Some(Goal::AtLeast(1.0)),
        });
        Ok(())
    }

    /// Measures time and memory of captures of different lengths.
    fn length(&self, table: &mut Table) -> anyhow::Result<()> {
        let mut measured = Vec::new();
        for packets in [500_000, 1_000_000, 4_000_000] {
            let capture = self.write(Mix { packets, ..MIX })?;
            let memory = self.pcap(&capture, "1")?.memory;
            measured.push((self.per_packet(&capture)?, memory));
        }
        let [(short_ns, _), (_, middle_mib), (long_ns, long_mib)] = measured[..] else {
            return Ok(());
        };
        table.add(Row {
            what: "time a packet, a capture of 4 M packets".to_owned(),
            figure: format!("{long_ns:.0} ns"),
            reference: format!("of 0.5 M packets {short_ns:.0} ns"),
            ratio: Some(long_ns / short_ns),
            goal: Some(Goal::AtMost(1.1)),
        });
        table.add(Row {
            what: "memory, a capture of 4 M packets".to_owned(),
            figure: format!("{long_mib:.0} MiB"),
            reference: format!("of 1 M packets {middle_mib:.0} MiB"),
            ratio: Some(long_mib / middle_mib),
            goal: Some(Goal::AtMost(1.1)),
        });
        Ok(())
    }

    /// Measures the same million connections, more and more of them at once.
    fn concurrency(&self, table: &mut Table) -> anyhow::Result<()> {
        let mix = Mix {
            packets: 8_000_000,
            turns: 1,
            answer: 100,
            ..MIX
        };
        let mut few_ns = 0.0;
        for at_once in [1_000, 30_000, 1_000_000] {
            let capture = self.write(Mix { at_once, ..mix })?;
            let ns = self.pcap(&capture, "1")?.cpu / capture.packets as f64 * 1e9;
            if few_ns == 0.0 {
                few_ns = ns;
                continue;
            }
            table.add(Row {
                what: format!("time a packet, short connections, {at_once} at once"),
                figure: format!("{ns:.0} ns"),
                reference: format!("1000 at once {few_ns:.0} ns"),
                ratio: Some(ns / few_ns),
                goal: Some(Goal::AtMost(1.5)),
            });
        }
        Ok(())
    }

    /// Answers in ever more records.
    fn records(&self, table: &mut Table) -> anyhow::Result<()> {
        let mix = Mix {
            packets: 1_000_000,
            turns: 8,
            answer: 1400,
            ..MIX
        };
        let mut one_ns = 0.0;
        for records in [1, 8, 64] {
            let capture = self.write(Mix { records, ..mix })?;
            let ns = self.per_packet(&capture)?;
            if records == 1 {
                one_ns = ns;
                continue;
            }
            table.add(Row {
                what: format!("time a packet, {records} records in each answer's segment"),
                figure: format!("{ns:.0} ns"),
                reference: format!("one record {one_ns:.0} ns"),
                ratio: Some(ns / one_ns),
                goal: Some(Goal::AtMost(1.5)),
            });
        }
        Ok(())
    }
}

fn median(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> f64 {
    let mut numbers: Vec<f64> = costs.iter().map(of).collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}
