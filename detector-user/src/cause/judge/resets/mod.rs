//! The author of a reset: its tells against the flow it claims to belong to.
//!
//! The tells and their weights: Weaver, Sommer, Paxson, "Detecting Forged TCP Reset Packets" (NDSS
//! 2009); RFC 5961; and a count over public captures, in which a zero window, a missing ACK flag or an
//! odd IP ID say next to nothing by themselves.

mod other_segments;
mod place;
mod round_trip;
mod tell;

use detector_common::flow::{Sender, Side, side_flags};
use detector_common::headers::tcp_flags;
use detector_common::observation::baseline;
use detector_common::record::ALERT;

use self::other_segments::Baseline;
pub use self::place::{Distance, Stage};
pub use self::tell::Tell;
use crate::flow::timeline::{Close, CloseKind, Timeline};
use crate::verdict::Party;

/// Injected at this score or above.
const INJECTED: f64 = 2.0;
/// TTL differences below this come of routes that change.
const TTL_DISTANCE: u8 = 3;
/// Segments that were on their way may arrive behind the reset.
const STILL_ON_ITS_WAY_NS: u64 = 2_000_000;

/// Facts about the resets of a flow together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResetFacts<'a> {
    /// The side in whose name the most telling reset was sent.
    pub in_name_of: Option<Sender>,
    /// Tells of that side's resets.
    pub tells: Vec<Tell<'a>>,
    /// Whether the side it names had said farewell before: by an alert or FIN of its own.
    pub after_farewell: bool,
    /// Whether other segments of that side were seen, so that there is something to compare with.
    pub comparable: bool,
    /// Distance of its maker, by the first reset's TTL.
    pub distance: Option<Distance>,
    /// Progress of the connection by then.
    pub stage: Stage,
    /// Whether the first reset was seen as it left this host.
    pub at_egress: bool,
}

impl ResetFacts<'_> {
    /// Whether there was a reset at all.
    pub const fn any(&self) -> bool {
        self.in_name_of.is_some()
    }

    /// Returns the sum of the tells' weights.
    pub fn score(&self) -> f64 {
        self.tells.iter().map(Tell::weight).sum()
    }

    /// Returns the sender of an injected one: this gateway, if it was made between its taps, or left it
    /// with a TTL that no router has lowered, not this one either.
    pub fn injector(&self) -> Party {
        let made_here = |tell: &Tell<'_>| match tell {
            Tell::NeverArrived { .. } => true,
            Tell::Ttl { ttl, seen } => self.at_egress && is_initial(*ttl) && !is_initial(seen.1),
            _ => false,
        };
        if self.tells.iter().any(made_here) {
            Party::Gateway
        } else {
            Party::Middlebox
        }
    }

    /// Whether it came sooner than its alleged sender can answer.
    pub fn too_soon(&self) -> bool {
        let is_too_soon = |tell: &Tell<'_>| matches!(tell, Tell::TooSoon { .. });
        self.tells.iter().any(is_too_soon)
    }

    /// Whether a third party sent it.
    pub fn injected(&self) -> bool {
        self.any() && self.score() >= INJECTED
    }
}

/// Reads every reset of a connection, also where another tap saw it; of resets in both sides' names
/// the more telling count.
pub fn resets<'a>(here: &'a Timeline, elsewhere: Option<&'a Timeline>) -> ResetFacts<'a> {
    let Some(there) = elsewhere else {
        return of_leg(here, None);
    };
    let (here, there) = (of_leg(here, Some(there)), of_leg(there, Some(here)));
    if there.score() > here.score() {
        there
    } else {
        here
    }
}

/// Returns the resets of one leg; `other` is the same connection seen at another tap.
fn of_leg<'a>(timeline: &'a Timeline, other: Option<&'a Timeline>) -> ResetFacts<'a> {
    let [client, server] =
        [Sender::Client, Sender::Server].map(|side| of_side(timeline, other, side));
    match (client, server) {
        (Some(client), Some(server)) if server.score() >= client.score() => server,
        (Some(client), _) => client,
        (None, Some(server)) => server,
        (None, None) => ResetFacts::default(),
    }
}

fn of_side<'a>(
    timeline: &'a Timeline,
    other: Option<&'a Timeline>,
    sender: Sender,
) -> Option<ResetFacts<'a>> {
    let resets: Vec<&Close> = timeline
        .closes
        .iter()
        .filter(|close| close.kind == CloseKind::Reset && close.sender == sender)
        .collect();
    let first = resets.first()?;
    let fin_before = |by: Option<Sender>| {
        timeline.closes.iter().any(|close| {
            close.kind == CloseKind::Fin
                && by.is_none_or(|by| close.sender == by)
                && close.time_ns <= first.time_ns
        })
    };
    let baseline = Baseline::of(timeline, sender);
    let too_soon = round_trip::too_soon(timeline, first);
    let mut tells = Vec::new();
    tells.extend(ttl(first, baseline, fin_before(None), too_soon.is_some()));
    tells.extend(sequence(first, timeline));
    tells.extend(acknowledgement(first));
    tells.extend(payload(timeline, first));
    tells.extend(sequence_change(&resets));
    tells.extend(ttls_differ(
        &resets,
        timeline.side(sender),
        fin_before(None),
    ));
    if let Some(tell) = unknown_socket(timeline, sender, first) {
        tells.push(tell);
        tells.extend(forged_before(timeline));
    }
    tells.extend(speaks_on(timeline, sender, first));
    tells.extend(mac(first, baseline));
    tells.extend(too_soon);
    tells.extend(never_arrived(timeline, other, sender));
    // By themselves these are as frequent among honest resets.
    if !tells.is_empty() {
        tells.extend(ip_id(first, baseline));
        let told = tells.iter().any(|tell| matches!(tell, Tell::UnknownSocket));
        tells.extend(no_ack(first).filter(|_| !told));
    }
    Some(ResetFacts {
        in_name_of: Some(sender),
        tells,
        after_farewell: fin_before(Some(sender)) || said_farewell(timeline, sender, first),
        comparable: baseline.is_some(),
        distance: Some(Distance {
            ttl: first.measured.ttl,
            own: baseline.map(|baseline| baseline.ttl_max),
            named: sender,
        }),
        stage: Stage::of(timeline, first),
        at_egress: first.egress,
    })
}

fn said_farewell(timeline: &Timeline, sender: Sender, reset: &Close) -> bool {
    let reset_us = timeline.micros_until(reset.time_ns);
    timeline
        .records_of(sender)
        .any(|record| record.content_type == ALERT && u64::from(record.at_us) <= reset_us)
}

/// Finds a TTL never seen in that direction. After a FIN it means nothing: a load balancer often
/// answers for a server that is done.
fn ttl(
    reset: &Close,
    baseline: Option<Baseline>,
    had_fin: bool,
    too_soon: bool,
) -> Option<Tell<'static>> {
    let baseline = baseline.filter(|_| !had_fin)?;
    let ttl = reset.measured.ttl;
    let (min, max) = (baseline.ttl_min, baseline.ttl_max);
    let distance = min.saturating_sub(ttl).max(ttl.saturating_sub(max));
    // Routes don't change within a round trip, and none leads a router's segments here without a hop.
    let near = is_next_door(reset, max);
    let enough = if too_soon || near { 1 } else { TTL_DISTANCE };
    (distance >= enough).then_some(Tell::Ttl {
        ttl,
        seen: (min, max),
    })
}

/// Whether hosts send segments with this TTL.
const fn is_initial(ttl: u8) -> bool {
    matches!(ttl, 64 | 128 | u8::MAX)
}

/// Whether no router lies between here and the maker of the reset, but one between here and the sender of
/// the other segments, whose TTLs are up to `others`.
fn is_next_door(reset: &Close, others: u8) -> bool {
    let ttl = reset.measured.ttl;
    let hops = ttl.wrapping_sub(others);
    is_initial(ttl)
        && (1..TTL_DISTANCE).contains(&hops)
        && reset.measured.baseline & baseline::STALE == 0
}

/// Finds a sequence number ahead of the data its sender had sent: a guess (RFC 5961 §3.2). Data
/// that the capture lost but the peer acknowledged had been sent.
fn sequence(reset: &Close, timeline: &Timeline) -> Option<Tell<'static>> {
    let known = reset.measured.baseline;
    let [client, server] = &reset.sides;
    let (side, peer) = match reset.sender {
        Sender::Client => (client, server),
        Sender::Server => (server, client),
    };
    let (next_seq, seq_ahead) = if known & baseline::SEQ != 0 {
        (side.next_seq, reset.measured.seq_ahead)
    } else {
        let next_seq = timeline.syn(reset.sender)?.next_seq;
        (next_seq, reset.measured.seq.wrapping_sub(next_seq) as i32)
    };
    let acknowledged = peer.ack.wrapping_sub(next_seq) as i32;
    let ahead = if peer.has(side_flags::SEEN) && acknowledged > 0 {
        seq_ahead.wrapping_sub(acknowledged)
    } else {
        seq_ahead
    };
    (known & baseline::STALE == 0 && ahead > 0).then_some(Tell::SequenceAhead(ahead))
}

/// Finds an acknowledgement of data that the peer never sent, as a guess at the peer's numbers has.
fn acknowledgement(reset: &Close) -> Option<Tell<'static>> {
    let measured = &reset.measured;
    let known = measured.baseline & baseline::ACK != 0 && measured.baseline & baseline::STALE == 0;
    let ahead = measured.ack_ahead;
    (known && measured.flags & tcp_flags::ACK != 0 && ahead > 0)
        .then_some(Tell::AcknowledgementAhead(ahead))
}

/// Finds a payload that is no alert; some stacks send theirs in the segment of the reset, which
/// says nothing about its maker.
fn payload(timeline: &Timeline, reset: &Close) -> Option<Tell<'static>> {
    let len = reset.measured.payload_len;
    let reset_us = timeline.micros_until(reset.time_ns);
    let is_alert = timeline
        .records_of(reset.sender)
        .any(|record| record.content_type == ALERT && u64::from(record.at_us) == reset_us);
    (len > 0 && !is_alert).then_some(Tell::Payload(len))
}

/// Finds RST_SEQ_CHANGE of Weaver et al.: back-to-back resets at growing sequence numbers, which no
/// conforming stack sends.
fn sequence_change(resets: &[&Close]) -> Option<Tell<'static>> {
    resets.windows(2).find_map(|pair| {
        let [first, second] = pair else {
            return None;
        };
        let step = second.measured.seq.wrapping_sub(first.measured.seq) as i32;
        (step > 1 && second.measured.seq_ahead > 0).then_some(Tell::SequenceChange(step))
    })
}

/// Resets of one sender come from different distances, be it by one hop, though its other segments all
/// come from one: at least one of them is another's. After a FIN a load balancer may answer, too.
fn ttls_differ(resets: &[&Close], side: &Side, had_fin: bool) -> Option<Tell<'static>> {
    if had_fin || (side.has(side_flags::SEEN) && side.ttl_min != side.ttl_max) {
        return None;
    }
    let ttls = resets.iter().map(|reset| reset.measured.ttl);
    let (min, max) = (ttls.clone().min()?, ttls.max()?);
    (min != max).then_some(Tell::TtlsDiffer(min, max))
}

/// Returns the side's first reset has no ACK flag, at the number that its peer acknowledged: a host
/// answers so where it knows no such connection (RFC 9293 §3.10.7.1), and resets with an ACK flag
/// one that it knows (source: Linux, FreeBSD, lwIP). Yet the side had neither closed nor been
/// reset, as far as this tap shows.
fn unknown_socket(timeline: &Timeline, sender: Sender, reset: &Close) -> Option<Tell<'static>> {
    let measured = &reset.measured;
    let [client, server] = &reset.sides;
    let (side, peer) = match sender {
        Sender::Client => (client, server),
        Sender::Server => (server, client),
    };
    let is_first = timeline
        .closes
        .iter()
        .find(|close| close.kind != CloseKind::SpeaksOn)
        .is_some_and(|first| first == reset);
    let is_bare = measured.flags & tcp_flags::ACK == 0 && measured.payload_len == 0;
    let is_answer = measured.seq == peer.ack || measured.seq == side.next_seq;
    // A third party is at work where resets came in vain, whatever was missed.
    let is_whole = timeline.resets_outlived > 0
        || measured.baseline & baseline::STALE == 0
            && ![side, peer].iter().any(|side| side.has(side_flags::GAP));
    let is_known = side.has(side_flags::SEEN) && is_whole;
    (is_bare && is_answer && is_known && is_first).then_some(Tell::UnknownSocket)
}

/// Finds resets before it that changed nothing: hosts send no such resets, so a third party did.
fn forged_before(timeline: &Timeline) -> Option<Tell<'static>> {
    let outlived = timeline.resets_outlived;
    (outlived > 0).then_some(Tell::ForgedBefore(outlived))
}

/// Finds segments by which its "sender" continues.
fn speaks_on(timeline: &Timeline, sender: Sender, reset: &Close) -> Option<Tell<'static>> {
    let later = timeline.closes.iter().filter(|close| {
        close.kind == CloseKind::SpeaksOn
            && close.sender == sender
            && close.measured.flags & tcp_flags::SYN == 0
            && !is_copy(close, reset)
            // Segments under way may come behind the reset; new ones may not.
            && (close.time_ns >= reset.time_ns.saturating_add(STILL_ON_ITS_WAY_NS)
                || close.measured.seq.wrapping_sub(reset.measured.seq) as i32 >= 0)
    });
    let count = later.count();
    (count > 0).then_some(Tell::SenderSpeaksOn(count))
}

/// Whether a segment behind a reset is the acknowledgement before it once more, as a mirror with two
/// ports makes copies.
fn is_copy(close: &Close, reset: &Close) -> bool {
    const COPIED_NS: u64 = 1_000_000;
    let [client, server] = &reset.sides;
    let before = match reset.sender {
        Sender::Client => client,
        Sender::Server => server,
    };
    let copy = &close.measured;
    before.has(side_flags::SEEN)
        && copy.since_same_ns <= COPIED_NS
        && copy.payload_len == 0
        && copy.flags & (tcp_flags::FIN | tcp_flags::RST) == 0
        && (copy.seq, copy.ack) == (before.next_seq, before.ack)
        && (copy.window, copy.ip_id, copy.mac) == (before.window, before.ip_id, before.mac)
        && (before.ttl_min..=before.ttl_max).contains(&copy.ttl)
}

fn mac(reset: &Close, baseline: Option<Baseline>) -> Option<Tell<'static>> {
    (baseline?.mac != reset.measured.mac).then_some(Tell::SourceMac)
}

fn ip_id(reset: &Close, baseline: Option<Baseline>) -> Option<Tell<'static>> {
    let (seen, id) = (baseline?.ip_id, reset.measured.ip_id);
    let distance = id.wrapping_sub(seen).min(seen.wrapping_sub(id));
    (seen != 0 && id != 0 && distance > 1000).then_some(Tell::IpId { id, seen })
}

/// Finds a reset that left by one tap and never arrived at the other. Nearer to its sender it would
/// have been seen before, so the tap nearer to the sender is asked.
fn never_arrived<'a>(
    timeline: &'a Timeline,
    other: Option<&'a Timeline>,
    sender: Sender,
) -> Option<Tell<'a>> {
    let other = other?;
    let other_is_nearer = match sender {
        Sender::Client => other.started_ns <= timeline.started_ns,
        Sender::Server => other.started_ns >= timeline.started_ns,
    };
    let arrived = other
        .closes
        .iter()
        .any(|close| close.kind == CloseKind::Reset && close.sender == sender);
    (other_is_nearer && !arrived).then_some(Tell::NeverArrived {
        seen_at: &timeline.tap,
        never_at: &other.tap,
    })
}

fn no_ack(reset: &Close) -> Option<Tell<'static>> {
    (reset.measured.flags & tcp_flags::ACK == 0).then_some(Tell::NoAck)
}
