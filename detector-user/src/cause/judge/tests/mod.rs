//! Flows as each TLS stack shows them on the wire when it accepts or refuses.

mod abandonment;
mod amid_data;
mod causes;
mod client_auth;
mod ech;
mod established;
mod half_seen;
mod hang_up;
mod hello_size;
mod own_connections;
mod plain_answer;
mod proxy;
mod records;
mod refusal;
mod resets;

use std::net::SocketAddr;
use std::sync::Arc;

use detector_common::flow::{Sender, Side, side_flags};
use detector_common::headers::tcp_flags;
use detector_common::observation::{Measured, baseline};
use detector_common::syn::Syn;
use proptest::prelude::*;
use rstest::rstest;

use super::Judgement;
use crate::cause::interception::Interceptors;
use crate::cause::knowledge::{InterceptedWhen, Knowledge};
use crate::flow::flow_id::FlowId;
use crate::flow::legs::Connection;
use crate::flow::timeline::{Close, CloseKind, Ending, Timeline, TimelineRecord};
use crate::flow::tls::Handshake;
use crate::flow::tls::certificate::Leaf;
use crate::flow::tls::client_hello::ClientHello;
use crate::flow::tls::server_hello::ServerHello;
use crate::verdict::{Cause, Party, Verdict};

/// One thing on the wire, a millisecond after the one before.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A record by its type, length and first body bytes.
    Record(Sender, u8, u16, [u8; 2]),
    Fin(Sender),
    /// A reset that fits its sender.
    Reset(Sender),
    /// A reset whose TTL never occurs in that direction.
    OddReset(Sender),
    /// A reset as for an unknown socket.
    BareReset(Sender),
    SpeaksOn(Sender),
}
use Sender::{Client as C, Server as S};
use Step::{BareReset, Fin, OddReset, Record, Reset, SpeaksOn};

const HELLO: Step = Record(C, 22, 512, [1, 0]);
const SERVER_HELLO: Step = Record(S, 22, 122, [2, 0]);
const CLIENT_CCS: Step = Record(C, 20, 1, [0; 2]);
const SERVER_CCS: Step = Record(S, 20, 1, [0; 2]);

const fn app(sender: Sender, length: u16) -> Step {
    Record(sender, 23, length, [0; 2])
}

const fn alert(sender: Sender, code: u8) -> Step {
    Record(sender, 21, 2, [2, code])
}

/// Flight of a TLS 1.3 server, after which the client decides.
const FLIGHT_13: [Step; 6] = [
    HELLO,
    SERVER_HELLO,
    SERVER_CCS,
    app(S, 1626),
    app(S, 281),
    app(S, 53),
];
/// Flight of a TLS 1.2 server, after which the client decides.
const FLIGHT_12: [Step; 3] = [HELLO, SERVER_HELLO, Record(S, 22, 2800, [11, 0])];
/// Both Finished of TLS 1.2.
const FINISHED_12: [Step; 5] = [
    Record(C, 22, 37, [16, 0]),
    CLIENT_CCS,
    Record(C, 22, 40, [1, 2]),
    SERVER_CCS,
    Record(S, 22, 40, [3, 4]),
];

fn hello() -> ClientHello {
    let mut hello = ClientHello::default();
    hello.server_name = Some("api.pinned.test".into());
    hello
}

fn timeline(tls13: bool, steps: &[Step]) -> Timeline {
    let start = 1_800_000_000_000_000_000;
    let answered = steps
        .iter()
        .any(|step| matches!(step, Record(S, 22, _, [2, _])));
    let mut timeline = Timeline {
        flow: FlowId::default(),
        tap: Arc::from("lan0"),
        client: SocketAddr::from(([10, 0, 1, 2], 40_112)),
        server: SocketAddr::from(([10, 0, 2, 2], 443)),
        vlan: vec![],
        started_ns: start,
        last_ns: start,
        handshake: Handshake {
            client_hello: Some(hello()),
            server_hello: answered.then(|| ServerHello {
                legacy_version: 0x0303,
                cipher_suite: if tls13 { 0x1301 } else { 0xc02f },
                selected_version: tls13.then_some(0x0304),
                ..ServerHello::default()
            }),
            server_hello_done: answered && !tls13,
            ..Handshake::default()
        },
        records: vec![],
        closes: vec![],
        resets_outlived: 0,
        alert_acknowledges: [None; 2],
        sides: [64, 57].map(|ttl| Side {
            flags: side_flags::SEEN,
            ttl_min: ttl,
            ttl_max: ttl,
            ..Side::default()
        }),
        syns: Default::default(),
        refused: false,
        settled: false,
        ending: Ending::Closed,
        preamble: None,
        unreachable: None,
        largest_answered: None,
        client_is_proxy: false,
    };
    for (number, step) in (1..).zip(steps) {
        timeline.last_ns = start + number * 1_000_000;
        add(&mut timeline, *step, number as u32 * 1000);
    }
    timeline
}

fn add(timeline: &mut Timeline, step: Step, at_us: u32) {
    let time_ns = timeline.last_ns;
    let mut close = |kind, sender: Sender, flags, ttl_off: u8| {
        let ttl = timeline.sides[sender as usize].ttl_min + ttl_off;
        timeline.closes.push(Close {
            kind,
            sender,
            time_ns,
            egress: false,
            records_before: 0,
            measured: Measured {
                flags,
                ttl,
                baseline: baseline::SAME | baseline::SEQ,
                ..Measured::default()
            },
            sides: timeline.sides,
        });
    };
    match step {
        Record(sender, content_type, length, detail) => timeline.records.push(TimelineRecord {
            sender,
            at_us,
            content_type,
            version_minor: 3,
            length,
            detail,
            flags: 0,
        }),
        Fin(sender) => close(CloseKind::Fin, sender, tcp_flags::FIN | tcp_flags::ACK, 0),
        Reset(sender) => close(CloseKind::Reset, sender, tcp_flags::RST | tcp_flags::ACK, 0),
        BareReset(sender) => close(CloseKind::Reset, sender, tcp_flags::RST, 0),
        OddReset(sender) => close(
            CloseKind::Reset,
            sender,
            tcp_flags::RST | tcp_flags::ACK,
            40,
        ),
        SpeaksOn(sender) => {
            close(CloseKind::SpeaksOn, sender, tcp_flags::ACK, 0);
            // New: too late for a mirror's copy.
            timeline.closes.last_mut().unwrap().measured.since_same_ns = 2_000_000;
        }
    }
}

fn judge(timeline: &Timeline, knowledge: &Knowledge) -> Judgement {
    judge_whole(timeline, knowledge).judgement
}

fn seen_once(timeline: &Timeline) -> Connection {
    Connection {
        client_leg: Box::new(timeline.clone()),
        server_leg: None,
        goes_on: false,
        newly_complete: true,
    }
}

fn judge_whole(timeline: &Timeline, knowledge: &Knowledge) -> super::Judged {
    let connection = seen_once(timeline);
    let interception = Interceptors::default().record(&connection, knowledge);
    super::judge(&connection, interception)
}

fn judged(tls13: bool, steps: &[&[Step]]) -> Judgement {
    judge(&timeline(tls13, &steps.concat()), &Knowledge::default())
}

fn verdict(judgement: Judgement) -> Verdict {
    match judgement {
        Judgement::Failed(verdict) => *verdict,
        other => panic!("no verdict but {other:?}"),
    }
}

fn intercepted() -> Knowledge {
    Knowledge {
        intercepted: InterceptedWhen::Always,
        ..Knowledge::default()
    }
}

/// A flight that the client accepted, and the steps after it.
fn handshaken(tls13: bool, end: &[Step]) -> Vec<Step> {
    let handshake: &[&[Step]] = if tls13 {
        &[&FLIGHT_13]
    } else {
        &[&FLIGHT_12, &FINISHED_12]
    };
    [&handshake.concat()[..], end].concat()
}
