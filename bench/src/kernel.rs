//! A packet's cost in the kernel, by BPF_PROG_TEST_RUN.

mod cases;
mod clients;
mod cores;
mod programs;

use crate::table::{Goal, Row, Table};
use crate::turns::median;
use cases::{Case, Price};
use clients::Clients;
use programs::{Hook, Programs};
pub(crate) use programs::{REFERENCE, run};

/// The limit of an established flow's segment over an empty program.
const ESTABLISHED_NS: f64 = 12.0;
/// Packets of one run.
const PACKETS: u32 = 400_000;

/// A packet that can be run again and again, and those that bring its flow there.
pub(crate) struct Passing {
    pub(crate) name: &'static str,
    pub(crate) before: Vec<Vec<u8>>,
    pub(crate) packet: Vec<u8>,
}

/// Returns such packets, each of a connection of its own.
pub(crate) fn passing_packets() -> Vec<Passing> {
    let cases = cases::passing().into_iter().zip(2048..);
    cases
        .map(|(case, client_port)| {
            let (before, packet) = case.packets(client_port);
            Passing {
                name: case.name,
                before,
                packet,
            }
        })
        .collect()
}

/// Adds the rows.
pub(crate) fn measure(table: &mut Table, quick: bool) -> anyhow::Result<()> {
    let rounds = if quick { 5 } else { 15 };
    let mut programs = Programs::load()?;
    for case in cases::passing() {
        eprintln!("kernel: {}", case.name);
        passing(table, &mut programs, &case, rounds)?;
    }
    for case in cases::telling() {
        eprintln!("kernel: {}", case.name);
        telling(table, &case, rounds)?;
    }
    eprintln!("kernel: a million clients");
    million(table, rounds)?;
    if !quick {
        eprintln!("kernel: two cores");
        cores::measure(table, rounds)?;
    }
    Ok(())
}

/// Adds rows of a packet that can be run again and again.
fn passing(
    table: &mut Table,
    programs: &mut Programs,
    case: &Case,
    rounds: usize,
) -> anyhow::Result<()> {
    let packet = programs.prepare(case)?;
    let mut times = [const { Vec::new() }; 5];
    for _ in 0..rounds {
        let [empty, lru, ingress, empty_tc, egress] = &mut times;
        empty.push(programs.empty(Hook::Xdp, &packet, PACKETS)?);
        lru.push(programs.lru(&packet, PACKETS)?);
        ingress.push(programs.run(Hook::Xdp, &packet, PACKETS)?);
        empty_tc.push(programs.empty(Hook::Egress, &packet, PACKETS)?);
        egress.push(programs.run(Hook::Egress, &packet, PACKETS)?);
    }
    let [empty, lru, ingress, empty_tc, egress] = times.map(|times| median(&times));
    let reference = lru - empty;
    for (hook, over) in [
        (Hook::Xdp, ingress - empty),
        (Hook::Egress, egress - empty_tc),
    ] {
        let row = |goal| Row {
            what: format!("{}, {}", case.name, hook.name()),
            figure: format!("{over:+.1} ns over empty"),
            reference: format!("parse + LRU hit {reference:+.1} ns"),
            ratio: Some(over / reference),
            goal,
        };
        match case.price {
            Price::Established => {
                table.add(row(Some(Goal::AtMost(0.5))));
                let at_most = ESTABLISHED_NS;
                table.add(row(Some(Goal::Nanoseconds {
                    figure: over,
                    at_most,
                })));
            }
            Price::References(times) => table.add(row(Some(Goal::AtMost(times)))),
        }
    }
    Ok(())
}

/// Adds a row of a packet that tells something once: of many clients' in turn, with the agent's
/// rings emptied in between.
fn telling(table: &mut Table, case: &Case, rounds: usize) -> anyhow::Result<()> {
    let mut clients = Clients::load(clients::Order::InTurn)?;
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..rounds * 4 {
        let [empty, lru, ours] = &mut times;
        let packet = clients.prepare(case)?;
        empty.push(clients.empty(&packet, clients::AT_ONCE)?);
        clients.lru(&packet, clients::AT_ONCE)?;
        lru.push(clients.lru(&packet, clients::AT_ONCE)?);
        ours.push(clients.tlswhy(&packet, clients::AT_ONCE)?);
    }
    let [empty, lru, ours] = times.map(|times| median(&times));
    let (over, reference) = (ours - empty, lru - empty);
    let Price::References(times) = case.price else {
        anyhow::bail!("no price for {}", case.name);
    };
    table.add(Row {
        what: format!("{}, XDP, {} clients in turn", case.name, clients::AT_ONCE),
        figure: format!("{over:+.1} ns over empty"),
        reference: format!("parse + LRU hit {reference:+.1} ns"),
        ratio: Some(over / reference),
        goal: Some(Goal::AtMost(times)),
    });
    Ok(())
}

/// Measures data of a million established flows, at random.
fn million(table: &mut Table, rounds: usize) -> anyhow::Result<()> {
    let mut clients = Clients::load(clients::Order::AtRandom)?;
    let packet = clients.establish_all()?;
    // The reference inserts each flow when it first sees it.
    for _ in 0..20 {
        clients.lru(&packet, PACKETS * 2)?;
    }
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        let [empty, lru, ours] = &mut times;
        empty.push(clients.empty(&packet, PACKETS)?);
        lru.push(clients.lru(&packet, PACKETS)?);
        ours.push(clients.tlswhy(&packet, PACKETS)?);
    }
    let [empty, lru, ours] = times.map(|times| median(&times));
    let (over, reference) = (ours - empty, lru - empty);
    table.add(Row {
        what: "full data segment of a million established flows, at random, XDP".to_owned(),
        figure: format!("{over:+.1} ns over empty"),
        reference: format!("parse + LRU hit {reference:+.1} ns"),
        ratio: Some(over / reference),
        goal: Some(Goal::AtMost(0.25)),
    });
    Ok(())
}
