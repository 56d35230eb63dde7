//! A connection's outcome in words: by whom it was ended, and what did not pass.

use detector_common::headers::tcp_flags::{FIN, RST};

use super::compared::{Compared, Event, Fate};
use super::segment::Segment;
use crate::verdict::{Party, counted};

/// Describes the outcome of a connection by its events.
pub(super) fn describe(compared: &mut Compared) {
    let mut outcome = Vec::new();
    if !compared.is_common {
        alone(compared, &mut outcome);
        compared.outcome = outcome;
        return;
    }
    if compared.is_proxied {
        outcome.push(
            "the device has connections of its own to both sides: their bytes differ".to_owned(),
        );
    }
    let mut ended_by = None;
    let events = &compared.events;
    for event in events.iter().filter(|it| it.segment.has(RST)) {
        let sentence = reset(event, events);
        let by = match event.fate {
            Fate::Inserted => Some(Party::Gateway),
            _ if event.usual_ttl.is_some() => Some(Party::Middlebox),
            Fate::Dropped => None,
            _ => Some(event.from),
        };
        ended_by = ended_by.or(by);
        if !outcome.contains(&sentence) {
            outcome.push(sentence);
        }
    }
    for event in events.iter().filter(|it| it.segment.has(FIN)) {
        match event.fate {
            Fate::Inserted => {
                ended_by = ended_by.or(Some(Party::Gateway));
                outcome.push(format!(
                    "the device closed towards the {}: its FIN had not arrived from the {}",
                    to(event),
                    event.from.name()
                ));
            }
            Fate::Forwarded | Fate::Rewritten => ended_by = ended_by.or(Some(event.from)),
            Fate::Dropped => {}
        }
    }
    not_passed(events, &mut outcome);
    compared.outcome = outcome;
    compared.ended_by = ended_by;
}

/// Describes a connection that only one capture has.
fn alone(compared: &Compared, outcome: &mut Vec<String>) {
    let [client, server] = compared.counts;
    if client.inserted > 0 {
        outcome.push(format!(
            "it is the device's own: {} transmitted, none received from a client",
            segments(client.inserted)
        ));
    } else if client.dropped + server.dropped > 0 {
        let confirmed = compared.events.iter().any(|it| it.marks.drop == Some(true));
        let confirmed = if confirmed {
            ", as the drop capture confirms"
        } else {
            ""
        };
        outcome.push(format!(
            "nothing of it was passed on: {} not transmitted{confirmed}",
            segments(client.dropped + server.dropped)
        ));
    } else if server.inserted > 0 {
        outcome.push(format!(
            "it is the device's own answer: {} transmitted, none received from the server",
            segments(server.inserted)
        ));
    } else {
        outcome.push("only one of the captures ran at its time".to_owned());
    }
}

fn reset(event: &Event, events: &[Event]) -> String {
    let from = event.from.name();
    let after = preceding(event, events);
    match event.fate {
        Fate::Inserted => {
            let ttl = event.segment.ttl;
            format!(
                "the device itself reset the connection towards the {}{after}: its {} was transmitted and had not been \
                 received (TTL {ttl})",
                to(event),
                flags(event)
            )
        }
        Fate::Dropped => format!("a reset from the {from} arrived, and was not passed on"),
        Fate::Forwarded | Fate::Rewritten => match event.usual_ttl {
            Some(usual) => format!(
                "the reset arrived from the {from}'s side, and was forwarded: it has TTL {}, other segments have \
                 {usual}, so that another device sent it before this one",
                event.segment.ttl
            ),
            None => format!("the reset arrived from the {from}'s side, and was forwarded"),
        },
    }
}

/// Returns the end of a sentence on what had arrived from the addressee of a reset.
fn preceding(reset: &Event, events: &[Event]) -> String {
    let before = events.iter().filter(|it| {
        it.from != reset.from && it.time_ns <= reset.time_ns && it.fate != Fate::Inserted
    });
    let mut named: Vec<String> = Vec::new();
    for event in before {
        let name = match event.segment {
            segment if segment.contents.is_alert() => short(&segment),
            segment if segment.has(FIN) => "FIN".to_owned(),
            _ => continue,
        };
        if !named.contains(&name) {
            named.push(name);
        }
    }
    if named.is_empty() {
        return String::new();
    }
    let names = named.join(" and ");
    format!(" after the {}'s {names} had arrived", to(reset))
}

/// Describes data and alerts that arrived and did not leave.
fn not_passed(events: &[Event], outcome: &mut Vec<String>) {
    for from in [Party::Client, Party::Server] {
        let dropped = events
            .iter()
            .filter(|it| it.fate == Fate::Dropped && it.from == from);
        let dropped: Vec<_> = dropped.filter(|it| !it.segment.has(RST)).collect();
        let (copies, lost): (Vec<&Event>, Vec<&Event>) =
            dropped.into_iter().partition(|it| it.is_copy);
        if !lost.is_empty() {
            outcome.push(format!(
                "{} from the {} arrived, and {} not passed on{}",
                named(&lost),
                from.name(),
                if lost.len() == 1 { "was" } else { "were" },
                confirmed(&lost)
            ));
        }
        let copies = copies.len() as u64;
        if copies > 0 {
            outcome.push(format!(
                "{} from the {} {} not passed on, of which another copy was",
                segments(copies),
                from.name(),
                if copies == 1 { "was" } else { "were" },
            ));
        }
        let inserted = events.iter().filter(|it| {
            it.fate == Fate::Inserted && it.from == from && !it.segment.has(RST | FIN)
        });
        let inserted: Vec<_> = inserted.collect();
        if !inserted.is_empty() {
            outcome.push(format!(
                "the device inserted {} towards the {}",
                named(&inserted),
                if from == Party::Client {
                    "server"
                } else {
                    "client"
                }
            ));
        }
    }
}

/// Names few segments that begin or end something, and counts others.
fn named(events: &[&Event]) -> String {
    const NAMED_MAX: usize = 3;
    let is_named = |it: &Event| it.segment.control() != 0 || it.segment.contents.is_alert();
    if events.len() <= NAMED_MAX && events.iter().all(|it| is_named(it)) {
        let names: Vec<_> = events.iter().map(|it| short(&it.segment)).collect();
        return names.join(" and ");
    }
    segments(events.len() as u64)
}

/// Returns a segment without its length.
fn short(segment: &Segment) -> String {
    let text = segment.to_string();
    match text.rsplit_once(", ") {
        Some((name, _)) if segment.contents.is_alert() => name.to_owned(),
        _ => text,
    }
}

fn confirmed(dropped: &[&Event]) -> &'static str {
    let of =
        |mark: fn(&Event) -> Option<bool>, is: bool| dropped.iter().any(|it| mark(it) == Some(is));
    if of(|it| it.marks.drop, true) {
        " (the drop capture has them)"
    } else if of(|it| it.marks.firewall, true) {
        " (behind the firewall stage)"
    } else if of(|it| it.marks.firewall, false) {
        " (before the firewall stage)"
    } else {
        ""
    }
}

fn to(event: &Event) -> &'static str {
    if event.from == Party::Client {
        "server"
    } else {
        "client"
    }
}

fn flags(event: &Event) -> String {
    event.segment.to_string()
}

fn segments(number: u64) -> String {
    counted(number, "segment", "segments")
}
