//! Pinning, a missing CA, or the interceptor's own fault: a table of rules over what other
//! connections show.
//!
//! Weights are log-odds, added up per cause as the judge does for one connection. How sure the
//! decision is also depends on how sure it is that the client refused at all.

use super::Refusals;
use super::facts::{Facts, Triple};
use crate::verdict::{AlertDescription, Cause, Evidence, When};

/// From this weight on the facts of others decide.
const DECIDES: f64 = 1.0;

/// What other connections make of a refusal.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) cause: Cause,
    /// How sure the cause is if the client did refuse.
    pub(super) confidence: f64,
    /// How sure it is that the client did.
    pub(super) refusal: f64,
    pub(super) evidence: Vec<Evidence>,
    pub(super) advice: Option<String>,
    pub(super) pan_os: Option<&'static str>,
}

/// What rules ask about.
struct Case<'a> {
    facts: &'a Facts,
    triple: &'a Triple,
    refusals: &'a Refusals,
    now_s: u64,
}

struct Rule {
    name: &'static str,
    cause: Cause,
    holds: fn(&Case<'_>) -> Option<(String, f64)>,
}

/// All rules. Their weights follow from how seldom the opposite shows the same: an app that pins
/// rejects few unrelated names, one without the CA accepts none (IMC 2022, "A Comparative Analysis
/// of Certificate Pinning in Android & iOS", asks the same of names and apps).
static RULES: &[Rule] = &[
    Rule {
        name: "app-accepts-others",
        cause: Cause::Pinning,
        holds: app_accepts_others,
    },
    Rule {
        name: "others-accept-name",
        cause: Cause::Pinning,
        holds: others_accept_name,
    },
    Rule {
        name: "app-refuses-it-elsewhere",
        cause: Cause::Pinning,
        holds: app_refuses_it_elsewhere,
    },
    Rule {
        name: "certificate-in-order",
        cause: Cause::Pinning,
        holds: certificate_in_order,
    },
    Rule {
        name: "several-apps-refuse-name",
        cause: Cause::Pinning,
        holds: |case| {
            let (detail, weight) = several_apps_refuse(case)?;
            Some((detail, -weight))
        },
    },
    Rule {
        name: "app-refuses-all",
        cause: Cause::CaNotTrusted,
        holds: app_refuses_all,
    },
    Rule {
        name: "client-refuses-all",
        cause: Cause::CaNotTrusted,
        holds: client_refuses_all,
    },
    Rule {
        name: "app-accepts-elsewhere",
        cause: Cause::CaNotTrusted,
        holds: app_accepts_elsewhere,
    },
    Rule {
        name: "other-apps-accept",
        cause: Cause::CaNotTrusted,
        holds: other_apps_accept,
    },
    Rule {
        name: "unknown-ca",
        cause: Cause::CaNotTrusted,
        holds: unknown_ca,
    },
    Rule {
        name: "several-apps-refuse-name",
        cause: Cause::ServerCertInvalid,
        holds: several_apps_refuse,
    },
    Rule {
        name: "other-issuer",
        cause: Cause::ServerCertInvalid,
        holds: other_issuer,
    },
];

/// What others make of a refusal; `None` where they do not decide it.
pub(super) fn decide(
    facts: &Facts,
    triple: &Triple,
    refusals: &Refusals,
    now_ns: u64,
) -> Option<Decision> {
    let case = Case {
        facts,
        triple,
        refusals,
        now_s: now_ns / 1_000_000_000,
    };
    if case.accepted_it() {
        return None;
    }
    let findings: Vec<(&Rule, String, f64)> = RULES
        .iter()
        .filter_map(|rule| (rule.holds)(&case).map(|(detail, weight)| (rule, detail, weight)))
        .collect();
    let total = |cause: Cause| -> f64 {
        findings
            .iter()
            .filter(|(rule, ..)| rule.cause == cause)
            .map(|(.., weight)| weight)
            .sum()
    };
    let causes = [
        Cause::Pinning,
        Cause::CaNotTrusted,
        Cause::ServerCertInvalid,
    ];
    let cause = causes
        .into_iter()
        .max_by(|a, b| total(*a).total_cmp(&total(*b)))?;
    let own = total(cause);
    if own < DECIDES {
        return None;
    }
    let others: f64 = causes
        .into_iter()
        .filter(|other| *other != cause)
        .map(|other| total(other).max(0.0).exp() - 1.0)
        .sum();
    let evidence = findings
        .iter()
        .map(|(rule, detail, weight)| Evidence {
            name: rule.name.to_owned(),
            detail: detail.clone(),
            weight: if rule.cause == cause {
                *weight
            } else {
                -*weight
            },
        })
        .collect();
    Some(Decision {
        cause,
        confidence: own.exp() / (own.exp() + others + 1.0),
        refusal: refusals.sureness(),
        evidence,
        advice: cause.advice("this name", |when| case.holds(when)),
        pan_os: cause.pan_os(|when| case.holds(when)),
    })
}

impl Refusals {
    /// How sure it is that the client refused: the surest attempt, and that it tried again in vain.
    pub(super) fn sureness(&self) -> f64 {
        let again = self.attempts.saturating_sub(1).min(2);
        1.0 - (1.0 - self.probability.min(0.97)) * 0.5_f64.powi(again as i32)
    }
}

impl Case<'_> {
    /// Whether this app took this name here: then a refusal has another reason.
    fn accepted_it(&self) -> bool {
        let name = self.triple.name;
        self.facts
            .pair(self.triple)
            .is_some_and(|pair| pair.accepted.any(self.now_s, |it| it.host == name.host))
    }

    fn app_accepts(&self) -> f64 {
        self.facts
            .pair(self.triple)
            .map_or(0.0, |pair| pair.accepted.weight(self.now_s, |_| true))
    }

    /// Names this app refused on this client: hosts, and unrelated domains among them.
    fn app_refuses(&self) -> (f64, f64) {
        self.facts
            .pair(self.triple)
            .map_or((0.0, 0.0), |pair| pair.refuses(self.now_s))
    }

    /// Others that accept the name: other apps, or this one on other clients.
    fn accepted_by_other_apps(&self) -> f64 {
        let app = self.triple.app;
        self.facts.visitors(self.triple).map_or(0.0, |it| {
            it.accepted_by
                .weight(self.now_s, |(_, other, _)| *other != app)
        })
    }

    /// Apps other than this that refuse the name though they accept others.
    fn discerning_refusers(&self) -> usize {
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

    fn other_apps_here_accept(&self) -> f64 {
        let app = self.triple.app;
        self.facts.client(self.triple).map_or(0.0, |client| {
            client.accepting.weight(self.now_s, |other| *other != app)
        })
    }

    /// Whether a circumstance, on which the wording of advice depends, holds.
    fn holds(&self, when: When) -> bool {
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

fn app_accepts_others(case: &Case<'_>) -> Option<(String, f64)> {
    let count = case.app_accepts();
    let weight = match count {
        count if count >= 2.5 => 2.2,
        count if count >= 1.5 => 1.8,
        count if count > 0.0 => 1.3 * count.min(1.0),
        _ => return None,
    };
    let detail = format!(
        "this app accepts the interceptor for {} and never for this one",
        names(count)
    );
    Some((detail, weight))
}

fn others_accept_name(case: &Case<'_>) -> Option<(String, f64)> {
    let count = case.accepted_by_other_apps();
    // Without it this says as much about a missing CA.
    (count > 0.0 && case.app_accepts() > 0.0).then(|| {
        let detail = "other apps accept the interceptor for this name".to_owned();
        (detail, 1.6 * count.min(1.0))
    })
}

fn app_refuses_it_elsewhere(case: &Case<'_>) -> Option<(String, f64)> {
    let Triple { client, app, .. } = *case.triple;
    let visitors = case.facts.visitors(case.triple)?;
    let elsewhere = visitors.refused_by.weight(case.now_s, |(other, same, _)| {
        *other != client && *same == app
    });
    (elsewhere > 0.0 && case.app_accepts() > 0.0).then(|| {
        let detail = "the same app refuses this name on other clients too".to_owned();
        (detail, 0.7)
    })
}

fn certificate_in_order(case: &Case<'_>) -> Option<(String, f64)> {
    if case.app_accepts() <= 0.0 {
        return None;
    }
    Some(match case.refusals.certificate_in_order {
        Some(true) => (
            "the certificate shown is in date and for this name".to_owned(),
            0.5,
        ),
        Some(false) => (
            "the certificate shown is not in date or not for this name".to_owned(),
            -2.0,
        ),
        None if case.accepted_by_other_apps() > 0.0 => return None,
        None => (
            "the certificate is encrypted: it may be invalid itself".to_owned(),
            -0.6,
        ),
    })
}

fn several_apps_refuse(case: &Case<'_>) -> Option<(String, f64)> {
    let others = case.discerning_refusers();
    let accepts_others = case.app_accepts() > 0.0;
    (others >= 1 && accepts_others && case.accepted_by_other_apps() <= 0.0).then(|| {
        let detail = format!(
            "{} apps that accept the interceptor elsewhere refuse this name, and none accepts it",
            others + 1
        );
        (detail, if others >= 2 { 2.4 } else { 1.6 })
    })
}

fn app_refuses_all(case: &Case<'_>) -> Option<(String, f64)> {
    if case.app_accepts() > 0.0 {
        return None;
    }
    let (hosts, domains) = case.app_refuses();
    let weight = if domains >= 2.5 {
        2.6
    } else if domains >= 1.5 {
        1.9
    } else if hosts >= 2.5 {
        // Related names: an app that pins all of its service's would do the same.
        1.0
    } else {
        return None;
    };
    let detail = format!(
        "this app refused the interceptor for each of {} and never accepted it",
        names(hosts)
    );
    Some((detail, weight))
}

fn client_refuses_all(case: &Case<'_>) -> Option<(String, f64)> {
    let client = case.facts.client(case.triple)?;
    if client.accepting.any(case.now_s, |_| true) {
        return None;
    }
    let mut apps = Vec::new();
    let mut domains = Vec::new();
    for ((app, name), _) in client.refusing.at(case.now_s) {
        if !apps.contains(&app) {
            apps.push(app);
        }
        if !domains.contains(&name.domain) {
            domains.push(name.domain);
        }
    }
    (apps.len() >= 2).then(|| {
        let detail = format!(
            "no app on this client accepts the interceptor, {} refuse it",
            apps.len()
        );
        (detail, if domains.len() >= 2 { 1.6 } else { 1.0 })
    })
}

fn app_accepts_elsewhere(case: &Case<'_>) -> Option<(String, f64)> {
    if case.app_accepts() > 0.0 {
        return None;
    }
    let Triple { client, name, .. } = *case.triple;
    let everywhere = case.facts.everywhere(case.triple)?;
    let elsewhere = |wanted: &dyn Fn(u64) -> bool| {
        everywhere.accepted.any(case.now_s, |(other, it)| {
            *other != client && wanted(it.host)
        })
    };
    if elsewhere(&|host| host == name.host) {
        let detail = "the same app accepts the interceptor for this name on other clients";
        return Some((detail.to_owned(), 2.2));
    }
    None
}

fn other_apps_accept(case: &Case<'_>) -> Option<(String, f64)> {
    let (hosts, _) = case.app_refuses();
    let accept = case.other_apps_here_accept() > 0.0;
    (accept && case.app_accepts() <= 0.0 && hosts >= 1.5).then(|| {
        let detail = "other apps on this client accept the interceptor".to_owned();
        (detail, 0.4)
    })
}

fn unknown_ca(case: &Case<'_>) -> Option<(String, f64)> {
    let (hosts, _) = case.app_refuses();
    let says_so = case.refusals.alert == Some(AlertDescription::UnknownCa);
    (says_so && case.app_accepts() <= 0.0 && hosts >= 1.5).then(|| {
        let detail = "it says unknown_ca, which few pin checks do".to_owned();
        (detail, 0.6)
    })
}

fn other_issuer(case: &Case<'_>) -> Option<(String, f64)> {
    let refused = case.refusals.issuer?;
    let pair = case.facts.pair(case.triple)?;
    if !pair.accepted.any(case.now_s, |_| true) {
        return None;
    }
    let visitors = case.facts.visitors(case.triple)?;
    let accepted_here = visitors
        .accepted_by
        .any(case.now_s, |(.., issuer)| *issuer == Some(refused));
    let usual = case.facts.usual_issuer(case.triple.client, case.triple.app);
    (!accepted_here && usual.is_some_and(|usual| usual != refused)).then(|| {
        let detail =
            "the interceptor signs this name with another CA than names this app accepts, \
                      as it does for origins it does not trust itself"
                .to_owned();
        (detail, 3.0)
    })
}

fn names(count: f64) -> String {
    let count = count.ceil() as u64;
    if count == 1 {
        "another name".to_owned()
    } else {
        format!("{count} names")
    }
}
