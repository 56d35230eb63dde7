//! Forged and honest resets in a connection that worked.

use super::{all_said, assert_checksums, success, success_flow, unwrapped};
use crate::labels::Label;
use crate::rewrite::aftermath::honest_answer;
use crate::rewrite::flow::{Flows, Side};
use crate::rewrite::segment::flag;
use crate::rewrite::{with_honest_resets, with_injected_resets};

#[test]
fn whom_a_forged_reset_hit_says_nothing_but_resets() {
    let truth = Label::of("established");
    let all = with_injected_resets(&success(), &truth);
    let ending = all
        .iter()
        .filter(|variant| variant.label.cause == "injected-reset");
    let mut seen = 0;
    for variant in ending {
        assert_eq!(variant.label.ended_by, "middlebox");
        let frames = unwrapped(&variant.capture);
        assert_checksums(&frames, &variant.suffix);
        let flow = Flows::of(&frames).flows.remove(0);
        let first = flow.segments.iter().position(|s| s.has(flag::RST)).unwrap();
        let hit = flow.side(&flow.segments[first]).other();
        let later = flow.segments[first..].iter();
        let mut spoke = later.filter(|s| flow.side(s) == hit && !s.has(flag::RST));
        assert!(spoke.next().is_none(), "{}", variant.suffix);
        seen += 1;
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn a_forged_reset_differs_from_an_honest_one_or_is_outlived() {
    for variant in with_injected_resets(&success(), &Label::of("established")) {
        if !variant.suffix.contains("-mirrored") {
            continue;
        }
        let flow = Flows::of(&unwrapped(&variant.capture)).flows.remove(0);
        let first = flow.segments.iter().position(|s| s.has(flag::RST)).unwrap();
        let name = flow.side(&flow.segments[first]);
        let later = flow.segments[first + 1..].iter();
        let mut data = later.filter(|s| flow.side(s) == name && s.is_data());
        assert!(
            data.next().is_some(),
            "{}: nobody could tell",
            variant.suffix
        );
    }
}

#[test]
fn closed_sockets_answer_as_rfc_9293_says() {
    let flow = success_flow();
    let asked = flow.segments[flow.data_of(Side::Client)[0]].clone();
    let like = flow.last_of(Side::Server, 3).unwrap();
    let answer = honest_answer(&asked, like);
    assert_eq!((answer.seq, answer.flags), (asked.ack, flag::RST));
    let mut syn = asked;
    syn.flags = flag::SYN;
    let answer = honest_answer(&syn, like);
    assert_eq!((answer.seq, answer.ack), (0, syn.end()));
    assert_eq!(answer.flags, flag::RST | flag::ACK);
}

#[test]
fn ignored_resets_leave_the_connection_whole() {
    let all = with_injected_resets(&success(), &Label::of("established"));
    let ignored: Vec<_> = all
        .iter()
        .filter(|v| v.suffix.starts_with("ignored"))
        .collect();
    assert!(ignored.len() > 10);
    let expected = all_said(&Flows::of(&success()));
    for variant in ignored {
        let flows = Flows::of(&unwrapped(&variant.capture));
        assert_eq!(all_said(&flows), expected, "{}", variant.suffix);
        assert_eq!(variant.label.cause, "established");
    }
}

#[test]
fn honest_resets_have_the_senders_ttl_but_for_balancers_and_routes() {
    let all = with_honest_resets(&success(), &Label::of("established"));
    let causes: Vec<&str> = all.iter().map(|v| v.label.cause.as_str()).collect();
    assert!(causes.contains(&"endpoint-reset") && causes.contains(&"established"));
    for variant in &all {
        let frames = unwrapped(&variant.capture);
        assert_checksums(&frames, &variant.suffix);
        let flow = Flows::of(&frames).flows.remove(0);
        if variant.suffix.contains("balancer") || variant.suffix.contains("other-route") {
            continue;
        }
        for side in [Side::Client, Side::Server] {
            let own = flow.segments.iter().filter(|s| flow.side(s) == side);
            let mut ttls: Vec<u8> = own.map(|s| s.ttl).collect();
            ttls.dedup();
            assert_eq!(ttls.len(), 1, "{}", variant.suffix);
        }
    }
}
