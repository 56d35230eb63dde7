//! ClientHello (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2), read field by field.
//!
//! The reader keeps the parts of a hello that ends early: a server name in the first segment is
//! worth having though the second was lost.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};

use smallvec::SmallVec;

use crate::flow::tls::extensions::{self, Extensions, text, with_one_grease};
use crate::flow::tls::memo::{Memo, remembered};
use crate::flow::tls::offers::{Offers, Parts};
use crate::flow::tls::reader::Reader;
use crate::flow::tls::session_id::SessionId;
use crate::flow::tls::shared_name::shared_name;

thread_local! {
    /// Offers by the parts of hellos that decide them.
    static OFFERS: RefCell<Memo<Arc<Offers>>> = RefCell::new(Memo::new(512, 1_024));
    /// Room for such a key.
    static KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// No offers, in hellos that are being read.
static NOTHING: LazyLock<Arc<Offers>> = LazyLock::new(Arc::default);

/// A client's hello: its [`Offers`], which a program repeats, and what is new in each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The client random.
    pub random: [u8; 32],
    /// `legacy_session_id`.
    pub session_id: SessionId,
    /// The server name: a host name in lower case; one with characters that no host name has is
    /// kept as it came, escaped.
    pub server_name: Option<Arc<str>>,
    /// The offer in an encrypted_client_hello extension, if this is an outer hello.
    pub ech: Option<EchOffer>,
    /// Its session ticket's length (RFC 5077): 0 asks for one, more would resume a session.
    pub session_ticket: Option<u16>,
    /// Whether all of it came and is well-formed.
    pub complete: bool,
    offers: Arc<Offers>,
}

impl Default for ClientHello {
    fn default() -> Self {
        Self {
            random: [0; 32],
            session_id: SessionId::default(),
            server_name: None,
            ech: None,
            session_ticket: None,
            complete: false,
            offers: Arc::clone(&NOTHING),
        }
    }
}

impl Deref for ClientHello {
    type Target = Offers;

    fn deref(&self) -> &Offers {
        &self.offers
    }
}

impl DerefMut for ClientHello {
    /// Another hello may have the same offers: they become this one's own.
    fn deref_mut(&mut self) -> &mut Offers {
        let offers = Arc::make_mut(&mut self.offers);
        offers.forget_derived();
        offers
    }
}

/// An offer of ECH in an outer ClientHello (RFC 9849 §5), real or GREASE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchOffer {
    /// `config_id`: the server's, or random in GREASE.
    pub config_id: u8,
    /// Bytes of the encrypted inner hello.
    pub payload_len: u16,
}

impl EchOffer {
    fn read(mut data: Reader<'_>) -> Option<Self> {
        const OUTER: u8 = 0;
        if data.u8()? != OUTER {
            return None;
        }
        let _cipher_suite: [u8; 4] = data.array()?;
        let config_id = data.u8()?;
        let _enc = data.vector16()?;
        Some(Self {
            config_id,
            payload_len: data.u16()?,
        })
    }
}

impl ClientHello {
    /// Parses a ClientHello's body; `None` if it ends before its random.
    ///
    /// ```
    /// use detector_user::flow::tls::client_hello::ClientHello;
    ///
    /// // TLS 1.2, random, no session, one cipher suite, no compression, no extensions.
    /// let body = [
    ///     &[3, 3][..], &[7; 32], &[0], &[0, 2, 0xc0, 0x2f], &[1, 0],
    /// ]
    /// .concat();
    /// let hello = ClientHello::parse(&body).unwrap();
    /// assert_eq!((hello.complete, &hello.cipher_suites[..]), (true, &[0xc02f][..]));
    ///
    /// // One that ends early has the fields up to there.
    /// let cut = ClientHello::parse(&body[..36]).unwrap();
    /// assert_eq!((cut.complete, cut.random), (false, [7; 32]));
    /// ```
    pub fn parse(body: &[u8]) -> Option<Self> {
        Self::parse_whole(body).or_else(|| Self::parse_part(body))
    }

    /// Creates a hello with these offers and nothing else.
    pub(in crate::flow) fn with_offers(offers: Arc<Offers>) -> Self {
        Self {
            offers,
            ..Self::default()
        }
    }

    /// Parses one that is whole and has no extension twice; `None` for any other.
    fn parse_whole(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let mut parts = Parts::new(reader.u16()?);
        let mut hello = Self {
            random: reader.array()?,
            session_id: reader.vector8()?.0.into(),
            complete: true,
            ..Self::default()
        };
        parts.cipher_suites = reader.vector16()?;
        parts.compression_methods = reader.vector8()?.0;
        let (list, whole) = reader.open_vector16()?;
        let mut list = Extensions::new(list);
        let mut kinds: SmallVec<[u16; 32]> = SmallVec::new();
        for (kind, data) in list.by_ref() {
            kinds.push(with_one_grease(kind));
            parts.record(kind, data);
            // An extension whose inside is damaged is as good as one that is not there.
            let _ = hello.read_own(kind, data);
        }
        if !whole || !list.is_at_end() || !parts.cipher_suites.0.len().is_multiple_of(2) {
            return None;
        }
        hello.offers = KEY.with_borrow_mut(|key| {
            parts.write_key(&kinds, key)?;
            let offers = |_: &[u8]| Arc::new(parts.offers(&kinds));
            Some(remembered(&OFFERS, key, offers))
        })?;
        Some(hello)
    }

    /// Parses any, field by field, up to its end.
    fn parse_part(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let mut offers = Offers::new(reader.u16()?);
        let mut hello = Self {
            random: reader.array()?,
            ..Self::default()
        };
        let complete = hello.read_rest(&mut offers, &mut reader);
        hello.complete = complete.unwrap_or(false);
        hello.offers = Arc::new(offers);
        Some(hello)
    }

    fn read_rest(&mut self, offers: &mut Offers, reader: &mut Reader<'_>) -> Option<bool> {
        self.session_id = reader.vector8()?.0.into();
        let suites = reader.vector16()?;
        offers.cipher_suites.reserve_exact(suites.0.len() / 2);
        offers
            .cipher_suites
            .extend(suites.numbers().map(with_one_grease));
        offers.compression_methods = reader.vector8()?.0.to_vec();
        if reader.is_empty() {
            // Before TLS 1.3 a hello may have no extensions at all.
            return Some(suites.0.len().is_multiple_of(2));
        }
        let (list, whole) = reader.open_vector16()?;
        let mut list = Extensions::new(list);
        for (kind, data) in list.by_ref() {
            offers.extensions.push(with_one_grease(kind));
            // An extension whose inside is damaged is as good as one that is not there.
            let _ = offers.read_extension(kind, data);
            let _ = self.read_own(kind, data);
        }
        Some(whole && list.is_at_end() && suites.0.len().is_multiple_of(2))
    }

    /// Reads an extension that is another in each hello.
    fn read_own(&mut self, kind: u16, data: Reader<'_>) -> Option<()> {
        match kind {
            extensions::SERVER_NAME => self.read_server_name(data)?,
            extensions::ENCRYPTED_CLIENT_HELLO => self.ech = EchOffer::read(data),
            extensions::SESSION_TICKET => self.session_ticket = u16::try_from(data.0.len()).ok(),
            _ => {}
        }
        Some(())
    }

    fn read_server_name(&mut self, mut data: Reader<'_>) -> Option<()> {
        let mut list = data.vector16()?;
        while !list.is_empty() {
            let name_type = list.u8()?;
            let name = list.vector16()?.0;
            if name_type == 0 && !name.is_empty() && self.server_name.is_none() {
                self.server_name = Some(server_name(name));
            }
        }
        Some(())
    }

    /// Returns its offers, shared with other hellos that have the same.
    pub const fn offers(&self) -> &Arc<Offers> {
        &self.offers
    }

    /// Whether it has an extension of this type.
    pub fn has_extension(&self, kind: u16) -> bool {
        self.extensions.contains(&kind)
    }
}

/// Returns a server name: in lower case if it can be a host name, else escaped.
fn server_name(bytes: &[u8]) -> Arc<str> {
    let is_plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
    match std::str::from_utf8(bytes) {
        Ok(name) if bytes.iter().all(is_plain) => shared_name(name),
        _ => shared_name(&readable(bytes)),
    }
}

fn readable(bytes: &[u8]) -> String {
    let of_host = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
    let mut name = text(bytes);
    if bytes.iter().all(of_host) {
        name.make_ascii_lowercase();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tls::tests::{alpn, client_hello, extension, list16, sni, supported_versions};
    use rstest::rstest;

    fn read(extensions: &[Vec<u8>]) -> ClientHello {
        ClientHello::parse(&client_hello(&[0x0a0a, 0x1301], extensions)).unwrap()
    }

    #[test]
    fn every_field_is_read() {
        let hello = read(&[
            sni("Example.COM"),
            alpn(&[b"h2", b"http/1.1"]),
            supported_versions(&[0x8a8a, 0x0303, 0x0304]),
            extension(10, &list16(&[0x9a9a, 0x11ec, 0x001d])),
            extension(13, &list16(&[0x0403, 0x0804])),
            extension(51, &[0, 10, 0x2a, 0x2a, 0, 1, 0, 0x11, 0xec, 0, 1, 9]),
            extension(5, &[1, 0, 0, 0, 0]),
            extension(35, &[1; 20]),
            extension(42, &[]),
            extension(0xfe0d, &[0, 0, 1, 0, 1, 7, 0, 2, 5, 5, 0, 3, 1, 2, 3]),
            extension(41, &[0]),
        ]);
        assert!(hello.complete);
        assert_eq!(hello.legacy_version, 0x0303);
        assert_eq!(hello.random, [7; 32]);
        assert_eq!(hello.session_id[..], [3; 4]);
        assert_eq!(hello.cipher_suites, [0x0a0a, 0x1301]);
        assert_eq!(hello.compression_methods, [0]);
        assert_eq!(
            hello.extensions,
            [0, 16, 43, 10, 13, 51, 5, 35, 42, 0xfe0d, 41]
        );
        assert_eq!(hello.server_name.as_deref(), Some("example.com"));
        assert_eq!(hello.alpn, ["h2", "http/1.1"]);
        assert_eq!(hello.supported_versions, [0x0303, 0x0304]);
        assert_eq!(hello.highest_version(), 0x0304);
        assert_eq!(hello.groups, [0x11ec, 0x001d]);
        assert_eq!(hello.key_share_groups, [0x11ec]);
        assert_eq!(hello.signature_algorithms, [0x0403, 0x0804]);
        assert_eq!(hello.session_ticket, Some(20));
        assert!(hello.pre_shared_key && hello.early_data && hello.status_request);
        assert!(hello.encrypted_client_hello);
        let offer = EchOffer {
            config_id: 7,
            payload_len: 3,
        };
        assert_eq!(hello.ech, Some(offer));
    }

    #[test]
    fn what_is_absent_is_none() {
        let hello = read(&[]);
        assert!(hello.complete);
        assert_eq!((&hello.server_name, hello.session_ticket), (&None, None));
        assert!(!hello.pre_shared_key && !hello.early_data && !hello.status_request);
        assert!(!hello.encrypted_client_hello && hello.extensions.is_empty());
    }

    #[rstest]
    #[case::underscore(b"_dmarc.Example.test", "_dmarc.example.test")]
    #[case::idn(b"XN--bcher-kva.test", "xn--bcher-kva.test")]
    #[case::trailing_dot(b"a.test.", "a.test.")]
    #[case::escape_sequence(b"A\x1b[2J", r"A\x1b[2J")]
    #[case::utf8("Bücher.test".as_bytes(), r"B\xc3\xbccher.test")]
    #[case::zero(b"good.test\0.Evil.test", r"good.test\x00.Evil.test")]
    #[case::backslash(br"a\x00", r"a\\x00")]
    fn server_names(#[case] bytes: &[u8], #[case] expected: &str) {
        assert_eq!(&*server_name(bytes), expected);
    }

    #[test]
    fn a_name_is_kept_though_what_follows_is_lost() {
        let body = client_hello(&[0x1301], &[sni("a.test"), extension(21, &[0; 300])]);
        let hello = ClientHello::parse(&body[..body.len() - 1]).unwrap();
        assert_eq!(hello.server_name.as_deref(), Some("a.test"));
        assert_eq!(hello.extensions, [0]);
        assert!(!hello.complete);
    }

    #[rstest]
    #[case::empty_name(&[0, 3, 0, 0, 0])]
    #[case::other_type(&[0, 4, 9, 0, 1, b'a'])]
    #[case::cut(&[0, 9, 0, 0, 6, b'a'])]
    #[case::empty(&[])]
    fn no_server_name(#[case] data: &[u8]) {
        let hello = read(&[extension(0, data)]);
        assert_eq!(hello.server_name, None);
        assert!(hello.complete && hello.has_extension(0));
    }

    #[test]
    fn a_damaged_extension_list_is_incomplete() {
        let mut body = client_hello(&[0x1301], &[sni("a.test"), extension(21, &[0; 4])]);
        let length_of_last = body.len() - 5;
        body[length_of_last] += 1;
        let hello = ClientHello::parse(&body).unwrap();
        assert!(!hello.complete);
        assert_eq!(hello.server_name.as_deref(), Some("a.test"));
    }
}
