//! Captures made of captures: the same truth in other segments, orders and frames; forged and honest resets
//! put into connections that worked; and traffic that isn't TLS at all.
//!
//! In: frames and their label. Out: [`Variant`]s, each with its own label. Everything but [`command`] is
//! a pure function of its input: the same capture gives the same rewrites.

pub mod aftermath;
mod bases;
pub mod command;
pub mod disorder;
pub mod encapsulation;
pub mod flow;
pub mod honest;
pub mod identity;
pub mod injection;
pub mod injector;
pub mod noise;
pub mod prefix;
pub mod random;
pub mod segment;
pub mod segmentation;
pub mod stage;
pub mod talk;
mod truth_keeping;
mod variant;
mod writer;

#[cfg(test)]
mod tests;

pub use variant::Variant;

use crate::capture::{Capture, Frame};
use crate::labels::Label;
use encapsulation::{cooked, pppoe, raw, tagged};
use flow::{Flow, Flows};
use random::Random;
use segmentation::as_on_the_wire;

/// Returns all variants of a base capture that keep its truth, of Ethernet frames.
#[must_use]
pub fn variants(base: &[Frame], truth: &Label) -> Vec<Variant> {
    truth_keeping::all(base, truth)
}

/// Injects forged resets in every whole TLS connection of a capture in which all worked.
#[must_use]
pub fn with_injected_resets(base: &[Frame], truth: &Label) -> Vec<Variant> {
    let mut all = Vec::new();
    for (number, flow) in Flows::of(base).flows.iter().enumerate() {
        let Some((flow, rtt_ns, mut random)) = prepared(flow, "injected", number) else {
            continue;
        };
        let random = &mut random;
        let mut ending = injection::ending(&flow, rtt_ns, random);
        ending.extend(injection::ahead_of_old_stack(&flow, random));
        ending.extend(injection::faster_than_the_path(&flow, random));
        for injected in ending {
            let mut label = truth
                .ending("injected-reset", "middlebox")
                .noted(&injected.note);
            if injected.at_server {
                "server".clone_into(&mut label.stage);
            }
            all.extend(families(&injected.name, injected.flow, &label, random));
        }
        for ignored in injection::ignored(&flow, random) {
            let label = truth.noted(&ignored.note);
            all.extend(families(&ignored.name, ignored.flow, &label, random));
        }
    }
    all
}

/// Larger connections get no resets: hundreds of rewrites of each would say no more than those of small ones.
const RESET_BASE_MAX: usize = 400_000;

/// Sets of hosts that each connection gets for honest resets, which are few by kind but must never be
/// taken for forged ones.
const HONEST_SETS: usize = 3;

/// Adds honest resets to every whole TLS connection of a capture in which all worked.
#[must_use]
pub fn with_honest_resets(base: &[Frame], truth: &Label) -> Vec<Variant> {
    let flows = Flows::of(base);
    let sets = (1..=HONEST_SETS).flat_map(|set| flows.flows.iter().map(move |flow| (set, flow)));
    let mut all = Vec::new();
    for (number, (set, flow)) in sets.enumerate() {
        let Some((flow, rtt_ns, mut random)) = prepared(flow, "honest", number) else {
            continue;
        };
        for honest in honest::all(&flow, rtt_ns, &mut random) {
            let label = match honest.by {
                Some(side) => truth.ending("endpoint-reset", side.name()),
                None => truth.clone(),
            };
            let label = label.noted(&honest.note);
            let name = format!("{}-{set}", honest.name);
            all.extend(families(&name, honest.flow, &label, &mut random));
        }
    }
    all
}

/// Returns a connection as a wire carries it between hosts that aren't the laboratory's, its server
/// some way off.
fn prepared(flow: &Flow, what: &str, number: usize) -> Option<(Flow, u64, Random)> {
    let bytes: usize = flow
        .segments
        .iter()
        .map(|segment| segment.payload.len())
        .sum();
    if !flow.is_whole_tls() || bytes > RESET_BASE_MAX {
        return None;
    }
    let seed = format!(
        "{what} {number} {:?} {:?}",
        flow.client,
        flow.segments.len()
    );
    let mut random = Random::named(&seed);
    let moved = identity::moved(&Flows::only(flow.clone()), &mut random);
    let rtt_ns = random.between(8_000_000, 60_000_000);
    let mut flow = identity::far_away(&as_on_the_wire(moved.flows.first()?), rtt_ns);
    flow.order_times();
    Some((flow, rtt_ns, random))
}

/// Returns a connection over IPv4; one in four also over IPv6, one in six also in other frames.
fn families(name: &str, flow: Flow, label: &Label, random: &mut Random) -> Vec<Variant> {
    let plain = Flows::only(flow.clone()).frames();
    let variant = |suffix: &str, capture| Variant {
        suffix: format!("{name}{suffix}"),
        capture,
        label: label.clone(),
        keeps_connections: false,
    };
    let mut all = vec![variant("", Capture::ethernet(plain.clone()))];
    if random.one_in(4) && flow.client.0.is_ipv4() {
        let frames = Flows::only(identity::as_ipv6(&flow)).frames();
        all.push(variant("-ipv6", Capture::ethernet(frames)));
    }
    if random.one_in(6) {
        let (suffix, capture) = match random.below(5) {
            0 => ("-vlan", Capture::ethernet(tagged(&plain, &[(0x8100, 33)]))),
            1 => {
                let tags = [(0x88a8, 5), (0x8100, 44)];
                ("-qinq", Capture::ethernet(tagged(&plain, &tags)))
            }
            2 => ("-pppoe", Capture::ethernet(pppoe(&plain, 0x0bad))),
            3 => ("-sll", cooked(&plain)),
            _ => ("-raw-ip", raw(&plain)),
        };
        all.push(variant(suffix, capture));
    }
    all
}

/// Returns traffic without a TLS connection.
#[must_use]
pub fn synthetic() -> Vec<Variant> {
    let noise = noise::all().into_iter();
    let noise =
        noise.map(|(name, frames)| Variant::new(name.to_owned(), frames, Label::of("none")));
    noise.collect()
}
