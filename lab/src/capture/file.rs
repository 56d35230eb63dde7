//! Capture files in memory: read from classic pcap, plain or compressed, written as pcap or pcapng.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, bail};
use flate2::read::MultiGzDecoder;

use super::frame::Frame;
use super::link_type::ETHERNET;
use super::pcapng;

/// First bytes of a gzip member (RFC 1952 §2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Longer frames are taken for damage.
const FRAME_MAX: usize = 1 << 20;

/// The format of a capture file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Classic, microseconds, little-endian.
    #[default]
    Pcap,
    /// Classic, nanoseconds, big-endian.
    PcapNanosBigEndian,
    /// pcapng with nanoseconds (`if_tsresol` 9).
    PcapNg,
}

impl Format {
    /// Returns the file name's extension.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Pcap | Self::PcapNanosBigEndian => "pcap",
            Self::PcapNg => "pcapng",
        }
    }
}

/// Frames with what their file says of them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// A number of the LINKTYPE_ registry.
    pub link_type: u32,
    /// The format that it is written in.
    pub format: Format,
    /// In the order they were captured.
    pub frames: Vec<Frame>,
}

impl Capture {
    /// Returns a capture of Ethernet frames, to be written as classic pcap.
    #[must_use]
    pub fn ethernet(frames: Vec<Frame>) -> Self {
        Self {
            link_type: ETHERNET,
            format: Format::Pcap,
            frames,
        }
    }

    /// Reads a classic pcap file of any byte order and precision.
    ///
    /// # Errors
    /// If it can't be read or isn't one.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let mut bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        if bytes.starts_with(&GZIP) {
            let mut plain = Vec::new();
            MultiGzDecoder::new(bytes.as_slice())
                .read_to_end(&mut plain)
                .with_context(|| format!("cannot decompress {}", path.display()))?;
            bytes = plain;
        }
        Self::parse(&bytes).with_context(|| format!("cannot use {}", path.display()))
    }

    /// Parses classic pcap; frames after damage are left out.
    ///
    /// # Errors
    /// If the header isn't that of classic pcap.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let magic: [u8; 4] = *bytes.first_chunk().context("it is empty")?;
        let (big, unit_ns) = match magic {
            [0xd4, 0xc3, 0xb2, 0xa1] => (false, 1000),
            [0xa1, 0xb2, 0xc3, 0xd4] => (true, 1000),
            [0x4d, 0x3c, 0xb2, 0xa1] => (false, 1),
            [0xa1, 0xb2, 0x3c, 0x4d] => (true, 1),
            _ => bail!("it is no classic pcap file; convert it with `editcap -F pcap`"),
        };
        let word = |at: usize| -> Option<u32> {
            let raw: [u8; 4] = *bytes.get(at..)?.first_chunk()?;
            Some(if big {
                u32::from_be_bytes(raw)
            } else {
                u32::from_le_bytes(raw)
            })
        };
        let link_type = word(20).context("its header is cut")? & 0xffff;
        let mut frames = Vec::new();
        let mut at = 24;
        while let (Some(seconds), Some(fraction), Some(len), Some(wire_len)) =
            (word(at), word(at + 4), word(at + 8), word(at + 12))
        {
            let len = len as usize;
            let Some(data) = bytes.get(at + 16..at + 16 + len) else {
                break;
            };
            if len > FRAME_MAX {
                break;
            }
            frames.push(Frame {
                time_ns: u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * unit_ns,
                bytes: data.to_vec(),
                wire_len: wire_len as usize,
            });
            at += 16 + len;
        }
        Ok(Self {
            link_type,
            format: Format::Pcap,
            frames,
        })
    }

    /// Returns the file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self.format {
            Format::Pcap => self.to_pcap(u32::to_le_bytes, 0xa1b2_c3d4, 1000),
            Format::PcapNanosBigEndian => self.to_pcap(u32::to_be_bytes, 0xa1b2_3c4d, 1),
            Format::PcapNg => {
                let interface = pcapng::Interface {
                    link_type: self.link_type as u16,
                    name: None,
                };
                pcapng::to_bytes(&[interface], self.frames.iter().map(|frame| (0, frame)))
            }
        }
    }

    fn to_pcap(&self, word: fn(u32) -> [u8; 4], magic: u32, unit_ns: u64) -> Vec<u8> {
        let mut out = Vec::new();
        // Two half words of version, which differ in order with the words.
        let version = if word(1)[0] == 1 {
            0x0004_0002
        } else {
            0x0002_0004
        };
        for value in [magic, version, 0, 0, 262_144, self.link_type] {
            out.extend(word(value));
        }
        for frame in &self.frames {
            let seconds = (frame.time_ns / 1_000_000_000) as u32;
            let fraction = (frame.time_ns % 1_000_000_000 / unit_ns) as u32;
            let lens = [frame.bytes.len() as u32, frame.wire_len as u32];
            for value in [seconds, fraction, lens[0], lens[1]] {
                out.extend(word(value));
            }
            out.extend(&frame.bytes);
        }
        out
    }
}
