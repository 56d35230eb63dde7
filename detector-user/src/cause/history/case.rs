//! A refusal, and the questions that signs ask about it.

use std::net::IpAddr;

use super::fact::Triple;
use super::facts::Facts;
use super::refusals::Refusals;
use super::tables::Names;
use crate::cause::interception::Mark;
use crate::flow::tls::app::App;

/// An app that accepts so many unrelated names is a browser or the like, not a service's own.
const GENERAL: f64 = 4.5;

/// Apps that refuse a name though they accept others.
#[derive(Default)]
pub(super) struct Refusers {
    /// Apps that accept few others.
    pub(super) apps: u32,
    /// Apps that accept many unrelated names.
    pub(super) general: u32,
}

/// A refusal, and the facts that others show.
pub(super) struct Case<'a> {
    pub(super) facts: &'a Facts,
    pub(super) triple: &'a Triple,
    pub(super) refusals: &'a Refusals,
    /// Seconds since the UNIX epoch.
    pub(super) now_s: u64,
}

impl Case<'_> {
    /// Whether this app accepted this name here: then a refusal has another reason.
    pub(super) fn accepted_it(&self) -> bool {
        let name = self.triple.name;
        self.facts
            .pair(self.triple)
            .is_some_and(|pair| pair.accepted.any(self.now_s, |it| it.host == name.host))
    }

    /// Names this app accepts and refuses on this client beside this one.
    pub(super) fn names_of_the_app(&self) -> Names {
        let pair = self.facts.pair(self.triple);
        pair.map_or(Names::default(), |pair| {
            pair.names_beside(self.triple.name, self.now_s)
        })
    }

    /// Whether this app accepts the name on other clients: 1, less if long ago, 0 if not.
    pub(super) fn app_accepts_it_elsewhere(&self) -> f64 {
        let Triple { client, app, name } = *self.triple;
        let others = |it: &(IpAddr, App, Option<Mark>)| it.1 == app && it.0 != client;
        let by_visitors = self
            .facts
            .visitors(self.triple)
            .map_or(0.0, |it| it.accepted_by.weight(self.now_s, others));
        let by_app = self.facts.everywhere(self.triple).map_or(0.0, |it| {
            it.accepted.weight(self.now_s, |(other, it)| {
                *other != client && it.host == name.host
            })
        });
        by_visitors.max(by_app)
    }

    /// Clients on which this app refuses the name too, though it accepts others there.
    pub(super) fn app_refuses_it_elsewhere(&self) -> f64 {
        let Triple { client, app, .. } = *self.triple;
        let Some(visitors) = self.facts.visitors(self.triple) else {
            return 0.0;
        };
        let elsewhere = visitors.refused_by.at(self.now_s);
        elsewhere
            .filter(|((other, same, _), _)| *other != client && *same == app)
            .filter(|((other, ..), _)| self.accepts_something(*other, app))
            .map(|(_, worth)| worth)
            .sum()
    }

    fn accepts_something(&self, client: IpAddr, app: App) -> bool {
        let pair = self.facts.pair_of(client, app);
        pair.is_some_and(|pair| pair.accepted.any(self.now_s, |_| true))
    }

    /// Others that accept the name: other apps, or this one on other clients.
    pub(super) fn accepted_by_other_apps(&self) -> f64 {
        let app = self.triple.app;
        self.facts.visitors(self.triple).map_or(0.0, |it| {
            it.accepted_by
                .weight(self.now_s, |(_, other, _)| *other != app)
        })
    }

    /// Apps other than this that refuse the name though they accept others. An app that refuses
    /// several unrelated names is none.
    pub(super) fn discerning_refusers(&self) -> Refusers {
        let mut seen = Vec::new();
        let mut refusers = Refusers::default();
        let Some(visitors) = self.facts.visitors(self.triple) else {
            return refusers;
        };
        for ((client, app, _), _) in visitors.refused_by.at(self.now_s) {
            if app == self.triple.app || seen.contains(&app) {
                continue;
            }
            let Some(pair) = self.facts.pair_of(client, app) else {
                continue;
            };
            let names = pair.names_beside(self.triple.name, self.now_s);
            if names.accepted > 0.0 && names.refused < 1.5 {
                seen.push(app);
                if names.accepted >= GENERAL {
                    refusers.general += 1;
                } else {
                    refusers.apps += 1;
                }
            }
        }
        refusers
    }

    /// Apps on this client that refuse, unrelated names among them, if none accepts anything there.
    pub(super) fn refusing_apps_of_a_refusing_client(&self) -> usize {
        let Some(client) = self.facts.client(self.triple) else {
            return 0;
        };
        if client.accepting.any(self.now_s, |_| true) {
            return 0;
        }
        let mut apps = Vec::new();
        let mut domains = Vec::new();
        for (app, name) in client.refusing.still(self.now_s) {
            if !apps.contains(app) {
                apps.push(*app);
            }
            if !domains.contains(&name.domain) {
                domains.push(name.domain);
            }
        }
        if domains.len() >= 2 { apps.len() } else { 0 }
    }

    /// Whether some app at this address accepted and refused one name, or accepts some names and
    /// refuses several unrelated ones.
    pub(super) fn address_is_shared(&self) -> bool {
        let Some(client) = self.facts.client(self.triple) else {
            return false;
        };
        client.accepting.still(self.now_s).any(|app| {
            let pair = self.facts.pair_of(self.triple.client, *app);
            pair.is_some_and(|pair| pair.is_of_several_hosts(self.now_s))
        })
    }

    /// Whether the certificate refused is signed by the CA that signs names this app accepts; `None`
    /// if that cannot be told.
    pub(super) fn is_signed_as_usual(&self) -> Option<bool> {
        let refused = self.refusals.issuer?;
        let usual = self
            .facts
            .usual_issuer(self.triple.client, self.triple.app)?;
        if usual == refused {
            return Some(true);
        }
        let accepted_here = self.facts.visitors(self.triple).is_some_and(|visitors| {
            let accepted_by = &visitors.accepted_by;
            accepted_by.any(self.now_s, |(.., issuer)| *issuer == Some(refused))
        });
        (!accepted_here).then_some(false)
    }

    /// Other apps that accept something on this client, old ones for less.
    pub(super) fn other_apps_here_accept(&self) -> f64 {
        let app = self.triple.app;
        self.facts.client(self.triple).map_or(0.0, |client| {
            client.accepting.weight(self.now_s, |other| *other != app)
        })
    }
}
