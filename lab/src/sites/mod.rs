//! Generated sites: hosts, apps, names and an interceptor with known truth, and the history's verdicts
//! on their connections.
//!
//! In: seeds. Out: a table by the number of connections that a site had seen. Not here: packets. The
//! judge's output is generated, so that ten thousand sites take minutes; captures are scored by
//! [`score`](crate::score).

pub mod parameters;
pub mod play;
pub mod site;
pub mod tally;

use std::thread;

use xtask::commands::{ArgMatches, value};

use crate::rewrite::random::Random;
use parameters::unit;
use play::Play;
use site::Site;
use tally::Tally;

/// Connections after which verdicts are counted.
const SEEN: [usize; 6] = [10, 30, 100, 300, 1000, 3000];

/// Arguments of `cargo xtask sites`.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    /// Number of sites.
    pub seeds: u64,
    /// Seed of the first.
    pub first: u64,
}

impl Arguments {
    /// Reads them.
    #[must_use]
    pub fn of(arguments: &ArgMatches) -> Self {
        Self {
            seeds: value(arguments, "seeds").unwrap_or(1000),
            first: value(arguments, "first").unwrap_or(1),
        }
    }
}

/// Plays sites and prints the curve.
///
/// # Errors
/// If a site cannot be played.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let curve = curve(arguments.first, arguments.seeds)?;
    println!(
        "{} sites from seed {}; shares in percent, false pinning at 0.8 or more per 10,000 groups",
        arguments.seeds, arguments.first
    );
    println!(
        "    seen   groups   right   wrong    open  pin told   ca told  bad told  calib. false pin  most"
    );
    for (seen, tally) in SEEN.iter().zip(&curve) {
        println!("{seen:>8} {tally}");
    }
    Ok(())
}

/// Plays so many sites on all cores, and returns one tally for each of the numbers of connections.
///
/// # Errors
/// If a site cannot be played.
pub fn curve(first: u64, seeds: u64) -> anyhow::Result<Vec<Tally>> {
    let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
    let parts = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores)
            .map(|core| {
                scope.spawn(move || {
                    let mut curve = vec![Tally::default(); SEEN.len()];
                    for seed in (first + core..first + seeds).step_by(cores as usize) {
                        play(seed, &mut curve)?;
                    }
                    Ok(curve)
                })
            })
            .collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .map(|part| part.unwrap_or_else(|_| Err(anyhow::anyhow!("a site's thread panicked"))))
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    let mut curve = vec![Tally::default(); SEEN.len()];
    for part in parts {
        for (sum, tally) in curve.iter_mut().zip(&part) {
            sum.add(tally);
        }
    }
    Ok(curve)
}

/// Plays the site of a seed. It sees few connections or many, all within a week.
fn play(seed: u64, curve: &mut [Tally]) -> anyhow::Result<()> {
    let mut random = Random::new(seed);
    let site = Site::draw(&mut random);
    let most = SEEN[random.below(SEEN.len())];
    let mut times: Vec<f64> = (0..most).map(|_| unit(&mut random)).collect();
    times.sort_by(f64::total_cmp);
    let mut play = Play::new(Random::new(random.bits()));
    let mut points = SEEN.iter().zip(curve).peekable();
    for (number, when) in times.into_iter().enumerate() {
        if let Some(visit) = site.visit(when, &mut random) {
            play.visit(&site, visit)?;
        }
        if let Some((_, tally)) = points.next_if(|(seen, _)| **seen == number + 1) {
            for group in play.groups.values() {
                tally.count(group.truth, play.said(group));
            }
            let most = play.verdicts.values().map(|(.., count)| *count).max();
            tally.verdicts_most = tally.verdicts_most.max(most.unwrap_or(0));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_curve_each_time() {
        let [one, other] = [0; 2].map(|_| {
            let curve = curve(7, 6).unwrap();
            curve.iter().map(ToString::to_string).collect::<Vec<_>>()
        });
        assert_eq!(one, other);
    }

    #[test]
    fn most_groups_are_told_and_few_wrongly() {
        let mut all = Tally::default();
        for tally in curve(1, 60).unwrap() {
            all.add(&tally);
        }
        assert!(all.verdicts_most <= 3, "{all}");
        assert!(all.right > 8 * all.wrong, "{all}");
    }
}
