//! The signs that hold for a refusal, by what other connections show.

use std::borrow::Cow;

use super::case::Case;
use super::likelihoods::Sign;
use crate::verdict::AlertDescription;

/// A sign that holds, how often, and in words.
pub(super) struct Finding {
    pub(super) sign: Sign,
    /// Names or apps that show it, old ones for less; at most [`Sign::most`].
    pub(super) count: f64,
    pub(super) detail: Cow<'static, str>,
}

/// Returns the signs that hold.
pub(super) fn findings(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::with_capacity(10);
    let mut add = |sign: Sign, count: f64, detail: Cow<'static, str>| {
        if count > 0.0 {
            let count = count.min(sign.most());
            findings.push(Finding {
                sign,
                count,
                detail,
            });
        }
    };
    of_the_app(case, &mut add);
    of_others(case, &mut add);
    of_the_refusal(case, &mut add);
    findings
}

fn of_the_app(case: &Case<'_>, add: &mut impl FnMut(Sign, f64, Cow<'static, str>)) {
    let names = case.names_of_the_app();
    add(
        Sign::AppAcceptsOthers,
        names.accepted,
        format!(
            "this app accepts the interceptor for {} of other domains and never for this one",
            count(names.accepted)
        )
        .into(),
    );
    let accepts_any = names.accepted + names.related_accepted > 0.0;
    let (refuses, never) = if accepts_any {
        (Sign::AppRefusesOthers, "")
    } else {
        (Sign::AppRefusesAll, ", and never accepted it")
    };
    let refused = count(names.refused);
    let detail =
        format!("this app refused the interceptor for {refused} of other domains too{never}");
    add(refuses, names.refused, detail.into());
    add(
        Sign::AppAcceptsRelated,
        names.related_accepted,
        "this app accepts the interceptor for another name of this domain".into(),
    );
    add(
        Sign::AppRefusesRelated,
        names.related_refused,
        "this app refuses the interceptor for another name of this domain".into(),
    );
    if case.accepted_it() {
        let detail = "this app accepted the interceptor for this very name";
        add(Sign::AppAcceptedIt, 1.0, detail.into());
    }
}

fn of_others(case: &Case<'_>, add: &mut impl FnMut(Sign, f64, Cow<'static, str>)) {
    add(
        Sign::OthersAcceptName,
        case.accepted_by_other_apps(),
        "other apps accept the interceptor for this name".into(),
    );
    add(
        Sign::AppAcceptsElsewhere,
        case.app_accepts_it_elsewhere(),
        "the same app accepts the interceptor for this name on other clients".into(),
    );
    add(
        Sign::AppRefusesElsewhere,
        case.app_refuses_it_elsewhere(),
        "the same app refuses this name on other clients too, and accepts others there".into(),
    );
    let refusers = case.discerning_refusers();
    let several = format!(
        "{} apps that accept the interceptor for other names refuse this one, and none accepts it",
        refusers.apps + refusers.general + 1
    );
    let accepted = case.accepted_by_other_apps() + case.app_accepts_it_elsewhere();
    if accepted <= 0.0 {
        let apps = f64::from(refusers.apps);
        add(Sign::SeveralAppsRefuse, apps, several.into());
        let general = f64::from(refusers.general);
        let detail = "an app that accepts many unrelated names, as browsers do, refuses this one";
        add(Sign::GeneralAppRefuses, general, detail.into());
    }
    add(
        Sign::OtherAppsAccept,
        case.other_apps_here_accept(),
        "other apps on this client accept the interceptor".into(),
    );
    let refusing = case.refusing_apps_of_a_refusing_client();
    if refusing >= 2 {
        let detail = format!("no app on this client accepts the interceptor, {refusing} refuse it");
        add(Sign::ClientRefusesAll, 1.0, detail.into());
    }
    if case.address_is_shared() {
        let detail = "apps at this address both accept the interceptor and refuse it: several \
                      hosts may share it";
        add(Sign::AddressShared, 1.0, detail.into());
    }
}

fn of_the_refusal(case: &Case<'_>, add: &mut impl FnMut(Sign, f64, Cow<'static, str>)) {
    match case.refusals.certificate_in_order {
        Some(true) => {
            let detail = "the certificate shown is in date and for this name";
            add(Sign::CertificateInOrder, 1.0, detail.into());
        }
        Some(false) => {
            let detail = "the certificate shown is not in date or not for this name";
            add(Sign::CertificateFaulty, 1.0, detail.into());
        }
        None => {}
    }
    match case.is_signed_as_usual() {
        Some(true) => {
            let detail = "the interceptor signs this name with the CA that this app accepts";
            add(Sign::UsualIssuer, 1.0, detail.into());
        }
        Some(false) => {
            let detail = "the interceptor signs this name with another CA than names this app \
                          accepts, as it does for origins it does not trust itself";
            add(Sign::OtherIssuer, 1.0, detail.into());
        }
        None => {}
    }
    match case.refusals.alert {
        Some(AlertDescription::UnknownCa) => {
            let detail = "it says unknown_ca, which few pin checks do";
            add(Sign::UnknownCa, 1.0, detail.into());
        }
        Some(AlertDescription::AccessDenied) => {
            let detail = "it says access_denied, as checks of its own do";
            add(Sign::AccessDenied, 1.0, detail.into());
        }
        _ if case.refusals.after_handshake => {
            let detail = "it had finished the handshake, as pin checks do more often than others";
            add(Sign::AfterHandshake, 1.0, detail.into());
        }
        _ => {}
    }
}

/// Counts names in words.
fn count(names: f64) -> String {
    let names = names.ceil() as u64;
    if names == 1 {
        "a name".to_owned()
    } else {
        format!("{names} names")
    }
}
