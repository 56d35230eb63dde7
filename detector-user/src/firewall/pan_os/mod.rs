//! PAN-OS: traffic and decryption logs, as syslog and as export.
//!
//! Sources: docs.paloaltonetworks.com, "Traffic Log Fields" of PAN-OS 7.1 to 11.0 and "Decryption Log
//! Fields" of 10.2. Up to 11.0 fields were only appended, so a row of any version is read by position.

mod header;
mod layout;

use std::collections::HashMap;

use super::row::{Ends, Row, RowError, ends, is_given};
use super::separated::fields;
use super::time::RowTime;
use layout::{COMMON, DECRYPTION, Layout, TRAFFIC};

pub(super) use header::Header;
pub(super) use layout::field_name;

/// Kind of the rows of traffic logs.
pub(super) const TRAFFIC_KIND: &str = "PAN-OS traffic";
/// Bit of `flags`: the firewall decrypted the session.
const DECRYPTED: u32 = 0x0100_0000;
/// Types of logs, and the names of their rows.
const KINDS: [(&str, &str, Layout); 2] = [
    ("TRAFFIC", TRAFFIC_KIND, TRAFFIC),
    ("DECRYPTION", "PAN-OS decryption", DECRYPTION),
];

/// Reads a line by its positions; `None` if it is of no PAN-OS log.
pub(super) fn by_position(line: &str, number: u64) -> Option<Result<Row, RowError>> {
    let marks = KINDS.iter().flat_map(|(name, kind, layout)| {
        let marks = [format!(",{name},"), format!(",\"{name}\",")];
        marks.map(|mark| Some((line.find(&mark)?, *kind, *layout)))
    });
    // The type is before any field that holds a stranger's words.
    let (at, kind, layout) = marks.flatten().min_by_key(|(at, ..)| *at)?;
    let values = fields(line.get(body(line, at)?..)?);
    let mut named = HashMap::new();
    for (position, name) in COMMON.iter().chain(layout) {
        if let Some(value) = values.get(position - 1) {
            named.insert(*name, value.clone());
        }
    }
    Some(row(named, kind, number))
}

/// Returns the offset of the first field, which syslog's header precedes: the type at `at` is the fourth.
fn body(line: &str, at: usize) -> Option<usize> {
    let serial = line.get(..at)?.rfind(',')?;
    let received = line.get(..serial)?.rfind(',')?;
    let before = line.get(..received)?;
    Some(before.rfind([' ', '\t']).map_or(0, |space| space + 1))
}

/// Makes a row of named fields.
fn row(
    fields: HashMap<&'static str, String>,
    kind: &'static str,
    line: u64,
) -> Result<Row, RowError> {
    let ends = ends(&fields, ["addr.src", "port.src", "addr.dst", "port.dst"])?;
    let decrypted = match fields.get("flags").map(|it| it.trim()) {
        None | Some("") => None,
        Some(flags) => Some(number(flags)? & DECRYPTED != 0),
    };
    Ok(Row {
        line,
        kind,
        ends,
        translated: translated(&fields, ends),
        began: began(&fields),
        decrypted,
        fields,
    })
}

fn number(flags: &str) -> Result<u32, RowError> {
    let digits = flags.strip_prefix("0x").unwrap_or(flags);
    u32::from_str_radix(digits, 16).map_err(|_| RowError::Wrong {
        field: "flags",
        value: flags.chars().take(40).collect(),
    })
}

/// Returns the ends behind the firewall, if it translated any.
fn translated(fields: &HashMap<&'static str, String>, ends: Ends) -> Option<Ends> {
    let behind = super::row::ends(fields, ["natsrc", "natsport", "natdst", "natdport"]).ok()?;
    let mut translated = ends;
    if is_given(behind.client.ip()) {
        translated.client = behind.client;
    }
    if is_given(behind.server.ip()) {
        translated.server = behind.server;
    }
    (translated != ends).then_some(translated)
}

/// Returns the time of the connection's beginning: with its zone where a row of 10.0 or later shows it by a
/// second time of the same moment.
fn began(fields: &HashMap<&'static str, String>) -> Option<RowTime> {
    let time = |name: &str| RowTime::parse(fields.get(name)?);
    let generated = time("time_generated").or_else(|| time("receive_time"));
    let began = time("start").or(generated)?;
    let RowTime::Local(began_ns) = began else {
        return Some(began);
    };
    if let (Some(RowTime::Zoned(exact)), Some(RowTime::Local(local))) =
        (time("high_res_timestamp"), generated)
        && let Some(zone_ns) = zone(local - exact)
    {
        return RowTime::zoned(i128::from(began_ns - zone_ns));
    }
    Some(began)
}

/// Returns the offset of a zone, of which all are multiples of a quarter of an hour and none is beyond 14
/// hours, from a difference that has part of a second too much.
fn zone(difference_ns: i64) -> Option<i64> {
    const QUARTER: i64 = 900_000_000_000;
    let zone_ns = (difference_ns + QUARTER / 2).div_euclid(QUARTER) * QUARTER;
    (zone_ns.abs() <= 14 * 4 * QUARTER).then_some(zone_ns)
}

#[cfg(test)]
mod tests;
