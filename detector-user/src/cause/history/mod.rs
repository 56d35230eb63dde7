//! History: acceptances and refusals over many connections, which tell pinning from a missing CA.
//!
//! In: [`Judged`], one connection after the other. Out: [`Verdict`]: the connection's own as others
//! make it appear, and earlier ones revised, each naming the one it replaces. Not here: judging one
//! connection by itself, output, clocks; I/O only in `store`.
//!
//! Facts are kept by client, app, name and interceptor (`facts`), and weighed by one model
//! (`likelihoods`, `decide`). Memory is bounded by the numbers in each file; facts fade with the days
//! (`recent`).

mod case;
mod closings;
mod decide;
mod decision;
mod ech;
mod fact;
mod facts;
mod facts_by_status;
mod lesson;
mod likelihoods;
mod origins;
mod recent;
mod reclassified;
mod refusals;
mod regular_checks;
mod siblings;
mod signs;
mod stale_pins;
mod store;
mod tables;
mod turns;
mod undecided;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hashlink::LruCache;

use crate::cause::client_identity::ClientIdentity;
use crate::cause::interception::Mark;
use crate::cause::judge::subject::{Outcome, Subject};
use crate::cause::judge::{Judged, Judgement};
use crate::verdict::{Intercepted, Verdict};
use closings::Closings;
use decision::Decision;
use ech::EchOffers;
use fact::{Fact, Name, Triple};
use facts::Change;
use facts_by_status::FactsByStatus;
use lesson::Lessons;
pub use lesson::{Answer, Lesson};
pub use origins::{OriginAnswer, Question};
pub use reclassified::{Outcomes, Reclassified};
use refusals::Refusals;
use regular_checks::RegularChecks;
use siblings::Siblings;
use stale_pins::{TakenCertificates, TakenLine};
use store::{Line, Store};
use turns::Turns;
use undecided::{UNDECIDED_MAX, Undecided};

/// Maximum (client, app, name) triples whose refusals are remembered.
const REFUSALS_MAX: usize = 16_384;
/// Maximum questions to origins that wait until they are taken.
const QUESTIONS_MAX: usize = 64;

/// The evidence of all connections so far.
pub struct History {
    turns: Turns,
    siblings: Siblings,
    ech: EchOffers,
    closings: Closings,
    checks: RegularChecks,
    taken: TakenCertificates,
    facts: FactsByStatus,
    refusals: LruCache<Triple, Refusals>,
    undecided: Undecided,
    /// Marks that are an interceptor's.
    recognized: LruCache<Mark, ()>,
    store: Option<Store>,
    /// Facts that there was no file for.
    unkept: u64,
    is_kept: bool,
    /// Connections with another outcome since they were last asked for.
    reclassified: Reclassified,
    /// Origins whose answers would decide; `None` where nobody asks them.
    questions: Option<Vec<Question>>,
    /// Identities under which facts about clients are kept.
    identity: ClientIdentity,
    /// Lessons for other agents and from them; `None` where there are none.
    lessons: Option<Box<Lessons>>,
}

/// The state restored from before a restart.
#[derive(Debug, Default)]
pub struct Remembered {
    /// Number of facts about clients, apps and names.
    pub facts: usize,
    /// Marks that are an interceptor's.
    pub marks: Vec<Mark>,
    /// Damage to the files, and failures to read or write them.
    pub warnings: Vec<String>,
}

/// A connection reduced to its evidence for others.
struct Evidence<'a> {
    subject: &'a Subject,
    triple: Option<Triple>,
    fact: Option<Fact>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            turns: Turns::default(),
            siblings: Siblings::default(),
            ech: EchOffers::default(),
            closings: Closings::default(),
            checks: RegularChecks::default(),
            taken: TakenCertificates::default(),
            facts: FactsByStatus::default(),
            refusals: LruCache::new(REFUSALS_MAX),
            undecided: Undecided::default(),
            recognized: LruCache::new(UNDECIDED_MAX),
            store: None,
            unkept: 0,
            is_kept: false,
            reclassified: Reclassified::default(),
            questions: None,
            identity: ClientIdentity::Clear,
            lessons: None,
        }
    }
}

impl History {
    /// Exchanges lessons with other agents from now on, in which clients have these identities. To be called before
    /// [`restore`](Self::restore).
    pub fn share(&mut self, identity: ClientIdentity) {
        self.identity = identity;
        self.lessons = Some(Box::default());
    }

    /// Returns the lessons for other agents, and forgets them.
    pub fn take_lessons(&mut self) -> Vec<Lesson> {
        self.lessons.as_mut().map_or_else(Vec::new, |it| it.take())
    }

    /// Returns the number of lessons that did not fit.
    pub fn dropped_lessons(&self) -> u64 {
        self.lessons.as_ref().map_or(0, |it| it.dropped())
    }

    /// Records a lesson from another gateway, which came at `now_s`, in seconds since the UNIX epoch. Returns the
    /// verdicts that it revises.
    pub fn record_lesson(
        &mut self,
        gateway: &Arc<str>,
        lesson: &Lesson,
        now_s: u64,
    ) -> Vec<Arc<Verdict>> {
        let mut verdicts = Vec::new();
        let (Some(lessons), Some((fact, status))) =
            (&mut self.lessons, lesson.fact(&self.identity, now_s))
        else {
            return verdicts;
        };
        lessons.record_teller(&fact.triple, gateway);
        let change = self.facts.record(&fact, status);
        if change.news {
            let triples = self.facts.concerned(&fact, status, change);
            self.revise_each(triples, now_s, &mut verdicts);
        }
        verdicts
    }

    /// Restores the facts in `directory` that are no older than `retention`, and keeps further ones
    /// there. Where nothing can be written, facts that could be read are used all the same. `now_s`
    /// is in seconds since the UNIX epoch.
    pub fn restore(&mut self, directory: &Path, retention: Duration, now_s: u64) -> Remembered {
        let (store, kept) = Store::open(directory, retention, now_s);
        let mut remembered = Remembered {
            warnings: kept.warnings,
            ..Remembered::default()
        };
        for line in kept.lines {
            match line {
                Line::Fact {
                    mut fact,
                    intercepted,
                } => {
                    fact.triple.client = self.identity.of(fact.triple.client);
                    let status = if intercepted {
                        Intercepted::Yes
                    } else {
                        Intercepted::Unknown
                    };
                    self.facts.record(&fact, status);
                    if let Some(lessons) = &mut self.lessons {
                        lessons.restore(&fact, status);
                    }
                    remembered.facts += 1;
                }
                Line::Origin {
                    host,
                    answer,
                    time_s,
                } => self.facts.origins.insert(host, answer, time_s),
                Line::Taken {
                    subject,
                    key,
                    issuer,
                    time_s,
                } => self.taken.restore(TakenLine {
                    subject,
                    key,
                    issuer,
                    time_s,
                }),
                Line::Recognized { mark, .. } => {
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

    /// Returns the number of facts that should have been kept and did not get to the disk.
    pub fn unkept(&self) -> u64 {
        self.unkept + self.store.as_ref().map_or(0, Store::lost)
    }

    /// Records a judgement made at `now_ns` on the tap's clock. Returns the verdicts that follow: its
    /// own, as others make it appear, and earlier ones that it revises.
    pub fn record(&mut self, mut judged: Judged, now_ns: u64) -> Vec<Arc<Verdict>> {
        self.turns.record(&mut judged);
        let mut verdicts = self.ech.record(&mut judged, &mut self.reclassified);
        self.reclassified.record_refused_late(verdicts.len() as u64);
        verdicts.extend(self.closings.record(&mut judged));
        self.checks.record(&mut judged, &mut self.reclassified);
        if let Some(TakenLine {
            subject,
            key,
            issuer,
            time_s,
        }) = self.taken.record(&mut judged)
        {
            self.persist(Line::Taken {
                subject,
                key,
                issuer,
                time_s,
            });
        }
        self.siblings.record(&judged.subject);
        if !judged.subject.quiet {
            self.weigh(&mut judged, &mut verdicts);
            return verdicts;
        }
        let admitted = self.siblings.admit(judged, now_ns, &mut self.reclassified);
        if let Some(mut judged) = admitted {
            self.weigh(&mut judged, &mut verdicts);
        }
        verdicts
    }

    /// Returns verdicts that have waited long enough for an explanation.
    pub fn advance(&mut self, now_ns: u64) -> Vec<Arc<Verdict>> {
        let mut verdicts = Vec::new();
        while let Some(mut judged) = self.siblings.next_due(now_ns, &mut self.reclassified) {
            self.weigh(&mut judged, &mut verdicts);
        }
        verdicts
    }

    /// Returns the time when [`advance`](Self::advance) has something to do, on the tap's clock.
    pub fn next_deadline(&self) -> Option<u64> {
        self.siblings.next_deadline()
    }

    /// Returns the numbers of connections whose outcome is no longer that of their judgement, and forgets
    /// them: unused ones that turned out to be refusals, failures that were dropped beside others that worked
    /// or checked a name at an interval, and those that are judged again once their interceptor is known.
    pub fn take_reclassified(&mut self) -> Reclassified {
        std::mem::take(&mut self.reclassified)
    }

    /// Collects questions to origins from now on, or no longer.
    pub fn set_asks(&mut self, asks: bool) {
        self.questions = asks.then(Vec::new);
    }

    /// Returns the origins whose answers would decide, and forgets them.
    pub fn take_questions(&mut self) -> Vec<Question> {
        self.questions
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Records an origin's answer, which came at `now_s`, in seconds since the UNIX epoch. Returns the
    /// verdicts that it revises.
    pub fn record_origin(
        &mut self,
        name: &str,
        answer: OriginAnswer,
        now_s: u64,
    ) -> Vec<Arc<Verdict>> {
        let name = Name::of(name);
        self.facts.origins.insert(name.host, answer, now_s);
        self.persist(Line::Origin {
            host: name.host,
            answer,
            time_s: now_s,
        });
        let mut verdicts = Vec::new();
        if answer.sign().is_some() {
            let triples = self.facts.of_name(&name, now_s);
            self.revise_each(triples, now_s, &mut verdicts);
        }
        verdicts
    }

    /// Weighs a connection by all others: adds its verdict, and earlier ones that it revises.
    fn weigh(&mut self, judged: &mut Judged, verdicts: &mut Vec<Arc<Verdict>>) {
        // It may have waited until the peer there became known.
        let mut marks = judged.subject.interception.marks.into_iter().flatten();
        if judged.if_intercepted.is_some()
            && marks.any(|mark| self.recognized.contains_key(&mark))
            && let Some(known) = judged.if_intercepted.take()
        {
            self.reclassified
                .record(&judged.judgement, &known.judgement);
            *judged = *known;
        }
        let Judged {
            judgement,
            subject,
            if_intercepted,
            possible,
            ..
        } = judged;
        let (if_intercepted, possible) = (if_intercepted.take(), possible.take());
        for mark in &subject.interception.recognized {
            self.persist(Line::Recognized {
                mark: *mark,
                time_s: subject.time_ns / 1_000_000_000,
            });
            self.recognize(*mark, verdicts);
        }
        let evidence = Evidence::of(subject, &self.identity);
        let change = self.learn(&evidence);
        if let Judgement::Failed(verdict) = std::mem::replace(judgement, Judgement::Unfinished) {
            verdicts.push(self.judge(verdict, &evidence, if_intercepted));
        } else if let Some(verdict) = possible {
            verdicts.extend(self.suspect(verdict, &evidence, if_intercepted));
        }
        if let Some(fact) = evidence.fact.filter(|_| change.news) {
            let status = subject.interception.status;
            self.revise(&fact, status, change, verdicts);
        }
    }

    /// Records a connection's evidence, and returns the decisions that it changes.
    fn learn(&mut self, evidence: &Evidence<'_>) -> Change {
        let subject = evidence.subject;
        let status = subject.interception.status;
        if let Some(lessons) = &mut self.lessons {
            lessons.record_texts(subject);
            if let (Some(triple), None) = (evidence.triple, evidence.fact) {
                lessons.record_unused(triple, subject);
            }
        }
        if status == Intercepted::Unknown {
            self.undecided
                .insert(subject.interception.marks, subject.time_ns, evidence.fact);
        }
        if let (Outcome::Refused { probability }, Some(triple)) = (subject.outcome, evidence.triple)
        {
            self.refusals
                .entry(triple)
                .or_insert_with(Refusals::default)
                .record(subject, probability);
        }
        match evidence.fact {
            Some(fact) => self.record_fact(&fact, status),
            None => Change::default(),
        }
    }

    fn record_fact(&mut self, fact: &Fact, status: Intercepted) -> Change {
        let change = self.facts.record(fact, status);
        if let Some(lessons) = &mut self.lessons {
            lessons.record(fact, status, change.worth_keeping);
        }
        // Direct connections are learned about again soon enough.
        if change.worth_keeping && status != Intercepted::No {
            self.persist(Line::Fact {
                fact: *fact,
                intercepted: status == Intercepted::Yes,
            });
        }
        change
    }

    fn persist(&mut self, line: Line) {
        match &self.store {
            Some(store) => store.push(line),
            None => self.unkept += u64::from(self.is_kept),
        }
    }

    /// Returns a connection's own verdict, as the others make it appear.
    fn judge(
        &mut self,
        verdict: Box<Verdict>,
        evidence: &Evidence<'_>,
        if_intercepted: Option<Box<Judged>>,
    ) -> Arc<Verdict> {
        let subject = evidence.subject;
        let (Outcome::Refused { .. }, Some(triple)) = (subject.outcome, evidence.triple) else {
            return Arc::from(verdict);
        };
        let refusals = self
            .refusals
            .entry(triple)
            .or_insert_with(Refusals::default);
        let decision = decide(
            &self.facts,
            self.lessons.as_deref(),
            subject.interception.status,
            (&triple, refusals, subject.time_ns / 1_000_000_000),
        );
        let marks = subject.interception.marks;
        let given = refusals.open(verdict, if_intercepted, marks, decision.as_ref());
        self.question(decision.as_ref(), &given, subject.time_ns / 1_000_000_000);
        given
    }

    /// Asks the origin of a verdict's connection, if its answer would decide.
    fn question(&mut self, decision: Option<&Decision>, verdict: &Verdict, now_s: u64) {
        if let (Some(questions), Some(decision)) = (&mut self.questions, decision)
            && questions.len() < QUESTIONS_MAX
            && let Some(question) = Question::of(verdict)
            && self.facts.origins.may_ask(&question.name, now_s)
            && !questions.contains(&question)
            && decision.asks_origin()
        {
            questions.push(question);
        }
    }

    /// Keeps the verdict that an unused connection would have if its client refused the certificate,
    /// and returns it if others show that.
    fn suspect(
        &mut self,
        possible: Box<Verdict>,
        evidence: &Evidence<'_>,
        if_intercepted: Option<Box<Judged>>,
    ) -> Option<Arc<Verdict>> {
        let cause = possible.cause;
        evidence.triple?;
        let given = self.judge(possible, evidence, if_intercepted);
        if given.cause != cause {
            self.reclassified.record_refused_late(1);
            return Some(given);
        }
        let refusals = self.refusals.get_mut(&evidence.triple?)?;
        refusals.withhold_last();
        None
    }

    /// Returns verdicts again that a new fact about a client, an app or a name changes.
    fn revise(
        &mut self,
        fact: &Fact,
        status: Intercepted,
        change: Change,
        verdicts: &mut Vec<Arc<Verdict>>,
    ) {
        let triples = self.facts.concerned(fact, status, change);
        self.revise_each(triples, fact.time_s, verdicts);
    }

    fn revise_each(&mut self, triples: Vec<Triple>, now_s: u64, verdicts: &mut Vec<Arc<Verdict>>) {
        for triple in triples {
            let Some(refusals) = self.refusals.peek_mut(&triple) else {
                continue;
            };
            let decisions =
                [Intercepted::Yes, Intercepted::Unknown, Intercepted::No].map(|status| {
                    let decision = refusals.has_open(status).then(|| {
                        decide(
                            &self.facts,
                            self.lessons.as_deref(),
                            status,
                            (&triple, refusals, now_s),
                        )
                    });
                    (status, decision.flatten())
                });
            let refused_late = refusals.revise(&decisions, verdicts);
            self.reclassified.record_refused_late(refused_late);
            if self.questions.is_some()
                && let [(status, decision), ..] = &decisions
                && let Some(open) = refusals.last_open(*status)
            {
                self.question(decision.as_ref(), &open, now_s);
            }
        }
    }

    /// Revises earlier connections that have a mark: it turned out to be an interceptor's, so that
    /// they were intercepted.
    fn recognize(&mut self, mark: Mark, verdicts: &mut Vec<Arc<Verdict>>) {
        self.recognized.insert(mark, ());
        for fact in self.undecided.remove(mark) {
            self.record_fact(&fact, Intercepted::Yes);
            if let Some(refusals) = self.refusals.peek_mut(&fact.triple) {
                refusals.recognize(mark);
            }
            self.revise(&fact, Intercepted::Yes, Change::ALL, verdicts);
        }
    }
}

impl<'a> Evidence<'a> {
    fn of(subject: &'a Subject, identity: &ClientIdentity) -> Self {
        let triple = Triple::of(subject, identity);
        Self {
            subject,
            triple,
            fact: triple.and_then(|triple| Fact::of(triple, subject)),
        }
    }
}

/// Decides the cause of a refusal by all facts; with lessons, also whether other gateways' facts made the decision.
fn decide(
    facts: &FactsByStatus,
    lessons: Option<&Lessons>,
    status: Intercepted,
    (triple, refusals, now_s): (&Triple, &Refusals, u64),
) -> Option<Decision> {
    let mut decision = facts.decide(&facts.origins, status, triple, refusals, now_s)?;
    if let Some(lessons) = lessons {
        let refused = (triple, refusals, now_s);
        decision.fleet = lessons.evidence(&decision, facts, status, refused);
    }
    Some(decision)
}

#[cfg(test)]
mod tests;
