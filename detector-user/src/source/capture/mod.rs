//! Reads packet captures: classic pcap, pcapng, snoop and ERF, plain or compressed with gzip or zstd.
//!
//! Frames are borrowed from one buffer, or from the file mapped to memory where it isn't compressed:
//! reading costs no allocation and no system call per frame, and memory stays flat whatever the
//! capture's size. A file's format is detected by its first bytes.
//!
//! The reader accepts the same as libpcap and Wireshark: a frame may be longer than the file's
//! snapshot length, time may go backwards, link types may be unknown.

mod decompression;
mod erf;
mod error;
mod interface;
mod link_type;
mod pcap;
mod pcapng;
mod pieces;
mod record;
mod scout;
mod snoop;
mod source;
#[cfg(test)]
mod tests;
mod window;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use self::erf::Erf;
use self::pcap::Pcap;
use self::pcapng::PcapNg;
use self::record::{FrameRecord, Step};
use self::scout::scout;
use self::snoop::Snoop;
use self::source::{Source, describe_foreign};
use self::window::Window;

pub use self::error::CaptureError;
pub use self::link_type::LinkType;
pub use self::source::decompressed;

/// Latest time of a frame, UNIX nanoseconds (in the year 2262): later ones are damage, and deadlines
/// behind them must not overflow.
const TIME_MAX_NS: u64 = i64::MAX as u64;

/// One captured frame, borrowed until the next is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Time of capture: UNIX time in nanoseconds. As recorded: it may go backwards, and it is
    /// 0 for a pcapng Simple Packet Block, which has no time.
    pub time_ns: u64,
    /// The interface, numbered through the whole file; always 0 where the format has none.
    pub interface: u32,
    /// Its link type: the frame's first header.
    pub link_type: LinkType,
    /// The captured bytes; they may be none, and fewer than were on the wire.
    pub captured: &'a [u8],
    /// Length on the wire in bytes. As recorded: a damaged file may claim less than was captured.
    pub original_len: u32,
}

/// A capture file or stream.
///
/// ```
/// use std::path::Path;
///
/// use detector_user::source::capture::{CaptureError, CaptureFile, LinkType};
///
/// # fn main() -> Result<(), CaptureError> {
/// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures/clients.pcap");
/// let mut capture = CaptureFile::open(Path::new(path))?;
/// let mut bytes = 0;
/// while let Some(frame) = capture.next_frame()? {
///     assert_eq!(frame.link_type, LinkType::ETHERNET);
///     bytes += frame.captured.len();
/// }
/// assert_eq!((capture.frames(), bytes), (126, 36968));
/// # Ok(())
/// # }
/// ```
pub struct CaptureFile {
    name: String,
    window: Window,
    format: Format,
    frames: u64,
    /// The next frame's record, once it was looked at.
    ahead: Option<FrameRecord>,
    /// The end or an error was reported; nothing follows.
    finished: bool,
}

#[derive(Debug)]
enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
    Snoop(Snoop),
    Erf(Erf),
}

impl Format {
    #[inline]
    fn step(&mut self, data: &[u8]) -> Step {
        match self {
            Self::Pcap(pcap) => pcap.step(data),
            Self::PcapNg(pcapng) => pcapng.step(data),
            Self::Snoop(snoop) => snoop.step(data),
            Self::Erf(erf) => erf.step(data),
        }
    }

    /// Returns the length of the record at the start of `data`, by its header alone.
    #[inline]
    fn record_len(&self, data: &[u8]) -> Option<usize> {
        match self {
            Self::Pcap(pcap) => pcap.record_len(data),
            Self::PcapNg(pcapng) => pcapng.record_len(data),
            Self::Snoop(_) | Self::Erf(_) => None,
        }
    }

    /// Returns the place in `searched` of what looks like the header of a record like the one at the start of
    /// `record`.
    fn find_header(&self, record: &[u8], searched: &[u8]) -> Option<usize> {
        match self {
            Self::Pcap(pcap) => pcap.find_header(record, searched),
            Self::PcapNg(pcapng) => pcapng.find_header(searched),
            Self::Snoop(_) | Self::Erf(_) => None,
        }
    }
}

impl CaptureFile {
    /// Opens a capture; `-` is standard input.
    ///
    /// # Errors
    /// Where the file cannot be opened or read, is empty, is no capture, or is damaged within its
    /// file header.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        if path.as_os_str() == "-" {
            return Self::from_reader(io::stdin(), "standard input");
        }
        let name = path.display().to_string();
        match File::open(path) {
            Ok(_) if path.is_dir() => Err(CaptureError::Directory { file: name }),
            Ok(file) => match Window::map(&file) {
                Some(window) => Self::from_window(window, name),
                None => Self::from_reader(file, name),
            },
            Err(error) => Err(CaptureError::Open { file: name, error }),
        }
    }

    /// Reads a capture from anything that gives bytes; errors call it `name`. It is read in large
    /// pieces, so `reader` needs no buffer of its own.
    ///
    /// # Errors
    /// As [`CaptureFile::open`].
    pub fn from_reader(
        reader: impl Read + Send + 'static,
        name: impl Into<String>,
    ) -> Result<Self, CaptureError> {
        let name = name.into();
        match Source::new(reader) {
            Ok(source) => Self::from_window(Window::new(source), name),
            Err(error) => Err(CaptureError::Io {
                file: name,
                offset: 0,
                error,
            }),
        }
    }

    fn from_window(mut window: Window, name: String) -> Result<Self, CaptureError> {
        let format = recognise(&mut window, &name)?;
        Ok(Self {
            name,
            window,
            format,
            frames: 0,
            ahead: None,
            finished: false,
        })
    }

    /// Reads the next frame; `None` after the last.
    ///
    /// # Errors
    /// Where the capture is damaged or cannot be read any further. An error is returned once,
    /// after all frames before it; then comes `None`.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        let record = match self.ahead.take() {
            Some(record) => record,
            None => match self.next_record()? {
                Some(record) => record,
                None => return Ok(None),
            },
        };
        self.frames += 1;
        Ok(Some(Frame {
            time_ns: record.time_ns.min(TIME_MAX_NS),
            interface: record.interface,
            link_type: record.link_type,
            // Never empty for want of bytes: parsers give ranges within the record they measured.
            captured: self
                .window
                .take(record.len)
                .get(record.captured)
                .unwrap_or_default(),
            original_len: record.original_len,
        }))
    }

    /// Returns the next frame's time without reading the frame; `None` after the last.
    ///
    /// # Errors
    /// As [`next_frame`](Self::next_frame), which returns `None` then.
    pub fn next_time(&mut self) -> Result<Option<u64>, CaptureError> {
        if self.ahead.is_none() {
            self.ahead = self.next_record()?;
        }
        let ahead = self.ahead.as_ref();
        Ok(ahead.map(|record| record.time_ns.min(TIME_MAX_NS)))
    }

    /// Returns the name of an interface, if the capture has it (pcapng's `if_name`).
    #[must_use]
    pub fn interface_name(&self, interface: u32) -> Option<&str> {
        match &self.format {
            Format::Pcap(_) | Format::Snoop(_) | Format::Erf(_) => None,
            Format::PcapNg(pcapng) => pcapng.interface_name(interface),
        }
    }

    /// Returns the capture's name, as errors call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the bytes of the capture read so far, after decompression: the end of the last
    /// frame.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.window.offset()
    }

    /// Returns the number of frames read so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    #[inline(always)]
    fn next_record(&mut self) -> Result<Option<FrameRecord>, CaptureError> {
        // In most captures each record is a frame, and ends in memory.
        if self.finished || self.window.is_scouting_due() {
            return self.find_record(None);
        }
        match self.format.step(self.window.unread()) {
            Step::Frame(record) => Ok(Some(record)),
            step => self.find_record(Some(step)),
        }
    }

    /// Returns the next record with a frame, from the result of the first step on, if that was taken.
    #[inline(never)]
    fn find_record(
        &mut self,
        mut first: Option<Step>,
    ) -> Result<Option<FrameRecord>, CaptureError> {
        while !self.finished {
            if let Some(bytes) = self.window.begin_scouting() {
                scout(&self.format, bytes);
            }
            let taken = first.take();
            match taken.unwrap_or_else(|| self.format.step(self.window.unread())) {
                Step::Frame(record) => return Ok(Some(record)),
                Step::Skip(len) => {
                    self.window.take(len);
                }
                Step::Need(needed) => self.read_on(needed)?,
                Step::Corrupt(detail) => {
                    self.finished = true;
                    return Err(corrupt(&self.window, &self.name, detail));
                }
            }
        }
        Ok(None)
    }

    /// Reads a record's bytes into memory. At the end of the stream that ends the capture, well
    /// where it is the end of a record.
    fn read_on(&mut self, needed: usize) -> Result<(), CaptureError> {
        let outcome = fill(&mut self.window, &self.name, needed);
        self.finished = !matches!(outcome, Ok(true));
        if matches!(outcome, Ok(false)) && !self.window.unread().is_empty() {
            return Err(truncated(&self.window, &self.name, needed));
        }
        outcome.map(drop)
    }
}

/// Bytes by which a format without a signature is recognised.
const ERF_RECORDS: usize = 1 << 17;

/// Detects the format by the first bytes, and parses the file header where there is one.
fn recognise(window: &mut Window, name: &str) -> Result<Format, CaptureError> {
    let complete = fill(window, name, pcap::FILE_HEADER)?;
    let head = window.unread();
    let Some(magic) = head.first_chunk().copied() else {
        return Err(too_short(head, name));
    };
    if PcapNg::recognises(magic) {
        return Ok(Format::PcapNg(PcapNg::new()));
    }
    if Snoop::recognises(head) {
        if head.len() < snoop::FILE_HEADER {
            return Err(truncated(window, name, snoop::FILE_HEADER));
        }
        let snoop =
            Snoop::from_file_header(head).map_err(|detail| corrupt(window, name, detail))?;
        window.take(snoop::FILE_HEADER);
        return Ok(Format::Snoop(snoop));
    }
    if !Pcap::recognises(magic) {
        fill(window, name, ERF_RECORDS)?;
        let head = window.unread();
        if Erf::recognises(head) {
            return Ok(Format::Erf(Erf));
        }
        let detail = describe_foreign(head.get(..8).unwrap_or(head));
        return Err(CaptureError::NotACapture {
            file: name.to_owned(),
            detail,
        });
    }
    if !complete {
        return Err(truncated(window, name, pcap::FILE_HEADER));
    }
    let pcap = Pcap::from_file_header(head).map_err(|detail| corrupt(window, name, detail))?;
    window.take(pcap::FILE_HEADER);
    Ok(Format::Pcap(pcap))
}

fn too_short(head: &[u8], name: &str) -> CaptureError {
    let file = name.to_owned();
    if head.is_empty() {
        return CaptureError::Empty { file };
    }
    let detail = format!("{} bytes are too few for any file header", head.len());
    CaptureError::NotACapture { file, detail }
}

/// Fills as [`Window::fill`], with errors that tell the system's from those of a damaged stream.
fn fill(window: &mut Window, name: &str, needed: usize) -> Result<bool, CaptureError> {
    window.fill(needed).map_err(|error| {
        let file = name.to_owned();
        let offset = window.offset() + window.unread().len() as u64;
        match window.blames_compression(&error) {
            Some(compression) => CaptureError::Compression {
                file,
                compression: compression.name(),
                offset,
                detail: error.to_string(),
            },
            None => CaptureError::Io {
                file,
                offset,
                error,
            },
        }
    })
}

fn truncated(window: &Window, name: &str, needed: usize) -> CaptureError {
    CaptureError::Truncated {
        file: name.to_owned(),
        offset: window.offset(),
        needed: needed as u64,
        present: window.unread().len() as u64,
    }
}

fn corrupt(window: &Window, name: &str, detail: String) -> CaptureError {
    CaptureError::Corrupt {
        file: name.to_owned(),
        offset: window.offset(),
        detail,
    }
}
