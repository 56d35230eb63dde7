//! Names of the TLS registries, and what a cipher suite makes records look like.

use tls_parser::{TlsCipherEncMode, TlsCipherMac, TlsCipherSuite};

use crate::tls::hello::TLS_1_3;

/// The description of an alert (IANA TLS Alerts registry; RFC 8446 §6, RFC 5246 §7.2).
pub fn alert_description(code: u8) -> Option<&'static str> {
    Some(match code {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        52 => "too_many_cids_requested",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        117 => "general_error",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => return None,
    })
}

/// A protocol version as people write it: `1.2` for 0x0303; `ssl3.0` for 0x0300.
pub fn version(version: u16) -> Option<&'static str> {
    Some(match version {
        0x0300 => "ssl3.0",
        0x0301 => "1.0",
        0x0302 => "1.1",
        0x0303 => "1.2",
        TLS_1_3 => "1.3",
        _ => return None,
    })
}

/// The IANA name of a cipher suite.
pub fn cipher_suite(id: u16) -> Option<&'static str> {
    TlsCipherSuite::from_id(id).map(|suite| suite.name)
}

/// What the lengths of encrypted records say under one cipher suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLengths {
    /// Bytes of a TLS 1.3 record that holds a Finished and nothing else: type 23.
    pub finished: u16,
    /// Bytes of a TLS 1.3 record that holds an alert and nothing else.
    pub alert: u16,
}

/// The lengths under a TLS 1.3 suite (RFC 8446 §4.4.4, §5.2): header 4 + hash, content type 1,
/// tag 16, or 8 for CCM_8.
pub fn tls13_lengths(suite: u16) -> Option<RecordLengths> {
    let (hash, tag) = match suite {
        0x1301 | 0x1303 | 0x1304 => (32, 16),
        0x1302 => (48, 16),
        0x1305 => (32, 8),
        // RFC 9150 (integrity only) has no tag of its own kind; GB suites (RFC 8998) are GCM/CCM.
        0x00c6 | 0x00c7 => (32, 16),
        _ => return None,
    };
    Some(RecordLengths {
        finished: 4 + hash + 1 + tag,
        alert: 2 + 1 + tag,
    })
}

/// Whether an alert record of this length, encrypted under a suite up to TLS 1.2, holds one alert
/// of two bytes (RFC 5246 §6.2.3): nonce, tag, MAC and padding are what the suite adds.
pub fn is_tls12_alert_length(suite: u16, length: u16) -> Option<bool> {
    let suite = TlsCipherSuite::from_id(suite)?;
    Some(match suite.enc_mode {
        TlsCipherEncMode::Gcm => length == 8 + 2 + 16,
        TlsCipherEncMode::Ccm if suite.name.ends_with("_8") => length == 8 + 2 + 8,
        TlsCipherEncMode::Ccm => length == 8 + 2 + 16,
        _ if suite.name.contains("CHACHA20_POLY1305") => length == 2 + 16,
        TlsCipherEncMode::Cbc => {
            let mac = match suite.mac {
                TlsCipherMac::HmacMd5 => 16,
                TlsCipherMac::HmacSha1 => 20,
                TlsCipherMac::HmacSha256 => 32,
                TlsCipherMac::HmacSha384 => 48,
                TlsCipherMac::HmacSha512 => 64,
                _ => return None,
            };
            let block = if suite.name.contains("3DES") || suite.name.contains("_DES_") {
                8
            } else {
                16
            };
            // An explicit IV from TLS 1.1 on; padding fills the last block.
            let padded = (2 + mac + block) / block * block;
            length == padded || length == padded + block
        }
        _ if suite.name.contains("RC4") => match suite.mac {
            TlsCipherMac::HmacMd5 => length == 2 + 16,
            _ => length == 2 + 20,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0x1301, 53, 19)]
    #[case(0x1302, 69, 19)]
    #[case(0x1303, 53, 19)]
    #[case(0x1305, 45, 11)]
    fn tls13(#[case] suite: u16, #[case] finished: u16, #[case] alert: u16) {
        assert_eq!(
            tls13_lengths(suite),
            Some(RecordLengths { finished, alert })
        );
    }

    #[rstest]
    #[case::aes_gcm(0xc02f, 26)]
    #[case::chacha(0xcca8, 18)]
    #[case::rc4_sha(0x0005, 22)]
    #[case::cbc_sha_tls10(0x002f, 32)]
    #[case::cbc_sha_tls12(0x002f, 48)]
    #[case::cbc_sha256(0x003c, 64)]
    fn tls12(#[case] suite: u16, #[case] length: u16) {
        assert_eq!(is_tls12_alert_length(suite, length), Some(true));
        assert_eq!(is_tls12_alert_length(suite, length + 1), Some(false));
    }
}
