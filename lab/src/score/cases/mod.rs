//! Verdicts beside the truth.

use serde::Serialize;

use super::agent::Verdict;
use super::judgement::{Judgement, Leniency, is_failure, judge as judge_cause};
use super::streams::Streams;
use crate::labels::{Capture, Cause, Truth};

/// A verdict and the connection it is about.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Index among the captures of the run.
    pub capture: usize,
    /// Wireshark's number; `None` where no connection of the capture has these endpoints.
    pub stream: Option<u64>,
    /// The verdict.
    pub verdict: Verdict,
    /// A later verdict replaces it.
    pub superseded: bool,
}

/// A labelled capture or connection, and the verdicts on it.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// The capture.
    pub file: String,
    /// The connection, where connections are labelled one by one.
    pub stream: Option<u64>,
    /// The truth.
    pub truth: Cause,
    /// The cause named in the end: [`Cause::Established`] where there was no verdict.
    pub said: Cause,
    /// The worth of that.
    pub judgement: Judgement,
    /// The verdict that says so.
    pub verdict: Option<Verdict>,
    /// Additional verdicts that are wrong.
    pub extra: Vec<Verdict>,
    /// Every verdict that counted, the extra ones too, and its judgement.
    #[serde(skip)]
    pub verdicts: Vec<(Verdict, Judgement)>,
    /// Verdicts that were replaced later.
    pub superseded: Vec<Verdict>,
    /// Whether its packets show a reset.
    pub was_reset: bool,
    /// The label's `intercepted`.
    pub intercepted: Option<String>,
    /// The label's `ended_by`.
    pub ended_by: Option<String>,
    /// The label's `interceptor`.
    pub interceptor: Option<String>,
    /// The label's note.
    pub note: Option<String>,
    /// The capture was given together with others.
    pub grouped: bool,
}

/// The cases of a run, and verdicts on connections that nobody labelled.
#[derive(Clone, Debug, Default)]
pub struct Cases {
    /// By file, then by row.
    pub cases: Vec<Case>,
    /// Not judged.
    pub unlabelled: Vec<Placed>,
}

/// Finds each verdict's connection and which verdicts were replaced.
#[must_use]
pub fn place(verdicts: Vec<Verdict>, run: &[(&Capture, &Streams)]) -> Vec<Placed> {
    let mut placed: Vec<Placed> = Vec::new();
    for verdict in verdicts {
        let (capture, stream) = find(&verdict, run);
        if let Some(revised) = &verdict.revises {
            supersede(&mut placed, revised, &verdict, (capture, stream));
        }
        placed.push(Placed {
            capture,
            stream,
            verdict,
            superseded: false,
        });
    }
    placed
}

/// Marks the verdict that another revises, named by time and Community ID. Where that finds none,
/// it is the one on the same connection.
fn supersede(placed: &mut [Placed], revised: &str, verdict: &Verdict, place: (usize, Option<u64>)) {
    let named = |one: &Placed| {
        format!("{} {}", one.verdict.time, one.verdict.community_id) == revised
            && one.verdict.client == verdict.client
    };
    let any_named = placed.iter().any(named);
    for one in placed {
        let same_connection = one.verdict.community_id == verdict.community_id
            && one.verdict.client.port() == verdict.client.port()
            && (one.capture, one.stream) == place;
        one.superseded |= if any_named {
            named(one)
        } else {
            same_connection
        };
    }
}

/// Returns the capture and stream of a verdict: where its endpoints met when it was given, first of
/// all in the capture that it names as its tap.
fn find(verdict: &Verdict, run: &[(&Capture, &Streams)]) -> (usize, Option<u64>) {
    let tap = |capture: &Capture| capture.path.file_name().is_some_and(|n| *n == *verdict.tap);
    let candidates = run
        .iter()
        .enumerate()
        .filter_map(|(index, (capture, streams))| {
            let number = streams.at(verdict.client, verdict.server, verdict.time_ns)?;
            let stream = streams.all.get(number)?;
            let away = stream.first_ns.saturating_sub(verdict.time_ns)
                + verdict.time_ns.saturating_sub(stream.last_ns);
            Some(((!tap(capture), away), (index, u64::try_from(number).ok())))
        });
    let nearest = candidates.min_by_key(|(rank, _)| *rank);
    nearest.map_or_else(
        || {
            let named = run.iter().position(|(capture, _)| tap(capture));
            (named.unwrap_or(0), None)
        },
        |(_, place)| place,
    )
}

/// Judges all that is labelled in a run.
#[must_use]
pub fn judge(run: &[(&Capture, &Streams)], placed: Vec<Placed>, leniency: Leniency) -> Cases {
    let mut result = Cases::default();
    let mut by_capture: Vec<Vec<Placed>> = run.iter().map(|_| Vec::new()).collect();
    for one in placed {
        if let Some(list) = by_capture.get_mut(one.capture) {
            list.push(one);
        }
    }
    for ((capture, streams), mut placed) in run.iter().zip(by_capture) {
        if capture.connections.is_empty() {
            let was_reset = streams.all.iter().any(|stream| stream.was_reset);
            let case = Case::new(capture, None, &capture.truth, placed, leniency);
            result.cases.push(Case { was_reset, ..case });
            continue;
        }
        for (stream, truth) in &capture.connections {
            let (own, rest) = placed
                .into_iter()
                .partition(|one| one.stream == Some(*stream));
            placed = rest;
            let seen = usize::try_from(*stream)
                .ok()
                .and_then(|n| streams.all.get(n));
            let was_reset = seen.is_some_and(|stream| stream.was_reset);
            let case = Case::new(capture, Some(*stream), truth, own, leniency);
            result.cases.push(Case { was_reset, ..case });
        }
        result.unlabelled.extend(placed);
    }
    result
}

impl Leniency {
    /// Returns the leniency that applies to one verdict.
    pub(super) fn of(self, verdict: &Verdict) -> Self {
        match verdict.tls_version.as_deref() {
            Some("1.3") if self == Self::LoneFlow => Self::HiddenCertificate,
            _ => self,
        }
    }
}

impl Case {
    fn new(
        capture: &Capture,
        stream: Option<u64>,
        truth: &Truth,
        placed: Vec<Placed>,
        leniency: Leniency,
    ) -> Self {
        let (superseded, last): (Vec<_>, Vec<_>) =
            placed.into_iter().partition(|one| one.superseded);
        let mut verdicts: Vec<(Verdict, Judgement)> = last
            .into_iter()
            .map(|one| one.verdict)
            .filter(|verdict| is_failure(verdict.cause))
            .map(|verdict| {
                let judgement = judge_cause(truth.cause, verdict.cause, leniency.of(&verdict));
                (verdict, judgement)
            })
            .collect();
        // The most telling first: the right one if there is one, else the surest.
        verdicts.sort_by(|(a, how_a), (b, how_b)| {
            let rank = |how: &Judgement| *how as u8;
            rank(how_a)
                .cmp(&rank(how_b))
                .then(b.confidence.total_cmp(&a.confidence))
        });
        let verdict = verdicts.first().map(|(verdict, _)| verdict.clone());
        let extra = verdicts.iter().skip(1);
        let extra = extra.filter(|(_, judgement)| !judgement.is_right());
        let said = verdict.as_ref().map_or(Cause::Established, |one| one.cause);
        let judgement = match verdicts.first() {
            Some((_, judgement)) => *judgement,
            None => judge_cause(truth.cause, said, leniency),
        };
        Self {
            file: capture.file.clone(),
            stream,
            truth: truth.cause,
            said,
            judgement,
            extra: extra.map(|(verdict, _)| verdict.clone()).collect(),
            verdict,
            verdicts,
            superseded: superseded.into_iter().map(|one| one.verdict).collect(),
            was_reset: false,
            intercepted: truth.intercepted.clone(),
            ended_by: truth.ended_by.clone(),
            interceptor: capture.interceptor.clone(),
            note: truth.note.clone().or_else(|| capture.truth.note.clone()),
            grouped: leniency == Leniency::Group,
        }
    }
}

#[cfg(test)]
mod tests;
