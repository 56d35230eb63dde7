//! The signs that hold for a refusal, by what other connections show.

use std::fmt;

use super::case::Case;
use super::likelihoods::Sign;
use crate::verdict::AlertDescription;

/// A sign that holds, and how often. Its `Display` is for people.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finding {
    pub(super) sign: Sign,
    /// Names or apps that show it, old ones for less; at most [`Sign::most`].
    pub(super) count: f64,
    /// Names or apps that its sentence counts.
    counted: u64,
}

/// The signs that hold so far.
struct Findings(Vec<Finding>);

impl Findings {
    /// Adds a sign that so many names or apps show, if any does.
    fn push(&mut self, sign: Sign, count: f64) {
        self.push_counted(sign, count, count.ceil() as u64);
    }

    /// Adds a sign whose sentence counts others than its weight.
    fn push_counted(&mut self, sign: Sign, count: f64, counted: u64) {
        if count > 0.0 {
            self.0.push(Finding {
                sign,
                count: count.min(sign.most()),
                counted,
            });
        }
    }

    /// Adds a sign that one connection alone shows.
    fn push_if(&mut self, sign: Sign, holds: bool) {
        self.push(sign, f64::from(u8::from(holds)));
    }
}

/// Returns the signs that hold.
pub(super) fn findings(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Findings(Vec::with_capacity(10));
    of_the_app(case, &mut findings);
    of_others(case, &mut findings);
    of_the_refusal(case, &mut findings);
    findings.0
}

fn of_the_app(case: &Case<'_>, findings: &mut Findings) {
    let names = case.names_of_the_app();
    findings.push(Sign::AppAcceptsOthers, names.accepted);
    let accepts_any = names.accepted + names.related_accepted > 0.0;
    let refuses = if accepts_any {
        Sign::AppRefusesOthers
    } else {
        Sign::AppRefusesAll
    };
    findings.push(refuses, names.refused);
    findings.push(Sign::AppAcceptsRelated, names.related_accepted);
    findings.push(Sign::AppRefusesRelated, names.related_refused);
    findings.push_if(Sign::AppAcceptedIt, case.accepted_it());
}

fn of_others(case: &Case<'_>, findings: &mut Findings) {
    let by_others = case.accepted_by_other_apps();
    let elsewhere = case.app_accepts_it_elsewhere();
    findings.push(Sign::OthersAcceptName, by_others);
    findings.push(Sign::AppAcceptsElsewhere, elsewhere);
    findings.push(Sign::AppRefusesElsewhere, case.app_refuses_it_elsewhere());
    if by_others + elsewhere <= 0.0 {
        let refusers = case.discerning_refusers();
        let all = u64::from(refusers.apps) + u64::from(refusers.general) + 1;
        findings.push_counted(Sign::SeveralAppsRefuse, refusers.apps.into(), all);
        findings.push(Sign::GeneralAppRefuses, refusers.general.into());
    }
    findings.push(Sign::OtherAppsAccept, case.other_apps_here_accept());
    let refusing = case.refusing_apps_of_a_refusing_client();
    if refusing >= 2 {
        findings.push_counted(Sign::ClientRefusesAll, 1.0, refusing as u64);
    }
    findings.push_if(Sign::AddressShared, case.address_is_shared());
}

fn of_the_refusal(case: &Case<'_>, findings: &mut Findings) {
    let refusals = case.refusals;
    if let Some(in_order) = refusals.certificate_in_order {
        findings.push_if(Sign::CertificateInOrder, in_order);
        findings.push_if(Sign::CertificateFaulty, !in_order);
    }
    if let Some(usual) = case.is_signed_as_usual() {
        findings.push_if(Sign::UsualIssuer, usual);
        findings.push_if(Sign::OtherIssuer, !usual);
    }
    match refusals.alert {
        Some(AlertDescription::UnknownCa) => findings.push_if(Sign::UnknownCa, true),
        Some(AlertDescription::AccessDenied) => findings.push_if(Sign::AccessDenied, true),
        _ => findings.push_if(Sign::AfterHandshake, refusals.after_handshake),
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Names(self.counted);
        f.write_str(match self.sign {
            Sign::AppAcceptsOthers => {
                return write!(
                    f,
                    "this app accepts the interceptor for {names} of other domains and never for \
                     this one"
                );
            }
            Sign::AppRefusesAll => {
                return write!(
                    f,
                    "this app refused the interceptor for {names} of other domains too, and never \
                     accepted it"
                );
            }
            Sign::AppRefusesOthers => {
                return write!(
                    f,
                    "this app refused the interceptor for {names} of other domains too"
                );
            }
            Sign::AppAcceptsRelated => {
                "this app accepts the interceptor for another name of this domain"
            }
            Sign::AppRefusesRelated => {
                "this app refuses the interceptor for another name of this domain"
            }
            Sign::AppAcceptedIt => "this app accepted the interceptor for this very name",
            Sign::OthersAcceptName => "other apps accept the interceptor for this name",
            Sign::AppAcceptsElsewhere => {
                "the same app accepts the interceptor for this name on other clients"
            }
            Sign::AppRefusesElsewhere => {
                "the same app refuses this name on other clients too, and accepts others there"
            }
            Sign::SeveralAppsRefuse => {
                return write!(
                    f,
                    "{} apps that accept the interceptor for other names refuse this one, and none \
                     accepts it",
                    self.counted
                );
            }
            Sign::GeneralAppRefuses => {
                "an app that accepts many unrelated names, as browsers do, refuses this one"
            }
            Sign::OtherAppsAccept => "other apps on this client accept the interceptor",
            Sign::ClientRefusesAll => {
                return write!(
                    f,
                    "no app on this client accepts the interceptor, {} refuse it",
                    self.counted
                );
            }
            Sign::AddressShared => {
                "apps at this address both accept the interceptor and refuse it: several hosts may \
                 share it"
            }
            Sign::CertificateInOrder => "the certificate shown is in date and for this name",
            Sign::CertificateFaulty => "the certificate shown is not in date or not for this name",
            Sign::UsualIssuer => {
                "the interceptor signs this name with the CA that this app accepts"
            }
            Sign::OtherIssuer => {
                "the interceptor signs this name with another CA than names this app accepts, as \
                 it does for origins it does not trust itself"
            }
            Sign::UnknownCa => "it says unknown_ca, which few pin checks do",
            Sign::AccessDenied => "it says access_denied, as checks of its own do",
            Sign::AfterHandshake => {
                "it had finished the handshake, as pin checks do more often than others"
            }
        })
    }
}

/// A number of names, in words.
struct Names(u64);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("a name"),
            names => write!(f, "{names} names"),
        }
    }
}
