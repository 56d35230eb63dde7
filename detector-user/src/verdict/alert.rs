//! TLS alerts: the registry of descriptions, and the alert as a verdict shows it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::named::named;
use super::party::Party;

/// A TLS alert (RFC 8446 §6). An encrypted one shows neither level nor code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Its sender.
    pub from: Party,
    /// Its level; `null` when encrypted or not one of the registry's two.
    pub level: Option<AlertLevel>,
    /// Its number in the TLS alert registry.
    pub code: Option<u8>,
    /// Its name in the TLS alert registry; `null` when encrypted or unassigned.
    pub description: Option<String>,
    /// Whether only its length and place show it.
    pub encrypted: bool,
}

named! {
    /// Level of an alert (RFC 5246 §7.2).
    pub enum AlertLevel {
        /// 1.
        Warning = "warning",
        /// 2.
        Fatal = "fatal",
    }
}

impl AlertLevel {
    /// Reads the first byte of an alert; `None` for a value that is not registered.
    #[must_use]
    pub const fn from_wire(level: u8) -> Option<Self> {
        match level {
            1 => Some(Self::Warning),
            2 => Some(Self::Fatal),
            _ => None,
        }
    }
}

macro_rules! alert_descriptions {
    ($($variant:ident = $code:literal, $name:literal;)+) => {
        /// Description of an alert: the TLS Alerts registry of IANA (RFC 8446 §6, RFC 5246 §7.2 and
        /// extensions), those that TLS 1.3 reserves included.
        ///
        /// ```
        /// use detector_user::verdict::AlertDescription;
        ///
        /// let alert = AlertDescription::from(48);
        /// assert_eq!(alert, AlertDescription::UnknownCa);
        /// assert_eq!(alert.name(), Some("unknown_ca"));
        /// assert_eq!(AlertDescription::from(255).code(), 255);
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum AlertDescription {
            $(#[doc = concat!("`", $name, "`, ", stringify!($code), ".")] $variant,)+
            /// A value without a registered name; made by [`From<u8>`] only.
            Unassigned(u8),
        }

        impl AlertDescription {
            /// Returns its number in the registry.
            #[must_use]
            pub const fn code(self) -> u8 {
                match self {
                    $(Self::$variant => $code,)+
                    Self::Unassigned(code) => code,
                }
            }

            /// Returns its name in the registry; `None` if it has none.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($name),)+
                    Self::Unassigned(_) => None,
                }
            }
        }

        impl From<u8> for AlertDescription {
            fn from(code: u8) -> Self {
                match code {
                    $($code => Self::$variant,)+
                    code => Self::Unassigned(code),
                }
            }
        }
    };
}

alert_descriptions! {
    CloseNotify = 0, "close_notify";
    UnexpectedMessage = 10, "unexpected_message";
    BadRecordMac = 20, "bad_record_mac";
    DecryptionFailed = 21, "decryption_failed";
    RecordOverflow = 22, "record_overflow";
    DecompressionFailure = 30, "decompression_failure";
    HandshakeFailure = 40, "handshake_failure";
    NoCertificate = 41, "no_certificate";
    BadCertificate = 42, "bad_certificate";
    UnsupportedCertificate = 43, "unsupported_certificate";
    CertificateRevoked = 44, "certificate_revoked";
    CertificateExpired = 45, "certificate_expired";
    CertificateUnknown = 46, "certificate_unknown";
    IllegalParameter = 47, "illegal_parameter";
    UnknownCa = 48, "unknown_ca";
    AccessDenied = 49, "access_denied";
    DecodeError = 50, "decode_error";
    DecryptError = 51, "decrypt_error";
    TooManyCidsRequested = 52, "too_many_cids_requested";
    ExportRestriction = 60, "export_restriction";
    ProtocolVersion = 70, "protocol_version";
    InsufficientSecurity = 71, "insufficient_security";
    InternalError = 80, "internal_error";
    InappropriateFallback = 86, "inappropriate_fallback";
    UserCanceled = 90, "user_canceled";
    NoRenegotiation = 100, "no_renegotiation";
    MissingExtension = 109, "missing_extension";
    UnsupportedExtension = 110, "unsupported_extension";
    CertificateUnobtainable = 111, "certificate_unobtainable";
    UnrecognizedName = 112, "unrecognized_name";
    BadCertificateStatusResponse = 113, "bad_certificate_status_response";
    BadCertificateHashValue = 114, "bad_certificate_hash_value";
    UnknownPskIdentity = 115, "unknown_psk_identity";
    CertificateRequired = 116, "certificate_required";
    GeneralError = 117, "general_error";
    NoApplicationProtocol = 120, "no_application_protocol";
    EchRequired = 121, "ech_required";
}

impl fmt::Display for AlertDescription {
    /// Writes `unknown_ca (48)`, or `unassigned alert (255)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name().unwrap_or("unassigned alert");
        write!(f, "{name} ({})", self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn every_code_is_kept() {
        for code in 0..=u8::MAX {
            assert_eq!(AlertDescription::from(code).code(), code);
        }
    }

    #[rstest]
    #[case(0, "close_notify")]
    #[case(40, "handshake_failure")]
    #[case(42, "bad_certificate")]
    #[case(46, "certificate_unknown")]
    #[case(48, "unknown_ca")]
    #[case(112, "unrecognized_name")]
    #[case(116, "certificate_required")]
    #[case(120, "no_application_protocol")]
    fn alerts_are_named_as_registered(#[case] code: u8, #[case] name: &str) {
        let alert = AlertDescription::from(code);
        assert_eq!(alert.name(), Some(name));
        assert_eq!(alert.to_string(), format!("{name} ({code})"));
    }

    #[test]
    fn unassigned_values_have_no_name() {
        let alert = AlertDescription::from(255);
        assert_eq!((alert.name(), AlertLevel::from_wire(3)), (None, None));
        assert_eq!(alert.to_string(), "unassigned alert (255)");
        let levels = [1, 2].map(AlertLevel::from_wire);
        let named = [AlertLevel::Warning, AlertLevel::Fatal].map(Some);
        assert_eq!(levels, named);
    }
}
