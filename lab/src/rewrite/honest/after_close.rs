//! Honest resets after all was said: late data, balancers, resets in place of a FIN.

use super::connection::{Honest, from_socket, until};
use crate::rewrite::aftermath::honest_answer;
use crate::rewrite::flow::{Flow, Side};
use crate::rewrite::injector::Moment;
use crate::rewrite::random::Random;
use crate::rewrite::segment::{Segment, flag};

/// Returns the ends of a connection that worked, from the client's first FIN on.
pub(super) fn all(flow: &Flow, random: &mut Random) -> Vec<Honest> {
    let fin = flow
        .segments
        .iter()
        .position(|segment| flow.side(segment) == Side::Client && segment.has(flag::FIN));
    let served = flow.data_of(Side::Server).len() >= 2 && flow.data_of(Side::Client).len() >= 3;
    let reset = |upto| {
        let before = flow.segments.iter().take(upto);
        before.filter(|segment| segment.has(flag::RST)).count() > 0
    };
    match fin {
        Some(fin) if served && !reset(fin) => [
            late_data_answered(flow, fin, random),
            low_answers(flow, fin, random),
            balancer_resets(flow, fin),
            reset_for_fin(flow, fin),
            data_after_close(flow, fin, random),
        ]
        .into_iter()
        .flatten()
        .collect(),
        _ => Vec::new(),
    }
}

fn worked(name: &str, note: &str, flow: Flow) -> Honest {
    Honest {
        name: format!("honest-{name}"),
        note: format!("after a complete exchange: {note}"),
        by: None,
        flow,
    }
}

/// Returns a record of the server's that comes after the client's FIN.
fn late_record(
    flow: &Flow,
    fin: usize,
    len: usize,
    delay_ns: u64,
    random: &mut Random,
) -> Option<Segment> {
    let moment = Moment::behind(flow, fin, Side::Server, delay_ns)?;
    let mut payload = vec![23, 3, 3];
    payload.extend((len as u16).to_be_bytes());
    payload.extend(random.bytes(len));
    let mut segment = Segment {
        time_ns: moment.time_ns,
        seq: moment.seq,
        // It hadn't yet seen the FIN.
        ack: flow.segments.get(fin)?.seq,
        flags: flag::ACK | flag::PSH,
        payload,
        ..moment.like
    };
    if segment.ip_id != 0 {
        segment.ip_id = segment.ip_id.wrapping_add(1).max(1);
    }
    Some(segment)
}

/// Adds several late segments, each answered by the client's closed socket.
fn late_data_answered(flow: &Flow, fin: usize, random: &mut Random) -> Option<Honest> {
    let like = flow.segments.get(fin)?;
    let first = late_record(flow, fin, 250, 400_000, random)?;
    let mut tail = Vec::new();
    for index in 0..3 {
        let mut late = first.clone();
        late.seq = first.seq.wrapping_add(index * first.len());
        late.time_ns += u64::from(index) * 30_000;
        if late.ip_id != 0 {
            late.ip_id = late.ip_id.wrapping_add(index as u16).max(1);
        }
        let mut answer = honest_answer(&late, like);
        answer.time_ns = late.time_ns + 9_000;
        tail.extend([late, answer]);
    }
    Some(worked(
        "late-data",
        "the client's closed socket resets each late segment",
        until(flow, fin, tail),
    ))
}

/// Adds the same, but late segments acknowledge less than the client had sent: the resets lie
/// below.
fn low_answers(flow: &Flow, fin: usize, random: &mut Random) -> Option<Honest> {
    let like = flow.segments.get(fin)?;
    let last = flow
        .data_of(Side::Client)
        .into_iter()
        .rfind(|index| *index <= fin)
        .and_then(|index| flow.segments.get(index))?;
    let mut late = late_record(flow, fin, 240, 300_000, random)?;
    late.ack = last.seq;
    let answer = honest_answer(&late, like);
    let mut second = late_record(flow, fin, 240, 340_000, random)?;
    second.seq = late.end();
    second.ack = last.seq;
    let answer_second = honest_answer(&second, like);
    let mut tail = vec![late, answer, second, answer_second];
    tail.sort_by_key(|segment| segment.time_ns);
    Some(worked(
        "below-expected",
        "resets a few bytes below what was sent, answering session tickets that came too late",
        until(flow, fin, tail),
    ))
}

/// Adds the answers of a load balancer for a server that is done, with a TTL of its own and then
/// the server's.
fn balancer_resets(flow: &Flow, fin: usize) -> Option<Honest> {
    let asked = flow.segments.get(fin)?;
    let moment = Moment::behind(flow, fin, Side::Server, 900_000)?;
    let bye = Segment {
        time_ns: moment.time_ns,
        seq: moment.seq,
        ack: asked.end(),
        flags: flag::FIN | flag::ACK,
        payload: Vec::new(),
        ..moment.like.clone()
    };
    let mut first = moment.reset(flag::RST);
    first.seq = bye.end();
    first.time_ns += 200_000;
    first.ip_id = 0;
    first.ttl = if first.ttl > 64 {
        first.ttl - 64
    } else {
        first.ttl + 64
    };
    let mut second = first.clone();
    second.ttl = moment.like.ttl;
    second.time_ns += 3000;
    Some(worked(
        "balancer",
        "resets behind the server's FIN with two TTLs",
        until(flow, fin, vec![bye, first, second]),
    ))
}

/// Adds RST,ACK in place of the FIN, as clients with unread data end.
fn reset_for_fin(flow: &Flow, fin: usize) -> Option<Honest> {
    let moment = Moment::behind(flow, fin.checked_sub(1)?, Side::Client, 0)?;
    let asked = flow.segments.get(fin)?;
    // Without the data of a FIN.
    if !asked.payload.is_empty() {
        return None;
    }
    let mut reset = from_socket(&moment);
    reset.time_ns = asked.time_ns;
    Some(worked(
        "reset-for-fin",
        "the client resets in place of a FIN",
        until(flow, fin - 1, vec![reset]),
    ))
}

/// Adds the server's close; the client's last data meet a closed socket.
fn data_after_close(flow: &Flow, fin: usize, random: &mut Random) -> Option<Honest> {
    let like = flow.last_of(Side::Server, fin)?;
    let client = Moment::behind(flow, fin.checked_sub(1)?, Side::Client, 200_000)?;
    let bye = Segment {
        time_ns: client.time_ns,
        seq: client.ack,
        ack: client.seq,
        flags: flag::FIN | flag::ACK,
        payload: Vec::new(),
        ..like.clone()
    };
    let mut payload = vec![23, 3, 3, 0, 19];
    payload.extend(random.bytes(19));
    let farewell = Segment {
        time_ns: bye.time_ns + 500_000,
        seq: client.seq,
        ack: bye.end(),
        flags: flag::ACK | flag::PSH,
        payload,
        ..client.like
    };
    let answer = honest_answer(&farewell, like);
    Some(worked(
        "data-after-close",
        "the server's closed socket resets the client's last record",
        until(flow, fin - 1, vec![bye, farewell, answer]),
    ))
}
