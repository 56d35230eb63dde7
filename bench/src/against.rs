//! Another revision's object and agent beside these, on the same cases by turns.
//!
//! Each figure is a ratio of neighbours in time: this revision's cost by the other's, of each round, as
//! median, least and most. Instructions are counted where a clock is too noisy.

mod instructions;
mod objects;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::captures::{Capture, MIX, Mix, SHORT, cost};
use crate::kernel::passing_packets;
use crate::turns::{Turns, median};
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
                median(&turns.reference),
                median(&turns.figure),
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
            median(&turns.reference),
            median(&turns.figure),
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
