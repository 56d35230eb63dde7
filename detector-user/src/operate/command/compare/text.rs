//! A comparison as text for people.

use std::fmt::Write as _;

use crate::outlet::sink::escaped;
use crate::stages::{Compared, Comparison, Event, Fate, Layout};
use crate::verdict::{Party, Verdict, counted, written_confidence};

/// Maximum segments that are listed of a connection.
const EVENTS_MAX: usize = 40;

pub(super) fn written(
    names: &[String; 2],
    comparison: &Comparison,
    shown: &[(&Compared, Option<Verdict>)],
) -> String {
    let mut text = String::new();
    let [receive, transmit] = names.each_ref().map(|name| escaped(name).to_string());
    let layout = match comparison.layout {
        Layout::Stages => "segments of both directions pass the first, then the second",
        Layout::Sides => "the first is on the clients' side, the second on the servers'",
        Layout::SidesSwapped => {
            "the first is on the servers' side, the second on the clients': the captures are the other way round"
        }
    };
    let _ = writeln!(text, "{receive}, {transmit}: {layout}");
    if let Some(clocks) = comparison.clocks {
        let _ = writeln!(
            text,
            "clocks: the second is {:+.3} ms from the first, the passage takes {:.3} ms (by {})",
            clocks.offset_ns as f64 / 1e6,
            clocks.passage_ns as f64 / 1e6,
            counted(clocks.segments, "segment", "segments")
        );
    }
    text.push('\n');
    let mut quiet = 0;
    for (compared, verdict) in shown {
        if compared.is_notable() || verdict.is_some() {
            block(&mut text, compared, verdict.as_ref());
        } else {
            quiet += 1;
            let [client, server] = compared.counts;
            let _ = writeln!(
                text,
                "{}: forwarded, {} from the client and {} from the server{}\n",
                ends(compared),
                counted(client.forwarded, "segment", "segments"),
                server.forwarded,
                changes(compared)
            );
        }
    }
    let disturbed = comparison.connections.iter().filter(|it| it.is_disturbed());
    let _ = writeln!(
        text,
        "{}, {} in both captures, {} with segments inserted, dropped or rewritten, {quiet} forwarded and no more",
        connections(comparison.connections.len()),
        comparison.common(),
        disturbed.count(),
    );
    text
}

/// Returns a number of connections in words.
pub(super) fn connections(number: usize) -> String {
    match number {
        0 => "no TCP connection".to_owned(),
        number => counted(number, "TCP connection", "TCP connections"),
    }
}

fn ends(compared: &Compared) -> String {
    let ends = compared.outside.or(compared.inside);
    let [client, server] = ends.map_or(["?".to_owned(), "?".to_owned()], |it| {
        it.map(|it| it.to_string())
    });
    let name = compared.server_name.as_deref();
    let name = name.map_or_else(String::new, |name| format!(" {}", escaped(name)));
    format!("{client} → {server}{name}")
}

fn changes(compared: &Compared) -> String {
    if compared.changes.is_empty() {
        return String::new();
    }
    format!("; {}", compared.changes.join(", "))
}

fn block(text: &mut String, compared: &Compared, verdict: Option<&Verdict>) {
    let _ = writeln!(text, "{}", ends(compared));
    if !compared.changes.is_empty() {
        let _ = writeln!(text, "  rewritten  {}", compared.changes.join(", "));
    }
    let [client, server] = compared.counts;
    if compared.is_common {
        let _ = writeln!(
            text,
            "  forwarded  {} from the client, {} from the server",
            counted(client.forwarded, "segment", "segments"),
            server.forwarded
        );
    }
    // Of a connection that one capture alone has, all segments are the same news.
    let most = if compared.is_common { EVENTS_MAX } else { 0 };
    for event in compared.events.iter().take(most) {
        line(text, compared, event);
    }
    if let Some(more) = compared.events.len().checked_sub(EVENTS_MAX)
        && compared.is_common
        && more > 0
    {
        let _ = writeln!(text, "  … and {more} more; --output json has them all");
    }
    for sentence in &compared.outcome {
        let _ = writeln!(text, "  so         {}", escaped(sentence));
    }
    if let Some(verdict) = verdict {
        let confidence = written_confidence(verdict.confidence) * 100.0;
        let _ = writeln!(
            text,
            "  verdict    {} ({confidence:.0} %). {}",
            verdict.cause,
            verdict.cause.meaning()
        );
        if let Some(advice) = &verdict.advice {
            let _ = writeln!(text, "  advice     {}", escaped(advice));
        }
    }
    text.push('\n');
}

fn line(text: &mut String, compared: &Compared, event: &Event) {
    let at = (event.time_ns - compared.began_ns) as f64 / 1e6;
    let from = match event.from {
        Party::Client => "client →         ",
        _ => "        ← server ",
    };
    let fate = if event.fate == Fate::Dropped && compared.is_proxied {
        "not passed on"
    } else {
        event.fate.name()
    };
    let _ = write!(text, "  {fate:<13} {at:>10.3} ms  {from} {}", event.segment);
    if !event.changes.is_empty() {
        let _ = write!(text, ": {}", event.changes.join(", "));
    }
    if event.is_copy {
        let _ = write!(text, ", a copy");
    }
    if let Some(usual) = event.usual_ttl {
        let _ = write!(text, ", TTL {} (others {usual})", event.segment.ttl);
    }
    let stages = [
        (event.marks.firewall, "firewall stage"),
        (event.marks.drop, "drop capture"),
    ];
    for (mark, name) in stages {
        match mark {
            Some(true) => {
                let _ = write!(text, ", in the {name}");
            }
            Some(false) if event.fate == Fate::Dropped => {
                let _ = write!(text, ", not in the {name}");
            }
            _ => {}
        }
    }
    text.push('\n');
}
