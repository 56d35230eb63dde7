//! A refusal, and the questions that signs ask about it.

use std::net::IpAddr;

use super::fact::{Name, Triple};
use super::facts::Facts;
use super::likelihoods::{BAD, BAD_BY_ORIGIN, PINS, STORE_WITHOUT_CA, WITHOUT_CA};
use super::origins::{OriginAnswer, Origins};
use super::refusals::Refusals;
use super::tables::{Beside, Pair};
use crate::flow::tls::app::App;

/// An app that accepts so many unrelated domains is a browser or the like, not a service's own.
const GENERAL: u32 = 5;

/// Share of a client's connections that may be dropped for no reason.
const DROPPED: f64 = 0.02;

/// A refusal, and the facts that others show.
pub(super) struct Case<'a> {
    pub(super) facts: &'a Facts,
    pub(super) origins: &'a Origins,
    pub(super) triple: &'a Triple,
    pub(super) refusals: &'a Refusals,
    /// Seconds since the UNIX epoch.
    pub(super) now_s: u64,
}

/// Other refusals of one kind: how many, and how probable it is that something else explains them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    pub(super) count: u32,
    pub(super) otherwise: f64,
}

impl Default for Refused {
    fn default() -> Self {
        Self {
            count: 0,
            otherwise: 1.0,
        }
    }
}

impl Refused {
    /// Adds one that something else explains with this probability; beyond `most` they say the same, and
    /// the probability isn't asked for.
    fn add(&mut self, most: u32, otherwise: impl FnOnce() -> f64) {
        if self.count < most {
            self.count += 1;
            self.otherwise *= otherwise();
        }
    }
}

/// When something was accepted, compared with the refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepted {
    Before,
    Since,
}

/// Apps other than the refusal's that refuse its name.
#[derive(Default)]
pub(super) struct Refusers {
    /// On its client.
    pub(super) here: Refused,
    /// On other clients, apps that accept few other names.
    pub(super) elsewhere: Refused,
    /// Apps that accept many unrelated names.
    pub(super) general: Refused,
}

fn either(one: f64, other: f64) -> f64 {
    one + other - one * other
}

impl Case<'_> {
    /// Returns the time when the client refused, seconds since the UNIX epoch.
    fn refused_s(&self) -> u64 {
        self.refusals.last_s()
    }

    fn this_pair(&self) -> Option<&Pair> {
        self.facts.pair(self.triple)
    }

    /// Names this app accepts on this client beside this one, and when it began to accept any.
    pub(super) fn accepted_beside(&self) -> (Beside, Accepted) {
        let Some(pair) = self.this_pair() else {
            return (Beside::default(), Accepted::Since);
        };
        (
            pair.accepted_beside(self.triple.name, self.now_s),
            self.since_or_before(pair),
        )
    }

    fn since_or_before(&self, pair: &Pair) -> Accepted {
        if pair.first_accepted_s <= self.refused_s() {
            Accepted::Before
        } else {
            Accepted::Since
        }
    }

    /// Returns whether this app accepted this name here, and then refused it, or refused it only
    /// before.
    pub(super) fn accepted_it(&self) -> Option<Accepted> {
        let Triple { app, name, .. } = *self.triple;
        let last = self.this_pair()?.accepted.last_seen(name)?;
        let client = self.facts.client(self.triple)?;
        let contradicts = |it: &(App, Name, bool)| it.0 == app && it.1.host == name.host;
        let before = last <= self.refused_s() || client.contradicted.any(self.now_s, contradicts);
        Some(if before {
            Accepted::Before
        } else {
            Accepted::Since
        })
    }

    /// Counts unrelated domains that this app refuses here too.
    pub(super) fn refused_beside(&self, most: u32) -> Refused {
        let mut refused = Refused::default();
        let Some(pair) = self.this_pair() else {
            return refused;
        };
        let app = self.triple.app;
        for name in pair.refused_beside(self.triple.name, self.now_s) {
            refused.add(most, || self.pinned_or_bad(app, name));
        }
        refused
    }

    /// Returns whether this app refuses another name of the domain here.
    pub(super) fn refuses_related(&self) -> Refused {
        let mut refused = Refused::default();
        let name = self.triple.name;
        let related = self
            .this_pair()
            .is_some_and(|pair| pair.refuses_related(name, self.now_s));
        if related {
            refused.add(1, || PINS[0]);
        }
        refused
    }

    /// Returns whether this app accepts this name on another client, and whether it accepts
    /// anything there.
    pub(super) fn accepts_elsewhere(&self) -> (bool, bool) {
        let Triple { client, app, name } = *self.triple;
        let mut any = false;
        let mut this = false;
        if let Some(everywhere) = self.facts.everywhere(self.triple) {
            for (other, accepted) in everywhere.accepted.still(self.now_s) {
                any |= *other != client;
                this |= *other != client && accepted.host == name.host;
            }
        }
        let by_visitors = self.facts.visitors(self.triple).is_some_and(|it| {
            it.accepted_by.any(self.now_s, |(other, same, _)| {
                *other != client && *same == app
            })
        });
        (this || by_visitors, any || by_visitors)
    }

    /// Counts other apps that accept the name; returns also whether one of them is general.
    pub(super) fn accepted_by_others(&self) -> (u32, bool) {
        let app = self.triple.app;
        let (mut count, mut general) = (0, false);
        if let Some(visitors) = self.facts.visitors(self.triple) {
            for (client, other, _) in visitors.accepted_by.still(self.now_s) {
                if *other != app {
                    count += 1;
                    general = general || self.is_general(*client, *other);
                }
            }
        }
        (count, general)
    }

    /// Whether an app accepts many unrelated names, there or on all clients together.
    fn is_general(&self, client: IpAddr, app: App) -> bool {
        let pair = self.facts.pair_of(client, app);
        pair.is_some_and(|pair| pair.domains_accepted(self.now_s) >= GENERAL)
            || self
                .facts
                .everywhere_of(app)
                .is_some_and(|it| it.domains_accepted(self.now_s) >= GENERAL)
    }

    /// Whether this app accepts many unrelated names here.
    pub(super) fn is_of_general_app(&self) -> bool {
        self.is_general(self.triple.client, self.triple.app)
    }

    /// Counts other clients on which this app refuses the name.
    pub(super) fn refused_elsewhere(&self, most: u32) -> Refused {
        let Triple { client, app, name } = *self.triple;
        let mut refused = Refused::default();
        if let Some(visitors) = self.facts.visitors(self.triple) {
            for (other, same, _) in visitors.refused_by.still(self.now_s) {
                if *other != client && *same == app && !self.accepted(*other, app, name) {
                    refused.add(most, || self.without_ca(*other));
                }
            }
        }
        refused
    }

    /// Returns the number of other clients on which this app refuses the name and accepts others, and of those on
    /// which it accepts nothing.
    pub(super) fn clients_refusing_elsewhere(&self) -> [usize; 2] {
        let Triple { client, app, name } = *self.triple;
        let Some(visitors) = self.facts.visitors(self.triple) else {
            return [0; 2];
        };
        let mut clients: [Vec<IpAddr>; 2] = Default::default();
        for (other, same, _) in visitors.refused_by.still(self.now_s) {
            if *other == client || *same != app || self.accepted(*other, app, name) {
                continue;
            }
            let pair = self.facts.pair_of(*other, app);
            let accepts = pair.is_some_and(|pair| pair.domains_accepted(self.now_s) > 0);
            let [beside, alone] = &mut clients;
            let clients = if accepts { beside } else { alone };
            if !clients.contains(other) {
                clients.push(*other);
            }
        }
        clients.map(|clients| clients.len())
    }

    /// Counts other names that this app refuses on other clients.
    pub(super) fn others_refused_elsewhere(&self, most: u32) -> Refused {
        let Triple { client, app, name } = *self.triple;
        let mut refused = Refused::default();
        if let Some(everywhere) = self.facts.everywhere(self.triple) {
            for (other, it) in everywhere.refused.still(self.now_s) {
                if *other != client && it.domain != name.domain && !self.accepted(*other, app, *it)
                {
                    refused.add(most, || {
                        either(self.without_ca(*other), self.pinned_or_bad(app, it))
                    });
                }
            }
        }
        refused
    }

    /// Counts apps other than this that refuse the name.
    pub(super) fn refusers(&self, most: u32) -> Refusers {
        let Triple { client, app, name } = *self.triple;
        let mut refusers = Refusers::default();
        let Some(visitors) = self.facts.visitors(self.triple) else {
            return refusers;
        };
        let mut seen: Vec<App> = Vec::new();
        for (other, it, _) in visitors.refused_by.still(self.now_s) {
            if *it == app || seen.contains(it) || self.accepted(*other, *it, name) {
                continue;
            }
            let of_app = || either(self.store_without_ca(*it), self.pins_alone(*it));
            if *other == client {
                refusers.here.add(most, of_app);
            } else {
                let otherwise = || either(self.without_ca(*other), of_app());
                if self.is_general(*other, *it) {
                    refusers.general.add(most, otherwise);
                } else {
                    refusers.elsewhere.add(most, otherwise);
                }
            }
            seen.push(*it);
        }
        refusers
    }

    /// Counts other apps on this client that refuse other names.
    pub(super) fn refused_by_the_client(&self, most: u32) -> Refused {
        let Triple { client, app, name } = *self.triple;
        let mut refused = Refused::default();
        let Some(of_client) = self.facts.client(self.triple) else {
            return refused;
        };
        let is_other = |(other, it): &&(App, Name)| {
            *other != app && it.domain != name.domain && !self.accepted(client, *other, *it)
        };
        let others: Vec<&(App, Name)> = of_client
            .refusing
            .still(self.now_s)
            .filter(is_other)
            .collect();
        for (at, (other, _)) in others.iter().enumerate() {
            if others.iter().take(at).any(|(before, _)| before == other) {
                continue;
            }
            let of_names = || {
                let mut probability = 1.0;
                let mut domains: [u64; 12] = [0; 12];
                let mut count = 0;
                for (_, it) in others.iter().filter(|(same, _)| same == other) {
                    if domains.contains(&it.domain) {
                        continue;
                    }
                    if let Some(place) = domains.get_mut(count) {
                        *place = it.domain;
                    }
                    count += 1;
                    probability *= self.pinned_or_bad(*other, it);
                }
                probability
            };
            refused.add(most, || either(self.store_without_ca(*other), of_names()));
        }
        refused
    }

    /// Names that apps at this address refused though they had accepted them: one that was merely
    /// dropped doesn't count.
    pub(super) fn contradictions(&self) -> u32 {
        let Some(client) = self.facts.client(self.triple) else {
            return 0;
        };
        let (mut sure, mut perhaps) = (0_u32, 0_u32);
        for (.., is_sure) in client.contradicted.still(self.now_s) {
            if *is_sure {
                sure += 1;
            } else {
                perhaps += 1;
            }
        }
        // Of very many connections some are dropped.
        if f64::from(3 * sure + perhaps) < DROPPED * f64::from(client.acceptances) {
            return 0;
        }
        (sure + perhaps).saturating_sub(1)
    }

    /// Returns whether the certificate refused is signed by a CA that signs names that are
    /// accepted; `None` if that cannot be told.
    pub(super) fn is_signed_as_usual(&self) -> Option<bool> {
        let refused = self.refusals.issuer?;
        if self.facts.signs_accepted(refused) {
            return Some(true);
        }
        self.facts
            .usual_issuer(self.triple.client, self.triple.app)
            .map(|usual| usual == refused)
    }

    /// Counts other apps that accept something on this client, and whether one began before the
    /// refusal.
    pub(super) fn other_apps_here_accept(&self) -> (u32, Accepted) {
        let Triple { client, app, .. } = *self.triple;
        let (mut count, mut when) = (0, Accepted::Since);
        if let Some(of_client) = self.facts.client(self.triple) {
            for other in of_client.accepting.still(self.now_s) {
                if *other == app {
                    continue;
                }
                count += 1;
                if let Some(pair) = self.facts.pair_of(client, *other)
                    && self.since_or_before(pair) == Accepted::Before
                {
                    when = Accepted::Before;
                }
            }
        }
        (count, when)
    }

    /// Returns the answer of the name's origin, if it was asked.
    pub(super) fn origin(&self) -> Option<OriginAnswer> {
        self.origins.answer(self.triple.name.host, self.now_s)
    }

    fn accepted(&self, client: IpAddr, app: App, name: Name) -> bool {
        let pair = self.facts.pair_of(client, app);
        pair.is_some_and(|pair| pair.accepted.any(self.now_s, |it| it.host == name.host))
    }

    /// Returns the probability that a client lacks the CA.
    fn without_ca(&self, client: IpAddr) -> f64 {
        let [unknown, accepting, refusing] = WITHOUT_CA;
        let Some(of_client) = self.facts.client_of(client) else {
            return unknown;
        };
        if of_client.accepting.any(self.now_s, |_| true) {
            return accepting;
        }
        let mut refused = of_client.refusing.still(self.now_s);
        match refused.next() {
            Some((first, _)) if refused.any(|(app, _)| app != first) => refusing,
            _ => unknown,
        }
    }

    /// Returns the probability that an app's own store lacks it, or that it pins all.
    fn store_without_ca(&self, app: App) -> f64 {
        STORE_WITHOUT_CA[usize::from(self.accepts_anything(app))]
    }

    /// Whether an app accepts anything on any client.
    fn accepts_anything(&self, app: App) -> bool {
        let everywhere = self.facts.everywhere_of(app);
        everywhere.is_some_and(|it| it.accepted.any(self.now_s, |_| true))
    }

    /// Returns the probability that an app pins a name, or that the name's certificate is bad.
    fn pinned_or_bad(&self, app: App, name: &Name) -> f64 {
        let [.., repeated] = PINS;
        // An app that accepts nothing anywhere refuses it elsewhere for the same reason as all others.
        if self.accepts_anything(app) && self.refused_by_another(name, |other| other == app) {
            return repeated;
        }
        either(self.pins(app, *name), self.bad(name, app))
    }

    /// Returns the probability that an app pins a name.
    fn pins(&self, app: App, name: Name) -> f64 {
        let [few, general, _] = PINS;
        let mut domains = 0;
        if let Some(everywhere) = self.facts.everywhere_of(app) {
            let mut last = None;
            for (_, it) in everywhere.accepted.still(self.now_s) {
                if it.host == name.host {
                    return BAD[1];
                }
                domains += u32::from(last != Some(it.domain));
                last = Some(it.domain);
            }
        }
        if domains >= GENERAL { general } else { few }
    }

    /// Returns the probability that an app pins a name, if it is none that a service's apps pin.
    fn pins_alone(&self, app: App) -> f64 {
        let [_, general, _] = PINS;
        let accepts = self.facts.everywhere_of(app);
        let several = accepts.is_some_and(|it| it.accepted.still(self.now_s).nth(4).is_some());
        if several { general } else { 0.12 }
    }

    /// Returns the probability that the certificate of a name that an app refuses is bad.
    fn bad(&self, name: &Name, app: App) -> f64 {
        let [unknown, accepted, refused] = BAD;
        let [valid, invalid] = BAD_BY_ORIGIN;
        match self.origins.answer(name.host, self.now_s) {
            Some(OriginAnswer::Valid) => return valid,
            Some(OriginAnswer::Invalid) => return invalid,
            _ => {}
        }
        let is_accepted = self
            .facts
            .visitors_of(name)
            .is_some_and(|it| it.accepted_by.any(self.now_s, |_| true));
        if is_accepted {
            return accepted;
        }
        if self.refused_by_another(name, |other| other != app) {
            refused
        } else {
            unknown
        }
    }

    /// Whether an app refuses a name on another client than this, where something is accepted.
    fn refused_by_another(&self, name: &Name, wanted: impl Fn(App) -> bool) -> bool {
        let [_, accepting, _] = WITHOUT_CA;
        self.facts.visitors_of(name).is_some_and(|it| {
            it.refused_by.any(self.now_s, |(client, app, _)| {
                *client != self.triple.client
                    && wanted(*app)
                    && self.without_ca(*client) <= accepting
            })
        })
    }
}
