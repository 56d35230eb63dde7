//! Honest resets put into connections that worked: by a peer in the midst, or after all was said.

use super::aftermath::{After, honest_answer, of_reset};
use super::flow::{Flow, Side};
use super::honest_styles;
use super::injector::Moment;
use super::random::Random;
use super::segment::{Segment, flag};
use super::stage::Stage;

/// A connection that ends in honest resets.
#[derive(Clone, Debug)]
pub struct Honest {
    /// For the file name.
    pub name: String,
    /// For the label.
    pub note: String,
    /// Who reset it; `None` if that came after it had worked.
    pub by: Option<Side>,
    /// The connection.
    pub flow: Flow,
}

/// All of them.
#[must_use]
pub fn all(flow: &Flow, rtt_ns: u64, random: &mut Random) -> Vec<Honest> {
    let mut all = Vec::new();
    for stage in [Stage::ClientHello, Stage::ClientFinished, Stage::Data] {
        all.extend(server_aborts(flow, stage, rtt_ns));
        all.extend(server_forgot(flow, stage, rtt_ns));
        all.extend(server_aborts_again(flow, stage, rtt_ns));
    }
    for stage in [Stage::ClientHello, Stage::ClientFinished, Stage::Data] {
        all.extend(honest_styles::all(flow, stage, rtt_ns, random));
    }
    all.extend(client_gives_up(flow));
    all.extend(client_stops_download(flow));
    all.extend(after_close(flow, random));
    all
}

/// How long after segment `place` the server's reset is seen: what the client sends takes half a round
/// trip there, the reset as long back; what the server sent has that behind it.
pub(super) fn wait(flow: &Flow, place: usize, rtt_ns: u64) -> u64 {
    let asked = flow.segments.get(place).map(|segment| flow.side(segment));
    if asked == Some(Side::Client) {
        rtt_ns
    } else {
        1_000_000
    }
}

pub(super) fn until(flow: &Flow, place: usize, tail: Vec<Segment>) -> Flow {
    let mut out = flow.clone();
    out.segments.truncate(place + 1);
    out.segments.extend(tail);
    out
}

/// A reset from a live socket that closes with unread data: it carries the socket's options, window
/// and next IP ID.
pub(super) fn from_socket(moment: &Moment) -> Segment {
    let mut reset = moment.reset(flag::RST | flag::ACK);
    reset.window = moment.like.window;
    if !moment.like.has(flag::SYN) {
        reset.options.clone_from(&moment.like.options);
    }
    if reset.ip_id != 0 {
        reset.ip_id = reset.ip_id.wrapping_add(1).max(1);
    }
    reset
}

/// The server's own acknowledgment of what it has read so far, before it resets.
fn server_aborts(flow: &Flow, stage: Stage, rtt_ns: u64) -> Option<Honest> {
    let place = stage.place(flow)?;
    let moment = Moment::behind(flow, place, Side::Server, wait(flow, place, rtt_ns))?;
    Some(Honest {
        name: format!("honest-server-aborts-{}", stage.name()),
        note: format!(
            "the server closes its socket with unread data behind {}",
            stage.name()
        ),
        by: Some(Side::Server),
        flow: until(flow, place, vec![from_socket(&moment)]),
    })
}

/// As before, and the client's next data meets a closed socket.
fn server_aborts_again(flow: &Flow, stage: Stage, rtt_ns: u64) -> Option<Honest> {
    let place = stage.place(flow)?;
    let moment = Moment::behind(flow, place, Side::Server, rtt_ns)?;
    let reset = from_socket(&moment);
    let next = flow
        .segments
        .iter()
        .skip(place + 1)
        .find(|segment| flow.side(segment) == Side::Client)?;
    if !next.is_data() || next.ack != moment.seq {
        return None;
    }
    let mut crossing = next.clone();
    crossing.time_ns = reset.time_ns - rtt_ns / 4;
    let mut answer = honest_answer(&crossing, &moment.like);
    answer.time_ns = crossing.time_ns + rtt_ns;
    Some(Honest {
        name: format!("honest-server-aborts-twice-{}", stage.name()),
        note: "the server's reset crosses data, which the closed socket answers again".to_owned(),
        by: Some(Side::Server),
        flow: until(flow, place, vec![crossing, reset, answer]),
    })
}

/// A server that lost its state (restart, failover without it): RST without ACK, IP ID and window 0.
fn server_forgot(flow: &Flow, stage: Stage, rtt_ns: u64) -> Option<Honest> {
    let place = stage.place(flow)?;
    let asked = flow.last_of(Side::Client, place)?;
    let like = flow.last_of(Side::Server, place)?;
    let mut answer = honest_answer(asked, like);
    answer.time_ns = flow.segments.get(place)?.time_ns + rtt_ns;
    let exact = flow.next_seq(Side::Server, place) == Some(answer.seq);
    exact.then(|| Honest {
        name: format!("honest-server-forgot-{}", stage.name()),
        note: format!(
            "the server knows nothing of the connection behind {}",
            stage.name()
        ),
        by: Some(Side::Server),
        flow: until(flow, place, vec![answer]),
    })
}

/// A client that is stopped before the server has answered: its reset, then one for each segment of the
/// server's flight, which was on its way.
fn client_gives_up(flow: &Flow) -> Option<Honest> {
    let place = Stage::ClientHello.place(flow)?;
    let moment = Moment::behind(flow, place, Side::Client, 1_000_000)?;
    let (flight, _) = of_reset(flow, place, Side::Client, After::Answered);
    let tail = [vec![from_socket(&moment)], flight].concat();
    Some(Honest {
        name: "honest-client-gives-up".to_owned(),
        note: "the client resets before the server has answered".to_owned(),
        by: Some(Side::Client),
        flow: until(flow, place, tail),
    })
}

/// A client that wants no more of a download: its reset, then one for each segment in flight.
fn client_stops_download(flow: &Flow) -> Option<Honest> {
    let place = Stage::Data.place(flow)?;
    let moment = Moment::behind(flow, place, Side::Client, 20_000)?;
    let flying = flow.segments.iter().skip(place + 1);
    let flying = flying
        .take_while(|segment| flow.side(segment) == Side::Server || segment.is_empty())
        .filter(|segment| flow.side(segment) == Side::Server && segment.is_data())
        .take(8);
    let mut tail = vec![from_socket(&moment)];
    for segment in flying {
        tail.push(segment.clone());
        tail.push(honest_answer(segment, &moment.like));
    }
    tail.sort_by_key(|segment| segment.time_ns);
    Some(Honest {
        name: "honest-client-stops-download".to_owned(),
        note: "the client resets in the midst of the answer it reads".to_owned(),
        by: Some(Side::Client),
        flow: until(flow, place, tail),
    })
}

/// The ends of a connection that worked, from the client's first FIN on.
fn after_close(flow: &Flow, random: &mut Random) -> Vec<Honest> {
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

/// A record of the server's that comes after the client's FIN.
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

/// Several late segments, each answered by the client's closed socket.
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

/// As before, but what is late acknowledges less than the client had sent: the resets lie below.
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

/// A load balancer answers for a server that is done, with a TTL of its own and then the server's.
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

/// RST,ACK in place of the FIN, as clients with unread data end.
fn reset_for_fin(flow: &Flow, fin: usize) -> Option<Honest> {
    let moment = Moment::behind(flow, fin.checked_sub(1)?, Side::Client, 0)?;
    let asked = flow.segments.get(fin)?;
    // Not what a FIN with data would have carried.
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

/// The server closed too; the client's last data meets a closed socket.
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
