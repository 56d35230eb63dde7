//! The model's numbers: how often each explanation of a refusal holds, and how likely each sign is
//! under each. Nothing here computes; [`decide`](super::decide) does.
//!
//! A row is read so: "of refusals that COLUMN explains, so many show SIGN". Only a row's ratios count,
//! so that a sign that tells nothing of two columns has the same number in both. Signs that count
//! names or apps are taken once for each, up to [`Sign::most`].
//!
//! Sources: IMC 2022, "A Comparative Analysis of Certificate Pinning in Android & iOS" (apps that pin
//! do so for few of the names they talk to; pins are shared by the apps of a service); refusals of
//! the stacks in docs/corpus.md, with the CA missing and with a pin that fails; 46 refusals by
//! unknown_ca of clients that were intercepted: 38 lacked the CA, 8 were shown an invalid
//! certificate, none pinned; 50 refusals after the handshake: 33 pinned. Priors are of refusals, not
//! of clients: where many lack the CA their many names soon tell.

use crate::verdict::Cause;

/// An explanation of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hypothesis {
    /// This app pins this name, and accepts the interceptor elsewhere.
    AppPinsName,
    /// This app pins all that it talks to.
    AppPinsAll,
    /// The service's own apps pin it, and nobody else visits it.
    ServicePinned,
    /// The client lacks the inspection CA.
    ClientLacksCa,
    /// This app's own store lacks it.
    StoreLacksCa,
    /// The origin's own certificate is bad, and the interceptor passes that on.
    OriginBad,
    /// The certificate that the interceptor makes for this name is not acceptable to anybody.
    MadeUnacceptable,
    /// The client gave up for reasons of its own.
    OwnReasons,
    /// Several hosts share the address, and this one lacks the CA.
    SharedAddress,
}

/// Number of hypotheses.
pub(super) const HYPOTHESES: usize = 9;

use Hypothesis::{
    AppPinsAll, AppPinsName, ClientLacksCa, MadeUnacceptable, OriginBad, OwnReasons, ServicePinned,
    SharedAddress, StoreLacksCa,
};

impl Hypothesis {
    /// All, in the order of the table's columns.
    pub(super) const ALL: [Self; HYPOTHESES] = [
        AppPinsName,
        AppPinsAll,
        ServicePinned,
        ClientLacksCa,
        StoreLacksCa,
        OriginBad,
        MadeUnacceptable,
        OwnReasons,
        SharedAddress,
    ];

    /// The cause it makes of a refusal; `None` where none is told.
    pub(super) const fn cause(self) -> Option<Cause> {
        match self {
            AppPinsName | AppPinsAll | ServicePinned => Some(Cause::Pinning),
            ClientLacksCa | StoreLacksCa => Some(Cause::CaNotTrusted),
            OriginBad | MadeUnacceptable => Some(Cause::ServerCertInvalid),
            OwnReasons | SharedAddress => None,
        }
    }
}

/// Signs that connections show about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// This app accepts an unrelated name here.
    AppAcceptsOthers,
    /// It refuses an unrelated name here, and accepts none.
    AppRefusesAll,
    /// It refuses an unrelated name here, and accepts others.
    AppRefusesOthers,
    /// It accepts a name of the same registrable domain here.
    AppAcceptsRelated,
    /// It refuses a name of the same registrable domain here.
    AppRefusesRelated,
    /// It also accepted this very name here.
    AppAcceptedIt,
    /// Other apps accept this name.
    OthersAcceptName,
    /// This app accepts this name on another client.
    AppAcceptsElsewhere,
    /// This app refuses this name on another client, where it accepts others.
    AppRefusesElsewhere,
    /// Another app that accepts others refuses this name.
    SeveralAppsRefuse,
    /// An app that accepts many unrelated names, as browsers do, refuses this one.
    GeneralAppRefuses,
    /// Other apps on this client accept something.
    OtherAppsAccept,
    /// Several apps on this client refuse several names, and none accepts any.
    ClientRefusesAll,
    /// Some app at this address both accepts and refuses unrelated names.
    AddressShared,
    /// The certificate shown is in date and for this name.
    CertificateInOrder,
    /// It is not.
    CertificateFaulty,
    /// Another CA than the one that signs names this app accepts.
    OtherIssuer,
    /// The CA that signs names this app accepts.
    UsualIssuer,
    /// The client says unknown_ca.
    UnknownCa,
    /// The client says access_denied.
    AccessDenied,
    /// The client refused once it had finished the handshake.
    AfterHandshake,
}

/// A sign, its name in verdicts, and its likelihood by hypothesis.
pub(super) struct Row {
    pub(super) sign: Sign,
    pub(super) name: &'static str,
    pub(super) likelihood: [f64; HYPOTHESES],
}

const fn row(sign: Sign, name: &'static str, likelihood: [f64; HYPOTHESES]) -> Row {
    Row {
        sign,
        name,
        likelihood,
    }
}

/// How often each hypothesis explains a refusal of an intercepted connection, before anything else
/// is known of it. How sure it is that there was a refusal is the judge's, and not counted here.
#[rustfmt::skip]
pub(super) const PRIOR: [f64; HYPOTHESES] =
//   name   all    service client store  origin made   own    shared
    [0.200, 0.012, 0.140,  0.340, 0.170, 0.080, 0.020, 0.004, 0.015];

/// All signs.
#[rustfmt::skip]
pub(super) static TABLE: &[Row] = &[
    //                                                     --- pinned ---   -- no CA --  ---- bad ----
    //                                                     name  all   serv. client store origin made  own   shared
    row(Sign::AppAcceptsOthers,    "app-accepts-others",       [0.90, 0.02, 0.80, 0.01, 0.01, 0.92, 0.92, 0.92, 0.50]),
    row(Sign::AppRefusesAll,       "app-refuses-all",          [0.06, 0.98, 0.20, 0.99, 0.99, 0.06, 0.06, 0.06, 0.50]),
    row(Sign::AppRefusesOthers,    "app-refuses-others",       [0.06, 0.98, 0.20, 0.99, 0.99, 0.06, 0.06, 0.06, 0.50]),
    row(Sign::AppAcceptsRelated,   "app-accepts-related",      [0.55, 0.02, 0.30, 0.01, 0.01, 0.80, 0.85, 0.92, 0.50]),
    row(Sign::AppRefusesRelated,   "app-refuses-related",      [0.45, 0.98, 0.90, 0.99, 0.99, 0.20, 0.15, 0.08, 0.50]),
    row(Sign::AppAcceptedIt,       "app-accepted-it",          [0.002, 0.002, 0.002, 0.02, 0.02, 0.01, 0.05, 0.90, 0.60]),
    row(Sign::OthersAcceptName,    "others-accept-name",       [0.60, 0.50, 0.04, 0.60, 0.60, 0.02, 0.06, 0.50, 0.60]),
    row(Sign::AppAcceptsElsewhere, "app-accepts-elsewhere",    [0.01, 0.01, 0.01, 0.70, 0.25, 0.02, 0.06, 0.50, 0.60]),
    row(Sign::AppRefusesElsewhere, "app-refuses-it-elsewhere", [0.90, 0.05, 0.90, 0.04, 0.04, 0.90, 0.90, 0.10, 0.15]),
    row(Sign::SeveralAppsRefuse,   "several-apps-refuse-name", [0.10, 0.10, 0.90, 0.06, 0.06, 0.90, 0.90, 0.10, 0.20]),
    row(Sign::GeneralAppRefuses,   "general-app-refuses-name", [0.02, 0.02, 0.08, 0.06, 0.06, 0.95, 0.95, 0.10, 0.20]),
    row(Sign::OtherAppsAccept,     "other-apps-accept",        [0.85, 0.85, 0.85, 0.04, 0.85, 0.85, 0.85, 0.85, 0.85]),
    row(Sign::ClientRefusesAll,    "client-refuses-all",       [0.04, 0.06, 0.05, 0.90, 0.12, 0.03, 0.03, 0.03, 0.06]),
    row(Sign::AddressShared,       "address-shared",           [0.06, 0.06, 0.06, 0.04, 0.06, 0.06, 0.06, 0.06, 0.95]),
    row(Sign::CertificateInOrder,  "certificate-in-order",     [0.97, 0.97, 0.97, 0.97, 0.97, 0.30, 0.60, 0.97, 0.97]),
    row(Sign::CertificateFaulty,   "certificate-in-order",     [0.03, 0.03, 0.03, 0.03, 0.03, 0.70, 0.40, 0.03, 0.03]),
    row(Sign::OtherIssuer,         "other-issuer",             [0.02, 0.02, 0.02, 0.03, 0.03, 0.50, 0.10, 0.02, 0.03]),
    row(Sign::UsualIssuer,         "usual-issuer",             [0.98, 0.98, 0.98, 0.97, 0.97, 0.50, 0.90, 0.98, 0.97]),
    row(Sign::UnknownCa,           "unknown-ca",               [0.01, 0.01, 0.01, 0.40, 0.40, 0.40, 0.20, 0.05, 0.40]),
    row(Sign::AccessDenied,        "access-denied",            [0.10, 0.10, 0.10, 0.02, 0.02, 0.04, 0.04, 0.02, 0.02]),
    row(Sign::AfterHandshake,      "after-handshake",          [0.30, 0.30, 0.30, 0.12, 0.12, 0.12, 0.12, 0.50, 0.12]),
];

impl Sign {
    /// How many names or apps of a kind count at most: further ones are like those.
    pub(super) const fn most(self) -> f64 {
        match self {
            Self::AppAcceptsOthers | Self::AppRefusesAll | Self::AppRefusesOthers => 4.0,
            Self::AppAcceptsRelated | Self::AppRefusesRelated | Self::SeveralAppsRefuse => 2.0,
            _ => 1.0,
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

    /// Its row of the table; `None` only if it has none, which a test excludes.
    pub(super) fn row(self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.sign == self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_probabilities_and_columns_are_in_order() {
        assert!((PRIOR.iter().sum::<f64>() - 1.0).abs() < 0.02);
        for row in TABLE {
            assert!(row.likelihood.iter().all(|it| *it > 0.0 && *it < 1.0));
            assert!(row.sign.row().is_some());
        }
        for (column, hypothesis) in Hypothesis::ALL.into_iter().enumerate() {
            assert_eq!(hypothesis as usize, column);
        }
    }
}
