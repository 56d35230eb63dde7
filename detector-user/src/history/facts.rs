//! Facts about clients, apps and names, each kept where a question asks for it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use hashlink::LruCache;

use super::recent::Recent;
use crate::interception::{Mark, registrable_domain};
use crate::judge::subject::{Outcome, Subject};
use crate::tls::app::App;

/// Apps on clients, names and apps remembered; beyond it the one concerned longest ago goes.
const PAIRS_MAX: usize = 65_536;
const CLIENTS_MAX: usize = 32_768;
const NAMES_MAX: usize = 65_536;
const APPS_MAX: usize = 8_192;
/// A silent close counts as a refusal of the app only if it is this sure.
const REFUSAL_COUNTS: f64 = 0.4;

/// A host name, and what is registered of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) host: u64,
    pub(super) domain: u64,
}

/// One app on one client and one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Triple {
    pub(super) client: IpAddr,
    pub(super) app: App,
    pub(super) name: Name,
}

/// What one connection shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fact {
    triple: Triple,
    time_s: u64,
    issuer: Option<Mark>,
    accepted: bool,
    counts: bool,
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
    triples: Recent<Triple, 24>,
}

/// Who accepted or refused a name, and under which issuer.
#[derive(Default)]
pub(super) struct Visitors {
    pub(super) accepted_by: Recent<(IpAddr, App, Option<Mark>), 8>,
    pub(super) refused_by: Recent<(IpAddr, App, Option<Mark>), 8>,
    triples: Recent<Triple, 24>,
}

/// An app, wherever it runs.
#[derive(Default)]
pub(super) struct Everywhere {
    pub(super) accepted: Recent<(IpAddr, Name), 12>,
    triples: Recent<Triple, 24>,
}

/// All facts.
pub(super) struct Facts {
    pairs: LruCache<(IpAddr, App), Pair>,
    clients: LruCache<IpAddr, Client>,
    names: LruCache<Name, Visitors>,
    apps: LruCache<App, Everywhere>,
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

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Facts {
    /// Keeps a fact; whether it is news.
    pub(super) fn learn(&mut self, fact: &Fact) -> bool {
        let Triple { client, app, name } = fact.triple;
        let now = fact.time_s;
        let pair = self
            .pairs
            .entry((client, app))
            .or_insert_with(Pair::default);
        let by_client = self.clients.entry(client).or_insert_with(Client::default);
        let by_name = self.names.entry(name).or_insert_with(Visitors::default);
        let by_app = self.apps.entry(app).or_insert_with(Everywhere::default);
        if fact.accepted {
            pair.issuer = fact.issuer.or(pair.issuer);
            by_client.accepting.add(app, now);
            by_app.accepted.add((client, name), now);
            let news = pair.accepted.add(name, now);
            by_name.accepted_by.add((client, app, fact.issuer), now) || news
        } else {
            by_client.triples.add(fact.triple, now);
            by_name.triples.add(fact.triple, now);
            by_app.triples.add(fact.triple, now);
            if !fact.counts {
                return false;
            }
            by_client.refusing.add((app, name), now);
            let news = pair.refused.add(name, now);
            by_name.refused_by.add((client, app, fact.issuer), now) || news
        }
    }

    /// Refusals that a fact may throw another light on.
    pub(super) fn concerned(&self, fact: &Fact) -> Vec<Triple> {
        let Triple { client, app, name } = fact.triple;
        let now = fact.time_s;
        let sets = [
            self.clients.peek(&client).map(|it| &it.triples),
            self.names.peek(&name).map(|it| &it.triples),
            self.apps.peek(&app).map(|it| &it.triples),
        ];
        let mut concerned: Vec<Triple> = Vec::new();
        for (triple, _) in sets.into_iter().flatten().flat_map(|set| set.at(now)) {
            if !concerned.contains(&triple) {
                concerned.push(triple);
            }
        }
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
