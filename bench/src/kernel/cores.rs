//! Whether two cores get twice as far as one.

use std::thread;

use anyhow::Context;
use detector_user::tap::object::{ObjectOptions, load};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::cases;
use super::programs::{run, xdp};
use super::{PACKETS, median};
use crate::table::{Goal, Row, Table};

/// Packets a second of two cores against those of one, through one program.
pub(super) fn measure(table: &mut Table, rounds: usize) -> anyhow::Result<()> {
    let mut object = load(&ObjectOptions::default())?;
    let program = xdp(&mut object, "tlswhy_xdp")?;
    program.load()?;
    let program = &*program;
    let (before, packet) = cases::established();
    for frame in before {
        run(program, &frame, 1)?;
    }
    let on = |cpu: usize| -> anyhow::Result<f64> {
        let mut cpus = CpuSet::new();
        cpus.set(cpu)?;
        sched_setaffinity(Pid::from_raw(0), &cpus)?;
        run(program, &packet, PACKETS * 10)
    };
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let rates = |cpus: &[usize]| -> anyhow::Result<f64> {
            thread::scope(|scope| {
                let threads: Vec<_> = cpus
                    .iter()
                    .map(|&cpu| scope.spawn(move || on(cpu)))
                    .collect();
                let mut rate = 0.0;
                for thread in threads {
                    let ns = thread.join().ok().context("a thread panicked")??;
                    rate += 1e3 / ns;
                }
                Ok(rate)
            })
        };
        alone.push((rates(&[0])? + rates(&[1])?) / 2.0);
        together.push(rates(&[0, 1])?);
    }
    let (alone, together) = (median(alone), median(together));
    table.add(Row {
        what: "full data segment, established, XDP, two cores at once".to_owned(),
        figure: format!("{together:.1} M packets/s"),
        reference: format!("one core {alone:.1} M packets/s"),
        ratio: Some(together / alone),
        goal: Some(Goal::AtLeast(1.8)),
    });
    Ok(())
}
