//! The worth of a verdict beside the truth.

use serde::Serialize;

use crate::labels::Cause;

/// Returns whether a cause says that something went wrong.
#[must_use]
pub fn is_failure(cause: Cause) -> bool {
    cause != Cause::Established
}

/// Returns how right it is to say `said` where `truth` is true.
#[must_use]
pub fn judge(truth: Cause, said: Cause, leniency: Leniency) -> Judgement {
    if truth == said {
        return Judgement::Right;
    }
    let open = match truth {
        Cause::Pinning | Cause::CaNotTrusted => leniency != Leniency::Group,
        Cause::ServerCertInvalid => leniency == Leniency::HiddenCertificate,
        _ => false,
    };
    if open && said == Cause::CertificateRejected {
        Judgement::RightButOpen
    } else {
        Judgement::Wrong
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

/// The worth of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// It is the truth.
    Right,
    /// It leaves a question open that a lone flow cannot answer.
    RightButOpen,
    /// It is something else.
    Wrong,
}

impl Judgement {
    /// Whether it is right, also where it leaves something open.
    #[must_use]
    pub const fn is_right(self) -> bool {
        !matches!(self, Self::Wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_is_enough_for_a_lone_flow_only() {
        use Judgement::{Right, RightButOpen, Wrong};
        let rejected = Cause::CertificateRejected;
        for truth in [Cause::Pinning, Cause::CaNotTrusted] {
            assert_eq!(judge(truth, rejected, Leniency::LoneFlow), RightButOpen);
            assert_eq!(judge(truth, rejected, Leniency::Group), Wrong);
            assert_eq!(judge(rejected, truth, Leniency::LoneFlow), Wrong);
        }
        let invalid = Cause::ServerCertInvalid;
        assert_eq!(judge(invalid, rejected, Leniency::LoneFlow), Wrong);
        assert_eq!(
            judge(invalid, rejected, Leniency::HiddenCertificate),
            RightButOpen
        );
        assert_eq!(
            judge(Cause::Pinning, Cause::CaNotTrusted, Leniency::LoneFlow),
            Wrong
        );
        let nothing = Cause::Established;
        assert_eq!(judge(nothing, nothing, Leniency::Group), Right);
        assert_eq!(judge(nothing, Cause::Abandoned, Leniency::LoneFlow), Wrong);
    }
}
