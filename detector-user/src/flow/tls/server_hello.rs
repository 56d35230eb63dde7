//! ServerHello (RFC 8446 §4.1.3, RFC 5246 §7.4.1.3).

use smallvec::SmallVec;

use crate::flow::tls::extensions::{self, Extensions, text};
use crate::flow::tls::names::TLS_1_3;
use crate::flow::tls::reader::Reader;
use crate::flow::tls::session_id::SessionId;

/// The random of a HelloRetryRequest: SHA-256 of those words (RFC 8446 §4.1.3).
pub const HELLO_RETRY_REQUEST: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// A server that could have spoken a higher version says so at the end of its random
/// (RFC 8446 §4.1.3). A client that offered that version must then refuse with illegal_parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Downgrade {
    /// It can do TLS 1.3 and agreed on 1.2.
    ToTls12,
    /// It can do TLS 1.2 or above and agreed on 1.1 or below.
    ToTls11OrBelow,
}

/// A server's choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerHello {
    /// `legacy_version`.
    pub legacy_version: u16,
    /// The server random.
    pub random: [u8; 32],
    /// `legacy_session_id_echo`.
    pub session_id: SessionId,
    /// The cipher suite.
    pub cipher_suite: u16,
    /// Extension types in order.
    pub extensions: SmallVec<[u16; 8]>,
    /// The version in `supported_versions`.
    pub selected_version: Option<u16>,
    /// The group of the key share; of a HelloRetryRequest the one it asks for.
    pub group: Option<u16>,
    /// The protocol chosen, up to TLS 1.2.
    pub alpn: Option<String>,
    /// Whether it accepted a pre-shared key.
    pub pre_shared_key: bool,
    /// Whether CBC suites encrypt first (RFC 7366), which changes their records' lengths.
    pub encrypt_then_mac: bool,
    /// Whether all of it came and is well-formed.
    pub complete: bool,
}

impl ServerHello {
    /// Parses a ServerHello's body; `None` if it ends before its extensions.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let mut hello = Self {
            legacy_version: reader.u16()?,
            random: reader.array()?,
            session_id: reader.vector8()?.0.into(),
            cipher_suite: reader.u16()?,
            ..Self::default()
        };
        let _compression_method = reader.u8()?;
        if reader.is_empty() {
            hello.complete = true;
        } else if let Some((list, whole)) = reader.open_vector16() {
            // A hello whose extensions end early still says version and suite.
            let mut list = Extensions::new(list);
            for (kind, data) in list.by_ref() {
                hello.extensions.push(kind);
                hello.read_extension(kind, data);
            }
            hello.complete = whole && list.is_at_end();
        }
        Some(hello)
    }

    fn read_extension(&mut self, kind: u16, mut data: Reader<'_>) {
        match kind {
            extensions::SUPPORTED_VERSIONS => self.selected_version = data.u16(),
            extensions::KEY_SHARE => self.group = data.u16(),
            extensions::PRE_SHARED_KEY => self.pre_shared_key = true,
            extensions::ENCRYPT_THEN_MAC => self.encrypt_then_mac = true,
            extensions::ALPN => {
                let protocol = data.vector16().and_then(|mut list| list.vector8());
                self.alpn = protocol.map(|protocol| text(protocol.0));
            }
            _ => {}
        }
    }

    /// Returns the version agreed on.
    pub fn version(&self) -> u16 {
        self.selected_version.unwrap_or(self.legacy_version)
    }

    /// Whether it asks the client to try again (RFC 8446 §4.1.4).
    pub fn is_hello_retry_request(&self) -> bool {
        self.random == HELLO_RETRY_REQUEST
    }

    /// Returns the downgrade sentinel at the end of its random (RFC 8446 §4.1.3).
    pub fn downgrade(&self) -> Option<Downgrade> {
        match self.random.last_chunk::<8>() {
            Some(b"DOWNGRD\x01") if self.version() < TLS_1_3 => Some(Downgrade::ToTls12),
            Some(b"DOWNGRD\x00") if self.version() < TLS_1_3 => Some(Downgrade::ToTls11OrBelow),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tls::tests::{alpn, extension, server_hello};
    use rstest::rstest;

    #[test]
    fn a_tls13_hello_is_read() {
        let extensions = [
            extension(43, &[3, 4]),
            extension(51, &[0, 29, 0, 1, 9]),
            extension(41, &[0, 0]),
        ];
        let hello = ServerHello::parse(&server_hello([5; 32], 0x1302, &extensions)).unwrap();
        assert_eq!((hello.version(), hello.legacy_version), (0x0304, 0x0303));
        assert_eq!((hello.cipher_suite, hello.group), (0x1302, Some(29)));
        assert_eq!(hello.extensions[..], [43, 51, 41]);
        assert_eq!(hello.session_id[..], [3; 4]);
        assert!(hello.pre_shared_key && hello.complete);
        assert!(!hello.is_hello_retry_request() && !hello.encrypt_then_mac);
    }

    #[test]
    fn a_tls12_hello_is_read() {
        let extensions = [alpn(&[b"h2"]), extension(22, &[])];
        let hello = ServerHello::parse(&server_hello([5; 32], 0xc013, &extensions)).unwrap();
        assert_eq!(hello.version(), 0x0303);
        assert_eq!(hello.alpn.as_deref(), Some("h2"));
        assert!(hello.encrypt_then_mac && !hello.pre_shared_key);
    }

    #[test]
    fn version_and_suite_are_kept_though_extensions_are_cut() {
        let body = server_hello([5; 32], 0xc013, &[alpn(&[b"h2"])]);
        for end in body.len() - 11..body.len() {
            let hello = ServerHello::parse(&body[..end]).unwrap();
            assert_eq!(hello.cipher_suite, 0xc013);
            assert!(!hello.complete || end == body.len() - 11);
        }
    }

    #[test]
    fn a_retry_request_is_known() {
        let extensions = [extension(43, &[3, 4]), extension(51, &[0, 24])];
        let body = server_hello(HELLO_RETRY_REQUEST, 0x1301, &extensions);
        let hello = ServerHello::parse(&body).unwrap();
        assert!(hello.is_hello_retry_request());
        assert_eq!(hello.group, Some(24));
    }

    #[rstest]
    #[case(b"DOWNGRD\x01", None, Some(Downgrade::ToTls12))]
    #[case(b"DOWNGRD\x00", None, Some(Downgrade::ToTls11OrBelow))]
    #[case(b"DOWNGRD\x02", None, None)]
    #[case(b"DOWNGRD\x01", Some([3, 4]), None)]
    fn downgrades(
        #[case] end: &[u8; 8],
        #[case] version: Option<[u8; 2]>,
        #[case] expected: Option<Downgrade>,
    ) {
        let mut random = [5; 32];
        random[24..].copy_from_slice(end);
        let extensions: Vec<_> = version.map(|v| extension(43, &v)).into_iter().collect();
        let hello = ServerHello::parse(&server_hello(random, 0xc02f, &extensions)).unwrap();
        assert_eq!(hello.downgrade(), expected);
    }
}
