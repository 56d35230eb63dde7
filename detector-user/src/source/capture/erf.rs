//! Endace's extensible record format: records without a file header, each of 16 bytes, extension
//! headers, and a frame.
//!
//! Format: Endace, *ERF types reference guide*. The port that a frame came in by is no interface of
//! its own: a tap on a fibre has one for each direction.

use super::LinkType;
use super::record::{FrameRecord, MAX_FRAME, Step};

/// Length of a record's header in bytes.
const RECORD_HEADER: usize = 16;
/// Length of an extension header.
const EXTENSION: usize = 8;
/// Bit of the type, and of an extension header's first byte: an extension header follows.
const MORE: u8 = 0x80;
/// Padding before an Ethernet frame.
const ETHERNET_PADDING: usize = 2;
/// Seconds since the UNIX epoch between which recordings are believed: 1996 and 2070.
const SECONDS: std::ops::Range<u32> = 820_454_400..3_155_760_000;

/// A file of ERF records, which has no state.
#[derive(Debug)]
pub(super) struct Erf;

/// The fixed part of a record's header.
struct Header {
    time_ns: u64,
    seconds: u32,
    kind: u8,
    has_extensions: bool,
    len: usize,
    wire_len: u16,
}

impl Header {
    fn parse(data: &[u8]) -> Option<Self> {
        let (time, rest) = data.split_first_chunk()?;
        let [kind, _flags, len_high, len_low, _, _, wire_high, wire_low] = *rest.first_chunk()?;
        // Seconds in the high half, their fraction in the low one.
        let time = u64::from_le_bytes(*time);
        let (seconds, fraction) = ((time >> 32) as u32, time & 0xffff_ffff);
        Some(Self {
            time_ns: u64::from(seconds) * 1_000_000_000 + ((fraction * 1_000_000_000) >> 32),
            seconds,
            kind: kind & !MORE,
            has_extensions: kind & MORE != 0,
            len: usize::from(u16::from_be_bytes([len_high, len_low])),
            wire_len: u16::from_be_bytes([wire_high, wire_low]),
        })
    }
}

/// Returns the link type of a record's frame, and the padding before it; `None` of a record without
/// one.
fn link_of(kind: u8) -> Option<(LinkType, usize)> {
    Some(match kind {
        // ETH, COLOR_ETH, DSM_COLOR_ETH, COLOR_HASH_ETH.
        2 | 11 | 16 | 20 => (LinkType::ETHERNET, ETHERNET_PADDING),
        // HDLC_POS, COLOR_HDLC_POS, DSM_COLOR_HDLC_POS, COLOR_HASH_POS.
        1 | 10 | 15 | 19 => (LinkType::PPP_HDLC, 0),
        22 => (LinkType::IPV4, 0),
        23 => (LinkType::IPV6, 0),
        _ => return None,
    })
}

impl Erf {
    /// Whether a file that begins with these bytes is one of ERF records, which have no signature: its
    /// first record has a frame, a time within reach and lengths that agree, and so has the next one.
    pub(super) fn recognises(data: &[u8]) -> bool {
        let Some(first) = Header::parse(data) else {
            return false;
        };
        let next = data.get(first.len..).and_then(Header::parse);
        is_plausible(&first) && next.is_none_or(|next| is_plausible(&next))
    }

    /// Parses the record at the start of `data`.
    pub(super) fn step(&self, data: &[u8]) -> Step {
        let Some(header) = Header::parse(data) else {
            return Step::Need(RECORD_HEADER);
        };
        if header.len < RECORD_HEADER {
            return Step::Corrupt(format!("a record claims to be {} bytes long", header.len));
        }
        let Some(record) = data.get(..header.len) else {
            return Step::Need(header.len);
        };
        let Some((link_type, padding)) = link_of(header.kind) else {
            return Step::Skip(header.len);
        };
        let start = (after_extensions(record, header.has_extensions) + padding).min(header.len);
        let wire_len = usize::from(header.wire_len);
        let end = header.len.min(start + wire_len.max(1));
        Step::Frame(FrameRecord {
            len: header.len,
            captured: start..end,
            time_ns: header.time_ns,
            interface: 0,
            link_type,
            original_len: u32::from(header.wire_len),
        })
    }
}

fn is_plausible(header: &Header) -> bool {
    let len_fits = (RECORD_HEADER..=MAX_FRAME as usize).contains(&header.len);
    // The metadata of a recording, a type without a frame, may stand between.
    let kind_fits = link_of(header.kind).is_some() || header.kind == 27 || header.kind == 48;
    len_fits && kind_fits && SECONDS.contains(&header.seconds)
}

/// Returns the offset after a record's extension headers, each of which tells whether another
/// follows.
fn after_extensions(record: &[u8], mut more: bool) -> usize {
    let mut at = RECORD_HEADER;
    while more && at < record.len() {
        more = record.get(at).is_some_and(|first| first & MORE != 0);
        at += EXTENSION;
    }
    at
}
