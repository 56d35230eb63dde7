//! Who accepts and who refuses whom, over many connections: what tells pinning from a missing CA.
//!
//! Facts are kept by client, app, name and interceptor, and only of intercepted connections. Each
//! new fact may decide earlier verdicts: those are given again, naming the one they revise. Memory
//! is bounded by the numbers below; facts fade with the days (see [`recent`]).

mod decide;
mod facts;
mod recent;
mod siblings;
mod store;

use std::path::Path;
use std::time::Duration;

use hashlink::LruCache;

use crate::cause::interception::Mark;
use crate::cause::judge::subject::{Outcome, Subject};
use crate::cause::judge::{Judged, Judgement};
use crate::verdict::{AlertDescription, Cause, Evidence, Intercepted, Verdict};
use decide::{Decision, decide};
use facts::{Change, Fact, Facts, Triple};
use siblings::Siblings;
use store::{Note, Store};

/// Refusals by (client, app, name) remembered.
const REFUSALS_MAX: usize = 16_384;
/// Verdicts of one such triple that a later fact can revise: the latest.
const OPEN_VERDICTS: usize = 8;
/// A verdict that was revised so often is left as it is.
const REVISIONS_MAX: u8 = 4;
/// A verdict of the same cause is given again once it is surer by this.
const SURER_BY: f64 = 0.15;
/// Connections kept until it is known whether what they have in common is an interceptor's.
const UNDECIDED_MAX: usize = 4096;
/// How much surer a decision is that knows of the interceptor.
const UNSEEN_INTERCEPTOR: f64 = 0.8;
/// Attempts from which on it is no accident.
const REPEATED: u32 = 3;
/// Connections this near to each other are attempts at the same thing.
const RETRY_NS: u64 = 1_000_000_000;

/// What connections so far have shown.
pub struct History {
    siblings: Siblings,
    /// Of connections that were intercepted.
    facts: Facts,
    /// Of connections that may have been: what they show of a missing CA holds either way.
    perhaps: Facts,
    refusals: LruCache<Triple, Refusals>,
    undecided: LruCache<(Mark, u64), Subject>,
    /// Marks that are an interceptor's.
    recognized: LruCache<Mark, ()>,
    count: u64,
    store: Option<Store>,
    /// Facts that nothing was there to keep.
    unkept: u64,
    is_kept: bool,
}

/// What was learned before a restart.
#[derive(Debug, Default)]
pub struct Remembered {
    /// Facts about clients, apps and names.
    pub facts: usize,
    /// Marks that are an interceptor's.
    pub marks: Vec<Mark>,
    /// What is wrong with what was kept.
    pub warnings: Vec<String>,
}

/// How one app on one client refused one name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals {
    /// Attempts, retries at once counted as one.
    attempts: u32,
    last_ns: u64,
    /// How sure the surest of them is.
    probability: f64,
    /// Description of the client's alert.
    alert: Option<AlertDescription>,
    /// Who issued the certificate it refused.
    issuer: Option<Mark>,
    /// Whether that certificate was in order as far as one could see.
    certificate_in_order: Option<bool>,
    open: Vec<Open>,
}

/// A verdict that may be revised.
#[derive(Clone, Debug)]
struct Open {
    /// As it was by itself.
    alone: Verdict,
    /// The same, if it was intercepted and that is not known yet.
    if_intercepted: Option<(Verdict, f64)>,
    /// As it was given last.
    given: (Cause, f64),
    /// What names the one given last.
    name: String,
    revisions: u8,
    intercepted: Intercepted,
    marks: crate::cause::interception::Marks,
}

impl Default for History {
    fn default() -> Self {
        Self {
            siblings: Siblings::default(),
            facts: Facts::default(),
            perhaps: Facts::default(),
            refusals: LruCache::new(REFUSALS_MAX),
            undecided: LruCache::new(UNDECIDED_MAX),
            recognized: LruCache::new(UNDECIDED_MAX),
            count: 0,
            store: None,
            unkept: 0,
            is_kept: false,
        }
    }
}

impl History {
    /// Takes up what was kept in `directory` and is no older than `retention`, and keeps there what is
    /// learned from now on. Where nothing can be written, what could be read is used all the same.
    pub fn keep_in(&mut self, directory: &Path, retention: Duration, now_s: u64) -> Remembered {
        let (store, kept) = Store::open(directory, retention, now_s);
        let mut remembered = Remembered {
            warnings: kept.warnings,
            ..Remembered::default()
        };
        for note in kept.notes {
            match note {
                Note::Fact { fact, intercepted } => {
                    let facts = if intercepted {
                        &mut self.facts
                    } else {
                        &mut self.perhaps
                    };
                    facts.learn(&fact);
                    remembered.facts += 1;
                }
                Note::Recognized { mark, .. } => {
                    self.recognized.insert(mark, ());
                    remembered.marks.push(mark);
                }
            }
        }
        self.is_kept = true;
        self.store = store
            .map_err(|error| remembered.warnings.push(error.to_string()))
            .ok();
        remembered
    }

    /// Facts that were to be kept and did not get to the disk.
    pub fn unkept(&self) -> u64 {
        self.unkept + self.store.as_ref().map_or(0, Store::lost)
    }

    /// Takes in a judgement made at `now_ns` on the tap's clock; returns the verdicts that follow:
    /// its own, as others make it appear, and earlier ones that it revises.
    pub fn take(&mut self, judged: Judged, now_ns: u64) -> Vec<Verdict> {
        self.siblings.note(&judged.subject);
        match self.siblings.pass(judged, now_ns) {
            Some(judged) => self.weigh(judged),
            None => Vec::new(),
        }
    }

    /// Verdicts that have waited long enough for what would explain them.
    pub fn advance(&mut self, now_ns: u64) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        while let Some(judged) = self.siblings.next_due(now_ns) {
            verdicts.extend(self.weigh(judged));
        }
        verdicts
    }

    /// When [`advance`](Self::advance) has something to do, on the tap's clock.
    pub fn next_deadline(&self) -> Option<u64> {
        self.siblings.next_deadline()
    }

    /// Connections that were dropped beside others that worked.
    pub fn spare(&self) -> u64 {
        self.siblings.spare()
    }

    fn weigh(&mut self, mut judged: Judged) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        // It may have waited until it became clear who answers there.
        let mut marks = judged.subject.interception.marks.into_iter().flatten();
        if marks.any(|mark| self.recognized.contains_key(&mark))
            && let Some(known) = judged.if_intercepted.take()
        {
            judged = *known;
        }
        let Judged {
            judgement,
            subject,
            if_intercepted,
        } = judged;
        for mark in &subject.interception.recognized {
            self.note(Note::Recognized {
                mark: *mark,
                time_s: subject.time_ns / 1_000_000_000,
            });
            self.recognize(*mark, &mut verdicts);
        }
        let own = match judgement {
            Judgement::Failed(verdict) => Some(*verdict),
            Judgement::Established | Judgement::Unused | Judgement::Unfinished => None,
        };
        let change = self.learn(&subject);
        if let Some(verdict) = own {
            verdicts.push(self.judge(verdict, &subject, if_intercepted));
        }
        if change.news {
            self.revise(&subject, change, &mut verdicts);
        }
        verdicts
    }

    /// Notes what a connection shows; says what that changes.
    fn learn(&mut self, subject: &Subject) -> Change {
        if subject.interception.status == Intercepted::Unknown {
            self.count = self.count.wrapping_add(1);
            for mark in subject.interception.marks.into_iter().flatten() {
                self.undecided
                    .insert((mark, self.count % 64), subject.clone());
            }
        }
        if let (Outcome::Refused { probability }, Some(triple)) =
            (subject.outcome, facts::triple(subject))
        {
            self.note_refusal(triple, subject, probability);
        }
        let Some(fact) = Fact::of(subject) else {
            return Change::default();
        };
        let intercepted = match subject.interception.status {
            Intercepted::Yes => true,
            Intercepted::Unknown => false,
            Intercepted::No => return Change::default(),
        };
        self.keep(&fact, intercepted)
    }

    fn keep(&mut self, fact: &Fact, intercepted: bool) -> Change {
        let facts = if intercepted {
            &mut self.facts
        } else {
            &mut self.perhaps
        };
        let change = facts.learn(fact);
        if change.worth_keeping {
            self.note(Note::Fact {
                fact: *fact,
                intercepted,
            });
        }
        change
    }

    fn note(&mut self, note: Note) {
        match &self.store {
            Some(store) => store.note(note),
            None => self.unkept += u64::from(self.is_kept),
        }
    }

    fn note_refusal(&mut self, triple: Triple, subject: &Subject, probability: f64) {
        let refusals = self
            .refusals
            .entry(triple)
            .or_insert_with(Refusals::default);
        if subject.time_ns.saturating_sub(refusals.last_ns) >= RETRY_NS {
            refusals.attempts = refusals.attempts.saturating_add(1);
        }
        refusals.last_ns = refusals.last_ns.max(subject.time_ns);
        refusals.probability = refusals.probability.max(probability);
        refusals.alert = subject.alert.or(refusals.alert);
        let [issuer, ..] = subject.interception.marks;
        refusals.issuer = issuer.or(refusals.issuer);
        refusals.certificate_in_order = subject
            .certificate_in_order
            .or(refusals.certificate_in_order);
    }

    /// A connection's own verdict, as the others make it appear.
    fn judge(
        &mut self,
        verdict: Verdict,
        subject: &Subject,
        if_intercepted: Option<Box<Judged>>,
    ) -> Verdict {
        let Outcome::Refused { .. } = subject.outcome else {
            return verdict;
        };
        let Some(triple) = facts::triple(subject) else {
            return verdict;
        };
        let refusals = self
            .refusals
            .entry(triple)
            .or_insert_with(Refusals::default);
        let status = subject.interception.status;
        let decision = decision(
            (&self.facts, &self.perhaps),
            status,
            &triple,
            refusals,
            subject.time_ns,
        );
        let mut given = decided(&verdict, decision.as_ref());
        refusals.strengthen(&mut given);
        if refusals.open.len() >= OPEN_VERDICTS {
            refusals.open.remove(0);
        }
        // Most have one, and each is large.
        refusals.open.reserve_exact(1);
        refusals.open.push(Open {
            given: (given.cause, given.confidence),
            name: name(&given),
            alone: verdict,
            if_intercepted: if_intercepted.and_then(refusal),
            revisions: 0,
            intercepted: subject.interception.status,
            marks: subject.interception.marks,
        });
        given
    }

    /// Gives verdicts again that a new fact about a client, an app or a name changes.
    fn revise(&mut self, subject: &Subject, change: Change, verdicts: &mut Vec<Verdict>) {
        let Some(fact) = Fact::of(subject) else {
            return;
        };
        let facts = match subject.interception.status {
            Intercepted::Yes => &self.facts,
            _ => &self.perhaps,
        };
        for triple in facts.concerned(&fact, change) {
            self.revise_triple(&triple, subject.time_ns, verdicts);
        }
    }

    fn revise_triple(&mut self, triple: &Triple, now_ns: u64, verdicts: &mut Vec<Verdict>) {
        let Some(refusals) = self.refusals.peek_mut(triple) else {
            return;
        };
        if refusals.open.is_empty() {
            return;
        }
        let both = (&self.facts, &self.perhaps);
        let decision_as = |status| decision(both, status, triple, refusals, now_ns);
        let wanted = |status| refusals.open.iter().any(|open| open.intercepted == status);
        let decisions = [Intercepted::Yes, Intercepted::Unknown].map(|status| {
            let decision = wanted(status).then(|| decision_as(status));
            (status, decision.flatten())
        });
        for open in &mut refusals.open {
            if open.revisions >= REVISIONS_MAX {
                continue;
            }
            let decision = decisions
                .iter()
                .find(|(status, _)| *status == open.intercepted)
                .and_then(|(_, decision)| decision.as_ref());
            let (cause, confidence) = open.given;
            let now = outcome(&open.alone, decision);
            if now.0 == cause && now.1 < confidence + SURER_BY {
                continue;
            }
            let mut now = decided(&open.alone, decision);
            now.revises = Some(std::mem::replace(&mut open.name, name(&now)));
            open.given = (now.cause, now.confidence);
            open.revisions += 1;
            verdicts.push(now);
        }
    }

    /// A mark turns out to be an interceptor's: connections that have it were intercepted.
    fn recognize(&mut self, mark: Mark, verdicts: &mut Vec<Verdict>) {
        self.recognized.insert(mark, ());
        let mut earlier = Vec::new();
        for slot in 0..64 {
            earlier.extend(self.undecided.remove(&(mark, slot)));
        }
        earlier.sort_by_key(|subject| subject.time_ns);
        for mut subject in earlier {
            subject.interception.status = Intercepted::Yes;
            let Some(fact) = Fact::of(&subject) else {
                continue;
            };
            self.keep(&fact, true);
            if let Some(refusals) = self.refusals.peek_mut(&fact.triple()) {
                refusals.recognize(mark);
            }
            self.revise(&subject, Change::ALL, verdicts);
        }
    }
}

impl Refusals {
    /// What has this mark was intercepted.
    fn recognize(&mut self, mark: Mark) {
        for open in &mut self.open {
            if open.marks.contains(&Some(mark))
                && let Some((verdict, probability)) = open.if_intercepted.take()
            {
                open.intercepted = Intercepted::Yes;
                open.alone = verdict;
                self.probability = self.probability.max(probability);
            }
        }
    }

    /// Refusing again and again, and never anything else, is no accident.
    fn strengthen(&self, verdict: &mut Verdict) {
        let sureness = self.sureness() * 0.95;
        if verdict.cause != Cause::CertificateRejected
            || self.attempts < REPEATED
            || verdict.confidence >= sureness
        {
            return;
        }
        verdict.confidence = sureness;
        verdict.evidence.push(Evidence {
            name: "repeated".to_owned(),
            detail: format!(
                "the {}th attempt of this app that ended so, and none succeeded",
                self.attempts
            ),
            weight: 1.0,
        });
    }
}

/// The verdict of a refusal, and how sure that is.
fn refusal(judged: Box<Judged>) -> Option<(Verdict, f64)> {
    match (judged.judgement, judged.subject.outcome) {
        (Judgement::Failed(verdict), Outcome::Refused { probability }) => {
            Some((*verdict, probability))
        }
        _ => None,
    }
}

/// What names a verdict for those that revise it.
fn name(verdict: &Verdict) -> String {
    format!("{} {}", verdict.time, verdict.community_id)
}

/// What others make of a refusal. Pinning is only said of what was intercepted; a client that accepts
/// nobody lacks the CA, whoever has signed, only less surely the inspection CA.
fn decision(
    (facts, perhaps): (&Facts, &Facts),
    status: Intercepted,
    triple: &Triple,
    refusals: &Refusals,
    now_ns: u64,
) -> Option<Decision> {
    match status {
        Intercepted::Yes => decide(facts, triple, refusals, now_ns),
        Intercepted::No => None,
        Intercepted::Unknown => {
            let mut decision = decide(perhaps, triple, refusals, now_ns)
                .filter(|decision| decision.cause == Cause::CaNotTrusted)?;
            decision.confidence *= UNSEEN_INTERCEPTOR;
            decision.evidence.push(Evidence {
                name: "interception-unknown".to_owned(),
                detail: "nothing shows whether these connections were intercepted: tell it by \
                         --intercepted or --inspection-ca"
                    .to_owned(),
                weight: 0.0,
            });
            Some(decision)
        }
    }
}

/// Cause and confidence of a verdict with what others decided about it.
fn outcome(alone: &Verdict, decision: Option<&Decision>) -> (Cause, f64) {
    let unchanged = (alone.cause, alone.confidence);
    let Some(decision) = decision else {
        return unchanged;
    };
    let refusal = match alone.cause {
        Cause::CertificateRejected => alone.confidence,
        _ => 0.0,
    };
    let confidence = decision.confidence * decision.refusal.max(refusal);
    if confidence < 0.5 && alone.cause != Cause::CertificateRejected {
        return unchanged;
    }
    let confidence = confidence.min(crate::cause::judge::CONFIDENCE_MAX);
    (decision.cause, confidence)
}

/// The verdict with what others decided about it.
fn decided(alone: &Verdict, decision: Option<&Decision>) -> Verdict {
    let mut verdict = alone.clone();
    let (cause, confidence) = outcome(alone, decision);
    let Some(decision) = decision.filter(|it| it.cause == cause) else {
        return verdict;
    };
    verdict.cause = cause;
    verdict.confidence = confidence;
    verdict.pan_os = decision.pan_os.map(str::to_owned);
    verdict.advice = decision.advice.clone();
    verdict.evidence.extend(decision.evidence.iter().cloned());
    verdict
        .evidence
        .sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
    verdict
}

#[cfg(test)]
mod tests;
