//! Alerts in the clear, read as their names have it.

use super::tshark::Dissected;
use crate::labels::Cause;
use crate::score::cases::Case;

/// Returns the causes that the alerts of a labelled capture or connection name.
#[must_use]
pub fn says(case: &Case, dissected: &Dissected) -> Vec<Cause> {
    let Some(connections) = dissected.get(&case.file) else {
        return Vec::new();
    };
    connections
        .iter()
        .filter(|(stream, _)| case.stream.is_none_or(|of| of == **stream))
        .flat_map(|(_, connection)| &connection.alerts)
        .filter_map(|(from_client, code)| of_alert(*code, *from_client))
        .collect()
}

/// Returns the obvious reading of an alert (RFC 8446 §6, RFC 5246 §7.2), by who sent it: a server
/// that calls a certificate bad means the client's. `None` where it ends nothing.
#[must_use]
pub fn of_alert(code: u8, from_client: bool) -> Option<Cause> {
    Some(match code {
        // no_certificate, certificate_required
        41 | 116 => Cause::ClientAuth,
        // bad_certificate … unknown_ca, access_denied, bad_certificate_status_response
        42..=46 | 48 | 49 | 113 if !from_client => Cause::ClientAuth,
        // certificate_revoked, certificate_expired
        44 | 45 => Cause::ServerCertInvalid,
        42 | 43 | 46 | 48 | 49 | 113 => Cause::CertificateRejected,
        // handshake_failure, illegal_parameter, protocol_version, insufficient_security,
        // inappropriate_fallback, missing_extension, unsupported_extension, unrecognized_name,
        // no_application_protocol
        40 | 47 | 70 | 71 | 86 | 109 | 110 | 112 | 120 => Cause::UnsupportedParameters,
        // unexpected_message, bad_record_mac, decryption_failed, record_overflow,
        // decompression_failure, decode_error, decrypt_error, internal_error
        10 | 20 | 21 | 22 | 30 | 50 | 51 | 80 => Cause::DecryptError,
        // close_notify, user_canceled, no_renegotiation and what nobody registered
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_alert_means_another_certificate_from_the_server() {
        assert_eq!(of_alert(48, true), Some(Cause::CertificateRejected));
        assert_eq!(of_alert(48, false), Some(Cause::ClientAuth));
        assert_eq!(of_alert(45, true), Some(Cause::ServerCertInvalid));
        assert_eq!(of_alert(40, false), Some(Cause::UnsupportedParameters));
        assert_eq!(of_alert(51, true), Some(Cause::DecryptError));
        assert_eq!(of_alert(0, true), None);
        assert_eq!(of_alert(90, true), None);
    }
}
