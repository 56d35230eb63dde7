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
    refuses: (u8, u8),
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
    /// Returns the number of names it refused, and of unrelated domains among them; old ones count
    /// for less.
    pub(super) fn refuses(&self, now_s: u64) -> (f64, f64) {
        let mut domains: Vec<(u64, f64)> = Vec::new();
        let mut hosts = 0.0;
        for (name, worth) in self.refused.at(now_s) {
            hosts += worth;
            match domains.iter_mut().find(|(known, _)| *known == name.domain) {
                Some((_, most)) => *most = most.max(worth),
                None => domains.push((name.domain, worth)),
            }
        }
        (hosts, domains.iter().map(|(_, worth)| worth).sum())
    }

    pub(super) fn view(&self, now_s: u64) -> PairView {
        let accepts = match self.accepted.weight(now_s, |_| true) {
            count if count >= 2.5 => 20,
            count if count >= 1.5 => 15,
            // Below one, what it is worth counts in steps.
            count => (count.min(1.0) * 8.0).ceil() as u8,
        };
        let step = |count: f64| u8::from(count >= 1.5) + u8::from(count >= 2.5);
        let refuses = match accepts {
            0 => {
                let (hosts, domains) = self.refuses(now_s);
                (step(hosts), step(domains))
            }
            _ => (0, 0),
        };
        PairView {
            accepts,
            refuses,
            issuer: self.issuer,
        }
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
