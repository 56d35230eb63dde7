//! A refusal, and the questions that rules ask about it.

use super::fact::Triple;
use super::facts::Facts;
use super::refusals::Refusals;
use crate::verdict::When;

/// A refusal that rules look at, and what others show.
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

    /// Names this app accepts on this client, old ones for less.
    pub(super) fn app_accepts(&self) -> f64 {
        self.facts
            .pair(self.triple)
            .map_or(0.0, |pair| pair.accepted.weight(self.now_s, |_| true))
    }

    /// Names this app refused on this client: hosts, and unrelated domains among them.
    pub(super) fn app_refuses(&self) -> (f64, f64) {
        self.facts
            .pair(self.triple)
            .map_or((0.0, 0.0), |pair| pair.refuses(self.now_s))
    }

    /// Others that accept the name: other apps, or this one on other clients.
    pub(super) fn accepted_by_other_apps(&self) -> f64 {
        let app = self.triple.app;
        self.facts.visitors(self.triple).map_or(0.0, |it| {
            it.accepted_by
                .weight(self.now_s, |(_, other, _)| *other != app)
        })
    }

    /// Apps other than this that refuse the name though they accept others.
    pub(super) fn discerning_refusers(&self) -> usize {
        let mut apps = Vec::new();
        let Some(visitors) = self.facts.visitors(self.triple) else {
            return 0;
        };
        for ((client, app, _), _) in visitors.refused_by.at(self.now_s) {
            let accepts_others = self
                .facts
                .pair_of(client, app)
                .is_some_and(|pair| pair.accepted.any(self.now_s, |_| true));
            if accepts_others && app != self.triple.app && !apps.contains(&app) {
                apps.push(app);
            }
        }
        apps.len()
    }

    /// Other apps that accept something on this client, old ones for less.
    pub(super) fn other_apps_here_accept(&self) -> f64 {
        let app = self.triple.app;
        self.facts.client(self.triple).map_or(0.0, |client| {
            client.accepting.weight(self.now_s, |other| *other != app)
        })
    }

    /// Whether a circumstance, on which the wording of advice depends, holds.
    pub(super) fn holds(&self, when: When) -> bool {
        match when {
            When::Always | When::RefusedFromInterceptorOnly => true,
            When::OtherAppsAccept => self.other_apps_here_accept() > 0.0,
            When::NotIntercepted
            | When::ResetIsAllOfItsSender
            | When::ResetInClientsName
            | When::HandshakeFinished => false,
        }
    }
}
