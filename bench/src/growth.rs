//! Hostile shapes of traffic: the cost of an event, and memory, as events become more.

mod shapes;

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::captures::{Capture, Cost, cost};
use crate::table::{Goal, Row, Table};
use shapes::SHAPES;

/// Numbers of events, the first as the reference of the others.
const EVENTS: [u32; 3] = [10_000, 100_000, 1_000_000];
/// Maximum growth of an event's cost.
const GROWTH: f64 = 1.5;
/// The unit's limit, MiB (`MemoryMax=`).
const MEMORY_MIB: f64 = 1024.0;

/// Adds the rows.
pub(crate) fn measure(table: &mut Table, agent: &Path, quick: bool) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let path = folder.path().join("capture.pcap");
    let events = if quick { &EVENTS[..2] } else { &EVENTS[..] };
    for shape in &SHAPES {
        // The time to start is no cost of an event.
        let start = rounds(agent, &shape.write(&path, 1)?, 9)?;
        let mut measured = Vec::new();
        for &events in events {
            let capture = shape.write(&path, events)?;
            let rounds = rounds(agent, &capture, if events > EVENTS[0] { 3 } else { 9 })?;
            let event_ns = (rounds.cpu - start.cpu) / f64::from(events) * 1e9;
            eprintln!(
                "growth: {}, {events}: {event_ns:.0} ns, {:.0} MiB",
                shape.name, rounds.memory
            );
            measured.push((events, event_ns, rounds.memory));
        }
        add(table, shape.name, &measured);
    }
    Ok(())
}

/// Returns the median CPU time and the most memory of some rounds.
fn rounds(agent: &Path, capture: &Capture, count: usize) -> anyhow::Result<Cost> {
    let mut rounds = Vec::new();
    for _ in 0..count {
        let mut pcap = Command::new(agent);
        pcap.args(["pcap", "--quiet", "--output", "json", "--threads", "1"]);
        rounds.push(cost(pcap.arg(&capture.path))?);
    }
    rounds.sort_by(|a, b| a.cpu.total_cmp(&b.cpu));
    let memory = rounds.iter().map(|round| round.memory).fold(0.0, f64::max);
    let median = rounds.get(count / 2).context("no round")?;
    Ok(Cost { memory, ..*median })
}

/// Adds a shape's rows: the cost of an event beside that of the fewest, and the most memory.
fn add(table: &mut Table, shape: &str, measured: &[(u32, f64, f64)]) {
    let [(few, few_ns, _), more @ ..] = measured else {
        return;
    };
    for (events, event_ns, _) in more {
        table.add(Row {
            what: format!("{shape}, {events}: time each"),
            figure: format!("{event_ns:.0} ns"),
            reference: format!("of {few} {few_ns:.0} ns"),
            ratio: Some(event_ns / few_ns),
            goal: Some(Goal::AtMost(GROWTH)),
        });
    }
    let memory = |(_, _, mib): &(u32, f64, f64)| format!("{mib:.0} MiB");
    let all: Vec<String> = measured.iter().map(memory).collect();
    let most = measured.iter().map(|(_, _, mib)| *mib).fold(0.0, f64::max);
    table.add(Row {
        what: format!("{shape}: memory"),
        figure: all.join(", "),
        reference: format!("{MEMORY_MIB:.0} MiB allowed"),
        ratio: Some(most / MEMORY_MIB),
        goal: Some(Goal::AtMost(1.0)),
    });
}
