//! TLS record headers (RFC 8446 §5.1, RFC 5246 §6.2.1).

/// ContentType `change_cipher_spec`.
pub const CHANGE_CIPHER_SPEC: u8 = 20;
/// ContentType `alert`.
pub const ALERT: u8 = 21;
/// ContentType `handshake`.
pub const HANDSHAKE: u8 = 22;
/// ContentType `application_data`.
pub const APPLICATION_DATA: u8 = 23;
/// ContentType `heartbeat` (RFC 6520).
pub const HEARTBEAT: u8 = 24;

/// HandshakeType `client_hello`.
pub const CLIENT_HELLO: u8 = 1;
/// HandshakeType `server_hello`, also of a HelloRetryRequest.
pub const SERVER_HELLO: u8 = 2;

/// Bytes of a record header.
pub const HEADER_LEN: u32 = 5;
/// Bytes of header and detail: the most of a record that is read.
pub const HEAD_MAX: u32 = 7;
/// The longest record body that occurs: 2^14 + 2048 (RFC 5246 §6.2.3; TLS 1.3 stops at 2^14 + 256).
pub const LENGTH_MAX: u16 = (1 << 14) + 2048;

/// A record header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// ContentType.
    pub content_type: u8,
    /// Low byte of the legacy record version: 1 for 3.1 (TLS 1.0) to 4.
    pub version_minor: u8,
    /// Bytes of the body.
    pub length: u16,
}

impl RecordHeader {
    /// Parses a head of at least five bytes; `None` if it is no plausible record header.
    ///
    /// ```
    /// use detector_common::record::{ALERT, RecordHeader};
    ///
    /// // A fatal certificate_unknown alert of TLS 1.2.
    /// let head = u64::from_be_bytes([ALERT, 3, 3, 0, 2, 2, 46, 0]);
    /// let header = RecordHeader::parse(head).unwrap();
    /// assert_eq!((header.content_type, header.length), (ALERT, 2));
    /// assert_eq!(RecordHeader::parse(0), None);
    /// ```
    #[inline(always)]
    pub fn parse(head: u64) -> Option<Self> {
        let header = Self {
            content_type: (head >> 56) as u8,
            version_minor: (head >> 40) as u8,
            length: (head >> 24) as u16,
        };
        let plausible = header.content_type >= CHANGE_CIPHER_SPEC
            && header.content_type <= HEARTBEAT
            && (head >> 48) as u8 == 3
            && header.version_minor <= 4
            && header.length <= LENGTH_MAX
            // Only application data may be empty (RFC 8446 §5.1).
            && (header.length > 0 || header.content_type == APPLICATION_DATA);
        plausible.then_some(header)
    }

    /// Returns the number of body bytes in the head: of an alert its level and description, of a
    /// handshake record the message type and the first byte of its length.
    #[inline(always)]
    pub fn detail_len(&self) -> u32 {
        match self.content_type {
            ALERT | HANDSHAKE if self.length >= 2 => 2,
            ALERT | HANDSHAKE => 1,
            _ => 0,
        }
    }
}

/// Returns the first two body bytes of a head.
#[inline(always)]
pub fn detail(head: u64) -> [u8; 2] {
    [(head >> 16) as u8, (head >> 8) as u8]
}

/// Whether the first `count` bytes of a payload can begin a ClientHello: record type 22, version
/// 3.x, a plausible length, HandshakeType 1.
#[inline(always)]
pub fn may_begin_client_hello(head: u64, count: u32) -> bool {
    let length = (head >> 24) as u16;
    let [handshake_type, length_high] = detail(head);
    (head >> 56) as u8 == HANDSHAKE
        && (count < 2 || (head >> 48) as u8 == 3)
        && (count < 3 || (head >> 40) as u8 <= 4)
        && (count < 5 || (length > 0 && length <= LENGTH_MAX))
        && (count < 6 || handshake_type == CLIENT_HELLO)
        // A hello of 64 KiB or more does not occur; random bytes mostly claim one.
        && (count < 7 || length < 2 || length_high == 0)
}

/// Whether the first `count` bytes of a payload begin a ServerHello: record type 22, version 3.x, a
/// plausible length, HandshakeType 2 and a message below 64 KiB. Never with fewer than [`HEAD_MAX`] bytes.
///
/// ```
/// use detector_common::record::{HEAD_MAX, begins_server_hello};
///
/// let head = u64::from_be_bytes([22, 3, 3, 0, 122, 2, 0, 0]);
/// assert!(begins_server_hello(head, HEAD_MAX));
/// assert!(!begins_server_hello(head, 6));
/// ```
#[inline(always)]
pub fn begins_server_hello(head: u64, count: u32) -> bool {
    /// Message header, version, random, empty session identifier, cipher suite and compression method.
    const SHORTEST: u16 = 4 + 38;
    let length = (head >> 24) as u16;
    count >= HEAD_MAX
        && (head >> 48) as u16 == 0x1603
        && (head >> 40) as u8 <= 4
        && (SHORTEST..=LENGTH_MAX).contains(&length)
        && (head >> 8) as u16 == 0x0200
}
