//! snoop, as Solaris and illumos write: a file header of 16 bytes, then records of 24 bytes, a frame
//! and padding (RFC 1761).

use super::LinkType;
use super::record::{ByteOrder, FrameRecord, MAX_FRAME, Step};

/// Length of the file header in bytes.
pub(super) const FILE_HEADER: usize = 16;
/// Length of a record's header in bytes.
const RECORD_HEADER: usize = 24;

/// The field of the file header that records depend on.
#[derive(Debug)]
pub(super) struct Snoop {
    link_type: LinkType,
}

impl Snoop {
    /// Whether a file that begins with these bytes is a snoop file.
    pub(super) fn recognises(head: &[u8]) -> bool {
        head.starts_with(b"snoop\0\0\0")
    }

    /// Parses the file header in its [`FILE_HEADER`] bytes.
    ///
    /// # Errors
    /// The header's fault in words.
    pub(super) fn from_file_header(data: &[u8]) -> Result<Self, String> {
        let Some([_, _, version, datalink]) = ByteOrder::Big.words(data) else {
            return Err("its snoop file header cannot be read".to_owned());
        };
        if version != 2 {
            return Err(format!("it is snoop version {version}, known is 2"));
        }
        // IEEE 802.3 and Ethernet; FDDI.
        let link_type = match datalink {
            0 | 4 => LinkType::ETHERNET,
            8 => LinkType(10),
            other => return Err(format!("snoop's datalink type {other} is not read")),
        };
        Ok(Self { link_type })
    }

    /// Parses the record at the start of `data`.
    #[inline]
    pub(super) fn step(&self, data: &[u8]) -> Step {
        let Some([original_len, captured_len, record_len, _, seconds, micros]) =
            ByteOrder::Big.words(data)
        else {
            return Step::Need(RECORD_HEADER);
        };
        let end = RECORD_HEADER as u64 + u64::from(captured_len);
        if captured_len > MAX_FRAME
            || u64::from(record_len) < end
            || u64::from(record_len) > end + u64::from(MAX_FRAME)
        {
            return Step::Corrupt(format!(
                "a packet record of {record_len} bytes claims {captured_len} captured bytes"
            ));
        }
        let len = record_len as usize;
        if data.len() < len {
            return Step::Need(len);
        }
        Step::Frame(FrameRecord {
            len,
            captured: RECORD_HEADER..RECORD_HEADER + captured_len as usize,
            time_ns: u64::from(seconds) * 1_000_000_000 + u64::from(micros) * 1000,
            interface: 0,
            link_type: self.link_type,
            original_len,
        })
    }
}
