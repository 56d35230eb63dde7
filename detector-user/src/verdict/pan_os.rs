//! Session end reasons that a PAN-OS firewall would log.
//!
//! PAN-OS goes by the fatal alert that ends a decrypted session, and logs only the reason of the highest rank:
//! `policy-deny` outranks those of decryption ("Session End Reason" in Palo Alto Networks, "Traffic Log Fields").

use super::alert::AlertLevel;
use super::{Alert, AlertDescription, Cause, Verdict, When};

const POLICY_DENY: &str = "policy-deny";
const CERT_VALIDATION: &str = "decrypt-cert-validation";
const UNSUPPORTED: &str = "decrypt-unsupport-param";
const ERROR: &str = "decrypt-error";

impl Verdict {
    /// Sets the reason that is logged, and the one beneath it, by the cause and the alert. `holds` tells which
    /// circumstances do.
    pub(crate) fn set_pan_os(&mut self, holds: impl Fn(When) -> bool) {
        let by_cause = self.cause.pan_os(holds);
        let by_alert = self.alert.as_ref().and_then(of_alert);
        let is_of_decryption =
            |reason: &str| [CERT_VALIDATION, UNSUPPORTED, ERROR].contains(&reason);
        let (shown, beneath) = match by_cause {
            Some(POLICY_DENY) => (by_cause, by_alert),
            // A profile blocks upon the server's request, before any alert.
            Some(reason) if is_of_decryption(reason) && self.cause != Cause::ClientAuth => {
                (by_alert.or(by_cause), None)
            }
            _ => (by_cause, None),
        };
        self.pan_os = shown.map(str::to_owned);
        self.pan_os_beneath = beneath.map(str::to_owned);
    }
}

/// Returns the reason that a fatal alert sets; `None` of one that is encrypted or only a warning.
fn of_alert(alert: &Alert) -> Option<&'static str> {
    use AlertDescription as Is;
    if alert.level == Some(AlertLevel::Warning) {
        return None;
    }
    match AlertDescription::from(alert.code?) {
        Is::CloseNotify | Is::UserCanceled => None,
        Is::BadCertificate
        | Is::UnsupportedCertificate
        | Is::CertificateRevoked
        | Is::AccessDenied
        | Is::NoCertificate => Some(CERT_VALIDATION),
        Is::UnsupportedExtension | Is::UnexpectedMessage | Is::HandshakeFailure => {
            Some(UNSUPPORTED)
        }
        _ => Some(ERROR),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::verdict::tests::pinning;

    fn reasons(cause: Cause, code: Option<u8>) -> (Option<String>, Option<String>) {
        let mut verdict = pinning();
        verdict.cause = cause;
        let mut alert = verdict.alert.take().unwrap();
        alert.code = code;
        verdict.alert = Some(alert);
        verdict.set_pan_os(|_| false);
        (verdict.pan_os, verdict.pan_os_beneath)
    }

    #[rstest]
    #[case(Cause::Pinning, Some(46), "policy-deny", Some("decrypt-error"))]
    #[case(Cause::Pinning, Some(48), "policy-deny", Some("decrypt-error"))]
    #[case(
        Cause::Pinning,
        Some(42),
        "policy-deny",
        Some("decrypt-cert-validation")
    )]
    #[case(
        Cause::CaNotTrusted,
        Some(49),
        "policy-deny",
        Some("decrypt-cert-validation")
    )]
    #[case(
        Cause::CertificateRejected,
        Some(43),
        "policy-deny",
        Some("decrypt-cert-validation")
    )]
    #[case(Cause::CertificateRejected, None, "policy-deny", None)]
    #[case(Cause::ServerCertInvalid, Some(44), "decrypt-cert-validation", None)]
    #[case(Cause::ServerCertInvalid, Some(45), "decrypt-error", None)]
    #[case(Cause::ServerCertInvalid, None, "decrypt-cert-validation", None)]
    #[case(
        Cause::UnsupportedParameters,
        Some(40),
        "decrypt-unsupport-param",
        None
    )]
    #[case(
        Cause::UnsupportedParameters,
        Some(110),
        "decrypt-unsupport-param",
        None
    )]
    #[case(Cause::UnsupportedParameters, Some(70), "decrypt-error", None)]
    #[case(Cause::DecryptError, Some(10), "decrypt-unsupport-param", None)]
    #[case(Cause::DecryptError, Some(20), "decrypt-error", None)]
    #[case(Cause::ClientAuth, Some(116), "decrypt-cert-validation", None)]
    #[case(Cause::Abandoned, Some(80), "tcp-fin", None)]
    fn a_reason_goes_by_the_alert_and_policy_deny_outranks_it(
        #[case] cause: Cause,
        #[case] code: Option<u8>,
        #[case] shown: &str,
        #[case] beneath: Option<&str>,
    ) {
        let expected = (Some(shown.to_owned()), beneath.map(str::to_owned));
        assert_eq!(reasons(cause, code), expected);
    }

    #[test]
    fn a_warning_sets_none() {
        let mut verdict = pinning();
        verdict.alert.as_mut().unwrap().level = Some(AlertLevel::Warning);
        verdict.set_pan_os(|_| false);
        assert_eq!(verdict.pan_os_beneath, None);
    }
}
