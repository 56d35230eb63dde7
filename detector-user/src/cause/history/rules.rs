//! Rules for and against a cause of a refusal, by what other connections show.

use std::borrow::Cow;

use super::case::Case;
use super::fact::Triple;
use crate::verdict::{AlertDescription, Cause, Evidence};

/// A fact for people, and its weight for the rule's cause, in log-odds.
type Weighed = (Cow<'static, str>, f64);

/// A rule: where it holds it speaks for its cause, or against it if its weight is negative.
pub(super) struct Rule {
    name: &'static str,
    pub(super) cause: Cause,
    holds: fn(&Case<'_>) -> Option<Weighed>,
}

/// A rule that holds.
pub(super) struct Finding {
    pub(super) rule: &'static Rule,
    pub(super) weight: f64,
    detail: Cow<'static, str>,
}

impl Finding {
    /// The finding as evidence for or against `cause`.
    pub(super) fn evidence(self, cause: Cause) -> Evidence {
        Evidence {
            name: self.rule.name.to_owned(),
            detail: self.detail.into_owned(),
            weight: if self.rule.cause == cause {
                self.weight
            } else {
                -self.weight
            },
        }
    }
}

/// Applies all rules to a case, and returns those that hold.
pub(super) fn findings(case: &Case<'_>) -> impl Iterator<Item = Finding> {
    RULES.iter().filter_map(|rule| {
        let (detail, weight) = (rule.holds)(case)?;
        Some(Finding {
            rule,
            weight,
            detail,
        })
    })
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

fn app_accepts_others(case: &Case<'_>) -> Option<Weighed> {
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
    Some((detail.into(), weight))
}

fn others_accept_name(case: &Case<'_>) -> Option<Weighed> {
    let count = case.accepted_by_other_apps();
    // Without it this says as much about a missing CA.
    (count > 0.0 && case.app_accepts() > 0.0).then(|| {
        let detail = "other apps accept the interceptor for this name";
        (detail.into(), 1.6 * count.min(1.0))
    })
}

fn app_refuses_it_elsewhere(case: &Case<'_>) -> Option<Weighed> {
    let Triple { client, app, .. } = *case.triple;
    let visitors = case.facts.visitors(case.triple)?;
    let elsewhere = visitors.refused_by.weight(case.now_s, |(other, same, _)| {
        *other != client && *same == app
    });
    (elsewhere > 0.0 && case.app_accepts() > 0.0).then(|| {
        let detail = "the same app refuses this name on other clients too";
        (detail.into(), 0.7)
    })
}

fn certificate_in_order(case: &Case<'_>) -> Option<Weighed> {
    if case.app_accepts() <= 0.0 {
        return None;
    }
    Some(match case.refusals.certificate_in_order {
        Some(true) => (
            "the certificate shown is in date and for this name".into(),
            0.5,
        ),
        Some(false) => (
            "the certificate shown is not in date or not for this name".into(),
            -2.0,
        ),
        None if case.accepted_by_other_apps() > 0.0 => return None,
        None => (
            "the certificate is encrypted: it may be invalid itself".into(),
            -0.6,
        ),
    })
}

fn several_apps_refuse(case: &Case<'_>) -> Option<Weighed> {
    let others = case.discerning_refusers();
    let accepts_others = case.app_accepts() > 0.0;
    (others >= 1 && accepts_others && case.accepted_by_other_apps() <= 0.0).then(|| {
        let detail = format!(
            "{} apps that accept the interceptor elsewhere refuse this name, and none accepts it",
            others + 1
        );
        (detail.into(), if others >= 2 { 2.4 } else { 1.6 })
    })
}

fn app_refuses_all(case: &Case<'_>) -> Option<Weighed> {
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
    Some((detail.into(), weight))
}

fn client_refuses_all(case: &Case<'_>) -> Option<Weighed> {
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
        (detail.into(), if domains.len() >= 2 { 1.6 } else { 1.0 })
    })
}

fn app_accepts_elsewhere(case: &Case<'_>) -> Option<Weighed> {
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
        return Some((detail.into(), 2.2));
    }
    None
}

fn other_apps_accept(case: &Case<'_>) -> Option<Weighed> {
    let (hosts, _) = case.app_refuses();
    let accept = case.other_apps_here_accept() > 0.0;
    (accept && case.app_accepts() <= 0.0 && hosts >= 1.5).then(|| {
        let detail = "other apps on this client accept the interceptor";
        (detail.into(), 0.4)
    })
}

fn unknown_ca(case: &Case<'_>) -> Option<Weighed> {
    let (hosts, _) = case.app_refuses();
    let says_so = case.refusals.alert == Some(AlertDescription::UnknownCa);
    (says_so && case.app_accepts() <= 0.0 && hosts >= 1.5).then(|| {
        let detail = "it says unknown_ca, which few pin checks do";
        (detail.into(), 0.6)
    })
}

fn other_issuer(case: &Case<'_>) -> Option<Weighed> {
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
        let detail = "the interceptor signs this name with another CA than names this app accepts, \
                      as it does for origins it does not trust itself";
        (detail.into(), 3.0)
    })
}

/// Counts names in words.
fn names(count: f64) -> String {
    let count = count.ceil() as u64;
    if count == 1 {
        "another name".to_owned()
    } else {
        format!("{count} names")
    }
}
