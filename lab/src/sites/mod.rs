//! Generated sites: hosts, apps, names and an interceptor with known truth, and the history's verdicts
//! on their connections.
//!
//! In: seeds. Out: a table by the number of connections that a site had seen. Not here: packets. The
//! judge's output is generated, so that ten thousand sites take minutes; captures are scored by
//! [`score`](crate::score).

pub mod observer;
pub mod parameters;
pub mod play;
pub mod site;
pub mod tally;

use std::thread;

use xtask::commands::{ArgMatches, value};

use crate::rewrite::random::Random;
use observer::{Knowledge, posterior};
use parameters::unit;
use play::Play;
use site::Site;
use tally::Tally;

/// Connections after which verdicts are counted.
const SEEN: [usize; 6] = [10, 30, 100, 300, 1000, 3000];
/// Posterior from which on the ideal observer tells a cause.
const DECIDES: f64 = 0.7;

/// Arguments of `cargo xtask sites`.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    /// Number of sites.
    pub seeds: u64,
    /// Seed of the first.
    pub first: u64,
    /// Whether the ideal observer looks on.
    pub observer: bool,
}

impl Arguments {
    /// Reads them.
    #[must_use]
    pub fn of(arguments: &ArgMatches) -> Self {
        Self {
            seeds: value(arguments, "seeds").unwrap_or(1000),
            first: value(arguments, "first").unwrap_or(1),
            observer: arguments.get_flag("observer"),
        }
    }
}

/// Plays sites and prints the curve.
///
/// # Errors
/// If a site cannot be played.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let curve = curve(arguments)?;
    println!(
        "{} sites from seed {}; shares in percent, false pinning at 0.8 or more per 10,000 groups",
        arguments.seeds, arguments.first
    );
    print(&curve, |point| &point.history);
    if arguments.observer {
        println!("the ideal observer's:");
        print(&curve, |point| &point.observer);
        println!("an observer's with no more knowledge than a judge:");
        print(&curve, |point| &point.like_a_judge);
    }
    Ok(())
}

fn print(curve: &[Point], tally: impl Fn(&Point) -> &Tally) {
    println!(
        "    seen   groups   right   wrong    open  pin told   ca told  bad told  calib. false pin  most"
    );
    for (seen, point) in SEEN.iter().zip(curve) {
        println!("{seen:>8} {}", tally(point));
    }
}

/// Tallies after so many connections.
#[derive(Clone, Debug, Default)]
pub struct Point {
    /// Of the history's verdicts.
    pub history: Tally,
    /// Of the ideal observer's.
    pub observer: Tally,
    /// Of the same with a judge's knowledge.
    pub like_a_judge: Tally,
}

/// Plays so many sites on all cores, and returns one point for each of the numbers of connections.
///
/// # Errors
/// If a site cannot be played.
pub fn curve(arguments: &Arguments) -> anyhow::Result<Vec<Point>> {
    let Arguments { seeds, first, .. } = *arguments;
    let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
    let parts = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores)
            .map(|core| {
                scope.spawn(move || {
                    let mut curve = vec![Point::default(); SEEN.len()];
                    for seed in (first + core..first + seeds).step_by(cores as usize) {
                        play(seed, &mut curve, arguments.observer)?;
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
    let mut curve = vec![Point::default(); SEEN.len()];
    for part in parts {
        for (sum, point) in curve.iter_mut().zip(&part) {
            sum.history.add(&point.history);
            sum.observer.add(&point.observer);
            sum.like_a_judge.add(&point.like_a_judge);
        }
    }
    Ok(curve)
}

/// Plays the site of a seed. It sees few connections or many, all within a week.
fn play(seed: u64, curve: &mut [Point], observer: bool) -> anyhow::Result<()> {
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
        if let Some((_, point)) = points.next_if(|(seen, _)| **seen == number + 1) {
            let tally = &mut point.history;
            for group in play.groups.values() {
                tally.count(group.truth, play.said(group));
            }
            let most = play.verdicts.values().map(|(.., count)| *count).max();
            tally.verdicts_most = tally.verdicts_most.max(most.unwrap_or(0));
            if observer {
                let observed = [
                    (Knowledge::OfTheSite, &mut point.observer),
                    (Knowledge::OfAJudge, &mut point.like_a_judge),
                ];
                for (knowledge, tally) in observed {
                    observe(&site, &play, seed, knowledge, tally);
                }
            }
        }
    }
    Ok(())
}

/// Counts the ideal observer's word on each group, told from the same share on as the history's.
fn observe(site: &Site, play: &Play, seed: u64, knowledge: Knowledge, tally: &mut Tally) {
    let shares = posterior(site, &play.seen, knowledge, &mut Random::new(seed));
    for (key, group) in &play.groups {
        let shares = shares.get(key).copied().into_iter().flatten();
        let most = shares.max_by(|(_, a), (_, b)| a.total_cmp(b));
        tally.count(group.truth, most.filter(|(_, share)| *share >= DECIDES));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites(first: u64, seeds: u64) -> Arguments {
        Arguments {
            seeds,
            first,
            observer: false,
        }
    }

    #[test]
    fn a_seed_gives_the_same_curve_each_time() {
        let [one, other] = [0; 2].map(|_| {
            let curve = curve(&sites(7, 6)).unwrap();
            let tallies = curve.iter().map(|point| &point.history);
            tallies.map(ToString::to_string).collect::<Vec<_>>()
        });
        assert_eq!(one, other);
    }

    #[test]
    fn most_groups_are_told_and_few_wrongly() {
        let mut all = Tally::default();
        for point in curve(&sites(1, 60)).unwrap() {
            all.add(&point.history);
        }
        assert!(all.verdicts_most <= 3, "{all}");
        assert!(all.right > 8 * all.wrong, "{all}");
    }
}
