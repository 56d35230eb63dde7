//! A forwarded frame's cost in the kernel: TCP of real sockets through a gateway's taps.
//!
//! `BPF_PROG_TEST_RUN` shows a program one frame again and again, all of it in the linear part of its
//! buffer and in the nearest cache. Here the stack delivers the frames, and `bpf_stats` tells the time in
//! each program. Programs are attached by turns, for a few thousand frames each, so that each difference is
//! one of neighbours in time.

mod candidates;
mod traffic;

use std::time::Duration;

use anyhow::ensure;
use aya::sys::{Stats, enable_stats};
use tests::gateway::Gateway;

use crate::gateway::{inside, joined};
use crate::table::{Goal, Row, Table};
use candidates::{Candidates, Hook, Kinds};
use traffic::{Connection, Frames, Towards};

/// The largest share of the reference.
const SHARE: f64 = 0.5;
/// Time that a program is attached in each round.
const SLOT: Duration = Duration::from_millis(60);

/// Adds the rows.
pub(crate) fn measure(table: &mut Table, quick: bool) -> anyhow::Result<()> {
    let rounds = if quick { 9 } else { 41 };
    let gateway = Gateway::new("wire")?;
    let _stats = enable_stats(Stats::RunTime)?;
    let name = gateway.gateway.name().to_owned();
    let mut candidates = Candidates::load()?;
    for frames in Frames::ALL {
        frames.prepare(&gateway)?;
        for towards in [Towards::Server, Towards::Client] {
            eprintln!("live: {}, {}", frames.name(), towards.name());
            let mut connection = Connection::open(&gateway, frames)?;
            let measuring = inside(&name, move || {
                if frames != Frames::FragmentsPlain {
                    candidates.settle(|| connection.settle())?;
                }
                let traffic = connection.send(towards)?;
                let shares = play(&mut candidates, rounds);
                traffic.stop()?;
                Ok((candidates, shares?))
            });
            let (back, shares) = joined(measuring)?;
            candidates = back;
            for (hook, share) in shares {
                add(table, frames, towards, hook, &share)?;
            }
        }
    }
    Ok(())
}

/// Costs of a frame over the empty program, nanoseconds, one of each round.
#[derive(Default)]
struct Share {
    tlswhy: Vec<f64>,
    reference: Vec<f64>,
    kinds: Kinds,
}

/// Attaches the programs by turns; returns their costs at both hooks.
fn play(candidates: &mut Candidates, rounds: usize) -> anyhow::Result<[(Hook, Share); 2]> {
    let mut shares = Hook::BOTH.map(|hook| (hook, Share::default()));
    let kinds = candidates.count(SLOT)?;
    for ((_, share), kinds) in shares.iter_mut().zip(kinds) {
        share.kinds = kinds;
    }
    for _ in 0..rounds {
        let empty = candidates.empty(SLOT)?;
        let lru = candidates.lru(SLOT)?;
        let tlswhy = candidates.tlswhy(SLOT)?;
        let after = candidates.empty(SLOT)?;
        let slots = empty.into_iter().zip(after).zip(lru).zip(tlswhy);
        for ((_, share), (((empty, after), lru), tlswhy)) in shares.iter_mut().zip(slots) {
            // A hook that saw no frame in a slot, on a busy machine, tells nothing.
            if let (Some(empty), Some(after), Some(lru), Some(tlswhy)) = (empty, after, lru, tlswhy)
            {
                let empty = f64::midpoint(empty, after);
                share.reference.push(lru - empty);
                share.tlswhy.push(tlswhy - empty);
            }
        }
    }
    Ok(shares)
}

fn add(
    table: &mut Table,
    frames: Frames,
    towards: Towards,
    hook: Hook,
    share: &Share,
) -> anyhow::Result<()> {
    // Data arrives by the client's interface on its way to the server, and leaves by it on its way back.
    let data = matches!(
        (towards, hook),
        (Towards::Server, Hook::Ingress) | (Towards::Client, Hook::Egress)
    );
    let kinds = &share.kinds;
    if data {
        ensure!(
            frames.matches(kinds),
            "the stack did not make frames as wanted: {}, {kinds:?}",
            frames.name()
        );
    } else if !frames.acknowledgements() {
        return Ok(());
    }
    let segments = if data { kinds.segments() } else { 1.0 };
    let tlswhy = Quartiles::of(&share.tlswhy, segments);
    let reference = Quartiles::of(&share.reference, segments);
    let per = if segments > 1.5 {
        format!(" a segment, {segments:.1} a frame")
    } else {
        String::new()
    };
    table.add(Row {
        what: format!(
            "live, forwarded: {}, TCX {}",
            if data { frames.name() } else { "bare ACKs" },
            hook.name()
        ),
        figure: format!("{tlswhy} over empty{per}"),
        reference: format!("parse + LRU hit {reference}"),
        ratio: Some(tlswhy.median / reference.median),
        goal: Some(Goal::AtMost(SHARE)),
    });
    Ok(())
}

/// Median and quartiles.
struct Quartiles {
    lower: f64,
    median: f64,
    upper: f64,
}

impl Quartiles {
    fn of(numbers: &[f64], divisor: f64) -> Self {
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |of_four: usize| {
            let place = (sorted.len().saturating_sub(1)) * of_four / 4;
            sorted.get(place).copied().unwrap_or(f64::NAN) / divisor
        };
        Self {
            lower: at(1),
            median: at(2),
            upper: at(3),
        }
    }
}

impl std::fmt::Display for Quartiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:+.1} ns ({:.1} to {:.1})",
            self.median, self.lower, self.upper
        )
    }
}
