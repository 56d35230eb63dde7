//! Rows beside the verdicts on their connections.

use std::collections::HashMap;
use std::fmt;

use super::row::{Ends, Row};
use super::time::RowTime;
use crate::outlet::database::{DatabaseError, Past, Query, StoredVerdict};
use crate::verdict::Verdict;

/// Zones differ by multiples of this.
pub(super) const ZONE_NS: i64 = 900_000_000_000;
/// Greatest difference of a row's time from its connection's, beside the clocks' offset: firewalls write
/// whole seconds, and clocks drift within a log.
pub(super) const APART_MAX_NS: i64 = 30_000_000_000;
/// Connections that show a clock that is farther off than that, or a change to or from summer time.
const AGREEING: usize = 2;

/// Offset of a firewall's clock from that of the taps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// The firewall, as its rows name it; empty if they do not.
    pub firewall: String,
    /// Offset of the zone that rows are written in, nanoseconds; a multiple of a quarter of an hour.
    pub zone_ns: i64,
    /// The offset before or after a change to or from summer time within the log.
    pub other_zone_ns: Option<i64>,
    /// The rest, nanoseconds.
    pub ahead_ns: i64,
    /// Rows that show it.
    pub rows: usize,
}

/// A row and its explanation.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The row.
    pub row: Row,
    /// The verdict on its connection, or the reason why there is none.
    pub verdict: Result<Box<Verdict>, Unexplained>,
}

/// The reason why no verdict belongs to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unexplained {
    /// Its protocol is not TCP.
    NotTcp,
    /// Nothing was seen at that time.
    OtherTime,
    /// Nothing of the client was ever seen.
    ClientUnseen,
    /// The ends had failing connections at other times only.
    OtherConnection,
    /// Connections of the client were seen, and none between these ends failed.
    NoFailure,
}

impl fmt::Display for Unexplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotTcp => "it is no TCP connection: verdicts are about TLS over TCP",
            Self::OtherTime => "no connection was seen at that time",
            Self::ClientUnseen => "this client was never seen",
            Self::OtherConnection => {
                "these ends had a failing connection at another time only: ports are used again"
            }
            Self::NoFailure => {
                "no failure between these ends was seen: the connection worked, or passed no tap"
            }
        })
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the firewall writes times of ")?;
        write_zone(f, self.zone_ns)?;
        if let Some(other) = self.other_zone_ns {
            write!(f, " and ")?;
            write_zone(f, other)?;
        }
        let seconds = self.ahead_ns as f64 / 1e9;
        write!(
            f,
            ", and its clock is {seconds:+.1} s from the taps' (by {} rows)",
            self.rows
        )
    }
}

fn write_zone(f: &mut fmt::Formatter<'_>, zone_ns: i64) -> fmt::Result {
    let minutes = zone_ns / 60_000_000_000;
    let sign = if minutes < 0 { '-' } else { '+' };
    let minutes = minutes.abs();
    write!(f, "UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Explains rows by the past. Returns the offsets of the firewalls' clocks, too, as far as rows show them.
///
/// # Errors
/// [`DatabaseError`].
pub fn explain(rows: Vec<Row>, past: &Past) -> Result<(Vec<Clock>, Vec<Explained>), DatabaseError> {
    let mut candidates = Vec::with_capacity(rows.len());
    for row in &rows {
        candidates.push(of_ends(row, past)?);
    }
    let clocks = clocks(&rows, &candidates);
    let span = past.span()?;
    let mut explained = Vec::with_capacity(rows.len());
    for (row, candidates) in rows.into_iter().zip(candidates) {
        let clock = clocks.iter().find(|it| it.firewall == row.firewall());
        let had_any = !candidates.is_empty();
        let verdict = match nearest(&row, candidates, clock) {
            Some(verdict) => Ok(Box::new(verdict)),
            None if !row.is_tcp() => Err(Unexplained::NotTcp),
            None if had_any => Err(Unexplained::OtherConnection),
            None => Err(reason(&row, clock, span, past)?),
        };
        explained.push(Explained { row, verdict });
    }
    Ok((clocks, explained))
}

/// Returns the verdicts in force between a row's ends, also as the firewall translated them.
fn of_ends(row: &Row, past: &Past) -> Result<Vec<StoredVerdict>, DatabaseError> {
    let mut verdicts = Vec::new();
    for ends in pairs(row) {
        verdicts.extend(past.verdicts_between(ends.client, ends.server)?);
    }
    verdicts.retain(|it| it.superseded_by.is_none());
    Ok(verdicts)
}

/// Returns the ends that a row's connection may have at a tap: its own, and as the firewall translated them; none
/// if it is not TCP.
pub(super) fn pairs(row: &Row) -> Vec<Ends> {
    if !row.is_tcp() {
        return Vec::new();
    }
    let behind = row.translated.unwrap_or(row.ends);
    let mut pairs = vec![row.ends];
    for client in [row.ends.client, behind.client] {
        for server in [row.ends.server, behind.server] {
            let ends = Ends { client, server };
            if !pairs.contains(&ends) {
                pairs.push(ends);
            }
        }
    }
    pairs
}

/// Returns the time of a connection's ClientHello, nanoseconds since the UNIX epoch.
pub(super) fn began_ns(verdict: &Verdict) -> i64 {
    let ended = i64::try_from(verdict.time.as_nanosecond()).unwrap_or(i64::MAX);
    let lasted = verdict.duration_ms.unwrap_or_default() * 1e6;
    ended.saturating_sub(lasted as i64)
}

/// Estimates the offset of each firewall's clock.
fn clocks(rows: &[Row], candidates: &[Vec<StoredVerdict>]) -> Vec<Clock> {
    let mut firewalls: Vec<&str> = rows.iter().map(Row::firewall).collect();
    firewalls.sort_unstable();
    firewalls.dedup();
    let clocks = firewalls.into_iter().filter_map(|firewall| {
        let rows = rows.iter().zip(candidates);
        let of_firewall: Vec<_> = rows.filter(|(row, _)| row.firewall() == firewall).collect();
        clock(firewall, &of_firewall)
    });
    clocks.collect()
}

/// Estimates the offset of a clock: that on which most connections agree, in quarters of an hour, and the
/// median of the rest.
fn clock(firewall: &str, rows: &[(&Row, &Vec<StoredVerdict>)]) -> Option<Clock> {
    let mut offsets: HashMap<i64, Vec<(i64, Ends)>> = HashMap::new();
    for (row, candidates) in rows {
        let Some(time) = row.began else {
            continue;
        };
        for candidate in *candidates {
            let apart = time.nanoseconds() - began_ns(&candidate.verdict);
            let zone = match time {
                RowTime::Zoned(_) => 0,
                RowTime::Local(_) => (apart + ZONE_NS / 2).div_euclid(ZONE_NS) * ZONE_NS,
            };
            // No zone is farther than 14 hours from UTC.
            if zone.abs() <= 14 * 4 * ZONE_NS {
                offsets
                    .entry(zone)
                    .or_default()
                    .push((apart - zone, row.ends));
            }
        }
    }
    let peaks = offsets.into_iter().filter_map(|(zone_ns, mut rests)| {
        rests.sort_unstable_by_key(|(rest, _)| *rest);
        let (ahead_ns, _) = *rests.get(rests.len() / 2)?;
        rests.retain(|(rest, _)| (rest - ahead_ns).abs() <= APART_MAX_NS);
        let mut ends: Vec<Ends> = Vec::new();
        for (_, of_row) in &rests {
            if ends.len() < AGREEING && !ends.contains(of_row) {
                ends.push(*of_row);
            }
        }
        // Any time is some offset from one connection's: ports are used again.
        let agree = ends.len() >= AGREEING;
        (agree || ahead_ns.abs() <= APART_MAX_NS).then_some((zone_ns, ahead_ns, rests.len(), agree))
    });
    let peaks: Vec<_> = peaks.collect();
    let &(zone_ns, ahead_ns, rows, _) = peaks
        .iter()
        .max_by_key(|(zone_ns, _, rows, _)| (*rows, -zone_ns.abs(), *zone_ns))?;
    let other = peaks.iter().find(|(other_ns, other_ahead_ns, _, agree)| {
        let is_summer_time = (other_ns - zone_ns).abs() == 4 * ZONE_NS;
        *agree && is_summer_time && (other_ahead_ns - ahead_ns).abs() <= APART_MAX_NS
    });
    Some(Clock {
        firewall: firewall.to_owned(),
        zone_ns,
        other_zone_ns: other.map(|(other_ns, ..)| *other_ns),
        ahead_ns,
        rows: rows + other.map_or(0, |(_, _, rows, _)| *rows),
    })
}

/// Returns a row's time on the taps' clock; two if it may be in summer time or not.
fn on_taps_clock(row: &Row, clock: Option<&Clock>) -> Vec<i64> {
    let ahead_ns = clock.map_or(0, |clock| clock.ahead_ns);
    match row.began {
        None => Vec::new(),
        Some(RowTime::Zoned(time)) => vec![time - ahead_ns],
        Some(RowTime::Local(time)) => clock
            .into_iter()
            .flat_map(|clock| [Some(clock.zone_ns), clock.other_zone_ns])
            .flatten()
            .map(|zone_ns| time - zone_ns - ahead_ns)
            .collect(),
    }
}

fn nearest(row: &Row, candidates: Vec<StoredVerdict>, clock: Option<&Clock>) -> Option<Verdict> {
    if row.began.is_none() {
        // A row without a time: by its ends alone, if only one connection had them.
        let [only] = <[StoredVerdict; 1]>::try_from(candidates).ok()?;
        return Some(only.verdict);
    }
    let times = on_taps_clock(row, clock);
    let apart = |it: &StoredVerdict| {
        let began_ns = began_ns(&it.verdict);
        let apart = times.iter().map(|time| (began_ns - time).abs());
        apart.min().unwrap_or(i64::MAX)
    };
    let nearest = candidates.into_iter().min_by_key(apart)?;
    (apart(&nearest) <= APART_MAX_NS).then_some(nearest.verdict)
}

fn reason(
    row: &Row,
    clock: Option<&Clock>,
    span: Option<(i64, i64)>,
    past: &Past,
) -> Result<Unexplained, DatabaseError> {
    let Some((first, last)) = span else {
        return Ok(Unexplained::OtherTime);
    };
    let covered = first - APART_MAX_NS..=last + APART_MAX_NS;
    let times = on_taps_clock(row, clock);
    if !times.is_empty() && !times.iter().any(|time| covered.contains(time)) {
        return Ok(Unexplained::OtherTime);
    }
    let clients = std::iter::once(row.ends.client).chain(row.translated.map(|it| it.client));
    let query = Query {
        clients: clients.map(|client| client.ip().into()).collect(),
        all: true,
        limit: 1,
        ..Query::default()
    };
    Ok(if past.groups(&query)?.is_empty() {
        Unexplained::ClientUnseen
    } else {
        Unexplained::NoFailure
    })
}

#[cfg(test)]
mod tests;
