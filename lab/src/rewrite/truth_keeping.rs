//! Rewrites after which the same is true as before.

use super::disorder::{
    duplicated, late_retransmission, lost_before, lost_behind, missed, one_direction, reordered,
};
use super::encapsulation::{
    Extension, cooked, cooked2, cut_short, extended, padded, pppoe, raw, tagged,
};
use super::flow::{Flow, Flows, Side};
use super::identity;
use super::identity::{as_ipv6, far_away, moved, stretched, wrapping};
use super::prefix::{CONNECT, STARTTLS, behind};
use super::random::Random;
use super::segmentation::{as_on_the_wire, coalesced, cut, tiny};
use super::variant::Variant;
use crate::capture::{Capture, Format, Frame};
use crate::labels::Label;

/// Larger captures get few rewrites, none of which has more segments than a wire would carry.
const LARGE: usize = 4_000_000;
const DAY_NS: u64 = 86_400_000_000_000;

/// Returns all of them; those that would change nothing of this base are left out.
pub(super) fn all(base: &[Frame], truth: &Label) -> Vec<Variant> {
    let seed = base.iter().map(|frame| frame.bytes.len()).sum::<usize>();
    let mut random = Random::named(&format!("{seed} {}", base.len()));
    let flows = Flows::of(base);
    let wire = flows.map(as_on_the_wire);
    let mut list = List {
        truth,
        variants: Vec::new(),
    };
    if base.iter().map(|frame| frame.bytes.len()).sum::<usize>() > LARGE {
        large(&mut list, &flows, &wire, &mut random);
    } else {
        segments(&mut list, &flows, &wire, &mut random);
        disorder(&mut list, &wire, &mut random);
        hosts_and_times(&mut list, &flows, &wire, &mut random);
        links(&mut list, &flows, &wire, &mut random);
        list.flows(
            "behind-connect",
            &wire.map(|flow| behind(flow, CONNECT, 3128)),
        );
        list.flows(
            "behind-starttls",
            &wire.map(|flow| behind(flow, STARTTLS, 587)),
        );
        if truth.cause == "established" {
            degrading(&mut list, &flows, &wire, &mut random);
        }
    }
    let before = flows.frames();
    list.variants.retain(|variant| {
        variant.capture.frames != before || variant.capture.format != Format::Pcap
    });
    list.variants
}

struct List<'a> {
    truth: &'a Label,
    variants: Vec<Variant>,
}

impl List<'_> {
    fn frames(&mut self, suffix: &str, frames: Vec<Frame>) {
        self.capture(suffix, Capture::ethernet(frames));
    }

    fn capture(&mut self, suffix: &str, capture: Capture) {
        self.variants.push(Variant {
            suffix: suffix.to_owned(),
            capture,
            label: self.truth.noted(suffix),
            keeps_connections: true,
        });
    }

    fn flows(&mut self, suffix: &str, flows: &Flows) {
        self.frames(suffix, flows.frames());
    }
}

fn segments(list: &mut List, flows: &Flows, wire: &Flows, random: &mut Random) {
    list.flows("wire-segments", wire);
    list.flows("tiny-segments", &flows.map(|flow| tiny(flow, random)));
    list.flows(
        "hundred-byte-segments",
        &flows.map(|flow| cut(flow, || 100)),
    );
    list.flows("one-byte-segments", &flows.map(one_byte_handshake));
    list.flows(
        "mixed-segments",
        &flows.map(|flow| cut(flow, || random.between(1, 1448) as usize)),
    );
    list.flows("coalesced", &flows.map(coalesced));
}

/// Cuts into single bytes as long as that doesn't make a flood of a download.
fn one_byte_handshake(flow: &Flow) -> Flow {
    let mut bytes = 0;
    cut(flow, || {
        bytes += 1;
        if bytes < 6000 { 1 } else { 1448 }
    })
}

fn disorder(list: &mut List, wire: &Flows, random: &mut Random) {
    for window in [3, 5] {
        let reordered = wire.map(|flow| reordered(flow, window, random));
        list.flows(&format!("reordered-{window}"), &reordered);
    }
    let small = wire.map(|flow| cut(flow, || 300));
    list.flows(
        "reordered-small",
        &small.map(|flow| reordered(flow, 4, random)),
    );
    list.flows("duplicated", &wire.map(|flow| duplicated(flow, random)));
    list.flows("late-retransmission", &wire.map(late_retransmission));
    list.flows(
        "lost-before-tap",
        &small.map(|flow| lost_before(flow, random)),
    );
    list.flows(
        "lost-behind-tap",
        &wire.map(|flow| lost_behind(flow, random)),
    );
    capture_loss(list, wire, random);
}

fn capture_loss(list: &mut List, wire: &Flows, random: &mut Random) {
    let mut any = false;
    let gaps = wire.map(|flow| match missed(flow, random) {
        Some(missed) => {
            any = true;
            missed
        }
        None => flow.clone(),
    });
    if any {
        list.flows("capture-loss", &gaps);
    }
}

fn large(list: &mut List, flows: &Flows, wire: &Flows, random: &mut Random) {
    list.flows("coalesced", &flows.map(coalesced));
    list.flows("reordered-3", &wire.map(|flow| reordered(flow, 3, random)));
    list.flows(
        "lost-behind-tap",
        &wire.map(|flow| lost_behind(flow, random)),
    );
    capture_loss(list, wire, random);
}

fn hosts_and_times(list: &mut List, flows: &Flows, wire: &Flows, random: &mut Random) {
    for number in 1..=2 {
        list.flows(&format!("other-hosts-{number}"), &moved(wire, random));
    }
    let far = wire.map(|flow| far_away(flow, random.between(5_000_000, 90_000_000)));
    list.flows("far-away", &moved(&far, random));
    list.flows(
        "satellite",
        &moved(&wire.map(|flow| far_away(flow, 600_000_000)), random),
    );
    list.flows("sequence-wrap", &wire.map(wrapping));
    list.flows("slow", &stretched(flows, (10, 1), 3 * DAY_NS));
    list.flows("fast", &stretched(flows, (1, 10), 40 * DAY_NS));
}

fn links(list: &mut List, flows: &Flows, wire: &Flows, random: &mut Random) {
    let frames = flows.frames();
    let on_wire = wire.frames();
    list.frames("vlan", tagged(&frames, &[(0x8100, 0x2000 | 117)]));
    list.frames("qinq", tagged(&frames, &[(0x88a8, 40), (0x8100, 1200)]));
    list.frames("qinq-9100", tagged(&frames, &[(0x9100, 7), (0x8100, 8)]));
    list.frames(
        "pppoe",
        pppoe(&wire.map(|flow| cut(flow, || 1420)).frames(), 0x1a2b),
    );
    list.frames("vlan-pppoe", tagged(&pppoe(&on_wire, 9), &[(0x8100, 7)]));
    list.frames("padded", padded(&on_wire, random));
    let six = wire.map(as_ipv6).frames();
    for (suffix, extension) in [
        ("ipv6-hop-by-hop", Extension::HopByHop),
        ("ipv6-destination-options", Extension::Destination),
        ("ipv6-two-extensions", Extension::Both),
    ] {
        list.frames(suffix, extended(&six, extension));
    }
    list.frames("vlan-ipv6", tagged(&six, &[(0x8100, 300)]));
    list.frames("pppoe-ipv6", pppoe(&six, 77));
    list.frames("ipv6", six);
    list.capture("raw-ip", raw(&frames));
    list.capture("sll", cooked(&frames));
    list.capture("sll2", cooked2(&frames));
    let written = |format| Capture {
        format,
        ..Capture::ethernet(frames.clone())
    };
    list.capture("pcapng-nanoseconds", written(Format::PcapNg));
    list.capture(
        "pcap-big-endian-nanoseconds",
        written(Format::PcapNanosBigEndian),
    );
    let tiny_six = flows.map(|flow| identity::as_ipv6(&tiny(flow, random)));
    list.frames(
        "qinq-ipv6-tiny",
        tagged(&tiny_six.frames(), &[(0x88a8, 5), (0x8100, 6)]),
    );
}

/// Rewrites that hide so much that only success stays true: it must not be called a failure.
fn degrading(list: &mut List, flows: &Flows, wire: &Flows, random: &mut Random) {
    for length in [96, 128, 256] {
        list.frames(
            &format!("snaplen-{length}"),
            cut_short(&flows.frames(), length),
        );
    }
    list.flows(
        "client-only",
        &wire.map(|flow| one_direction(flow, Side::Client)),
    );
    list.flows(
        "server-only",
        &wire.map(|flow| one_direction(flow, Side::Server)),
    );
    let both = wire.map(|flow| lost_behind(&reordered(flow, 3, random), random));
    list.flows(
        "lossy-and-reordered",
        &both.map(|flow| duplicated(flow, random)),
    );
}
