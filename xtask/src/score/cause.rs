//! The causes as labels and verdicts name them.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Why a connection ended as it did. The names are those of docs/verdicts.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The app accepts only its own certificate or key.
    Pinning,
    /// The client, or this app's own trust store, rejects every intercepted destination.
    CaNotTrusted,
    /// Rejected, and the facts do not yet tell pinning from a missing CA.
    CertificateRejected,
    /// The origin's own certificate is expired, self-signed, or for another name.
    ServerCertInvalid,
    /// No common version, cipher, group or ALPN.
    UnsupportedParameters,
    /// `bad_record_mac`, `decode_error`, `decrypt_error` and the like.
    DecryptError,
    /// The server wants a client certificate.
    ClientAuth,
    /// A third party reset the connection.
    InjectedReset,
    /// A peer itself reset it.
    EndpointReset,
    /// A peer closed without a word during or right after the handshake.
    Abandoned,
    /// It worked, or nothing was said about it.
    Established,
    /// There is no TLS connection. As good as [`Cause::Established`]: nothing failed.
    None,
}

impl Cause {
    /// Every cause a connection can have, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::Pinning,
        Self::CaNotTrusted,
        Self::CertificateRejected,
        Self::ServerCertInvalid,
        Self::UnsupportedParameters,
        Self::DecryptError,
        Self::ClientAuth,
        Self::InjectedReset,
        Self::EndpointReset,
        Self::Abandoned,
        Self::Established,
    ];

    /// The name in labels and verdicts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pinning => "pinning",
            Self::CaNotTrusted => "ca-not-trusted",
            Self::CertificateRejected => "certificate-rejected",
            Self::ServerCertInvalid => "server-cert-invalid",
            Self::UnsupportedParameters => "unsupported-parameters",
            Self::DecryptError => "decrypt-error",
            Self::ClientAuth => "client-auth",
            Self::InjectedReset => "injected-reset",
            Self::EndpointReset => "endpoint-reset",
            Self::Abandoned => "abandoned",
            Self::Established => "established",
            Self::None => "none",
        }
    }

    /// Whether something went wrong.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        !matches!(self, Self::Established | Self::None)
    }

    /// The cause as the matrix counts it: a capture without TLS is one where nothing failed.
    #[must_use]
    pub const fn counted(self) -> Self {
        match self {
            Self::None => Self::Established,
            cause => cause,
        }
    }

    /// How right it is to say `said` where this is the truth.
    #[must_use]
    pub fn judge(self, said: Self, leniency: Leniency) -> Judgement {
        if self.counted() == said.counted() {
            return Judgement::Right;
        }
        let open = match self {
            Self::Pinning | Self::CaNotTrusted => leniency != Leniency::Group,
            Self::ServerCertInvalid => leniency == Leniency::HiddenCertificate,
            _ => false,
        };
        if open && said == Self::CertificateRejected {
            Judgement::RightButOpen
        } else {
            Judgement::Wrong
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that is no cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownCause(String);

impl fmt::Display for UnknownCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Cause::ALL.iter().map(|cause| cause.name()).collect();
        write!(
            f,
            "`{}` is no cause; known are {}, none",
            self.0,
            names.join(", ")
        )
    }
}

impl std::error::Error for UnknownCause {}

impl FromStr for Cause {
    type Err = UnknownCause;

    fn from_str(word: &str) -> Result<Self, UnknownCause> {
        let mut all = Self::ALL.into_iter().chain([Self::None]);
        all.find(|cause| cause.name() == word)
            .ok_or_else(|| UnknownCause(word.to_owned()))
    }
}

/// Whether "rejected" is enough of an answer where the truth says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leniency {
    /// The capture was given alone: pinning and a missing CA look alike, so it is for those.
    LoneFlow,
    /// Likewise, and in TLS 1.3: nor does a certificate show that is invalid itself.
    HiddenCertificate,
    /// Captures were given together that show which it is: it is not.
    Group,
}

/// What saying something was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// It is the truth.
    Right,
    /// It leaves open what a lone flow cannot tell.
    RightButOpen,
    /// It is something else.
    Wrong,
}

impl Judgement {
    /// Right, also where it leaves something open.
    #[must_use]
    pub const fn is_right(self) -> bool {
        !matches!(self, Self::Wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for cause in Cause::ALL {
            assert_eq!(cause.name().parse(), Ok(cause));
        }
        let error = "pining".parse::<Cause>().unwrap_err().to_string();
        assert!(error.starts_with("`pining` is no cause; known are pinning, ca-not-trusted"));
    }

    #[test]
    fn rejected_is_enough_for_a_lone_flow_only() {
        use Judgement::{Right, RightButOpen, Wrong};
        let rejected = Cause::CertificateRejected;
        for truth in [Cause::Pinning, Cause::CaNotTrusted] {
            assert_eq!(truth.judge(rejected, Leniency::LoneFlow), RightButOpen);
            assert_eq!(truth.judge(rejected, Leniency::Group), Wrong);
            assert_eq!(rejected.judge(truth, Leniency::LoneFlow), Wrong);
        }
        let invalid = Cause::ServerCertInvalid;
        assert_eq!(invalid.judge(rejected, Leniency::LoneFlow), Wrong);
        assert_eq!(
            invalid.judge(rejected, Leniency::HiddenCertificate),
            RightButOpen
        );
        assert_eq!(
            Cause::Pinning.judge(Cause::CaNotTrusted, Leniency::LoneFlow),
            Wrong
        );
        assert_eq!(
            Cause::None.judge(Cause::Established, Leniency::Group),
            Right
        );
        assert_eq!(
            Cause::None.judge(Cause::Abandoned, Leniency::LoneFlow),
            Wrong
        );
    }
}
