//! Forged resets put into connections that worked: those that end it, and those that change nothing.

use super::aftermath::{After, of_reset};
use super::flow::{Flow, Side};
use super::injector::{INJECTORS, Injector, Moment};
use super::random::Random;
use super::segment::{Segment, flag};
use super::stage::{STAGES, Stage};

/// In whose name resets are forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// To the client, in the server's name: the recorder is between client and injector.
    Server,
    /// To the server, in the client's name: the recorder is between injector and server.
    Client,
    /// Both, as a recorder at the injector sees it.
    Both,
}

/// A connection with something put into it.
#[derive(Clone, Debug)]
pub struct Injected {
    /// For the file name.
    pub name: String,
    /// For the label.
    pub note: String,
    /// Whether it was recorded at the server's side.
    pub at_server: bool,
    /// The connection.
    pub flow: Flow,
}

/// Returns all injectors at all stages, of a connection as a wire carries it; where a reset
/// couldn't be told from an honest one by anyone, there is none.
#[must_use]
pub fn ending(flow: &Flow, rtt_ns: u64, random: &mut Random) -> Vec<Injected> {
    let mut all = Vec::new();
    for stage in STAGES {
        let Some(place) = stage.place(flow) else {
            continue;
        };
        for injector in INJECTORS {
            for names in [Names::Server, Names::Client, Names::Both] {
                for after in [After::Answered, After::Unanswered, After::Nothing] {
                    all.extend(one(
                        flow,
                        (stage, place),
                        injector,
                        names,
                        after,
                        rtt_ns,
                        random,
                    ));
                }
            }
        }
    }
    all
}

fn one(
    flow: &Flow,
    (stage, place): (Stage, usize),
    injector: &Injector,
    names: Names,
    after: After,
    rtt_ns: u64,
    random: &mut Random,
) -> Option<Injected> {
    let sides: &[Side] = match names {
        Names::Server => &[Side::Server],
        Names::Client => &[Side::Client],
        Names::Both => &[Side::Server, Side::Client],
    };
    let delay = match stage {
        // Between two segments of one burst.
        Stage::ServerHello | Stage::Data => 300,
        // A box on the way answers in a part of the round trip.
        _ => random.between(20_000, (rtt_ns / 3).max(30_000)),
    };
    // Until then all goes on.
    let time_ns = flow.segments.get(place)?.time_ns + delay;
    let place = flow
        .segments
        .iter()
        .rposition(|segment| segment.time_ns <= time_ns)?;
    let delay = time_ns - flow.segments.get(place)?.time_ns;
    let mut forged = Vec::new();
    for side in sides {
        let moment = Moment::behind(flow, place, *side, delay)?;
        forged.extend((injector.forge)(&moment, random));
    }
    let (rest, spoke) = match names {
        Names::Server => of_reset(flow, place, Side::Client, after),
        Names::Client => of_reset(flow, place, Side::Server, after),
        // Both ends are torn down; a recorder at the injector sees at most the segments in flight.
        Names::Both if after == After::Nothing => (Vec::new(), false),
        Names::Both => return None,
    };
    let tells = injector.tells_alone || spoke;
    // Without anything in flight the kinds of aftermath are one and the same.
    if !tells || after != After::Nothing && rest.is_empty() {
        return None;
    }
    let mut out = flow.clone();
    out.segments.truncate(place + 1);
    merge(&mut out, [forged, rest].concat());
    let whom = match names {
        Names::Server => "as-server",
        Names::Client => "as-client",
        Names::Both => "as-both",
    };
    Some(Injected {
        name: format!(
            "injected-{}-{whom}-{}-{}",
            stage.name(),
            injector.name,
            after.name()
        ),
        note: format!(
            "reset {whom} behind {}: {}; {}",
            stage.name(),
            injector.note,
            after.name()
        ),
        at_server: names == Names::Client,
        flow: out,
    })
}

/// Adds segments by their time; those of an equal time come behind.
fn merge(flow: &mut Flow, added: Vec<Segment>) {
    flow.segments.extend(added);
    flow.segments.sort_by_key(|segment| segment.time_ns);
}

/// Injects a reset the peer obeys though its number is ahead: stacks from before RFC 5961 took any
/// in the window.
#[must_use]
pub fn ahead_of_old_stack(flow: &Flow, random: &mut Random) -> Option<Injected> {
    let place = Stage::ClientHello.place(flow)?;
    let moment = Moment::behind(flow, place, Side::Server, 200_000)?;
    let mut reset = moment.reset(flag::RST);
    reset.seq = reset.seq.wrapping_add(random.between(500, 6000) as u32);
    let (rest, _) = of_reset(flow, place, Side::Client, After::Answered);
    let mut out = flow.clone();
    out.segments.truncate(place + 1);
    merge(&mut out, [vec![reset], rest].concat());
    Some(Injected {
        name: "injected-client-hello-as-server-ahead-old-stack".to_owned(),
        note: "RST ahead within the window, obeyed by a stack from before RFC 5961".to_owned(),
        at_server: false,
        flow: out,
    })
}

/// Injects a reset that acknowledges a ClientHello sent a moment ago, from a server that is
/// milliseconds away. All else is mirrored, and nothing more is let through.
#[must_use]
pub fn faster_than_the_path(flow: &Flow, random: &mut Random) -> Option<Injected> {
    let place = Stage::ClientHello.place(flow)?;
    let delay = random.between(15_000, 200_000);
    let moment = Moment::behind(flow, place, Side::Server, delay)?;
    let mut reset = moment.reset(flag::RST | flag::ACK);
    reset.ip_id = 0;
    let mut out = flow.clone();
    out.segments.truncate(place + 1);
    merge(&mut out, vec![reset]);
    Some(Injected {
        name: "injected-client-hello-as-server-faster-than-path".to_owned(),
        note: "acknowledges the ClientHello long before the server can have it; all else mirrored"
            .to_owned(),
        at_server: false,
        flow: out,
    })
}

/// Resets that the receiver ignores: the connection goes on, and its truth stays.
#[must_use]
pub fn ignored(flow: &Flow, random: &mut Random) -> Vec<Injected> {
    let mut all = Vec::new();
    for stage in [
        Stage::ClientHello,
        Stage::ServerFlight,
        Stage::ClientFinished,
        Stage::Data,
    ] {
        let Some(place) = stage.place(flow) else {
            continue;
        };
        for side in [Side::Server, Side::Client] {
            all.extend(out_of_window(flow, stage, place, side, random));
            all.extend(challenged(flow, stage, place, side, random));
            all.extend(overtaken(flow, stage, place, side));
        }
        all.extend(dies_on_the_way(flow, stage, place));
    }
    all.extend(after_the_end(flow, random));
    all
}

fn with(flow: &Flow, added: Vec<Segment>, name: String, note: &str) -> Injected {
    let mut out = flow.clone();
    merge(&mut out, added);
    Injected {
        name: format!("ignored-{name}"),
        note: format!("forged reset that changes nothing: {note}"),
        at_server: false,
        flow: out,
    }
}

fn out_of_window(
    flow: &Flow,
    stage: Stage,
    place: usize,
    side: Side,
    random: &mut Random,
) -> Option<Injected> {
    let moment = Moment::behind(flow, place, side, 500)?;
    let mut reset = moment.reset(flag::RST);
    reset.seq = reset
        .seq
        .wrapping_add(random.between(1 << 24, 1 << 30) as u32);
    reset.ttl = reset.ttl.saturating_sub(9);
    let name = format!("out-of-window-{}-as-{}", stage.name(), side.name());
    Some(with(flow, vec![reset], name, "far out of the window"))
}

/// Injects a reset in the window but not exact: a challenge ACK, and all goes on (RFC 5961 §3.2).
fn challenged(
    flow: &Flow,
    stage: Stage,
    place: usize,
    side: Side,
    random: &mut Random,
) -> Option<Injected> {
    let moment = Moment::behind(flow, place, side, 500)?;
    let mut reset = moment.reset(flag::RST);
    reset.seq = reset.seq.wrapping_add(random.between(1, 4000) as u32);
    let receiver = flow.last_of(side.other(), place)?;
    let challenge = moment.challenge(receiver, reset.time_ns + 400, moment.seq);
    let name = format!("challenged-{}-as-{}", stage.name(), side.name());
    let note = "in the window but not exact, answered by a challenge ACK (RFC 5961)";
    Some(with(flow, vec![reset, challenge], name, note))
}

/// Comes behind the data it wanted to be before.
fn overtaken(flow: &Flow, stage: Stage, place: usize, side: Side) -> Option<Injected> {
    let moment = Moment::behind(flow, place, side, 0)?;
    let next = flow.segments.iter().enumerate().skip(place + 1);
    let (passed, segment) = next
        .filter(|(_, segment)| flow.side(segment) == side && segment.is_data())
        .map(|(index, segment)| (index, segment.time_ns))
        .next()?;
    let mut reset = moment.reset(flag::RST | flag::ACK);
    reset.time_ns = segment + 500;
    reset.ttl = reset.ttl.saturating_sub(7);
    flow.segments.get(passed)?;
    let name = format!("overtaken-{}-as-{}", stage.name(), side.name());
    Some(with(
        flow,
        vec![reset],
        name,
        "the data it wanted to be before was faster",
    ))
}

/// Injects a reset whose TTL ends before the client.
fn dies_on_the_way(flow: &Flow, stage: Stage, place: usize) -> Option<Injected> {
    let moment = Moment::behind(flow, place, Side::Client, 500)?;
    let mut reset = moment.reset(flag::RST | flag::ACK);
    reset.ttl = 2;
    let name = format!("dies-on-the-way-{}", stage.name());
    Some(with(
        flow,
        vec![reset],
        name,
        "its TTL ends before the server",
    ))
}

fn after_the_end(flow: &Flow, random: &mut Random) -> Option<Injected> {
    let closed = |side| {
        flow.segments
            .iter()
            .any(|segment| flow.side(segment) == side && segment.has(flag::FIN))
    };
    if !closed(Side::Client) || !closed(Side::Server) {
        return None;
    }
    let moment = Moment::behind(flow, flow.segments.len() - 1, Side::Server, 3_000_000)?;
    let mut reset = moment.reset(flag::RST);
    reset.ttl = reset.ttl.saturating_sub(random.between(5, 20) as u8);
    Some(with(
        flow,
        vec![reset],
        "after-the-end".to_owned(),
        "both sides had closed before",
    ))
}
