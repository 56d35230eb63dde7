//! The model's numbers: how often each explanation of a refusal holds, and how likely each sign is
//! under each. Nothing here computes; [`decide`](mod@super::decide) does.
//!
//! Priors are of clients, apps and names, not of refusals, so that several explanations may hold at
//! once: a client without the CA may run an app that pins. A row is read so: "where COLUMN explains a
//! refusal, SIGN is seen with this probability". Only a row's ratios count, so that a sign that tells
//! nothing of two columns has the same number in both. Signs that count names, apps or clients are
//! taken once for each, up to [`Sign::most`]. [`Q`] stands where a column doesn't explain another
//! refusal: its probability is then that of whatever else may explain it, which depends on its own
//! client, app and name (the constants at the end).
//!
//! Sources: IMC 2022, "A Comparative Analysis of Certificate Pinning in Android & iOS" (apps that pin
//! do so for few of the names they talk to; pins are shared by the apps of a service; browsers pin
//! none); refusals of the stacks in docs/corpus.md, with the CA missing and with a pin that fails; 46
//! refusals by unknown_ca of clients that were intercepted: 38 lacked the CA, 8 were shown an invalid
//! certificate, none pinned; 50 refusals after the handshake: 33 pinned.

use crate::verdict::Cause;

/// An explanation of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hypothesis {
    /// The client lacks the inspection CA.
    ClientLacksCa,
    /// This app's own store lacks it.
    StoreLacksCa,
    /// Several hosts share the address, and the one behind this refusal lacks it.
    HostLacksCa,
    /// Several programs share the hello, and the store of the one behind this refusal lacks it.
    ProgramLacksCa,
    /// The origin's own certificate is bad, and the interceptor passes that on; or the one that the
    /// interceptor makes for this name is acceptable to nobody.
    CertificateBad,
    /// This app pins all that it talks to.
    AppPinsAll,
    /// This app pins this name, and accepts the interceptor elsewhere.
    AppPinsName,
    /// The service's own apps pin its names.
    ServicePinned,
    /// The client gave up for reasons of its own.
    OwnReasons,
}

/// Number of hypotheses.
pub(super) const HYPOTHESES: usize = 9;

use Hypothesis::{
    AppPinsAll, AppPinsName, CertificateBad, ClientLacksCa, HostLacksCa, OwnReasons,
    ProgramLacksCa, ServicePinned, StoreLacksCa,
};

impl Hypothesis {
    /// All, in the order of the table's columns, which is the order in which clients check.
    pub(super) const ALL: [Self; HYPOTHESES] = [
        ClientLacksCa,
        StoreLacksCa,
        HostLacksCa,
        ProgramLacksCa,
        CertificateBad,
        AppPinsAll,
        AppPinsName,
        ServicePinned,
        OwnReasons,
    ];

    /// Returns the cause it makes of a refusal; `None` where none is told.
    pub(super) const fn cause(self) -> Option<Cause> {
        match self {
            AppPinsName | AppPinsAll | ServicePinned => Some(Cause::Pinning),
            ClientLacksCa | StoreLacksCa | HostLacksCa | ProgramLacksCa => {
                Some(Cause::CaNotTrusted)
            }
            CertificateBad => Some(Cause::ServerCertInvalid),
            OwnReasons => None,
        }
    }
}

/// Signs that connections show about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// This app accepted an unrelated name here before.
    AppAcceptsOthers,
    /// It accepted one only since.
    AppAcceptsOthersSince,
    /// It accepts a name of the same registrable domain here.
    AppAcceptsRelated,
    /// It accepted this very name here before.
    AppAcceptedIt,
    /// It accepted this very name here only since.
    AppAcceptsItSince,
    /// It accepts so many unrelated names that it is a browser or the like, not a service's own.
    GeneralApp,
    /// It accepts this name on another client.
    AppAcceptsElsewhere,
    /// It accepts something on another client.
    AppAcceptsOthersElsewhere,
    /// Other apps accept this name.
    OthersAcceptName,
    /// An app as general as browsers accepts this name.
    GeneralAppAccepts,
    /// Other apps on this client accepted something before.
    OtherAppsAccept,
    /// They did only since.
    OtherAppsAcceptSince,
    /// This app refuses an unrelated name here, and accepts none.
    AppRefusesAll,
    /// It refuses an unrelated name here, and accepts others.
    AppRefusesOthers,
    /// It refuses a name of the same registrable domain here.
    AppRefusesRelated,
    /// It refuses this name on another client.
    AppRefusesElsewhere,
    /// It refuses other names on other clients.
    AppRefusesOthersElsewhere,
    /// Another app refuses this name.
    SeveralAppsRefuse,
    /// An app that accepts many unrelated names, as browsers do, refuses this one.
    GeneralAppRefuses,
    /// Another app refuses this name, on this client.
    AppsHereRefuseName,
    /// Other apps on this client refuse other names.
    ClientRefuses,
    /// Some app at this address refused what it had accepted.
    AddressShared,
    /// The certificate shown is in date and for this name.
    CertificateInOrder,
    /// It is not.
    CertificateFaulty,
    /// Another CA than the one that signs names this app accepts.
    OtherIssuer,
    /// A CA that signs names that are accepted.
    UsualIssuer,
    /// The client says unknown_ca.
    UnknownCa,
    /// The client says access_denied.
    AccessDenied,
    /// The client refused once it had finished the handshake.
    AfterHandshake,
    /// The origin was asked, and its own certificate is valid for the name.
    OriginValid,
    /// It was asked, and its certificate is expired, of another name, or signed by its own key.
    OriginInvalid,
    /// It was asked, and no root of the gateway's leads to its certificate: it may be a private CA's.
    OriginUntrusted,
}

/// How a row's numbers of several explanations that hold at once are taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something was accepted: each that holds speaks against it.
    Accepted,
    /// Something was refused: one that explains it is enough.
    Refused,
    /// The refusal itself shows it: the first in the order of checks decides.
    Itself,
}

/// A sign, its name in verdicts, and its likelihood by hypothesis.
pub(super) struct Row {
    pub(super) sign: Sign,
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    pub(super) likelihood: [f64; HYPOTHESES],
}

const fn row(sign: Sign, kind: Kind, name: &'static str, likelihood: [f64; HYPOTHESES]) -> Row {
    Row {
        sign,
        kind,
        name,
        likelihood,
    }
}

/// How often each holds for a client, an app or a name, before anything is known of them. How likely
/// it is that the client gave up for reasons of its own is the judge's, of the connection by itself.
#[rustfmt::skip]
pub(super) const PRIOR: [f64; HYPOTHESES] =
//   client store  host   program bad    all    name   service own
    [0.250, 0.120, 0.015, 0.010, 0.050, 0.020, 0.110, 0.160, 0.0];

/// The same of a connection that was not intercepted: its client was shown the origin's own certificate. No
/// inspection CA is missing there; the first four columns stand for a store that lacks the origin's CA, or a
/// wrong clock. A pin fails there only once it is out of date.
#[rustfmt::skip]
pub(super) const PRIOR_DIRECT: [f64; HYPOTHESES] =
//   client store  host   program bad    all    name   service own
    [0.120, 0.120, 0.010, 0.010, 0.350, 0.005, 0.015, 0.015, 0.0];

/// The probability of a refusal that a column doesn't explain: see [`WITHOUT_CA`] and the others.
pub(super) const Q: f64 = -1.0;

use Kind::{Accepted, Itself, Refused};

/// All signs.
#[rustfmt::skip]
pub(super) static TABLE: &[Row] = &[
    //                                                                              ------------ no CA -------- bad    ------- pinned ------ own
    //                                                                              client store  host   progr.        all    name   serv.
    row(Sign::AppAcceptsOthers,           Accepted, "app-accepts-others",           [0.003, 0.003, 0.60,  0.80,  1.00,  0.003, 1.00,  1.00,  1.00]),
    row(Sign::AppAcceptsOthersSince,      Accepted, "app-accepts-others",           [0.15,  0.05,  0.60,  0.80,  1.00,  0.01,  1.00,  1.00,  1.00]),
    row(Sign::AppAcceptsRelated,          Accepted, "app-accepts-related",          [0.005, 0.005, 0.60,  0.50,  1.00,  0.005, 0.50,  0.15,  1.00]),
    row(Sign::AppAcceptedIt,              Accepted, "app-accepted-it",              [0.001, 0.001, 0.10,  0.02,  0.005, 0.001, 0.001, 0.001, 1.00]),
    row(Sign::AppAcceptsItSince,          Accepted, "app-accepted-it",              [0.15,  0.05,  0.50,  0.10,  0.01,  0.002, 0.002, 0.002, 1.00]),
    row(Sign::GeneralApp,                 Accepted, "general-app",                  [1.00,  1.00,  1.00,  1.00,  1.00,  0.10,  0.30,  0.15,  1.00]),
    row(Sign::AppAcceptsElsewhere,        Accepted, "app-accepts-elsewhere",        [1.00,  0.05,  1.00,  0.20,  0.01,  0.01,  0.01,  0.01,  1.00]),
    row(Sign::AppAcceptsOthersElsewhere,  Accepted, "app-accepts-others-elsewhere", [1.00,  0.05,  1.00,  1.00,  1.00,  0.01,  1.00,  1.00,  1.00]),
    row(Sign::OthersAcceptName,           Accepted, "others-accept-name",           [1.00,  1.00,  1.00,  1.00,  0.02,  1.00,  1.00,  0.15,  1.00]),
    row(Sign::GeneralAppAccepts,          Accepted, "others-accept-name",           [1.00,  1.00,  1.00,  1.00,  0.02,  1.00,  1.00,  0.60,  1.00]),
    row(Sign::OtherAppsAccept,            Accepted, "other-apps-accept",            [0.003, 1.00,  0.60,  1.00,  1.00,  1.00,  1.00,  1.00,  1.00]),
    row(Sign::OtherAppsAcceptSince,       Accepted, "other-apps-accept",            [0.15,  1.00,  0.60,  1.00,  1.00,  1.00,  1.00,  1.00,  1.00]),
    row(Sign::AppRefusesAll,              Refused,  "app-refuses-all",              [1.00,  1.00,  0.40,  0.70,  Q,     1.00,  Q,     Q,     Q]),
    row(Sign::AppRefusesOthers,           Refused,  "app-refuses-others",           [1.00,  1.00,  0.40,  0.70,  Q,     1.00,  Q,     Q,     Q]),
    row(Sign::AppRefusesRelated,          Refused,  "app-refuses-related",          [1.00,  1.00,  0.40,  0.90,  0.30,  1.00,  0.60,  1.00,  Q]),
    row(Sign::AppRefusesElsewhere,        Refused,  "app-refuses-it-elsewhere",     [Q,     0.90,  Q,     0.90,  1.00,  1.00,  1.00,  1.00,  Q]),
    row(Sign::AppRefusesOthersElsewhere,  Refused,  "app-refuses-others-elsewhere", [Q,     0.90,  Q,     0.70,  Q,     1.00,  Q,     Q,     Q]),
    row(Sign::SeveralAppsRefuse,          Refused,  "several-apps-refuse-name",     [Q,     Q,     Q,     Q,     1.00,  Q,     Q,     0.80,  Q]),
    row(Sign::GeneralAppRefuses,          Refused,  "general-app-refuses-name",     [Q,     Q,     Q,     Q,     1.00,  Q,     Q,     Q,     Q]),
    row(Sign::AppsHereRefuseName,         Refused,  "several-apps-refuse-name",     [1.00,  Q,     Q,     Q,     1.00,  Q,     Q,     0.80,  Q]),
    row(Sign::ClientRefuses,              Refused,  "client-refuses-all",           [1.00,  Q,     Q,     Q,     Q,     Q,     Q,     Q,     Q]),
    row(Sign::AddressShared,              Refused,  "address-shared",               [0.02,  0.02,  1.00,  0.10,  0.02,  0.02,  0.02,  0.02,  0.10]),
    row(Sign::CertificateInOrder,         Itself,   "certificate-in-order",         [0.97,  0.97,  0.97,  0.97,  0.40,  0.97,  0.97,  0.97,  0.97]),
    row(Sign::CertificateFaulty,          Itself,   "certificate-in-order",         [0.03,  0.03,  0.03,  0.03,  0.60,  0.03,  0.03,  0.03,  0.03]),
    row(Sign::OtherIssuer,                Itself,   "other-issuer",                 [0.02,  0.02,  0.02,  0.02,  0.50,  0.02,  0.02,  0.02,  0.02]),
    row(Sign::UsualIssuer,                Itself,   "usual-issuer",                 [0.98,  0.98,  0.98,  0.98,  0.50,  0.98,  0.98,  0.98,  0.98]),
    row(Sign::UnknownCa,                  Itself,   "unknown-ca",                   [0.40,  0.40,  0.40,  0.40,  1.00,  0.01,  0.01,  0.01,  0.05]),
    row(Sign::AccessDenied,               Itself,   "access-denied",                [0.02,  0.02,  0.02,  0.02,  0.04,  0.10,  0.10,  0.10,  0.02]),
    row(Sign::AfterHandshake,             Itself,   "after-handshake",              [0.12,  0.12,  0.12,  0.12,  0.12,  0.30,  0.30,  0.30,  0.30]),
    row(Sign::OriginValid,                Accepted, "origin-valid",                 [0.95,  0.95,  0.95,  0.95,  0.06,  0.95,  0.95,  0.95,  0.95]),
    row(Sign::OriginInvalid,              Refused,  "origin-invalid",               [0.02,  0.02,  0.02,  0.02,  0.80,  0.02,  0.02,  0.02,  0.02]),
    row(Sign::OriginUntrusted,            Refused,  "origin-untrusted",             [0.03,  0.03,  0.03,  0.03,  0.14,  0.03,  0.03,  0.03,  0.03]),
];

/// Probability that a client lacks the CA of which nothing is known, of one that accepts something, and of one
/// of which several apps refuse and none accepts.
pub(super) const WITHOUT_CA: [f64; 3] = [0.25, 0.02, 0.70];
/// The same of an app's own store, or that it pins all.
pub(super) const STORE_WITHOUT_CA: [f64; 2] = [0.14, 0.01];
/// Probability that an app pins a name, that a general app does, and that one does which refuses it on another
/// client that accepts others.
pub(super) const PINS: [f64; 3] = [0.25, 0.05, 0.60];
/// Probability that a name's certificate is bad which nobody was seen to accept, of others, and of one that
/// several apps refuse.
pub(super) const BAD: [f64; 3] = [0.05, 0.002, 0.30];
/// The same of one whose origin was asked and is valid, and of one that is not.
pub(super) const BAD_BY_ORIGIN: [f64; 2] = [0.004, 0.70];

impl Sign {
    /// Returns the maximum number of names or apps of a kind that count: further ones are like
    /// those.
    pub(super) const fn most(self) -> u32 {
        match self {
            Self::AppRefusesAll
            | Self::AppRefusesOthers
            | Self::ClientRefuses
            | Self::SeveralAppsRefuse
            | Self::GeneralAppRefuses
            | Self::AppsHereRefuseName
            | Self::AppRefusesElsewhere
            | Self::AppRefusesOthersElsewhere => 4,
            Self::AppAcceptsOthers | Self::OtherAppsAccept => 3,
            Self::AppAcceptsRelated
            | Self::AppRefusesRelated
            | Self::OthersAcceptName
            | Self::AppAcceptsElsewhere
            | Self::AddressShared => 2,
            _ => 1,
        }
    }

    /// Whether other connections show it, rather than the refusal itself.
    pub(super) const fn is_of_others(self) -> bool {
        !matches!(
            self,
            Self::CertificateInOrder
                | Self::CertificateFaulty
                | Self::UnknownCa
                | Self::AccessDenied
                | Self::AfterHandshake
        )
    }

    /// Returns its row of the table.
    pub(super) fn row(self) -> Option<&'static Row> {
        TABLE.get(self as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_probabilities_and_rows_and_columns_are_in_order() {
        for (at, row) in TABLE.iter().enumerate() {
            let is_probability =
                |it: f64| (it > 0.0 && it <= 1.0) || (row.kind == Refused && it == Q);
            assert!(row.likelihood.iter().all(|it| is_probability(*it)), "{at}");
            assert_eq!(row.sign as usize, at);
        }
        for (column, hypothesis) in Hypothesis::ALL.into_iter().enumerate() {
            assert_eq!(hypothesis as usize, column);
        }
    }
}
