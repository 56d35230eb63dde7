//! Facts about clients, apps and names, each kept where a question asks for it.

use std::net::IpAddr;

use hashlink::LruCache;
use serde::{Deserialize, Serialize};

use super::recent::Recent;
use crate::cause::hash::hash;
use crate::cause::interception::Mark;
use crate::cause::judge::subject::{Outcome, Subject};
use crate::cause::registrable_domain::registrable_domain;
use crate::flow::tls::app::App;

/// Apps on clients, names and apps remembered; beyond it the one concerned longest ago goes.
const PAIRS_MAX: usize = 65_536;
const CLIENTS_MAX: usize = 32_768;
const NAMES_MAX: usize = 65_536;
const APPS_MAX: usize = 8_192;
/// A silent close counts as a refusal of the app only if it is this sure.
const REFUSAL_COUNTS: f64 = 0.4;
const DAY_S: u64 = 86_400;
/// Refusals that a client, a name or an app leads to.
const TRIPLES: usize = 24;

/// A host name, and what is registered of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Name {
    pub(super) host: u64,
    pub(super) domain: u64,
}

/// One app on one client and one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Triple {
    pub(super) client: IpAddr,
    pub(super) app: App,
    pub(super) name: Name,
}

/// What one connection shows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Fact {
    #[serde(flatten)]
    triple: Triple,
    time_s: u64,
    issuer: Option<Mark>,
    accepted: bool,
    counts: bool,
}

/// For which earlier refusals a fact may change what is decided. Beyond some number one more name,
/// app or client says nothing new, and most facts are of that kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    /// Whether it is news at all.
    pub(super) news: bool,
    /// Whether it is, or was last seen on another day: then it is worth keeping.
    pub(super) worth_keeping: bool,
    /// What its app on its client accepts and refuses.
    pair: bool,
    /// What other apps on its client do.
    client: bool,
    /// Who accepts and refuses its name.
    name: bool,
}

/// What decisions read of an app on a client.
#[derive(PartialEq)]
struct PairView {
    accepts: u8,
    refuses: (u8, u8),
    issuer: Option<Mark>,
}

/// What decisions read of a client.
#[derive(PartialEq)]
enum ClientView {
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
    /// Who issued what it accepted last.
    issuer: Option<Mark>,
}

/// A client.
#[derive(Default)]
pub(super) struct Client {
    pub(super) accepting: Recent<App, 8>,
    pub(super) refusing: Recent<(App, Name), 12>,
    triples: Recent<Triple, TRIPLES>,
}

/// Who accepted or refused a name, and under which issuer.
#[derive(Default)]
pub(super) struct Visitors {
    pub(super) accepted_by: Recent<(IpAddr, App, Option<Mark>), 8>,
    pub(super) refused_by: Recent<(IpAddr, App, Option<Mark>), 8>,
    triples: Recent<Triple, TRIPLES>,
}

/// An app, wherever it runs.
#[derive(Default)]
pub(super) struct Everywhere {
    pub(super) accepted: Recent<(IpAddr, Name), 12>,
    triples: Recent<Triple, TRIPLES>,
}

/// All facts.
pub(super) struct Facts {
    pairs: LruCache<(IpAddr, App), Pair>,
    clients: LruCache<IpAddr, Client>,
    names: LruCache<Name, Visitors>,
    apps: LruCache<App, Everywhere>,
}

impl Change {
    /// For all that have the client, the name or the app in common.
    pub(super) const ALL: Self = Self {
        news: true,
        worth_keeping: true,
        pair: true,
        client: true,
        name: true,
    };
}

impl Pair {
    /// Names it refused: hosts, and unrelated domains among them; old ones for less.
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

    fn view(&self, now_s: u64) -> PairView {
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
    fn view(&self, now_s: u64) -> ClientView {
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
    fn is_saturated(&self, issuer: Option<Mark>, now_s: u64) -> bool {
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

impl Default for Facts {
    fn default() -> Self {
        Self {
            pairs: LruCache::new(PAIRS_MAX),
            clients: LruCache::new(CLIENTS_MAX),
            names: LruCache::new(NAMES_MAX),
            apps: LruCache::new(APPS_MAX),
        }
    }
}

impl Fact {
    /// What a connection shows; `None` of one that showed no certificate, or whose client neither
    /// accepted nor refused it.
    pub(super) fn of(subject: &Subject) -> Option<Self> {
        if !subject.certificate_shown {
            return None;
        }
        let (accepted, counts) = match subject.outcome {
            Outcome::Accepted => (true, true),
            Outcome::Refused { probability } => (false, probability >= REFUSAL_COUNTS),
            Outcome::Nothing => return None,
        };
        let [issuer, ..] = subject.interception.marks;
        Some(Self {
            triple: triple(subject)?,
            time_s: subject.time_ns / 1_000_000_000,
            issuer,
            accepted,
            counts,
        })
    }

    pub(super) fn triple(&self) -> Triple {
        self.triple
    }

    /// When it was seen, seconds since the UNIX epoch.
    pub(super) const fn time_s(&self) -> u64 {
        self.time_s
    }

    /// The same, seen at another time.
    pub(super) const fn at(self, time_s: u64) -> Self {
        Self { time_s, ..self }
    }
}

/// Client, app and name of a connection.
pub(super) fn triple(subject: &Subject) -> Option<Triple> {
    Some(Triple {
        client: subject.client,
        app: subject.app?,
        name: Name {
            host: hash(&subject.name),
            domain: hash(&registrable_domain(&subject.name)),
        },
    })
}

impl Facts {
    /// Keeps a fact; says what it changes.
    pub(super) fn learn(&mut self, fact: &Fact) -> Change {
        let Triple { client, app, name } = fact.triple;
        let now = fact.time_s;
        let pair = self
            .pairs
            .entry((client, app))
            .or_insert_with(Pair::default);
        let by_client = self.clients.entry(client).or_insert_with(Client::default);
        let by_name = self.names.entry(name).or_insert_with(Visitors::default);
        let by_app = self.apps.entry(app).or_insert_with(Everywhere::default);
        let before = (pair.view(now), by_client.view(now));
        let names = if fact.accepted {
            &pair.accepted
        } else {
            &pair.refused
        };
        let seen_today = names
            .last_seen(name)
            .is_some_and(|seen| seen / DAY_S == now / DAY_S);
        let (news, name_changes);
        if fact.accepted {
            name_changes = !by_name.is_saturated(fact.issuer, now);
            pair.issuer = fact.issuer.or(pair.issuer);
            by_client.accepting.add(app, now);
            by_app.accepted.add((client, name), now);
            let new_name = pair.accepted.add(name, now);
            news = by_name.accepted_by.add((client, app, fact.issuer), now) || new_name;
        } else {
            by_client.triples.add(fact.triple, now);
            by_name.triples.add(fact.triple, now);
            by_app.triples.add(fact.triple, now);
            if !fact.counts {
                return Change::default();
            }
            name_changes = true;
            by_client.refusing.add((app, name), now);
            let new_name = pair.refused.add(name, now);
            news = by_name.refused_by.add((client, app, fact.issuer), now) || new_name;
        }
        let after = (pair.view(now), by_client.view(now));
        Change {
            news,
            worth_keeping: news || !seen_today,
            pair: before.0 != after.0,
            client: before.1 != after.1 || (before.0.accepts > 0) != (after.0.accepts > 0),
            name: name_changes,
        }
    }

    /// Refusals that a fact may throw another light on.
    pub(super) fn concerned(&self, fact: &Fact, change: Change) -> Vec<Triple> {
        let Triple { client, app, name } = fact.triple;
        let now = fact.time_s;
        let mut concerned: Vec<Triple> = Vec::new();
        let mut add = |set: Option<&Recent<Triple, TRIPLES>>, wanted: &dyn Fn(&Triple) -> bool| {
            for triple in set.into_iter().flat_map(|set| set.still(now)) {
                if wanted(triple) && !concerned.contains(triple) {
                    concerned.push(*triple);
                }
            }
        };
        let same_host = |it: &Triple| it.name.host == name.host;
        let by_client = self.clients.peek(&client).map(|it| &it.triples);
        add(by_client, &|it| {
            change.client || (it.app == app && (change.pair || same_host(it)))
        });
        if change.name {
            let by_name = self.names.peek(&name).map(|it| &it.triples);
            add(by_name, &|_| true);
        }
        let by_app = self.apps.peek(&app).map(|it| &it.triples);
        // Of what an app does on other clients only the same name counts.
        add(by_app, &|it| {
            same_host(it) || (change.pair && it.client == client)
        });
        concerned
    }

    pub(super) fn pair(&self, triple: &Triple) -> Option<&Pair> {
        self.pairs.peek(&(triple.client, triple.app))
    }

    /// Another pair of the same client.
    pub(super) fn pair_of(&self, client: IpAddr, app: App) -> Option<&Pair> {
        self.pairs.peek(&(client, app))
    }

    /// Who issued what an app on a client accepted last.
    pub(super) fn usual_issuer(&self, client: IpAddr, app: App) -> Option<Mark> {
        self.pairs.peek(&(client, app))?.issuer
    }

    pub(super) fn client(&self, triple: &Triple) -> Option<&Client> {
        self.clients.peek(&triple.client)
    }

    pub(super) fn visitors(&self, triple: &Triple) -> Option<&Visitors> {
        self.names.peek(&triple.name)
    }

    pub(super) fn everywhere(&self, triple: &Triple) -> Option<&Everywhere> {
        self.apps.peek(&triple.app)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A client of this number accepted a name.
    pub(in crate::cause::history) fn fact(client: u8, time_s: u64) -> Fact {
        Fact {
            triple: Triple {
                client: [192, 0, 2, client].into(),
                app: App::of_number(1),
                name: Name {
                    host: u64::MAX,
                    domain: 3,
                },
            },
            time_s,
            issuer: Some(Mark::of_number(4)),
            accepted: true,
            counts: true,
        }
    }

    #[test]
    fn what_is_seen_again_is_worth_keeping_once_a_day() {
        let mut facts = Facts::default();
        let day = 1_800_000_000 / DAY_S * DAY_S;
        let mut at = |time_s| facts.learn(&fact(1, time_s)).worth_keeping;
        assert!(at(day + 10));
        assert!(!at(day + 20));
        assert!(at(day + DAY_S));
        assert!(!at(day + DAY_S + 1));
    }
}
