//! Facts about clients, apps and names, each kept where a question asks for it.

use std::net::IpAddr;

use hashlink::LruCache;

use super::fact::{Fact, Name, Triple};
use super::likelihoods::Sign;
use super::recent::Recent;
use super::tables::{Client, Concerned, Everywhere, Pair, TRIPLES, Visitors};
use crate::cause::interception::Mark;
use crate::flow::tls::app::App;

/// Maximum apps on clients, clients, names and apps; the one concerned longest ago is evicted.
const PAIRS_MAX: usize = 65_536;
const CLIENTS_MAX: usize = 32_768;
const NAMES_MAX: usize = 65_536;
const APPS_MAX: usize = 8_192;
const ISSUERS_MAX: usize = 256;
const DAY_S: u64 = 86_400;

/// For which earlier refusals a fact may change the decision. Beyond some number one more name, app
/// or client says nothing new, and most facts are of that kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    /// Whether it is news at all.
    pub(super) news: bool,
    /// Whether it is, or was last seen on another day: then it is worth keeping.
    pub(super) worth_keeping: bool,
    /// The names that its app on its client accepts and refuses.
    pair: bool,
    /// The other apps on its client.
    client: bool,
    /// The apps that accept and refuse its name.
    name: bool,
    /// The same, of its app's refusals on other clients.
    name_elsewhere: bool,
    /// Whether its app accepts anything anywhere.
    app: bool,
}

/// All facts.
pub(super) struct Facts {
    pairs: LruCache<(IpAddr, App), Pair>,
    clients: LruCache<IpAddr, Client>,
    names: LruCache<Name, Visitors>,
    apps: LruCache<App, Everywhere>,
    /// Issuers of certificates that were accepted.
    issuers: LruCache<Mark, ()>,
}

impl Change {
    /// For all that have the client, the name or the app in common.
    pub(super) const ALL: Self = Self {
        news: true,
        worth_keeping: true,
        pair: true,
        client: true,
        name: true,
        name_elsewhere: true,
        app: true,
    };
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            pairs: LruCache::new(PAIRS_MAX),
            clients: LruCache::new(CLIENTS_MAX),
            names: LruCache::new(NAMES_MAX),
            apps: LruCache::new(APPS_MAX),
            issuers: LruCache::new(ISSUERS_MAX),
        }
    }
}

impl Facts {
    /// Records a fact, and returns which decisions it changes.
    pub(super) fn record(&mut self, fact: &Fact) -> Change {
        let now = fact.time_s;
        let mut concerned = self.entries(&fact.triple);
        let seen_today = concerned
            .last_seen(fact)
            .is_some_and(|seen| seen / DAY_S == now / DAY_S);
        if concerned.is_known(fact) {
            // Most connections repeat others: they concern no decision.
            concerned.insert(fact);
            return Change {
                worth_keeping: (fact.accepted || fact.counts) && !seen_today,
                ..Change::default()
            };
        }
        if fact.accepted && concerned.accepts_in_place(fact) {
            let change = record_visitor(concerned, fact, seen_today);
            if let (true, Some(issuer)) = (change.news, fact.issuer) {
                self.issuers.insert(issuer, ());
            }
            return change;
        }
        let before = concerned.view(now);
        let (news, name);
        let mut name_elsewhere = true;
        let app = fact.accepted && !concerned.app.accepted.any(now, |_| true);
        if fact.accepted {
            name = !concerned.name.is_saturated(fact.issuer, now);
            news = concerned.insert_accepted(fact);
        } else {
            concerned.insert_triple(fact);
            if !fact.counts {
                return Change::default();
            }
            let known = concerned.name.refusals_by(fact.triple, now);
            // Of an app that refuses a name, one client is enough, unless a better witness comes.
            name = known == 0 || before.0.accepts > 0;
            name_elsewhere = name || known < Sign::AppRefusesElsewhere.most();
            news = concerned.insert_refused(fact);
        }
        let after = concerned.view(now);
        if let (true, Some(issuer)) = (news, fact.issuer)
            && fact.accepted
        {
            self.issuers.insert(issuer, ());
        }
        Change {
            news,
            worth_keeping: news || !seen_today,
            pair: before.0 != after.0,
            client: before.1 != after.1 || (before.0.accepts > 0) != (after.0.accepts > 0),
            name,
            name_elsewhere,
            app,
        }
    }

    fn entries(&mut self, triple: &Triple) -> Concerned<'_> {
        let Triple { client, app, name } = *triple;
        Concerned {
            pair: self
                .pairs
                .entry((client, app))
                .or_insert_with(Pair::default),
            client: self.clients.entry(client).or_insert_with(Client::default),
            name: self.names.entry(name).or_insert_with(Visitors::default),
            app: self.apps.entry(app).or_insert_with(Everywhere::default),
        }
    }

    /// Returns the refusals whose decision a fact may change.
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
        let by_name = self.names.peek(&name).map(|it| &it.triples);
        add(by_name, &|it| {
            change.name || (!fact.accepted && it.client == client)
        });
        let by_app = self.apps.peek(&app).map(|it| &it.triples);
        // Of an app's behaviour on other clients only the same name counts.
        add(by_app, &|it| {
            let elsewhere = change.name_elsewhere && same_host(it);
            change.app || elsewhere || (change.pair && it.client == client)
        });
        concerned
    }

    pub(super) fn pair(&self, triple: &Triple) -> Option<&Pair> {
        self.pairs.peek(&(triple.client, triple.app))
    }

    /// Returns another pair of the same client.
    pub(super) fn pair_of(&self, client: IpAddr, app: App) -> Option<&Pair> {
        self.pairs.peek(&(client, app))
    }

    /// Whether names that this issuer signs are accepted.
    pub(super) fn signs_accepted(&self, issuer: Mark) -> bool {
        self.issuers.contains_key(&issuer)
    }

    /// Returns the issuer of the certificate that an app on a client accepted last.
    pub(super) fn usual_issuer(&self, client: IpAddr, app: App) -> Option<Mark> {
        self.pairs.peek(&(client, app))?.issuer
    }

    pub(super) fn client(&self, triple: &Triple) -> Option<&Client> {
        self.clients.peek(&triple.client)
    }

    pub(super) fn client_of(&self, client: IpAddr) -> Option<&Client> {
        self.clients.peek(&client)
    }

    pub(super) fn visitors_of(&self, name: &Name) -> Option<&Visitors> {
        self.names.peek(name)
    }

    pub(super) fn everywhere_of(&self, app: App) -> Option<&Everywhere> {
        self.apps.peek(&app)
    }

    pub(super) fn visitors(&self, triple: &Triple) -> Option<&Visitors> {
        self.names.peek(&triple.name)
    }

    pub(super) fn everywhere(&self, triple: &Triple) -> Option<&Everywhere> {
        self.apps.peek(&triple.app)
    }
}

/// Records an acceptance that its app on its client repeats, and the visitors of its name do not have: of the
/// views the issuer alone may change.
fn record_visitor(mut concerned: Concerned<'_>, fact: &Fact, seen_today: bool) -> Change {
    let now = fact.time_s;
    let app = !concerned.app.accepted.any(now, |_| true);
    let name = !concerned.name.is_saturated(fact.issuer, now);
    let before = concerned.pair.issuer;
    let news = concerned.insert_accepted(fact);
    Change {
        news,
        worth_keeping: news || !seen_today,
        pair: before != concerned.pair.issuer,
        client: false,
        name,
        name_elsewhere: true,
        app,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the fact that a client of this number accepted a name.
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
            sure: true,
        }
    }

    proptest! {
        /// Where only the visitors of a name change, the views are not compared.
        #[test]
        fn changes_are_those_of_the_views(
            steps in proptest::collection::vec((0_u8..12, 0_u64..3, 0_u64..6, any::<bool>(), 0_u64..3), 1..60),
        ) {
            let mut facts = Facts::default();
            let mut now = 1_800_000_000;
            for (client, app, name, accepted, hours) in steps {
                now += hours * 30 * 3600;
                let fact = Fact {
                    triple: Triple {
                        client: [10, 0, 0, client].into(),
                        app: App::of_number(app),
                        name: Name { host: name, domain: name / 2 },
                    },
                    issuer: Some(Mark::of_number(hours)),
                    accepted,
                    ..fact(1, now)
                };
                let before = facts.entries(&fact.triple).view(now);
                let is_known = facts.entries(&fact.triple).is_known(&fact);
                let change = facts.record(&fact);
                let after = facts.entries(&fact.triple).view(now);
                let accepts = (before.0.accepts > 0) != (after.0.accepts > 0);
                let expected = [before.0 != after.0, before.1 != after.1 || accepts];
                prop_assert!(is_known || [change.pair, change.client] == expected);
            }
        }
    }

    #[test]
    fn what_is_seen_again_is_worth_keeping_once_a_day() {
        let mut facts = Facts::default();
        let day = 1_800_000_000 / DAY_S * DAY_S;
        let mut at = |time_s| facts.record(&fact(1, time_s)).worth_keeping;
        assert!(at(day + 10));
        assert!(!at(day + 20));
        assert!(at(day + DAY_S));
        assert!(!at(day + DAY_S + 1));
    }
}
