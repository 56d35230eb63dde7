//! Connections that were in use when a side hung up on the other: successes by default.
//!
//! In: a connection judged as one that worked. Out: the same with a verdict, if the operator wants such
//! endings written one by one. Not here: which endings those are.

use std::str::FromStr;

use detector_common::flow::{Sender, Side, side_flags};
use detector_common::record::LENGTH_MAX;

use crate::cause::interception::Interception;
use crate::cause::judge::evidence::Evidence;
use crate::cause::judge::facts::{CutShort, Facts};
use crate::cause::judge::rules::{Case, Finding};
use crate::cause::judge::verdict::Grounds;
use crate::cause::judge::{Judged, Judgement, weigh};
use crate::flow::legs::Connection;
use crate::flow::timeline::{Close, CloseKind};
use crate::verdict::Cause;
use crate::verdict::named::named;

named! {
    /// Endings of connections that are written one by one.
    #[derive(Default)]
    pub enum Endings {
        /// Those that the other side did not want: failures, and answers that their sender did not finish.
        #[default]
        Failures = "failures",
        /// Resets amid a record of either side, too.
        Broken = "broken",
        /// All resets of connections in use, too: also after a finished answer.
        All = "all",
    }
}

/// A word that is none of [`Endings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not failures, broken or all")]
pub struct UnknownEndings;

impl FromStr for Endings {
    type Err = UnknownEndings;

    fn from_str(word: &str) -> Result<Self, UnknownEndings> {
        let known = Self::ALL.into_iter().find(|it| it.name() == word);
        known.ok_or(UnknownEndings)
    }
}

/// Log-odds of a side's own reset of a connection in use.
const RESET: f64 = 2.0;
/// Log-odds of either reading of a client's encrypted alert amid the server's record.
const ALERT: f64 = 0.3;

/// Turns the judgement on a connection that worked into a verdict on its end, if `endings` has it.
#[must_use]
pub fn with_ending(judged: Judged, connection: &Connection, endings: Endings) -> Judged {
    if endings == Endings::Failures || judged.judgement != Judgement::Established {
        return judged;
    }
    let leg = &connection.client_leg;
    let mut closes = leg.closes.iter();
    let Some(reset) = closes.find(|close| close.kind != CloseKind::SpeaksOn) else {
        return judged;
    };
    let facts = Facts::of(leg, None);
    if let Some(cut) = amid_record(&facts, reset) {
        let findings = [
            (Cause::DecryptError, Evidence::AlertAmidRecord(cut)),
            (Cause::Abandoned, Evidence::HungUp(cut)),
        ];
        let findings = findings.map(|(cause, evidence)| Finding {
            cause,
            evidence,
            weight: ALERT,
        });
        return as_failed(judged, &facts, &findings);
    }
    let is_own = reset.kind == CloseKind::Reset
        && !facts.resets.injected()
        && !facts.outlived_reset
        && !facts.reset_after_farewell();
    let cut = under_way(reset);
    if !is_own || (cut.is_none() && endings == Endings::Broken) {
        return judged;
    }
    let by = reset.sender;
    let evidence = match cut {
        Some(cut) if cut.by == by => Evidence::CutShort(cut),
        Some(cut) => Evidence::HungUp(cut),
        None => Evidence::Reset {
            by,
            comparable: facts.resets.comparable,
        },
    };
    let findings = [Finding {
        cause: Cause::EndpointReset,
        evidence,
        weight: RESET,
    }];
    as_failed(judged, &facts, &findings)
}

/// Returns the record that the server was sending when the client sent an encrypted alert and closed.
fn amid_record(facts: &Facts<'_>, close: &Close) -> Option<CutShort> {
    let left = facts.farewell == Some(Sender::Client) && facts.client.left_by_alert;
    let cut = under_way(close).filter(|cut| cut.by == Sender::Server)?;
    (left && close.sender == Sender::Client).then_some(cut)
}

/// Returns the judgement with a verdict on the connection's end, by the first of these findings.
fn as_failed(judged: Judged, facts: &Facts<'_>, findings: &[Finding<'_>]) -> Judged {
    let Some(cause) = findings.first().map(|finding| finding.cause) else {
        return judged;
    };
    let verdict = ended_in_use(facts, findings, cause, &judged.subject.interception);
    Judged {
        judgement: Judgement::Failed(Box::new(verdict)),
        ..judged
    }
}

fn ended_in_use(
    facts: &Facts<'_>,
    findings: &[Finding<'_>],
    cause: Cause,
    interception: &Interception,
) -> crate::verdict::Verdict {
    let grounds = Grounds {
        case: Case {
            facts,
            server_leg: None,
            intercepted: interception.status,
            ech_is_grease: false,
            client_is_interceptor: false,
        },
        other_leg: None,
        interception,
        findings,
        like: None,
    };
    let confidence = weigh::share(findings, cause);
    grounds.verdict(cause, confidence)
}

/// Returns the record that one of the sides had begun when the connection was reset, where that is
/// known.
fn under_way(reset: &Close) -> Option<CutShort> {
    let [client, server] = &reset.sides;
    [(Sender::Client, client), (Sender::Server, server)]
        .into_iter()
        .find_map(|(by, side)| {
            let missing = missing(side)?;
            Some(CutShort {
                by,
                kind: CloseKind::Reset,
                sent: side.next_seq.wrapping_sub(side.start_seq),
                missing,
            })
        })
}

/// Returns the bytes that a side's last record header promised and that have not come.
fn missing(side: &Side) -> Option<u32> {
    const RECORD_MAX: u32 = 5 + LENGTH_MAX as u32;
    let is_known = side.has(side_flags::SYNCED) && !side.has(side_flags::GAP);
    let missing = side.header_seq.wrapping_sub(side.next_seq);
    (is_known && (1..=RECORD_MAX).contains(&missing)).then_some(missing)
}
