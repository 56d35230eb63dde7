//! Another revision's object and agent beside these, on the same cases by turns.
//!
//! Each figure is a ratio of neighbours in time: this revision's cost by the other's, of each round, as
//! median, least and most. Instructions are counted where a clock is too noisy.

mod instructions;
mod objects;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::captures::{Capture, MIX, Mix, SHORT, cost};
use crate::kernel::passing_packets;
use instructions::count;
use objects::Object;

/// The other revision, built.
pub(crate) struct Other {
    pub(crate) object: PathBuf,
    pub(crate) agent: PathBuf,
}

/// Packets of one run in the kernel.
const PACKETS: u32 = 400_000;
/// Prints a table.
pub(crate) fn compare(other: &Other, agent: &Path, quick: bool) -> anyhow::Result<()> {
    println!("| case | other revision | this | this by the other's: median, least to most |");
    println!("| --- | --- | --- | --- |");
    kernel(other, if quick { 9 } else { 25 })?;
    captures(other, agent, quick)
}

fn kernel(other: &Other, rounds: usize) -> anyhow::Result<()> {
    let mut before = Object::read(&other.object)?;
    let mut now = Object::own()?;
    for case in passing_packets() {
        for program in objects::PROGRAMS {
            before.establish(&case.before)?;
            now.establish(&case.before)?;
            let mut turns = Turns::default();
            for _ in 0..rounds {
                let empty = now.empty(program, &case.packet, PACKETS)?;
                for _ in 0..2 {
                    let one = before.run(program, &case.packet, PACKETS)? - empty;
                    turns.push(one, now.run(program, &case.packet, PACKETS)? - empty);
                }
            }
            println!(
                "| {}, {program} | {:+.1} ns over empty | {:+.1} ns | {} |",
                case.name,
                median(&turns.before),
                median(&turns.now),
                turns.ratio()
            );
        }
    }
    Ok(())
}

fn captures(other: &Other, agent: &Path, quick: bool) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let packets = if quick { 100_000 } else { 400_000 };
    for (name, mix) in [
        ("data of long connections", Mix { packets, ..MIX }),
        (
            "short connections",
            Mix {
                packets: packets / 4,
                ..SHORT
            },
        ),
    ] {
        let capture = mix.write(&folder.path().join("capture.pcap"))?;
        let pcap = |agent: &Path| pcap(agent, &capture);
        let mut turns = Turns::default();
        for _ in 0..if quick { 5 } else { 11 } {
            let before = cost(&mut pcap(&other.agent))?.cpu;
            turns.push(before, cost(&mut pcap(agent))?.cpu);
        }
        println!(
            "| `tlswhy pcap`, {name}, CPU time | {:.3} s | {:.3} s | {} |",
            median(&turns.before),
            median(&turns.now),
            turns.ratio()
        );
        let few = Mix {
            packets: packets / 10,
            ..mix
        };
        let capture = few.write(&folder.path().join("few.pcap"))?;
        let count = |agent: &Path| count(&self::pcap(agent, &capture), folder.path());
        match (count(&other.agent), count(agent)) {
            (Ok(before), Ok(now)) => println!(
                "| `tlswhy pcap`, {name}, instructions | {:.1} M | {:.1} M | {:.3} |",
                before / 1e6,
                now / 1e6,
                now / before
            ),
            (Err(error), _) | (_, Err(error)) => {
                eprintln!("instructions were not counted: {error:#}");
            }
        }
    }
    Ok(())
}

fn pcap(agent: &Path, capture: &Capture) -> Command {
    let mut command = Command::new(agent);
    command.args(["pcap", "--quiet", "--output", "json", "--threads", "1"]);
    command.arg(&capture.path);
    command
}

/// Costs of rounds, in the order in which they were measured.
#[derive(Default)]
struct Turns {
    before: Vec<f64>,
    now: Vec<f64>,
}

impl Turns {
    fn push(&mut self, before: f64, now: f64) {
        self.before.push(before);
        self.now.push(now);
    }

    fn ratio(&self) -> Spread {
        let pairs = self.before.iter().zip(&self.now);
        Spread::of(pairs.map(|(before, now)| now / before).collect())
    }
}

/// Ratios of rounds.
#[derive(Debug, PartialEq)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(ratios: Vec<f64>) -> Self {
        Self {
            median: median(&ratios),
            least: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            most: ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            median,
            least,
            most,
        } = self;
        write!(f, "{median:.2}, {least:.2} to {most:.2}")
    }
}

fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_neighbours_in_time() {
        let mut turns = Turns::default();
        // The machine gets slower, and then still slower.
        for (before, now) in [(1.0, 2.0), (10.0, 10.0), (100.0, 50.0)] {
            turns.push(before, now);
        }
        let spread = Spread {
            median: 1.0,
            least: 0.5,
            most: 2.0,
        };
        assert_eq!(turns.ratio(), spread);
        assert_eq!(spread.to_string(), "1.00, 0.50 to 2.00");
    }
}
