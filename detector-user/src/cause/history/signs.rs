//! The signs that hold for a refusal, by the evidence of other connections.

use std::borrow::Cow;

use super::case::{Accepted, Case, Refused};
use super::likelihoods::{Row, Sign};
use super::origins::OriginAnswer;
use crate::verdict::{AlertDescription, Intercepted};

/// A sign that holds, how often, and how probable it is that something else explains it.
#[derive(Clone)]
pub(super) struct Finding {
    pub(super) row: &'static Row,
    /// Names, apps or clients that show it; at most [`Sign::most`].
    pub(super) count: u32,
    /// Probability of what was refused where a hypothesis doesn't explain it.
    pub(super) otherwise: f64,
}

/// Findings as they are added.
struct Findings(Vec<Finding>);

impl Findings {
    fn accepted(&mut self, sign: Sign, count: u32) {
        self.add(sign, count, 1.0);
    }

    fn refused(&mut self, sign: Sign, refused: Refused) {
        self.add(sign, refused.count, refused.otherwise);
    }

    fn holds(&mut self, sign: Sign, holds: bool) {
        self.add(sign, u32::from(holds), 1.0);
    }

    fn add(&mut self, sign: Sign, count: u32, otherwise: f64) {
        if count > 0
            && let Some(row) = sign.row()
        {
            self.0.push(Finding {
                row,
                count: count.min(sign.most()),
                otherwise,
            });
        }
    }
}

/// Returns the signs that hold.
pub(super) fn findings(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Findings(Vec::with_capacity(12));
    of_the_app(case, &mut findings);
    of_the_app_elsewhere(case, &mut findings);
    of_others(case, &mut findings);
    of_the_refusal(case, &mut findings);
    findings.0
}

fn of_the_app(case: &Case<'_>, findings: &mut Findings) {
    let (accepted, when) = case.accepted_beside();
    match when {
        Accepted::Before => findings.accepted(Sign::AppAcceptsOthers, accepted.unrelated),
        Accepted::Since => findings.accepted(Sign::AppAcceptsOthersSince, accepted.unrelated),
    }
    findings.accepted(Sign::AppAcceptsRelated, accepted.related);
    match case.accepted_it() {
        Some(Accepted::Before) => findings.holds(Sign::AppAcceptedIt, true),
        Some(Accepted::Since) => findings.holds(Sign::AppAcceptsItSince, true),
        None => {}
    }
    findings.holds(Sign::GeneralApp, case.is_of_general_app());
    let accepts_any = accepted.unrelated + accepted.related > 0;
    let refuses = if accepts_any {
        Sign::AppRefusesOthers
    } else {
        Sign::AppRefusesAll
    };
    findings.refused(refuses, case.refused_beside(refuses.most()));
    findings.refused(Sign::AppRefusesRelated, case.refuses_related());
}

fn of_the_app_elsewhere(case: &Case<'_>, findings: &mut Findings) {
    let (this, any) = case.accepts_elsewhere();
    findings.holds(Sign::AppAcceptsElsewhere, this);
    findings.holds(Sign::AppAcceptsOthersElsewhere, any && !this);
    let sign = Sign::AppRefusesElsewhere;
    findings.refused(sign, case.refused_elsewhere(sign.most()));
    let sign = Sign::AppRefusesOthersElsewhere;
    findings.refused(sign, case.others_refused_elsewhere(sign.most()));
}

fn of_others(case: &Case<'_>, findings: &mut Findings) {
    let (accepted, general) = case.accepted_by_others();
    if general {
        findings.accepted(Sign::GeneralAppAccepts, 1);
    } else {
        findings.accepted(Sign::OthersAcceptName, accepted);
    }
    let refusers = case.refusers(Sign::SeveralAppsRefuse.most());
    findings.refused(Sign::SeveralAppsRefuse, refusers.elsewhere);
    findings.refused(Sign::GeneralAppRefuses, refusers.general);
    findings.refused(Sign::AppsHereRefuseName, refusers.here);
    let (others, when) = case.other_apps_here_accept();
    match when {
        Accepted::Before => findings.accepted(Sign::OtherAppsAccept, others),
        Accepted::Since => findings.accepted(Sign::OtherAppsAcceptSince, others),
    }
    let sign = Sign::ClientRefuses;
    findings.refused(sign, case.refused_by_the_client(sign.most()));
    findings.accepted(Sign::AddressShared, case.contradictions());
}

fn of_the_refusal(case: &Case<'_>, findings: &mut Findings) {
    if let Some(in_order) = case.refusals.certificate_in_order {
        findings.holds(Sign::CertificateInOrder, in_order);
        findings.holds(Sign::CertificateFaulty, !in_order);
    }
    if let Some(usual) = case.is_signed_as_usual() {
        findings.holds(Sign::UsualIssuer, usual);
        findings.holds(Sign::OtherIssuer, !usual);
    }
    if let Some(sign) = case.origin().and_then(OriginAnswer::sign) {
        findings.holds(sign, true);
    }
    match case.refusals.alert {
        Some(AlertDescription::UnknownCa) => findings.holds(Sign::UnknownCa, true),
        Some(AlertDescription::AccessDenied) => findings.holds(Sign::AccessDenied, true),
        _ => findings.holds(Sign::AfterHandshake, case.refusals.after_handshake),
    }
}

impl Finding {
    /// Returns the finding in words. Where no interceptor is known, apps accept and refuse certificates.
    pub(super) fn detail(&self, intercepted: Intercepted) -> Cow<'static, str> {
        let (it, them, ever) = match intercepted {
            Intercepted::Yes => ("the interceptor", "the interceptor", "it"),
            Intercepted::No => (
                "the origin's certificate",
                "the origins' certificates",
                "one",
            ),
            Intercepted::Unknown => ("the certificate shown", "the certificates shown", "one"),
        };
        let names = || count(self.count, "a name", "names");
        let apps = |one, several| count(self.count, one, several);
        match self.row.sign {
            Sign::AppAcceptsOthers => format!(
                "this app accepts {them} for {} of other domains and never for this one",
                names()
            )
            .into(),
            Sign::AppAcceptsOthersSince => format!(
                "this app accepts {them} for {} of other domains since it refused this one",
                names()
            )
            .into(),
            Sign::AppAcceptsRelated => {
                format!("this app accepts {it} for another name of this domain").into()
            }
            Sign::AppAcceptedIt => format!("this app had accepted {it} for this very name").into(),
            Sign::AppAcceptsItSince => {
                format!("this app accepts {it} for this very name since").into()
            }
            Sign::GeneralApp => {
                "this app accepts many unrelated names, as browsers do, which pin few".into()
            }
            Sign::AppAcceptsElsewhere => {
                format!("the same app accepts {it} for this name on other clients").into()
            }
            Sign::AppAcceptsOthersElsewhere => {
                format!("the same app accepts {them} for other names on other clients").into()
            }
            Sign::OthersAcceptName => format!("other apps accept {it} for this name").into(),
            Sign::GeneralAppAccepts => {
                "an app that accepts many unrelated names, as browsers do, accepts this one".into()
            }
            Sign::OtherAppsAccept => format!("other apps on this client accept {them}").into(),
            Sign::OtherAppsAcceptSince => {
                format!("other apps on this client accept {them} since").into()
            }
            Sign::AppRefusesAll => format!(
                "this app refused {them} for {} of other domains too, and never accepted {ever}",
                names()
            )
            .into(),
            Sign::AppRefusesOthers => format!(
                "this app refused {them} for {} of other domains too",
                names()
            )
            .into(),
            Sign::AppRefusesRelated => {
                format!("this app refuses {it} for another name of this domain").into()
            }
            Sign::AppRefusesElsewhere => {
                "the same app refuses this name on other clients too".into()
            }
            Sign::AppRefusesOthersElsewhere => format!(
                "the same app refuses {} of other domains on other clients",
                names()
            )
            .into(),
            Sign::SeveralAppsRefuse | Sign::AppsHereRefuseName => {
                let one = "an app beside this refuses this name";
                apps(one, "apps beside this refuse this name").into()
            }
            Sign::GeneralAppRefuses => {
                "an app that accepts many unrelated names, as browsers do, refuses this one".into()
            }
            Sign::ClientRefuses => {
                let one = format!("an app beside this refuses {them} on this client");
                let several = format!("apps beside this refuse {them} on this client");
                apps(&one, &several).into()
            }
            Sign::AddressShared => "apps at this address refused names that they had accepted: \
                                    several hosts may share it"
                .into(),
            Sign::CertificateInOrder => "the certificate shown is in date and for this name".into(),
            Sign::CertificateFaulty => {
                "the certificate shown is not in date or not for this name".into()
            }
            Sign::UsualIssuer if intercepted != Intercepted::Yes => {
                "the certificate shown is signed by the CA of names that are accepted".into()
            }
            Sign::OtherIssuer if intercepted != Intercepted::Yes => {
                "the certificate shown is signed by another CA than those of names this app accepts"
                    .into()
            }
            Sign::UsualIssuer => {
                "the interceptor signs this name with the CA of names that are accepted".into()
            }
            Sign::OtherIssuer => "the interceptor signs this name with another CA than names this \
                                  app accepts, as it does for origins it does not trust itself"
                .into(),
            Sign::UnknownCa => "it says unknown_ca, which few pin checks do".into(),
            Sign::AccessDenied => "it says access_denied, as checks of its own do".into(),
            Sign::AfterHandshake => {
                "it had finished the handshake, as pin checks do more often than others".into()
            }
            Sign::OriginValid => {
                "the origin was asked: its own certificate is valid for this name".into()
            }
            Sign::OriginInvalid => {
                "the origin was asked: its own certificate is not valid for this name".into()
            }
            Sign::OriginUntrusted => "the origin was asked: no root of this gateway signed for \
                                      its certificate"
                .into(),
        }
    }
}

/// Counts in words.
fn count(count: u32, one: &str, several: &str) -> String {
    if count == 1 {
        one.to_owned()
    } else {
        format!("{count} {several}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::likelihoods::TABLE;
    use super::*;

    #[test]
    fn findings_on_direct_connections_speak_of_no_interceptor() {
        for row in TABLE {
            let finding = Finding {
                row,
                count: 2,
                otherwise: 1.0,
            };
            for status in [Intercepted::No, Intercepted::Unknown] {
                let detail = finding.detail(status);
                assert!(!detail.contains("interceptor"), "{detail}");
            }
        }
    }
}
