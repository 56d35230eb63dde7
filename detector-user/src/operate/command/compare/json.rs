//! A comparison as lines of JSON.

use serde::Serialize;

use crate::stages::{Compared, Comparison, Event, Layout};
use crate::verdict::{Endpoint, Verdict};

/// The first line, on the captures.
#[derive(Serialize)]
struct Captures<'a> {
    kind: &'static str,
    receive: &'a str,
    transmit: &'a str,
    layout: &'static str,
    clock_offset_ms: Option<f64>,
    passage_ms: Option<f64>,
    connections: usize,
    common: usize,
}

/// A line on a connection.
#[derive(Serialize)]
struct Connection<'a> {
    kind: &'static str,
    client: Option<Endpoint>,
    server: Option<Endpoint>,
    client_inside: Option<Endpoint>,
    server_inside: Option<Endpoint>,
    sni: Option<&'a str>,
    common: bool,
    proxied: bool,
    disturbed: bool,
    ended_by: Option<&'static str>,
    outcome: &'a [String],
    rewritten: &'a [String],
    segments: [Counts; 2],
    events: Vec<Written<'a>>,
    verdict: Option<&'a Verdict>,
}

#[derive(Serialize)]
struct Counts {
    from: &'static str,
    forwarded: u64,
    rewritten: u64,
    inserted: u64,
    dropped: u64,
}

#[derive(Serialize)]
struct Written<'a> {
    at_ms: f64,
    from: &'static str,
    fate: &'static str,
    capture: &'static str,
    segment: String,
    seq: u32,
    ack: u32,
    ttl: u8,
    usual_ttl: Option<u8>,
    length: u32,
    copy: bool,
    changes: &'a [String],
    in_firewall_stage: Option<bool>,
    in_drop_capture: Option<bool>,
}

pub(super) fn written(
    names: &[String; 2],
    comparison: &Comparison,
    shown: &[(&Compared, Option<Verdict>)],
) -> serde_json::Result<String> {
    let [receive, transmit] = names;
    let first = Captures {
        kind: "captures",
        receive,
        transmit,
        layout: match comparison.layout {
            Layout::Stages => "stages",
            Layout::Sides => "sides",
            Layout::SidesSwapped => "sides-swapped",
        },
        clock_offset_ms: comparison.clocks.map(|it| milliseconds(it.offset_ns)),
        passage_ms: comparison.clocks.map(|it| milliseconds(it.passage_ns)),
        connections: comparison.connections.len(),
        common: comparison.common(),
    };
    let mut text = serde_json::to_string(&first)?;
    text.push('\n');
    for (compared, verdict) in shown {
        text.push_str(&serde_json::to_string(&connection(
            compared,
            verdict.as_ref(),
        ))?);
        text.push('\n');
    }
    Ok(text)
}

fn connection<'a>(compared: &'a Compared, verdict: Option<&'a Verdict>) -> Connection<'a> {
    let outside = compared.outside.or(compared.inside);
    let [client, server] = compared.counts;
    Connection {
        kind: "connection",
        client: outside.map(|[client, _]| client.into()),
        server: outside.map(|[_, server]| server.into()),
        client_inside: compared.inside.map(|[client, _]| client.into()),
        server_inside: compared.inside.map(|[_, server]| server.into()),
        sni: compared.server_name.as_deref(),
        common: compared.is_common,
        proxied: compared.is_proxied,
        disturbed: compared.is_disturbed(),
        ended_by: compared.ended_by.map(|it| it.name()),
        outcome: &compared.outcome,
        rewritten: &compared.changes,
        segments: [("client", client), ("server", server)].map(|(from, it)| Counts {
            from,
            forwarded: it.forwarded,
            rewritten: it.rewritten,
            inserted: it.inserted,
            dropped: it.dropped,
        }),
        events: compared
            .events
            .iter()
            .map(|event| self::event(compared, event))
            .collect(),
        verdict,
    }
}

fn event<'a>(compared: &Compared, event: &'a Event) -> Written<'a> {
    Written {
        at_ms: milliseconds(event.time_ns - compared.began_ns),
        from: event.from.name(),
        fate: event.fate.name(),
        capture: if event.capture == 0 {
            "receive"
        } else {
            "transmit"
        },
        segment: event.segment.to_string(),
        seq: event.segment.seq,
        ack: event.segment.ack,
        ttl: event.segment.ttl,
        usual_ttl: event.usual_ttl,
        length: event.segment.len,
        copy: event.is_copy,
        changes: &event.changes,
        in_firewall_stage: event.marks.firewall,
        in_drop_capture: event.marks.drop,
    }
}

fn milliseconds(nanoseconds: i64) -> f64 {
    (nanoseconds as f64 / 1e3).round() / 1e3
}
