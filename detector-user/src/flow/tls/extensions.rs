//! Extensions of the hellos (RFC 8446 §4.2; IANA TLS ExtensionType Values).

use crate::flow::tls::reader::Reader;

/// RFC 6066 §3.
pub const SERVER_NAME: u16 = 0;
/// RFC 6066 §4.
pub const MAX_FRAGMENT_LENGTH: u16 = 1;
/// RFC 6066 §8: the client asks for OCSP stapling.
pub const STATUS_REQUEST: u16 = 5;
/// RFC 8446 §4.2.7.
pub const SUPPORTED_GROUPS: u16 = 10;
/// RFC 8446 §4.2.3.
pub const SIGNATURE_ALGORITHMS: u16 = 13;
/// RFC 7301.
pub const ALPN: u16 = 16;
/// RFC 7685.
pub const PADDING: u16 = 21;
/// RFC 7366.
pub const ENCRYPT_THEN_MAC: u16 = 22;
/// RFC 5077.
pub const SESSION_TICKET: u16 = 35;
/// RFC 8446 §4.2.11.
pub const PRE_SHARED_KEY: u16 = 41;
/// RFC 8446 §4.2.10.
pub const EARLY_DATA: u16 = 42;
/// RFC 8446 §4.2.2: the answer to a HelloRetryRequest's.
pub const COOKIE: u16 = 44;
/// ALPS (draft-vvv-tls-alps): its old number and its new one.
pub const APPLICATION_SETTINGS: [u16; 2] = [17_513, 17_613];
/// RFC 8446 §4.2.1.
pub const SUPPORTED_VERSIONS: u16 = 43;
/// RFC 8446 §4.2.9.
pub const PSK_KEY_EXCHANGE_MODES: u16 = 45;
/// RFC 8446 §4.2.6.
pub const POST_HANDSHAKE_AUTH: u16 = 49;
/// RFC 8446 §4.2.3.
pub const SIGNATURE_ALGORITHMS_CERT: u16 = 50;
/// RFC 8446 §4.2.8.
pub const KEY_SHARE: u16 = 51;
/// RFC 9849.
pub const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// The first GREASE value.
pub(super) const GREASE: u16 = 0x0a0a;

/// Returns a value, or one GREASE value for all of them.
pub(super) fn with_one_grease(value: u16) -> u16 {
    if is_grease(value) { GREASE } else { value }
}

/// Whether it is a GREASE value (RFC 8701 §2): 0x0a0a, 0x1a1a … 0xfafa. It says nothing and is
/// ignored.
pub fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// Type and data of each extension that is wholly there.
#[derive(Clone, Debug)]
pub(super) struct Extensions<'a> {
    reader: Reader<'a>,
}

impl<'a> Extensions<'a> {
    pub(super) fn new(reader: Reader<'a>) -> Self {
        Self { reader }
    }

    /// Whether all bytes were read, so that none is damaged or cut off.
    pub(super) fn is_at_end(&self) -> bool {
        self.reader.is_empty()
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u16, Reader<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = self.reader;
        let kind = reader.u16()?;
        let data = reader.vector16()?;
        self.reader = reader;
        Some((kind, data))
    }
}

/// Numbers of a list without GREASE.
pub(super) fn without_grease(list: Reader<'_>) -> Vec<u16> {
    let mut values = Vec::with_capacity(list.0.len() / 2);
    values.extend(list.numbers().filter(|value| !is_grease(*value)));
    values
}

/// Returns printable ASCII as it is, everything else and backslashes escaped (`\xff`), so that
/// nothing is lost and nothing can act on a terminal.
pub(super) fn text(bytes: &[u8]) -> String {
    if bytes
        .iter()
        .all(|byte| matches!(byte, b' '..=b'~') && !b"\\\"'".contains(byte))
    {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    bytes.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grease_is_the_sixteen_values_of_rfc_8701() {
        let grease: Vec<u16> = (0..=u16::MAX).filter(|value| is_grease(*value)).collect();
        let expected: Vec<u16> = (0..16).map(|high| 0x0a0a + high * 0x1010).collect();
        assert_eq!(grease, expected);
    }

    #[test]
    fn text_loses_nothing() {
        assert_eq!(text(b"http/1.1"), "http/1.1");
        assert_eq!(text(b"\x0a\x0a"), r"\n\n");
        assert_eq!(text(b"a\x1b[2J\xff\\"), r"a\x1b[2J\xff\\");
    }
}
