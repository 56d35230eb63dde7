//! Lessons: facts in words that other agents understand, too, and those of others.
//!
//! The history compares names and issuers as numbers, which another build may compute otherwise: lessons have them
//! in clear. Facts of other agents never leave again, and are kept apart in so far as a decision by this agent's own
//! facts alone can be made beside the one by all: where they differ, the verdict names the gateways it rests on.

use std::net::IpAddr;
use std::sync::Arc;

use hashlink::LruCache;

use super::decision::Decision;
use super::fact::{Fact, Name, Triple};
use super::facts_by_status::FactsByStatus;
use super::refusals::Refusals;
use crate::cause::client_identity::ClientIdentity;
use crate::cause::interception::Mark;
use crate::cause::judge::subject::{Outcome, Subject};
use crate::flow::tls::app::App;
use crate::verdict::named::named;
use crate::verdict::{Evidence, Intercepted};

/// Maximum lessons that wait until they are taken; further ones are counted.
const LESSONS_MAX: usize = 16_384;
/// Maximum names and issuers whose text is remembered.
const NAMES_MAX: usize = 65_536;
const ISSUERS_MAX: usize = 1_024;
/// Maximum clients, names and apps of which it is remembered who told of them.
const TELLERS_MAX: usize = 65_536;
/// Gateways of each.
const TELLERS_EACH: usize = 4;
/// A confidence that differs by less is the same decision.
const MATTERS: f64 = 0.05;

named! {
    /// A client's answer to the certificate.
    pub enum Answer {
        /// It used the connection.
        Accepted = "accepted",
        /// It refused, as far as one can tell.
        Refused = "refused",
        /// It did nothing with the connection.
        Unused = "unused",
    }
}

/// One connection's evidence about a client, an app and a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Lesson {
    /// The client's identity.
    pub client: IpAddr,
    /// The app.
    pub app: App,
    /// The server name, or the server's address where there is none.
    pub name: Arc<str>,
    /// Distinguished name of the certificate's issuer, where it came in clear.
    pub issuer: Option<Arc<str>>,
    /// Whether it was surely intercepted; otherwise nothing shows.
    pub intercepted: bool,
    /// The client's answer.
    pub answer: Answer,
    /// Probability of that answer, at least.
    pub sure: f64,
    /// When the connection began, seconds since the UNIX epoch.
    pub time_s: u64,
    /// Whether it may change a decision, or was not seen before on that day.
    pub is_news: bool,
}

/// The exchange of lessons with other agents.
pub(super) struct Lessons {
    waiting: Vec<Lesson>,
    dropped: u64,
    names: LruCache<u64, Arc<str>>,
    issuers: LruCache<Mark, Arc<str>>,
    /// This agent's own facts.
    own: FactsByStatus,
    /// The gateways that told of a client, a name or an app.
    tellers: LruCache<About, Vec<Arc<str>>>,
}

/// The subject of a foreign fact.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum About {
    Client(IpAddr),
    Host(u64),
    App(App),
}

impl Default for Lessons {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            dropped: 0,
            names: LruCache::new(NAMES_MAX),
            issuers: LruCache::new(ISSUERS_MAX),
            own: FactsByStatus::default(),
            tellers: LruCache::new(TELLERS_MAX),
        }
    }
}

impl Lessons {
    /// Remembers the texts of a connection's name and issuer.
    pub(super) fn record_texts(&mut self, subject: &Subject) {
        let host = Name::of(&subject.name).host;
        if self.names.get(&host).is_none() {
            self.names.insert(host, Arc::clone(&subject.name));
        }
        let [issuer, ..] = subject.interception.marks;
        if let (Some(mark), Some(certificate)) = (issuer, &subject.certificate)
            && self.issuers.get(&mark).is_none()
        {
            self.issuers.insert(mark, Arc::clone(&certificate.issuer));
        }
    }

    /// Records a fact of this agent's own, and the lesson that it is for others. Direct connections are none.
    pub(super) fn record(&mut self, fact: &Fact, status: Intercepted, is_news: bool) {
        self.own.record(fact, status);
        let answer = if fact.accepted {
            Answer::Accepted
        } else {
            Answer::Refused
        };
        self.push(
            fact.triple,
            fact.issuer,
            status,
            answer,
            (fact.least_sure(), fact.time_s, is_news),
        );
    }

    /// Records a fact of this agent's own from before a restart: it was a lesson then.
    pub(super) fn restore(&mut self, fact: &Fact, status: Intercepted) {
        self.own.record(fact, status);
    }

    /// Records a connection that its client did nothing with.
    pub(super) fn record_unused(&mut self, triple: Triple, subject: &Subject) {
        if subject.certificate_shown && subject.outcome == Outcome::Nothing {
            let [issuer, ..] = subject.interception.marks;
            let time_s = subject.time_ns / 1_000_000_000;
            let status = subject.interception.status;
            self.push(triple, issuer, status, Answer::Unused, (1.0, time_s, false));
        }
    }

    fn push(
        &mut self,
        triple: Triple,
        issuer: Option<Mark>,
        status: Intercepted,
        answer: Answer,
        (sure, time_s, is_news): (f64, u64, bool),
    ) {
        if status == Intercepted::No {
            return;
        }
        let Some(name) = self.names.get(&triple.name.host) else {
            return;
        };
        if self.waiting.len() >= LESSONS_MAX {
            self.dropped += 1;
            return;
        }
        self.waiting.push(Lesson {
            client: triple.client,
            app: triple.app,
            name: Arc::clone(name),
            issuer: issuer.and_then(|mark| self.issuers.get(&mark).map(Arc::clone)),
            intercepted: status == Intercepted::Yes,
            answer,
            sure,
            time_s,
            is_news,
        });
    }

    /// Returns the lessons so far, and forgets them.
    pub(super) fn take(&mut self) -> Vec<Lesson> {
        std::mem::take(&mut self.waiting)
    }

    /// Returns the number of lessons that did not fit.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Remembers that a gateway told of a triple.
    pub(super) fn record_teller(&mut self, triple: &Triple, gateway: &Arc<str>) {
        for about in about(triple) {
            let tellers = self.tellers.entry(about).or_insert_with(Vec::new);
            if !tellers.contains(gateway) && tellers.len() < TELLERS_EACH {
                tellers.push(Arc::clone(gateway));
            }
        }
    }

    /// Returns the evidence that a decision rests on facts of other gateways; none if this agent's own facts alone
    /// decide the same.
    pub(super) fn evidence(
        &self,
        decision: &Decision,
        facts: &FactsByStatus,
        status: Intercepted,
        (triple, refusals, now_s): (&Triple, &Refusals, u64),
    ) -> Option<Evidence> {
        let gateways = self.tellers_of(triple);
        if gateways.is_empty() || !decision.told {
            return None;
        }
        let alone = self
            .own
            .decide(&facts.origins, status, triple, refusals, now_s);
        let alone = alone.filter(|it| it.told);
        let likelihood = match &alone {
            Some(alone) if alone.cause == decision.cause => alone.confidence,
            _ => 0.0,
        };
        if decision.confidence - likelihood < MATTERS {
            return None;
        }
        let told = alone.map_or_else(
            || "no cause of the refusal would be told".to_owned(),
            |alone| format!("{} would be told at {:.2}", alone.cause, alone.confidence),
        );
        let (noun, gateways) = (
            if gateways.len() == 1 {
                "gateway"
            } else {
                "gateways"
            },
            gateways.join(", "),
        );
        Some(Evidence {
            name: "fleet".to_owned(),
            detail: format!(
                "decided with the connections that {noun} {gateways} saw; by those of this gateway alone, {told}"
            ),
            weight: 0.0,
        })
    }

    /// Returns the gateways that told of a triple's client or name or, if none did, of its app.
    fn tellers_of(&self, triple: &Triple) -> Vec<&str> {
        let mut gateways: Vec<&str> = Vec::new();
        for about in about(triple) {
            if matches!(about, About::App(_)) && !gateways.is_empty() {
                break;
            }
            for gateway in self.tellers.peek(&about).into_iter().flatten() {
                if !gateways.contains(&&**gateway) {
                    gateways.push(gateway);
                }
            }
        }
        gateways.sort_unstable();
        gateways
    }
}

fn about(triple: &Triple) -> [About; 3] {
    [
        About::Client(triple.client),
        About::Host(triple.name.host),
        About::App(triple.app),
    ]
}

impl Lesson {
    /// Returns the fact of a lesson at `now_s`, seconds since the UNIX epoch, and whether its connection was
    /// intercepted; none if it is none for a decision. Nothing was seen after now.
    pub(super) fn fact(
        &self,
        identity: &ClientIdentity,
        now_s: u64,
    ) -> Option<(Fact, Intercepted)> {
        if self.answer == Answer::Unused {
            return None;
        }
        let triple = Triple {
            client: identity.of(self.client),
            app: self.app,
            name: Name::of(&self.name),
        };
        let issuer = self.issuer.as_deref().map(Mark::of_issuer);
        let accepted = self.answer == Answer::Accepted;
        let fact = Fact::told(triple, self.time_s.min(now_s), issuer, accepted, self.sure);
        let status = if self.intercepted {
            Intercepted::Yes
        } else {
            Intercepted::Unknown
        };
        Some((fact, status))
    }
}
