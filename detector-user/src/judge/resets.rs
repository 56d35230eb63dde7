//! Who sent a reset: what it gives away against the flow it claims to belong to.
//!
//! The tells and what they are worth: Weaver, Sommer, Paxson, "Detecting Forged TCP Reset Packets"
//! (NDSS 2009); RFC 5961; and a count over public captures, in which a zero window, a missing ACK
//! flag or an odd IP ID say next to nothing by themselves.

use detector_common::flow::{Sender, Side, side_flags};
use detector_common::headers::tcp_flags;
use detector_common::observation::baseline;

use crate::timeline::{Close, CloseKind, Timeline};

/// Injected at this score or above.
const INJECTED: f64 = 2.0;
/// TTL differences below this come of routes that change.
const TTL_DISTANCE: u8 = 3;
/// Segments that were on their way may arrive behind the reset.
const STILL_ON_ITS_WAY_NS: u64 = 2_000_000;

/// One tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Tell {
    /// Its stable name.
    pub name: &'static str,
    /// The fact, for people.
    pub detail: String,
    /// What it counts towards an injected reset.
    pub weight: f64,
}

/// What the resets of a flow give away together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResetFacts {
    /// In whose name the first reset was sent that tells most.
    pub in_name_of: Option<Sender>,
    /// Tells of that side's resets.
    pub tells: Vec<Tell>,
    /// Whether the side it names had said farewell before: by an alert or FIN of its own.
    pub after_farewell: bool,
    /// Segments the peer sent the wire did show, so that there is something to compare with.
    pub comparable: bool,
}

impl ResetFacts {
    /// Whether there was a reset at all.
    pub fn any(&self) -> bool {
        self.in_name_of.is_some()
    }

    /// The weights together.
    pub fn score(&self) -> f64 {
        self.tells.iter().map(|tell| tell.weight).sum()
    }

    /// Whether a third party sent it.
    pub fn injected(&self) -> bool {
        self.any() && self.score() >= INJECTED
    }
}

/// Looks at every reset of a flow; where both sides were reset, the more telling counts.
pub fn resets(timeline: &Timeline) -> ResetFacts {
    let [client, server] = [Sender::Client, Sender::Server].map(|side| of_side(timeline, side));
    match (client, server) {
        (Some(client), Some(server)) if server.score() >= client.score() => server,
        (Some(client), _) => client,
        (None, Some(server)) => server,
        (None, None) => ResetFacts::default(),
    }
}

fn of_side(timeline: &Timeline, sender: Sender) -> Option<ResetFacts> {
    let resets: Vec<&Close> = timeline
        .closes
        .iter()
        .filter(|close| close.kind == CloseKind::Reset && close.sender == sender)
        .collect();
    let first = resets.first()?;
    let [client, server] = &timeline.sides;
    // The side's numbers after all that was seen: what it went on to say counts too.
    let side = if sender == Sender::Client {
        client
    } else {
        server
    };
    let had_fin = timeline.closes.iter().any(|close| {
        close.kind == CloseKind::Fin && close.sender == sender && close.time_ns <= first.time_ns
    });
    let mut tells = Vec::new();
    tells.extend(ttl(first, side, had_fin));
    tells.extend(sequence(first));
    tells.extend(payload(first));
    tells.extend(sequence_change(&resets));
    tells.extend(speaks_on(timeline, sender, first));
    tells.extend(mac(first, side));
    tells.extend(ip_id(first, side));
    tells.extend(no_ack(first));
    Some(ResetFacts {
        in_name_of: Some(sender),
        tells,
        after_farewell: had_fin || said_farewell(timeline, sender),
        comparable: side.has(side_flags::SEEN),
    })
}

fn said_farewell(timeline: &Timeline, sender: Sender) -> bool {
    use detector_common::record::ALERT;
    timeline
        .records
        .iter()
        .any(|r| r.sender == sender && r.content_type == ALERT)
}

/// A TTL never seen in that direction. After a FIN it means nothing: a load balancer often answers
/// for a server that is done.
fn ttl(reset: &Close, side: &Side, had_fin: bool) -> Option<Tell> {
    if had_fin || !side.has(side_flags::SEEN) {
        return None;
    }
    let ttl = reset.measured.ttl;
    let distance = side
        .ttl_min
        .saturating_sub(ttl)
        .max(ttl.saturating_sub(side.ttl_max));
    let seen = if side.ttl_min == side.ttl_max {
        format!("{}", side.ttl_min)
    } else {
        format!("{} to {}", side.ttl_min, side.ttl_max)
    };
    (distance >= TTL_DISTANCE).then(|| Tell {
        name: "ttl",
        detail: format!("its TTL is {ttl}, the sender's other segments have {seen}"),
        weight: 1.8,
    })
}

/// Ahead of what its sender had sent: a guess (RFC 5961 §3.2). Lost segments can look so.
fn sequence(reset: &Close) -> Option<Tell> {
    let known = reset.measured.baseline;
    let ahead = reset.measured.seq_ahead;
    (known & baseline::SEQ != 0 && known & baseline::STALE == 0 && ahead > 0).then(|| Tell {
        name: "sequence-ahead",
        detail: format!("its sequence number is {ahead} beyond what the sender had sent"),
        weight: 1.5,
    })
}

fn payload(reset: &Close) -> Option<Tell> {
    let len = reset.measured.payload_len;
    (len > 0).then(|| Tell {
        name: "payload",
        detail: format!("it carries {len} bytes of payload"),
        weight: 1.5,
    })
}

/// RST_SEQ_CHANGE of Weaver et al.: back-to-back resets at growing sequence numbers, which no
/// conforming stack sends.
fn sequence_change(resets: &[&Close]) -> Option<Tell> {
    resets.windows(2).find_map(|pair| {
        let [first, second] = pair else {
            return None;
        };
        let step = second.measured.seq.wrapping_sub(first.measured.seq) as i32;
        (step > 1 && second.measured.seq_ahead > 0).then(|| Tell {
            name: "sequence-change",
            detail: format!("a second reset follows at a sequence number {step} higher"),
            weight: 2.5,
        })
    })
}

/// Its "sender" goes on talking.
fn speaks_on(timeline: &Timeline, sender: Sender, reset: &Close) -> Option<Tell> {
    let later = timeline.closes.iter().filter(|close| {
        close.kind == CloseKind::SpeaksOn
            && close.sender == sender
            && close.measured.flags & tcp_flags::SYN == 0
            // What was under way may come behind the reset; what is new may not.
            && (close.time_ns >= reset.time_ns + STILL_ON_ITS_WAY_NS
                || close.measured.seq.wrapping_sub(reset.measured.seq) as i32 >= 0)
    });
    let count = later.count();
    (count > 0).then(|| Tell {
        name: "sender-speaks-on",
        detail: format!("its sender went on: {count} segments without RST after it"),
        weight: 2.5,
    })
}

fn mac(reset: &Close, side: &Side) -> Option<Tell> {
    (side.has(side_flags::SEEN) && side.mac != reset.measured.mac).then(|| Tell {
        name: "source-mac",
        detail: "it came from another MAC address than the sender's other segments".to_owned(),
        weight: 1.2,
    })
}

/// Weak: closed sockets use zero or a counter of their own.
fn ip_id(reset: &Close, side: &Side) -> Option<Tell> {
    let (seen, id) = (side.ip_id, reset.measured.ip_id);
    let distance = id.wrapping_sub(seen).min(seen.wrapping_sub(id));
    (side.has(side_flags::SEEN) && seen != 0 && id != 0 && distance > 1000).then(|| Tell {
        name: "ip-id",
        detail: format!("its IP ID {id} is not near the sender's {seen}"),
        weight: 0.3,
    })
}

/// Weak: half of all honest resets have none.
fn no_ack(reset: &Close) -> Option<Tell> {
    (reset.measured.flags & tcp_flags::ACK == 0).then(|| Tell {
        name: "no-ack",
        detail: "it has no ACK flag".to_owned(),
        weight: 0.1,
    })
}
