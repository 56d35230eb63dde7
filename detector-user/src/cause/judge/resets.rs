//! Who sent a reset: what it gives away against the flow it claims to belong to.
//!
//! The tells and what they are worth: Weaver, Sommer, Paxson, "Detecting Forged TCP Reset Packets"
//! (NDSS 2009); RFC 5961; and a count over public captures, in which a zero window, a missing ACK
//! flag or an odd IP ID say next to nothing by themselves.

use detector_common::flow::{Sender, Side, side_flags};
use detector_common::headers::tcp_flags;
use detector_common::observation::baseline;
use detector_common::record::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE};

use crate::flow::legs::{Connection, Passage};
use crate::flow::timeline::{Close, CloseKind, Timeline};
use crate::flow::tls::names::TLS_1_3;
use crate::verdict::Party;

/// Injected at this score or above.
const INJECTED: f64 = 2.0;
/// TTL differences below this come of routes that change.
const TTL_DISTANCE: u8 = 3;
/// Segments that were on their way may arrive behind the reset.
const STILL_ON_ITS_WAY_NS: u64 = 2_000_000;

const NEVER_ARRIVED: &str = "never-arrived";

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
    /// TTL of the first reset, and of the other segments of the side it names where there are any.
    pub ttls: Option<(u8, Option<u8>)>,
    /// How far the connection had come.
    pub stage: &'static str,
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

    /// Who sent it if not whom it names: this gateway, if it was made between its taps.
    pub fn injector(&self) -> Party {
        if self.tells.iter().any(|tell| tell.name == NEVER_ARRIVED) {
            Party::Gateway
        } else {
            Party::Middlebox
        }
    }

    /// How far away its maker and the side it names seem, in hops.
    pub fn distance(&self) -> Option<String> {
        let (ttl, own) = self.ttls?;
        let named = self.in_name_of.map_or("its sender", |side| match side {
            Sender::Client => "the client",
            Sender::Server => "the server",
        });
        let maker = format!("a TTL of {ttl} is that of a host {} away", hops(ttl));
        Some(match own {
            Some(own) => format!("{maker}; {named} is {} away", hops(own)),
            None => maker,
        })
    }

    /// Whether a third party sent it.
    pub fn injected(&self) -> bool {
        self.any() && self.score() >= INJECTED
    }
}

/// Looks at every reset of a connection; where both sides were reset, the more telling counts.
pub fn resets(connection: &Connection) -> ResetFacts {
    let here = &*connection.client_leg;
    let Some((Passage::Forwarded, there)) = &connection.server_leg else {
        return of_leg(here, None);
    };
    let (here, there) = (of_leg(here, Some(there)), of_leg(there, Some(here)));
    if there.score() > here.score() {
        there
    } else {
        here
    }
}

/// The resets of one leg; `other` is the same connection seen at another tap.
fn of_leg(timeline: &Timeline, other: Option<&Timeline>) -> ResetFacts {
    let [client, server] =
        [Sender::Client, Sender::Server].map(|side| of_side(timeline, other, side));
    match (client, server) {
        (Some(client), Some(server)) if server.score() >= client.score() => server,
        (Some(client), _) => client,
        (None, Some(server)) => server,
        (None, None) => ResetFacts::default(),
    }
}

fn of_side(timeline: &Timeline, other: Option<&Timeline>, sender: Sender) -> Option<ResetFacts> {
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
    let fin_before = |by: Option<Sender>| {
        timeline.closes.iter().any(|close| {
            close.kind == CloseKind::Fin
                && by.is_none_or(|by| close.sender == by)
                && close.time_ns <= first.time_ns
        })
    };
    let mut tells = Vec::new();
    tells.extend(ttl(first, side, fin_before(None)));
    tells.extend(sequence(first, sender));
    tells.extend(acknowledgement(first));
    tells.extend(payload(first));
    tells.extend(sequence_change(&resets));
    tells.extend(speaks_on(timeline, sender, first));
    tells.extend(mac(first, side));
    tells.extend(never_arrived(timeline, other, sender));
    // By themselves these are as frequent among honest resets.
    if !tells.is_empty() {
        tells.extend(ip_id(first, side));
        tells.extend(no_ack(first));
    }
    Some(ResetFacts {
        in_name_of: Some(sender),
        tells,
        after_farewell: fin_before(Some(sender)) || said_farewell(timeline, sender, first),
        comparable: side.has(side_flags::SEEN),
        ttls: Some((
            first.measured.ttl,
            side.has(side_flags::SEEN).then_some(side.ttl_max),
        )),
        stage: stage(timeline, first),
    })
}

/// Hops that a TTL has lost of the next higher value that systems begin with: 64, 128 or 255.
fn hops(ttl: u8) -> String {
    let initial = [64, 128].into_iter().find(|initial| ttl <= *initial);
    match initial.unwrap_or(u8::MAX) - ttl {
        0 => "no hop".to_owned(),
        1 => "about one hop".to_owned(),
        hops => format!("about {hops} hops"),
    }
}

/// How far a connection had come when it was reset.
fn stage(timeline: &Timeline, reset: &Close) -> &'static str {
    let reset_us = reset.time_ns.saturating_sub(timeline.started_ns) / 1000;
    let before = |sender: Sender, kinds: &[u8]| {
        timeline.records.iter().any(|record| {
            record.sender == sender
                && kinds.contains(&record.content_type)
                && u64::from(record.at_us) <= reset_us
        })
    };
    let data = |sender| before(sender, &[APPLICATION_DATA]);
    let tls13 = timeline.handshake.version() >= Some(TLS_1_3);
    if timeline.settled || (!tls13 && data(Sender::Client) && data(Sender::Server)) {
        "amid data"
    } else if data(Sender::Client) || before(Sender::Client, &[CHANGE_CIPHER_SPEC]) {
        "after the client's second flight"
    } else if before(Sender::Server, &[HANDSHAKE]) {
        "within the server's flight or right after it"
    } else {
        "upon the ClientHello"
    }
}

fn said_farewell(timeline: &Timeline, sender: Sender, reset: &Close) -> bool {
    let reset_us = reset.time_ns.saturating_sub(timeline.started_ns) / 1000;
    timeline.records.iter().any(|record| {
        record.sender == sender
            && record.content_type == ALERT
            && u64::from(record.at_us) <= reset_us
    })
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
        weight: 2.2,
    })
}

/// Ahead of what its sender had sent: a guess (RFC 5961 §3.2). What the capture lost but the peer
/// acknowledged had been sent.
fn sequence(reset: &Close, sender: Sender) -> Option<Tell> {
    let known = reset.measured.baseline;
    let [client, server] = &reset.sides;
    let (side, peer) = match sender {
        Sender::Client => (client, server),
        Sender::Server => (server, client),
    };
    let acknowledged = peer.ack.wrapping_sub(side.next_seq) as i32;
    let ahead = if peer.has(side_flags::SEEN) && acknowledged > 0 {
        reset.measured.seq_ahead.wrapping_sub(acknowledged)
    } else {
        reset.measured.seq_ahead
    };
    (known & baseline::SEQ != 0 && known & baseline::STALE == 0 && ahead > 0).then(|| Tell {
        name: "sequence-ahead",
        detail: format!("its sequence number is {ahead} beyond what the sender had sent"),
        weight: 1.5,
    })
}

/// It acknowledges what the peer never sent, as a guess at the peer's numbers does.
fn acknowledgement(reset: &Close) -> Option<Tell> {
    let measured = &reset.measured;
    let known = measured.baseline & baseline::ACK != 0 && measured.baseline & baseline::STALE == 0;
    let ahead = measured.ack_ahead;
    (known && measured.flags & tcp_flags::ACK != 0 && ahead > 0).then(|| Tell {
        name: "acknowledgement-ahead",
        detail: format!("it acknowledges {ahead} bytes that were never sent"),
        weight: 1.5,
    })
}

fn payload(reset: &Close) -> Option<Tell> {
    let len = reset.measured.payload_len;
    (len > 0).then(|| Tell {
        name: "payload",
        detail: format!("it carries {len} bytes of payload"),
        weight: 2.0,
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

/// Proof: it left by one tap and never arrived at the other. Nearer to its sender it would have
/// been seen before, so the tap nearer to the sender is asked.
fn never_arrived(timeline: &Timeline, other: Option<&Timeline>, sender: Sender) -> Option<Tell> {
    let other = other?;
    let other_is_nearer = match sender {
        Sender::Client => other.started_ns <= timeline.started_ns,
        Sender::Server => other.started_ns >= timeline.started_ns,
    };
    let arrived = other
        .closes
        .iter()
        .any(|close| close.kind == CloseKind::Reset && close.sender == sender);
    (other_is_nearer && !arrived).then(|| Tell {
        name: NEVER_ARRIVED,
        detail: format!(
            "it was seen at {} and never at {}, nearer to its alleged sender: it was made between",
            timeline.tap, other.tap
        ),
        weight: 5.0,
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
