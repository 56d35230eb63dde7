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
#[derive(Default)]
pub(super) struct Pair {
    pub(super) accepted: Recent<Name, 12>,
    pub(super) refused: Recent<Name, 12>,
    /// The issuer of the certificate it accepted last.
    pub(super) issuer: Option<Mark>,
}

/// Names that an app accepts and refuses beside one: of unrelated domains, and of the same.
#[derive(Default)]
pub(super) struct Names {
    pub(super) accepted: f64,
    pub(super) refused: f64,
    pub(super) related_accepted: f64,
    pub(super) related_refused: f64,
}

/// A client.
#[derive(Default)]
pub(super) struct Client {
    pub(super) accepting: Recent<App, 8>,
    pub(super) refusing: Recent<(App, Name), 12>,
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
    pub(super) triples: Recent<Triple, TRIPLES>,
}

impl Pair {
    /// Returns the names it accepts and refuses beside `this`; old ones count for less. Of each
    /// unrelated domain one counts.
    pub(super) fn names_beside(&self, this: Name, now_s: u64) -> Names {
        let (related_accepted, accepted) = unrelated(self.accepted.at(now_s), this);
        let refused = self
            .refused
            .at(now_s)
            .filter(|(name, _)| !self.accepted.any(now_s, |it| it == name));
        let (related_refused, refused) = unrelated(refused, this);
        Names {
            accepted,
            refused,
            related_accepted,
            related_refused,
        }
    }

    /// Whether one host can hardly show this: one name both accepted and refused, or some accepted
    /// and several unrelated ones refused.
    pub(super) fn is_of_several_hosts(&self, now_s: u64) -> bool {
        let mut domains: Vec<u64> = Vec::new();
        for name in self.refused.still(now_s) {
            if self.accepted.any(now_s, |it| it == name) {
                return true;
            }
            if !domains.contains(&name.domain) {
                domains.push(name.domain);
            }
        }
        domains.len() >= 3 && self.accepted.any(now_s, |_| true)
    }

    pub(super) fn view(&self, now_s: u64) -> PairView {
        let accepts = match self.accepted.weight(now_s, |_| true) {
            count if count >= 1.0 => (count * 2.0).min(10.0) as u8 + 8,
            // Below one, what it is worth counts in steps.
            count => (count.min(1.0) * 8.0).ceil() as u8,
        };
        let step = |count: f64| (count + 0.5).min(5.0) as u8;
        let none = Name { host: 0, domain: 0 };
        let refuses = step(self.names_beside(none, now_s).refused);
        PairView {
            accepts,
            refuses,
            issuer: self.issuer,
        }
    }
}

/// Returns the worth of names of the same domain as `this`, and of unrelated domains.
fn unrelated(names: impl Iterator<Item = (Name, f64)>, this: Name) -> (f64, f64) {
    let mut domains: Vec<(u64, f64)> = Vec::new();
    let mut related = 0.0;
    for (name, worth) in names {
        if name.host == this.host {
            continue;
        }
        if name.domain == this.domain {
            related += worth;
            continue;
        }
        match domains.iter_mut().find(|(known, _)| *known == name.domain) {
            Some((_, most)) => *most = most.max(worth),
            None => domains.push((name.domain, worth)),
        }
    }
    (related, domains.iter().map(|(_, worth)| worth).sum())
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
        // A little less than one: what was seen just now is worth one.
        const SATURATED: f64 = 0.9;
        let by = &self.accepted_by;
        let Some(first) = by.still(now_s).next().map(|(_, app, _)| *app) else {
            return false;
        };
        by.any(now_s, |(.., known)| *known == issuer)
            && by.weight(now_s, |(_, app, _)| *app == first) >= SATURATED
            && by.weight(now_s, |(_, app, _)| *app != first) >= SATURATED
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

    /// When the app on the client last accepted the name, or refused it, as the fact says; seconds
    /// since the UNIX epoch.
    pub(super) fn last_seen(&self, fact: &Fact) -> Option<u64> {
        let names = if fact.accepted {
            &self.pair.accepted
        } else {
            &self.pair.refused
        };
        names.last_seen(fact.triple.name)
    }

    /// Inserts an acceptance. Returns true if it is news.
    pub(super) fn insert_accepted(&mut self, fact: &Fact) -> bool {
        let Triple { client, app, name } = fact.triple;
        let now = fact.time_s;
        self.pair.issuer = fact.issuer.or(self.pair.issuer);
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
        let new_name = self.pair.refused.insert(name, now);
        let visitor = (client, app, fact.issuer);
        self.name.refused_by.insert(visitor, now) || new_name
    }
}
