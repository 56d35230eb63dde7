//! Honest resets of one server in the ways of many stacks and paths, each with something that looks forged.

use super::connection::{Honest, from_socket, until, wait};
use crate::rewrite::aftermath::honest_answer;
use crate::rewrite::flow::{Flow, Side};
use crate::rewrite::injector::Moment;
use crate::rewrite::random::Random;
use crate::rewrite::segment::{Segment, flag};
use crate::rewrite::stage::Stage;

/// Returns all styles at a stage.
pub(super) fn all(flow: &Flow, stage: Stage, rtt_ns: u64, random: &mut Random) -> Vec<Honest> {
    let Some(place) = stage.place(flow) else {
        return Vec::new();
    };
    let Some(moment) = Moment::behind(flow, place, Side::Server, wait(flow, place, rtt_ns)) else {
        return Vec::new();
    };
    let mut all: Vec<Honest> = styles(&moment, random)
        .into_iter()
        .map(|(name, note, resets)| honest(stage, name, note, until(flow, place, resets)))
        .collect();
    all.extend(behind_capture_loss(flow, stage, place, &moment));
    all.extend(passes_own_data(flow, stage, place, &moment, rtt_ns));
    all.extend(answers_retransmissions(flow, stage, place, &moment));
    all
}

fn honest(stage: Stage, name: &str, note: &str, flow: Flow) -> Honest {
    Honest {
        name: format!("honest-{name}-{}", stage.name()),
        note: format!("the server resets behind {}: {note}", stage.name()),
        by: Some(Side::Server),
        flow,
    }
}

type Style = (&'static str, &'static str, Vec<Segment>);

fn styles(moment: &Moment, random: &mut Random) -> Vec<Style> {
    let bare = moment.reset(flag::RST | flag::ACK);
    let mut one = |name, note, change: &mut dyn FnMut(&mut Segment, &mut Random)| -> Style {
        let mut reset = bare.clone();
        change(&mut reset, random);
        (name, note, vec![reset])
    };
    let mut all = vec![
        one(
            "bare",
            "no options, window 0, next IP ID",
            &mut |reset, _| {
                reset.ip_id = reset.ip_id.wrapping_add(1).max(1);
            },
        ),
        one(
            "id-zero",
            "no options, window and IP ID 0",
            &mut |reset, _| {
                reset.ip_id = 0;
            },
        ),
        one(
            "global-counter",
            "IP ID of a counter that all its connections share",
            &mut |reset, random| {
                reset.ip_id = reset
                    .ip_id
                    .wrapping_add(random.between(50, 9000) as u16)
                    .max(1);
            },
        ),
        one(
            "random-id",
            "a stack with random IP IDs",
            &mut |reset, random| {
                reset.ip_id = random.u16().max(1);
            },
        ),
        one(
            "no-ack",
            "no ACK flag, acknowledgment 0",
            &mut |reset, _| {
                reset.flags = flag::RST;
                reset.ack = 0;
                reset.ip_id = 0;
            },
        ),
        one(
            "no-ack-field-filled",
            "no ACK flag, but the field is filled",
            &mut |reset, _| {
                reset.flags = flag::RST;
            },
        ),
        one(
            "other-route",
            "the route changed by a hop",
            &mut |reset, random| {
                let longer = random.one_in(2);
                reset.ttl = if longer { reset.ttl - 1 } else { reset.ttl + 1 };
            },
        ),
        one("pushed", "RST,PSH,ACK", &mut |reset, _| {
            reset.flags |= flag::PSH;
        }),
    ];
    // Linux's answer to each of several late segments.
    let repeated = (0..3).map(|index| {
        let mut reset = bare.clone();
        reset.flags = flag::RST;
        reset.ack = 0;
        reset.ip_id = 0;
        reset.time_ns += index * 40_000;
        reset
    });
    all.push(("repeated", "three times the same", repeated.collect()));
    let mut live = from_socket(moment);
    let mut closed = bare.clone();
    closed.flags = flag::RST;
    closed.ack = 0;
    closed.ip_id = 0;
    closed.time_ns += 300_000;
    live.window = 502;
    all.push((
        "live-then-closed",
        "RST,ACK of the socket, then RST of the closed one",
        vec![live, closed],
    ));
    all
}

/// Removes the server's last data, as if the recorder missed them: the reset seems to be ahead.
fn behind_capture_loss(flow: &Flow, stage: Stage, place: usize, moment: &Moment) -> Option<Honest> {
    let last = *flow
        .data_of(Side::Server)
        .iter()
        .rfind(|at| **at <= place)?;
    let acked = flow.last_of(Side::Client, place)?.ack == moment.seq;
    // Not the handshake itself, which would hide more than the reset.
    if stage != Stage::Data || acked {
        return None;
    }
    let mut out = until(flow, place, vec![from_socket(moment)]);
    out.segments.remove(last);
    Some(honest(
        stage,
        "behind-capture-loss",
        "the recorder missed the data before it",
        out,
    ))
}

/// Reorders as a network does: the reset is seen before the last of the server's own data.
fn passes_own_data(
    flow: &Flow,
    stage: Stage,
    place: usize,
    moment: &Moment,
    rtt_ns: u64,
) -> Option<Honest> {
    let data = flow.segments.get(place)?;
    if flow.side(data) != Side::Server || !data.is_data() {
        return None;
    }
    let mut reset = from_socket(moment);
    reset.time_ns = data.time_ns;
    let mut data = data.clone();
    data.time_ns += 60_000;
    // Where it is ahead, the client challenges it (RFC 5961 §3.2); the closed socket answers
    // exactly.
    let client = flow.last_of(Side::Client, place)?;
    let challenge = moment.challenge(client, reset.time_ns + 40_000, data.seq);
    let mut acked = challenge.clone();
    acked.ack = data.end();
    acked.time_ns = data.time_ns + 40_000;
    let answers = [&challenge, &acked].map(|to| {
        let mut answer = honest_answer(to, &moment.like);
        answer.time_ns = to.time_ns + rtt_ns;
        answer
    });
    let tail = [vec![reset, challenge, data, acked], answers.to_vec()].concat();
    let mut out = until(flow, place, tail);
    out.segments.remove(place);
    Some(honest(
        stage,
        "passes-own-data",
        "the network let it pass the server's last data",
        out,
    ))
}

/// Loses the reset behind the recorder: the client retransmits, and is answered again.
fn answers_retransmissions(
    flow: &Flow,
    stage: Stage,
    place: usize,
    moment: &Moment,
) -> Option<Honest> {
    let asked = flow.segments.get(place)?;
    if flow.side(asked) != Side::Client || !asked.is_data() {
        return None;
    }
    let mut tail = vec![from_socket(moment)];
    for round in [1, 3] {
        let mut again = asked.clone();
        again.time_ns = moment.time_ns + round * 250_000_000;
        if again.ip_id != 0 {
            again.ip_id = again.ip_id.wrapping_add(round as u16).max(1);
        }
        let mut answer = honest_answer(&again, &moment.like);
        answer.time_ns = again.time_ns + moment.time_ns.saturating_sub(asked.time_ns);
        tail.extend([again, answer]);
    }
    let note = "lost behind the recorder; the client's retransmissions are answered again";
    Some(honest(
        stage,
        "answers-retransmissions",
        note,
        until(flow, place, tail),
    ))
}
