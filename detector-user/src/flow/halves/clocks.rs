//! The offset between two gateways' clocks, by TCP's own numbers.
//!
//! A segment that acknowledges bytes passes later than they did. So each acknowledgement of one half bounds the offset
//! by the times of the other's bytes: from below where the server acknowledges the client, from above where the client
//! acknowledges the server. No clock is trusted.

use detector_common::flow::Sender;
use detector_common::headers::tcp_flags;
use detector_common::observation::Observation;
use detector_common::record::HEAD_MAX;
use detector_common::syn::Syn;

use super::Half;
use super::direction::Direction;

/// Distance from a bound where there is no other, nanoseconds.
const NEAR_NS: i64 = 1_000;
/// Maximum distance of an acknowledgement from the bytes that it is about.
const WINDOW_MAX: u32 = 1 << 30;

/// Sequence numbers after bytes, and when they passed.
type Sent = Vec<(u32, u64)>;

/// Returns the nanoseconds to add to the server's times, so that no byte is acknowledged before it was sent: the middle
/// between both bounds, or next to the only one. `None` if nothing bounds it.
pub(super) fn offset_ns(client: &Half, server: &Half) -> Option<i64> {
    let answered = syn(client).filter(|syn| syn.count == 1).zip(syn(server));
    let answered =
        answered.map(|(syn, answer)| syn.time_ns.wrapping_sub(answer.time_ns).cast_signed());
    let lowest = acknowledged_after(client, server).chain(answered).max();
    let highest = acknowledged_after(server, client).map(|it| -it).min();
    match (lowest, highest) {
        (Some(low), Some(high)) => Some(low.midpoint(high)),
        (Some(low), None) => Some(low.saturating_add(NEAR_NS)),
        (None, Some(high)) => Some(high.saturating_sub(NEAR_NS)),
        (None, None) => None,
    }
}

/// Returns, of each acknowledgement by `by` of bytes of `of`, the time of the bytes less that of the acknowledgement,
/// each on its own clock.
fn acknowledged_after(of: &Half, by: &Half) -> impl Iterator<Item = i64> {
    let (sent, acknowledged) = (sent(of), acknowledgements(by, of));
    acknowledged.into_iter().flat_map(move |(ack, acked_ns)| {
        let covered: Vec<i64> = sent
            .iter()
            .filter(|(end, _)| ack.wrapping_sub(*end) <= WINDOW_MAX)
            .map(|(_, sent_ns)| sent_ns.wrapping_sub(acked_ns).cast_signed())
            .collect();
        covered
    })
}

/// Returns what a half sent, by its SYN, its records' headers and its segments with payload. What a reset carries may
/// be a guess.
fn sent(half: &Half) -> Sent {
    let direction = Direction::new(half, 0);
    let records = direction.records().into_iter();
    let headers = records.filter_map(|it| Some((it.seq?.wrapping_add(HEAD_MAX), it.time_ns)));
    let segments = half.observations.iter().filter_map(|it| {
        let measured = &it.measured;
        let fin = u32::from(measured.flags & tcp_flags::FIN != 0);
        let len = measured.payload_len.saturating_add(fin);
        let is_sent = len > 0 && is_own(it, half.side);
        is_sent.then(|| (measured.seq.wrapping_add(len), it.time_ns))
    });
    let mut sent: Sent = headers.chain(segments).collect();
    let syn = syn(half).filter(|syn| syn.count == 1);
    sent.extend(syn.map(|syn| (syn.next_seq, syn.time_ns)));
    sent
}

/// Returns what a half acknowledged of the other, and when; of resets only what was sent.
fn acknowledgements(half: &Half, of: &Half) -> Sent {
    let numbers = of.observations.last().map(|last| {
        let [client, server] = &last.watched.flow.sides;
        let side = if of.side == Sender::Client {
            client
        } else {
            server
        };
        (side.start_seq, side.next_seq)
    });
    let was_sent = |ack: u32| {
        numbers.is_some_and(|(start, end)| ack.wrapping_sub(start) <= end.wrapping_sub(start))
    };
    let segments = half.observations.iter().filter(|it| {
        let is_ack = it.sender == half.side as u8 && it.measured.flags & tcp_flags::ACK != 0;
        is_ack && (is_own(it, half.side) || was_sent(it.measured.ack))
    });
    segments.map(|it| (it.measured.ack, it.time_ns)).collect()
}

fn is_own(observation: &Observation, side: Sender) -> bool {
    observation.sender == side as u8 && observation.measured.flags & tcp_flags::RST == 0
}

fn syn(half: &Half) -> Option<&Syn> {
    let first = half.observations.first()?;
    let [client, server] = &first.watched.flow.syns;
    let syn = match half.side {
        Sender::Client => client,
        Sender::Server => server,
    };
    syn.was_seen().then_some(syn)
}
