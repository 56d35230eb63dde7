//! Honest resets in the midst of a connection: by a server that aborts or forgot, by a client that stops.

use super::connection::{Honest, from_socket, until, wait};
use crate::rewrite::aftermath::{After, honest_answer, of_reset};
use crate::rewrite::flow::{Flow, Side};
use crate::rewrite::injector::Moment;
use crate::rewrite::stage::Stage;

/// Adds the server's acknowledgment of the bytes it has read so far, and its reset.
pub(super) fn server_aborts(flow: &Flow, stage: Stage, rtt_ns: u64) -> Option<Honest> {
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

/// Adds the same, after which the client's next data meet a closed socket.
pub(super) fn server_aborts_again(flow: &Flow, stage: Stage, rtt_ns: u64) -> Option<Honest> {
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

/// Adds the reset of a server that lost its state (restart, failover without it): RST without ACK,
/// IP ID and window 0.
pub(super) fn server_forgot(flow: &Flow, stage: Stage, rtt_ns: u64) -> Option<Honest> {
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

/// Adds the end by a client that is stopped before the server has answered: its reset, then one for
/// each segment of the server's flight, which was on its way.
pub(super) fn client_gives_up(flow: &Flow) -> Option<Honest> {
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

/// Adds the end by a client that wants no more of a download: its reset, then one for each segment
/// in flight.
pub(super) fn client_stops_download(flow: &Flow) -> Option<Honest> {
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
