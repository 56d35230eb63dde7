//! Whether two cores get twice as far as one.

use std::sync::Barrier;
use std::thread;

use anyhow::Context;
use aya::programs::Xdp;
use detector_user::source::tap::object::{ObjectOptions, load};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::PACKETS;
use super::cases;
use super::clients::{AT_ONCE, Clients, Order};
use super::programs::{run, xdp};
use crate::table::{Goal, Row, Table};
use crate::turns::median;

/// Measures packets a second of two cores against those of one: data that pass, and hellos that
/// both cores report on the same rings.
pub(super) fn measure(table: &mut Table, rounds: usize) -> anyhow::Result<()> {
    let mut object = load(&ObjectOptions::default())?;
    let program = xdp(&mut object, "tlswhy_xdp")?;
    program.load()?;
    let program = &*program;
    let (before, packet) = cases::established();
    for frame in before {
        run(program, &frame, 1)?;
    }
    add(
        table,
        "full data segment, established, XDP, two cores at once",
        Some(Goal::AtLeast(1.8)),
        rounds,
        |cpus| rate(program, cpus, |_| packet.clone(), PACKETS * 10),
    )?;

    let mut clients = Clients::load(Order::InTurn)?;
    add(
        table,
        "ClientHello, XDP, two cores at once on the same rings",
        None,
        rounds * 4,
        |cpus| {
            // One for each CPU, whichever take part.
            let first_port = clients.begin(2)?;
            let hello = |cpu| cases::hello(first_port + cpu as u16);
            let rate = rate(clients.program()?, cpus, hello, AT_ONCE / 2)?;
            clients.drain();
            Ok(rate)
        },
    )
}

fn add(
    table: &mut Table,
    what: &str,
    goal: Option<Goal>,
    rounds: usize,
    mut measured: impl FnMut(&[usize]) -> anyhow::Result<f64>,
) -> anyhow::Result<()> {
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        alone.push((measured(&[0])? + measured(&[1])?) / 2.0);
        together.push(measured(&[0, 1])?);
    }
    let (alone, together) = (median(&alone), median(&together));
    table.add(Row {
        what: what.to_owned(),
        figure: format!("{together:.2} M packets/s"),
        reference: format!("one core {alone:.2} M packets/s"),
        ratio: Some(together / alone),
        goal,
    });
    Ok(())
}

/// Millions of packets a second of these CPUs together, each with its own packet.
fn rate(
    program: &Xdp,
    cpus: &[usize],
    packet: impl Fn(usize) -> Vec<u8> + Sync,
    repeat: u32,
) -> anyhow::Result<f64> {
    let start = Barrier::new(cpus.len());
    thread::scope(|scope| {
        let threads: Vec<_> = cpus
            .iter()
            .map(|&cpu| {
                let (packet, start) = (&packet, &start);
                scope.spawn(move || -> anyhow::Result<f64> {
                    let packet = packet(cpu);
                    let mut only = CpuSet::new();
                    only.set(cpu)?;
                    sched_setaffinity(Pid::from_raw(0), &only)?;
                    start.wait();
                    run(program, &packet, repeat)
                })
            })
            .collect();
        let mut rate = 0.0;
        for thread in threads {
            rate += 1e3 / thread.join().ok().context("a thread panicked")??;
        }
        Ok(rate)
    })
}
