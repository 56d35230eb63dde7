//! Classic pcap: a file header of 24 bytes, then records of 16 bytes and a frame.
//!
//! Format: draft-ietf-opsawg-pcap. The crate pcap-parser does not serve: it cannot tell a false length
//! from a record that has not arrived yet.

use memchr::memmem;

use super::LinkType;
use super::record::{ByteOrder, FrameRecord, MAX_FRAME, Step};

/// Length of the file header in bytes.
pub(super) const FILE_HEADER: usize = 24;
/// Length of a record's header in bytes.
const RECORD_HEADER: usize = 16;
/// The same in Kuznetzov's modified format, which adds interface, protocol and packet type.
const MODIFIED_RECORD_HEADER: usize = 24;
/// Bits of the header's network field that are the link type; the others describe a frame check
/// sequence.
const LINK_TYPE_MASK: u32 = 0x03ff_ffff;

/// The fields of the file header that records depend on.
#[derive(Debug)]
pub(super) struct Pcap {
    magic: [u8; 4],
    order: ByteOrder,
    /// Nanoseconds per unit of the record's fraction field.
    fraction_ns: u64,
    /// Length of a record's header in bytes.
    record_header: usize,
    minor: u16,
    link_type: LinkType,
}

impl Pcap {
    /// Whether a file that begins with these bytes is a classic pcap file.
    pub(super) fn recognises(magic: [u8; 4]) -> bool {
        variant(magic).is_some()
    }

    /// Parses the file header in its [`FILE_HEADER`] bytes.
    ///
    /// # Errors
    /// The header's fault in words.
    pub(super) fn from_file_header(data: &[u8]) -> Result<Self, String> {
        let unreadable = || "its pcap file header cannot be read".to_owned();
        let magic = data.first_chunk().copied().unwrap_or_default();
        let (order, fraction_ns, record_header) = variant(magic).ok_or_else(unreadable)?;
        let [_, _, major, minor] = order.halves(data).ok_or_else(unreadable)?;
        let [.., network] = order.words::<6>(data).ok_or_else(unreadable)?;
        if major != 2 {
            return Err(format!(
                "its pcap file header claims version {major}.{minor}, known is 2.4"
            ));
        }
        Ok(Self {
            magic,
            order,
            fraction_ns,
            record_header,
            minor,
            link_type: LinkType(network & LINK_TYPE_MASK),
        })
    }

    /// Parses the record at the start of `data`.
    #[inline]
    pub(super) fn step(&self, data: &[u8]) -> Step {
        let Some([seconds, fraction, captured_len, original_len]) = self.order.words(data) else {
            return Step::Need(self.record_header);
        };
        let (captured_len, original_len) = if self.lengths_swapped(captured_len, original_len) {
            (original_len, captured_len)
        } else {
            (captured_len, original_len)
        };
        if captured_len > MAX_FRAME {
            return Step::Corrupt(format!(
                "a packet record claims {captured_len} captured bytes, more than any capture holds"
            ));
        }
        if self.another_file_begins(data, captured_len, original_len) {
            return Step::Corrupt(
                "another pcap file begins here, as in files joined by cat; pass the files one by \
                 one, or join them with mergecap"
                    .to_owned(),
            );
        }
        let len = self.record_header + captured_len as usize;
        if data.len() < len {
            return Step::Need(len);
        }
        Step::Frame(FrameRecord {
            len,
            captured: self.record_header..len,
            // At most 2^32 * 10^9 + 2^32 * 10^3: fits 64 bits, also if the fraction is false.
            time_ns: u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.fraction_ns,
            interface: 0,
            link_type: self.link_type,
            original_len,
        })
    }

    /// Returns the length of the record at the start of `data`, by its header alone.
    #[inline]
    pub(super) fn record_len(&self, data: &[u8]) -> Option<usize> {
        let [_, _, captured_len, _] = self.order.words(data)?;
        (captured_len <= MAX_FRAME).then_some(self.record_header + captured_len as usize)
    }

    /// Returns the place in `searched` of what looks like a record's header: with a time near that of the one at
    /// the start of `record`, and lengths that agree.
    pub(super) fn find_header(&self, record: &[u8], searched: &[u8]) -> Option<usize> {
        let [near, ..] = self.order.words::<4>(record)?;
        // The high half tells half a day.
        let half = (near >> 16) as u16;
        let (at, half) = match self.order {
            ByteOrder::Little => (2, half.to_le_bytes()),
            ByteOrder::Big => (0, half.to_be_bytes()),
        };
        let mut places = memmem::find_iter(searched.get(at..)?, &half);
        places.find_map(|place| {
            let [_, fraction, captured_len, original_len] =
                self.order.words(searched.get(place..)?)?;
            let is_plausible = u64::from(fraction) * self.fraction_ns < 1_000_000_000
                && (1..=original_len).contains(&captured_len)
                && original_len <= MAX_FRAME;
            is_plausible.then_some(place)
        })
    }

    /// Whether the two lengths are swapped, by libpcap's rule: before version 2.3 they stood the
    /// other way round, in 2.3 some programs swapped them.
    fn lengths_swapped(&self, captured_len: u32, original_len: u32) -> bool {
        self.minor < 3 || (self.minor == 3 && captured_len > original_len)
    }

    /// Whether a second file header follows, which would pass for an empty frame of the year 2055.
    fn another_file_begins(&self, data: &[u8], captured_len: u32, original_len: u32) -> bool {
        captured_len == 0
            && original_len == 0
            && data.starts_with(&self.magic)
            && matches!(data.get(4..8), Some([2, 0, 4, 0] | [0, 2, 0, 4]))
    }
}

/// Returns the byte order of a file by its magic number, nanoseconds per unit of its fractions of
/// seconds, and the length of its records' headers.
const fn variant(magic: [u8; 4]) -> Option<(ByteOrder, u64, usize)> {
    match magic {
        [0xd4, 0xc3, 0xb2, 0xa1] => Some((ByteOrder::Little, 1000, RECORD_HEADER)),
        [0xa1, 0xb2, 0xc3, 0xd4] => Some((ByteOrder::Big, 1000, RECORD_HEADER)),
        [0x4d, 0x3c, 0xb2, 0xa1] => Some((ByteOrder::Little, 1, RECORD_HEADER)),
        [0xa1, 0xb2, 0x3c, 0x4d] => Some((ByteOrder::Big, 1, RECORD_HEADER)),
        [0x34, 0xcd, 0xb2, 0xa1] => Some((ByteOrder::Little, 1000, MODIFIED_RECORD_HEADER)),
        [0xa1, 0xb2, 0xcd, 0x34] => Some((ByteOrder::Big, 1000, MODIFIED_RECORD_HEADER)),
        _ => None,
    }
}
