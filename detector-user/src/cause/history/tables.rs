//! Tables of facts: by app on a client, by client, by name and by app.

use std::net::IpAddr;

use super::fact::{Fact, Name, Triple};
use super::recent::Recent;
use crate::cause::interception::Mark;
use crate::flow::tls::app::App;

/// Refusals that a client, a name or an app leads to.
pub(super) const TRIPLES: usize = 24;

/// The part of an app on a client that decisions depend on, in steps.
#[derive(PartialEq)]
pub(super) struct PairView {
    pub(super) accepts: u8,
    refuses: u8,
    issuer: Option<Mark>,
}

/// The part of a client that decisions depend on.
#[derive(PartialEq)]
pub(super) enum ClientView {
    /// No app accepts; whether several apps refuse, and several unrelated names are refused.
    Refusing { apps: bool, domains: bool },
    /// This app alone accepts.
    OneAccepts(App),
    /// Whichever app is asked about, others accept.
    SeveralAccept,
}

/// An app on a client.
pub(super) struct Pair {
    pub(super) accepted: Recent<Name, 12>,
    pub(super) refused: Recent<Name, 12>,
    /// When it first accepted any, seconds since the UNIX epoch; the greatest number if never.
    pub(super) first_accepted_s: u64,
    /// The issuer of the certificate it accepted last.
    pub(super) issuer: Option<Mark>,
}

/// How many names an app accepts beside one: unrelated domains, and names of the same.
#[derive(Clone, Copy, Default)]
pub(super) struct Beside {
    pub(super) unrelated: u32,
    pub(super) related: u32,
}

/// A client.
#[derive(Default)]
pub(super) struct Client {
    pub(super) accepting: Recent<App, 8>,
    pub(super) refusing: Recent<(App, Name), 12>,
    /// Number of connections whose certificate was accepted.
    pub(super) acceptances: u32,
    /// Names that an app refused though it had accepted them, and whether that is sure.
    pub(super) contradicted: Recent<(App, Name, bool), 4>,
    pub(super) triples: Recent<Triple, TRIPLES>,
}

/// The apps on clients that accepted or refused a name, and the issuer each was shown.
#[derive(Default)]
pub(super) struct Visitors {
    pub(super) accepted_by: Recent<(IpAddr, App, Option<Mark>), 8>,
    pub(super) refused_by: Recent<(IpAddr, App, Option<Mark>), 8>,
    pub(super) triples: Recent<Triple, TRIPLES>,
}

/// An app, wherever it runs.
#[derive(Default)]
pub(super) struct Everywhere {
    pub(super) accepted: Recent<(IpAddr, Name), 12>,
    pub(super) refused: Recent<(IpAddr, Name), 12>,
    pub(super) triples: Recent<Triple, TRIPLES>,
}

impl Default for Pair {
    fn default() -> Self {
        Self {
            accepted: Recent::default(),
            refused: Recent::default(),
            first_accepted_s: u64::MAX,
            issuer: None,
        }
    }
}

impl Pair {
    /// Returns how many names it accepts beside `this`. Of each unrelated domain one counts.
    pub(super) fn accepted_beside(&self, this: Name, now_s: u64) -> Beside {
        let accepted = || self.accepted.still(now_s);
        let related = accepted()
            .filter(|it| it.domain == this.domain && it.host != this.host)
            .count();
        let unrelated = first_of_domains(accepted())
            .filter(|it| it.domain != this.domain)
            .count();
        Beside {
            unrelated: unrelated as u32,
            related: related as u32,
        }
    }

    /// Returns the number of domains of which it accepts a name.
    pub(super) fn domains_accepted(&self, now_s: u64) -> u32 {
        first_of_domains(self.accepted.still(now_s)).count() as u32
    }

    /// Names it refuses and never accepted.
    fn only_refused(&self, now_s: u64) -> impl Iterator<Item = &Name> + Clone {
        self.refused
            .still(now_s)
            .filter(move |name| !self.accepted.any(now_s, |it| it == *name))
    }

    /// Names of other domains than `this` that it refuses and never accepted, one of each.
    pub(super) fn refused_beside(&self, this: Name, now_s: u64) -> impl Iterator<Item = &Name> {
        first_of_domains(self.only_refused(now_s)).filter(move |it| it.domain != this.domain)
    }

    /// Whether it refuses another name of the same domain, and never accepted that.
    pub(super) fn refuses_related(&self, this: Name, now_s: u64) -> bool {
        self.only_refused(now_s)
            .any(|it| it.domain == this.domain && it.host != this.host)
    }

    /// Returns the values that decisions depend on, in steps.
    pub(super) fn view(&self, now_s: u64) -> PairView {
        let none = Name { host: 0, domain: 0 };
        PairView {
            accepts: self.domains_accepted(now_s).min(5) as u8,
            refuses: self.refused_beside(none, now_s).take(5).count() as u8,
            issuer: self.issuer,
        }
    }
}

/// Returns the first name of each domain.
fn first_of_domains<'a>(
    names: impl Iterator<Item = &'a Name> + Clone,
) -> impl Iterator<Item = &'a Name> {
    let all = names.clone();
    names.enumerate().filter_map(move |(at, name)| {
        let known = all.clone().take(at).any(|it| it.domain == name.domain);
        (!known).then_some(name)
    })
}

impl Everywhere {
    /// Returns the number of domains of which it accepts a name on any client.
    pub(super) fn domains_accepted(&self, now_s: u64) -> u32 {
        first_of_domains(self.accepted.still(now_s).map(|(_, name)| name)).count() as u32
    }
}

impl Client {
    pub(super) fn view(&self, now_s: u64) -> ClientView {
        let mut accepting = self.accepting.still(now_s);
        if let Some(first) = accepting.next() {
            return if accepting.any(|app| app != first) {
                ClientView::SeveralAccept
            } else {
                ClientView::OneAccepts(*first)
            };
        }
        let mut refusing = self.refusing.still(now_s);
        let (mut apps, mut domains) = (false, false);
        if let Some((first_app, first_name)) = refusing.next() {
            for (app, name) in refusing {
                apps |= app != first_app;
                domains |= name.domain != first_name.domain;
            }
        }
        ClientView::Refusing { apps, domains }
    }
}

impl Visitors {
    /// Whether one more app that accepts the name, issued by `issuer`, says nothing: whichever app
    /// is asked about, others are known to.
    pub(super) fn is_saturated(&self, issuer: Option<Mark>, now_s: u64) -> bool {
        // A little less than one: a sight of just now is worth one.
        const SATURATED: f64 = 0.9;
        let by = &self.accepted_by;
        let Some(first) = by.still(now_s).next().map(|(_, app, _)| *app) else {
            return false;
        };
        by.any(now_s, |(.., known)| *known == issuer)
            && by.weighs(now_s, SATURATED, |(_, app, _)| *app == first)
            && by.weighs(now_s, SATURATED, |(_, app, _)| *app != first)
    }
}

impl Visitors {
    /// Returns the number of other clients on which the app refuses the name.
    pub(super) fn refusals_by(&self, triple: Triple, now_s: u64) -> u32 {
        let by = self.refused_by.still(now_s);
        by.filter(|(client, app, _)| *app == triple.app && *client != triple.client)
            .count() as u32
    }
}

/// The tables' entries for one fact.
pub(super) struct Concerned<'a> {
    pub(super) pair: &'a mut Pair,
    pub(super) client: &'a mut Client,
    pub(super) name: &'a mut Visitors,
    pub(super) app: &'a mut Everywhere,
}

impl Concerned<'_> {
    pub(super) fn view(&self, now_s: u64) -> (PairView, ClientView) {
        (self.pair.view(now_s), self.client.view(now_s))
    }

    /// Returns the time when the app on the client last accepted the name, or refused it, as the
    /// fact says; seconds since the UNIX epoch.
    pub(super) fn last_seen(&self, fact: &Fact) -> Option<u64> {
        let names = if fact.accepted {
            &self.pair.accepted
        } else {
            &self.pair.refused
        };
        names.last_seen(fact.triple.name)
    }

    /// Whether the same was seen before, and counts still: then it is no news.
    pub(super) fn is_known(&self, fact: &Fact) -> bool {
        let Triple { client, app, name } = fact.triple;
        let visitor = (client, app, fact.issuer);
        let (names, visitors) = if fact.accepted {
            (&self.pair.accepted, &self.name.accepted_by)
        } else {
            (&self.pair.refused, &self.name.refused_by)
        };
        names.counts(name, fact.time_s) && visitors.counts(visitor, fact.time_s)
    }

    /// Whether an acceptance adds no name to its app on its client, and no app to its client: both count still.
    pub(super) fn accepts_in_place(&self, fact: &Fact) -> bool {
        let Triple { app, name, .. } = fact.triple;
        let now = fact.time_s;
        self.pair.accepted.counts(name, now) && self.client.accepting.counts(app, now)
    }

    /// Inserts a fact.
    pub(super) fn insert(&mut self, fact: &Fact) {
        if fact.accepted {
            self.insert_accepted(fact);
            return;
        }
        self.insert_triple(fact);
        if fact.counts {
            self.insert_refused(fact);
        }
    }

    /// Inserts an acceptance. Returns true if it is news.
    pub(super) fn insert_accepted(&mut self, fact: &Fact) -> bool {
        let Triple { client, app, name } = fact.triple;
        let now = fact.time_s;
        self.pair.issuer = fact.issuer.or(self.pair.issuer);
        self.pair.first_accepted_s = self.pair.first_accepted_s.min(now);
        self.client.acceptances = self.client.acceptances.saturating_add(1);
        self.client.accepting.insert(app, now);
        self.app.accepted.insert((client, name), now);
        let new_name = self.pair.accepted.insert(name, now);
        let visitor = (client, app, fact.issuer);
        self.name.accepted_by.insert(visitor, now) || new_name
    }

    /// Inserts a refusal as one that later facts may concern.
    pub(super) fn insert_triple(&mut self, fact: &Fact) {
        let now = fact.time_s;
        self.client.triples.insert(fact.triple, now);
        self.name.triples.insert(fact.triple, now);
        self.app.triples.insert(fact.triple, now);
    }

    /// Inserts a refusal that counts. Returns true if it is news.
    pub(super) fn insert_refused(&mut self, fact: &Fact) -> bool {
        let Triple { client, app, name } = fact.triple;
        let now = fact.time_s;
        self.client.refusing.insert((app, name), now);
        self.app.refused.insert((client, name), now);
        if self.pair.accepted.any(now, |it| *it == name) {
            self.client.contradicted.insert((app, name, fact.sure), now);
        }
        let new_name = self.pair.refused.insert(name, now);
        let visitor = (client, app, fact.issuer);
        self.name.refused_by.insert(visitor, now) || new_name
    }
}
