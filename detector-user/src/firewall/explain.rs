//! Rows beside the verdicts on their connections.

use std::collections::HashMap;
use std::fmt;

use super::row::{Ends, Row};
use super::time::RowTime;
use crate::outlet::database::{DatabaseError, Past, Query, StoredVerdict};
use crate::verdict::Verdict;

/// Zones differ by multiples of this.
const ZONE_NS: i64 = 900_000_000_000;
/// Greatest difference of a row's time from its connection's, beside the clocks' offset: firewalls write
/// whole seconds, and clocks drift within a log.
const APART_MAX_NS: i64 = 30_000_000_000;

/// Offset of the firewall's clock from that of the taps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Offset of the zone that rows are written in, nanoseconds; a multiple of a quarter of an hour.
    pub zone_ns: i64,
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
        let seconds = self.ahead_ns as f64 / 1e9;
        let minutes = self.zone_ns / 60_000_000_000;
        let sign = if minutes < 0 { '-' } else { '+' };
        let minutes = minutes.abs();
        write!(
            f,
            "the firewall writes times of UTC{sign}{:02}:{:02}, and its clock is {seconds:+.1} s from the taps' \
             (by {} rows)",
            minutes / 60,
            minutes % 60,
            self.rows
        )
    }
}

/// Explains rows by the past. Returns the offset of the clocks, too, if any row shows it.
///
/// # Errors
/// [`DatabaseError`].
pub fn explain(
    rows: Vec<Row>,
    past: &Past,
) -> Result<(Option<Clock>, Vec<Explained>), DatabaseError> {
    let mut candidates = Vec::with_capacity(rows.len());
    for row in &rows {
        candidates.push(of_ends(row, past)?);
    }
    let clock = clock(&rows, &candidates);
    let span = past.span()?;
    let mut explained = Vec::with_capacity(rows.len());
    for (row, candidates) in rows.into_iter().zip(candidates) {
        let had_any = !candidates.is_empty();
        let verdict = match nearest(&row, candidates, clock) {
            Some(verdict) => Ok(Box::new(verdict)),
            None if had_any => Err(Unexplained::OtherConnection),
            None => Err(reason(&row, clock, span, past)?),
        };
        explained.push(Explained { row, verdict });
    }
    Ok((clock, explained))
}

/// Returns the verdicts in force between a row's ends, also as the firewall translated them.
fn of_ends(row: &Row, past: &Past) -> Result<Vec<StoredVerdict>, DatabaseError> {
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
    let mut verdicts = Vec::new();
    for ends in pairs {
        verdicts.extend(past.verdicts_between(ends.client, ends.server)?);
    }
    verdicts.retain(|it| it.superseded_by.is_none());
    Ok(verdicts)
}

/// Returns the time of a connection's ClientHello, nanoseconds since the UNIX epoch.
fn began_ns(verdict: &Verdict) -> i64 {
    let ended = i64::try_from(verdict.time.as_nanosecond()).unwrap_or(i64::MAX);
    let lasted = verdict.duration_ms.unwrap_or_default() * 1e6;
    ended.saturating_sub(lasted as i64)
}

/// Estimates the offset of the clocks: that on which most rows agree, in quarters of an hour, and the median
/// of the rest.
fn clock(rows: &[Row], candidates: &[Vec<StoredVerdict>]) -> Option<Clock> {
    let mut offsets: HashMap<i64, Vec<i64>> = HashMap::new();
    for (row, candidates) in rows.iter().zip(candidates) {
        let Some(time) = row.began else {
            continue;
        };
        let mut of_row: Vec<(i64, i64)> = Vec::new();
        for candidate in candidates {
            let apart = time.nanoseconds() - began_ns(&candidate.verdict);
            let zone = match time {
                RowTime::Zoned(_) => 0,
                RowTime::Local(_) => (apart + ZONE_NS / 2).div_euclid(ZONE_NS) * ZONE_NS,
            };
            of_row.push((zone, apart - zone));
        }
        for (zone, rest) in of_row {
            offsets.entry(zone).or_default().push(rest);
        }
    }
    // No zone is farther than 14 hours from UTC.
    offsets.retain(|zone, _| zone.abs() <= 14 * 4 * ZONE_NS);
    let (zone_ns, mut rest) = offsets
        .into_iter()
        .max_by_key(|(zone, rest)| (rest.len(), -zone.abs()))?;
    rest.sort_unstable();
    let ahead_ns = *rest.get(rest.len() / 2)?;
    Some(Clock {
        zone_ns,
        ahead_ns,
        rows: rest.len(),
    })
}

/// Returns a row's time on the taps' clock.
fn on_taps_clock(row: &Row, clock: Option<Clock>) -> Option<i64> {
    let (zone_ns, ahead_ns) = clock.map_or((0, 0), |clock| (clock.zone_ns, clock.ahead_ns));
    match row.began? {
        RowTime::Local(time) => clock.map(|_| time - zone_ns - ahead_ns),
        RowTime::Zoned(time) => Some(time - ahead_ns),
    }
}

fn nearest(row: &Row, candidates: Vec<StoredVerdict>, clock: Option<Clock>) -> Option<Verdict> {
    let Some(time) = on_taps_clock(row, clock) else {
        // A row without a time: by its ends alone, if only one connection had them.
        let [only] = <[StoredVerdict; 1]>::try_from(candidates).ok()?;
        return Some(only.verdict);
    };
    let apart = |it: &StoredVerdict| (began_ns(&it.verdict) - time).abs();
    let nearest = candidates.into_iter().min_by_key(apart)?;
    (apart(&nearest) <= APART_MAX_NS).then_some(nearest.verdict)
}

fn reason(
    row: &Row,
    clock: Option<Clock>,
    span: Option<(i64, i64)>,
    past: &Past,
) -> Result<Unexplained, DatabaseError> {
    let Some((first, last)) = span else {
        return Ok(Unexplained::OtherTime);
    };
    if let Some(time) = on_taps_clock(row, clock)
        && !(first - APART_MAX_NS..=last + APART_MAX_NS).contains(&time)
    {
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
