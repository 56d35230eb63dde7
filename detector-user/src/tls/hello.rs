//! ClientHello and ServerHello (RFC 8446 §4.1, RFC 5246 §7.4.1), read field by field.
//!
//! The reader keeps what it could read of a hello that ends early: a server name in the first
//! segment is worth having though the second was lost.

/// TLS 1.3's version number.
pub const TLS_1_3: u16 = 0x0304;

const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const PRE_SHARED_KEY: u16 = 41;
const EARLY_DATA: u16 = 42;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// SHA-256 of "HelloRetryRequest" (RFC 8446 §4.1.3).
const HELLO_RETRY_REQUEST: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What a client offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// `legacy_version`.
    pub legacy_version: u16,
    /// The client random.
    pub random: [u8; 32],
    /// `legacy_session_id`.
    pub session_id: Vec<u8>,
    /// Cipher suites in order, GREASE (RFC 8701) included.
    pub cipher_suites: Vec<u16>,
    /// Extension types in order, GREASE included.
    pub extensions: Vec<u16>,
    /// The server name, in lower case.
    pub server_name: Option<String>,
    /// Protocols of ALPN (RFC 7301), in order; what is not UTF-8 is escaped.
    pub alpn: Vec<String>,
    /// The first ALPN protocol as it came.
    pub first_alpn: Option<Vec<u8>>,
    /// `supported_versions`, GREASE included.
    pub supported_versions: Vec<u16>,
    /// `supported_groups`, GREASE included.
    pub groups: Vec<u16>,
    /// `signature_algorithms` in order, GREASE included.
    pub signature_algorithms: Vec<u16>,
    /// Whether it offers a pre-shared key.
    pub pre_shared_key: bool,
    /// Whether it sends early data.
    pub early_data: bool,
    /// Whether it has an encrypted_client_hello extension, real or GREASE: then the server name
    /// may be only the outer one.
    pub encrypted_client_hello: bool,
    /// Whether all of it came.
    pub complete: bool,
}

/// What the server chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerHello {
    /// `legacy_version`.
    pub legacy_version: u16,
    /// The server random.
    pub random: [u8; 32],
    /// `legacy_session_id_echo`.
    pub session_id: Vec<u8>,
    /// The cipher suite.
    pub cipher_suite: u16,
    /// Extension types in order.
    pub extensions: Vec<u16>,
    /// The version in `supported_versions`.
    pub selected_version: Option<u16>,
    /// The group of the key share.
    pub group: Option<u16>,
    /// The protocol chosen, up to TLS 1.2.
    pub alpn: Option<String>,
    /// Whether it accepted a pre-shared key.
    pub pre_shared_key: bool,
}

/// A GREASE value (RFC 8701): 0x0a0a, 0x1a1a … 0xfafa.
pub fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// A cursor over bytes that may end early.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?
            .first_chunk()
            .map(|bytes| u16::from_be_bytes(*bytes))
    }

    fn vector8(&mut self) -> Option<Reader<'a>> {
        let length = usize::from(self.u8()?);
        self.take(length).map(Reader)
    }

    fn vector16(&mut self) -> Option<Reader<'a>> {
        let length = usize::from(self.u16()?);
        self.take(length).map(Reader)
    }

    /// A vector of which the end may be missing; `false` if it is.
    fn open_vector16(&mut self) -> Option<(Reader<'a>, bool)> {
        let length = usize::from(self.u16()?);
        let whole = self.0.len() >= length;
        let bytes = self.take(length.min(self.0.len()))?;
        Some((Reader(bytes), whole))
    }

    fn all_u16(mut self) -> Vec<u16> {
        std::iter::from_fn(|| self.u16()).collect()
    }
}

impl ClientHello {
    /// Reads a ClientHello's body; `None` if not even its random is there.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let mut hello = Self {
            legacy_version: reader.u16()?,
            random: *reader.take(32)?.first_chunk()?,
            ..Self::default()
        };
        hello.complete = hello.read_rest(&mut reader).unwrap_or(false);
        Some(hello)
    }

    fn read_rest(&mut self, reader: &mut Reader<'_>) -> Option<bool> {
        self.session_id = reader.vector8()?.0.to_vec();
        self.cipher_suites = reader.vector16()?.all_u16();
        reader.vector8()?;
        if reader.0.is_empty() {
            // Before TLS 1.2 a hello may have no extensions at all.
            return Some(true);
        }
        let (mut extensions, whole) = reader.open_vector16()?;
        while !extensions.0.is_empty() {
            let kind = extensions.u16()?;
            let data = extensions.vector16()?;
            self.extensions.push(kind);
            // An extension whose inside is damaged is as good as one that is not there.
            let _ = self.read_extension(kind, data);
        }
        Some(whole)
    }

    fn read_extension(&mut self, kind: u16, mut data: Reader<'_>) -> Option<()> {
        match kind {
            SERVER_NAME => {
                let mut list = data.vector16()?;
                let name_type = list.u8()?;
                let name = list.vector16()?.0;
                if name_type == 0 && !name.is_empty() {
                    self.server_name = Some(server_name(name));
                }
            }
            ALPN => {
                let mut list = data.vector16()?;
                while let Some(protocol) = list.vector8() {
                    if self.first_alpn.is_none() {
                        self.first_alpn = Some(protocol.0.to_vec());
                    }
                    self.alpn.push(text(protocol.0));
                }
            }
            SUPPORTED_GROUPS => self.groups = data.vector16()?.all_u16(),
            SIGNATURE_ALGORITHMS => self.signature_algorithms = data.vector16()?.all_u16(),
            SUPPORTED_VERSIONS => self.supported_versions = data.vector8()?.all_u16(),
            PRE_SHARED_KEY => self.pre_shared_key = true,
            EARLY_DATA => self.early_data = true,
            ENCRYPTED_CLIENT_HELLO => self.encrypted_client_hello = true,
            _ => {}
        }
        Some(())
    }

    /// The highest version offered, GREASE aside.
    pub fn highest_version(&self) -> u16 {
        let offered = self
            .supported_versions
            .iter()
            .copied()
            .filter(|v| !is_grease(*v))
            .max();
        offered.unwrap_or(self.legacy_version)
    }
}

impl ServerHello {
    /// Reads a ServerHello's body; `None` if it ends before its extensions.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let mut hello = Self {
            legacy_version: reader.u16()?,
            random: *reader.take(32)?.first_chunk()?,
            session_id: reader.vector8()?.0.to_vec(),
            cipher_suite: reader.u16()?,
            ..Self::default()
        };
        reader.u8()?;
        if let Some((extensions, _)) = reader.open_vector16() {
            // A hello whose extensions end early still says version and suite.
            let _ = hello.read_extensions(extensions);
        }
        Some(hello)
    }

    fn read_extensions(&mut self, mut extensions: Reader<'_>) -> Option<()> {
        while !extensions.0.is_empty() {
            let kind = extensions.u16()?;
            let mut data = extensions.vector16()?;
            self.extensions.push(kind);
            match kind {
                SUPPORTED_VERSIONS => self.selected_version = data.u16(),
                KEY_SHARE => self.group = data.u16(),
                PRE_SHARED_KEY => self.pre_shared_key = true,
                ALPN => {
                    self.alpn = data
                        .vector16()
                        .and_then(|mut list| list.vector8())
                        .map(|p| text(p.0));
                }
                _ => {}
            }
        }
        Some(())
    }

    /// The version agreed on.
    pub fn version(&self) -> u16 {
        self.selected_version.unwrap_or(self.legacy_version)
    }

    /// Whether it asks the client to try again (RFC 8446 §4.1.4).
    pub fn is_hello_retry_request(&self) -> bool {
        self.random == HELLO_RETRY_REQUEST
    }
}

/// A server name in lower case; bytes that no host name has are escaped.
fn server_name(bytes: &[u8]) -> String {
    text(bytes).to_ascii_lowercase()
}

/// Printable ASCII as it is, everything else escaped.
fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
