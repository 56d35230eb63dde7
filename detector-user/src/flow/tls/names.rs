//! Names of the TLS registries, and lengths of encrypted records under a cipher suite.

use crate::flow::tls::cipher_suites::CIPHER_SUITES;

/// TLS 1.3's version number.
pub const TLS_1_3: u16 = 0x0304;

/// Returns a protocol version as people write it: `1.2` for 0x0303; `ssl3.0` for 0x0300.
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

/// Returns the IANA name of a cipher suite.
pub fn cipher_suite(id: u16) -> Option<&'static str> {
    let at = CIPHER_SUITES.binary_search_by_key(&id, |(id, _)| *id);
    CIPHER_SUITES.get(at.ok()?).map(|(_, name)| *name)
}

/// Returns the name of a HandshakeType, as RFC 8446 §4 and RFC 5246 §7.4 call the message.
pub const fn handshake_type(id: u8) -> Option<&'static str> {
    Some(match id {
        0 => "HelloRequest",
        1 => "ClientHello",
        2 => "ServerHello",
        4 => "NewSessionTicket",
        8 => "EncryptedExtensions",
        11 => "Certificate",
        12 => "ServerKeyExchange",
        13 => "CertificateRequest",
        14 => "ServerHelloDone",
        15 => "CertificateVerify",
        16 => "ClientKeyExchange",
        20 => "Finished",
        22 => "CertificateStatus",
        _ => return None,
    })
}

/// Lengths of encrypted records under a TLS 1.3 cipher suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLengths {
    /// Bytes of a TLS 1.3 record that holds a Finished and nothing else: type 23.
    pub finished: u16,
    /// Bytes of a TLS 1.3 record that holds an alert and nothing else.
    pub alert: u16,
}

/// Returns the lengths under a TLS 1.3 suite (RFC 8446 §4.4.4, §5.2): header 4 + hash, content type
/// 1, and the suite's own bytes; `None` for a suite that is not known.
///
/// They hold for a peer that does not pad: JSSE pads by 16.
pub fn tls13_lengths(suite: u16) -> Option<RecordLengths> {
    let (hash, tag) = match suite {
        // AES_128_GCM, CHACHA20_POLY1305 and AES_128_CCM with SHA-256; SM4 with SM3 (RFC 8998).
        0x1301 | 0x1303 | 0x1304 | 0x00c6 | 0x00c7 => (32, 16),
        // AES_256_GCM with SHA-384.
        0x1302 => (48, 16),
        // AES_128_CCM_8.
        0x1305 => (32, 8),
        // Integrity only (RFC 9150): the tag is an HMAC.
        0xc0b4 => (32, 32),
        0xc0b5 => (48, 48),
        _ => return None,
    };
    Some(RecordLengths {
        finished: 4 + hash + 1 + tag,
        alert: 2 + 1 + tag,
    })
}

/// Returns the lengths that an encrypted record of one alert can have under a suite up to TLS 1.2
/// (RFC 5246 §6.2.3): its two bytes with nonce, tag, MAC and padding; `None` for a suite that is
/// not known. CBC has three: without and with the explicit IV of TLS 1.1, and with the MAC outside
/// (RFC 7366); the others have one, three times. Padding by whole blocks more is allowed, but no
/// common stack does it to alerts.
pub fn tls12_alert_lengths(suite: u16) -> Option<[u16; 3]> {
    let name = cipher_suite(suite)?;
    let has = |part| name.contains(part);
    Some(if has("_GCM") || has("_CCM") {
        // RFC 5288, RFC 6655: explicit nonce and tag.
        let tag = if name.ends_with("_CCM_8") { 8 } else { 16 };
        [8 + 2 + tag; 3]
    } else if has("_CHACHA20_POLY1305") {
        // RFC 7905: tag alone.
        [2 + 16; 3]
    } else if has("_CBC") {
        let mac = mac_length(name)?;
        let is_small = ["_3DES", "_DES", "_IDEA", "_RC2"].into_iter().any(has);
        let block = if is_small { 8 } else { 16 };
        let padded = (2 + mac + block) / block * block;
        [padded, block + padded, block + block + mac]
    } else if has("_RC4") || has("_WITH_NULL_") {
        [2 + mac_length(name)?; 3]
    } else {
        return None;
    })
}

/// Returns the length in bytes of the HMAC of a suite up to TLS 1.2, by its name's end; `None`
/// without one.
fn mac_length(name: &str) -> Option<u16> {
    Some(match name.rsplit('_').next()? {
        "MD5" => 16,
        "SHA" => 20,
        "SHA256" => 32,
        "SHA384" => 48,
        _ => return None,
    })
}

/// Returns whether an alert record of this length, encrypted under a suite up to TLS 1.2, holds one
/// alert; `None` if the suite is not known.
pub fn is_tls12_alert_length(suite: u16, length: u16) -> Option<bool> {
    tls12_alert_lengths(suite).map(|lengths| lengths.contains(&length))
}

/// Whether a suite up to TLS 1.2 exchanges keys in a finite field whose size the server chooses.
pub fn is_finite_field(suite: u16) -> bool {
    let name = cipher_suite(suite).unwrap_or_default();
    name.starts_with("TLS_DHE_") || name.starts_with("TLS_DH_")
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
    #[case::aes_gcm(0xc02f, &[26])]
    #[case::aes256_gcm(0xc030, &[26])]
    #[case::chacha(0xcca8, &[18])]
    #[case::ccm(0xc0ac, &[26])]
    #[case::ccm_8(0xc0ae, &[18])]
    #[case::rc4_sha(0x0005, &[22])]
    #[case::rc4_md5(0x0004, &[18])]
    #[case::null_sha256(0x003b, &[34])]
    #[case::cbc_sha(0x002f, &[32, 48, 52])]
    #[case::cbc_sha256(0x003c, &[48, 64, 64])]
    #[case::cbc_sha384(0xc024, &[64, 80, 80])]
    #[case::triple_des(0x000a, &[24, 32, 36])]
    fn tls12(#[case] suite: u16, #[case] expected: &[u16]) {
        for length in 0..200 {
            assert_eq!(
                is_tls12_alert_length(suite, length),
                Some(expected.contains(&length)),
                "{length}"
            );
        }
    }

    #[test]
    fn what_is_not_known_is_none() {
        assert_eq!(tls13_lengths(0xc02f), None);
        assert_eq!(tls12_alert_lengths(0x0a0a), None);
        // TLS_NULL_WITH_NULL_NULL and signalling values protect nothing.
        assert_eq!(tls12_alert_lengths(0x0000), None);
        assert_eq!(tls12_alert_lengths(0x00ff), None);
        assert_eq!((version(0x7f1c), cipher_suite(0x0a0a)), (None, None));
    }

    #[rstest]
    #[case(0x1301, "TLS_AES_128_GCM_SHA256")]
    #[case(0x1302, "TLS_AES_256_GCM_SHA384")]
    #[case(0x1303, "TLS_CHACHA20_POLY1305_SHA256")]
    #[case(0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")]
    #[case(0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")]
    #[case(0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA")]
    fn suites_are_named_as_registered(#[case] suite: u16, #[case] name: &str) {
        assert_eq!(cipher_suite(suite), Some(name));
    }

    #[test]
    fn versions_are_named() {
        let named = [0x0301, 0x0302, 0x0303, 0x0304].map(version);
        assert_eq!(named, ["1.0", "1.1", "1.2", "1.3"].map(Some));
    }
}
