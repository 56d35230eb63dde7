//! Reads captures frame by frame: pcap and pcapng, plain or compressed with gzip or zstd.

use std::io::{Cursor, Read};
use std::path::Path;

use anyhow::{Context, bail};
use flate2::read::MultiGzDecoder;
use pcap_parser::{Block, PcapBlockOwned, PcapError, create_reader};

/// More than any frame that libpcap writes.
const BUFFER: usize = 512 * 1024;
/// The longest block that is believed.
const BLOCK_MAX: usize = 64 * 1024 * 1024;

/// One captured frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// UNIX time in nanoseconds; 0 where the capture tells none.
    pub time_ns: u64,
    /// Number in the LINKTYPE_ registry.
    pub link_type: u32,
    /// The captured bytes.
    pub bytes: &'a [u8],
}

/// Calls `each` with every frame up to the end, or to where the capture is damaged.
///
/// # Errors
/// If the file cannot be opened, is no capture, or is damaged.
pub fn for_each(path: &Path, mut each: impl FnMut(Frame<'_>)) -> anyhow::Result<()> {
    let (bytes, damage) = decompressed(path)?;
    let mut reader = create_reader(BUFFER, Cursor::new(bytes))
        .map_err(|error| anyhow::anyhow!("{} is no capture: {error:?}", path.display()))?;
    let mut interfaces = Interfaces::default();
    // How much the last refill left unread: if a second one adds nothing, the capture is cut.
    let mut stuck = None;
    loop {
        match reader.next() {
            Ok((size, block)) => {
                if let Some(frame) = interfaces.frame(&block) {
                    each(frame);
                }
                reader.consume(size);
                stuck = None;
            }
            Err(PcapError::Eof) => return damage,
            Err(PcapError::Incomplete(_)) => {
                let unread = (reader.position(), reader.data().len());
                if stuck == Some(unread) && reader.reader_exhausted() {
                    bail!("{} is cut within a record", path.display());
                }
                stuck = Some(unread);
                if let Err(error) = reader.refill() {
                    bail!("cannot read {}: {error:?}", path.display());
                }
            }
            Err(PcapError::BufferTooSmall) => {
                let larger = reader.data().len().max(BUFFER) * 2;
                if larger > BLOCK_MAX || !reader.grow(larger) {
                    bail!("{} has a record longer than any capture's", path.display());
                }
            }
            Err(error) => {
                let detail = match error {
                    PcapError::NomError(_, kind) | PcapError::OwnedNomError(_, kind) => {
                        format!("{kind:?}")
                    }
                    PcapError::UnexpectedEof => "it ends within a record".to_owned(),
                    error => format!("{error:?}"),
                };
                bail!("{} is damaged: {detail}", path.display());
            }
        }
    }
}

/// Decompresses the whole capture, gzip or zstd (by its first bytes), up to where it is damaged.
fn decompressed(path: &Path) -> anyhow::Result<(Vec<u8>, anyhow::Result<()>)> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut whole = Vec::new();
    let result = match bytes.as_slice() {
        [0x1f, 0x8b, ..] => MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut whole),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            zstd::Decoder::new(bytes.as_slice())?.read_to_end(&mut whole)
        }
        _ => return Ok((bytes, Ok(()))),
    };
    let damage = result.map(drop);
    let damage = damage.with_context(|| format!("{} is badly compressed", path.display()));
    Ok((whole, damage))
}

/// The interfaces that the capture has described so far.
#[derive(Default)]
struct Interfaces {
    /// Classic pcap's one: link type and nanoseconds per unit of the fraction.
    classic: (u32, u64),
    /// Of the current pcapng section: link type, units per second, seconds to add.
    section: Vec<(u32, u64, i64)>,
}

impl Interfaces {
    fn frame<'a>(&mut self, block: &'a PcapBlockOwned<'a>) -> Option<Frame<'a>> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                let fraction = if header.is_nanosecond_precision() {
                    1
                } else {
                    1000
                };
                // The upper bits tell of a frame check sequence.
                let link_type = header.network.0.cast_unsigned() & 0x03ff_ffff;
                self.classic = (link_type, fraction);
                None
            }
            PcapBlockOwned::Legacy(record) => Some(Frame {
                time_ns: u64::from(record.ts_sec) * 1_000_000_000
                    + u64::from(record.ts_usec) * self.classic.1,
                link_type: self.classic.0,
                bytes: record
                    .data
                    .get(..record.caplen as usize)
                    .unwrap_or(record.data),
            }),
            PcapBlockOwned::NG(block) => self.block(block),
        }
    }

    fn block<'a>(&mut self, block: &'a Block<'a>) -> Option<Frame<'a>> {
        match block {
            Block::SectionHeader(_) => {
                self.section.clear();
                None
            }
            Block::InterfaceDescription(interface) => {
                let units = interface.ts_resolution().unwrap_or(1_000_000).max(1);
                let link_type = interface.linktype.0.cast_unsigned();
                self.section.push((link_type, units, interface.ts_offset()));
                None
            }
            Block::EnhancedPacket(packet) => {
                let interface = self.section.get(packet.if_id as usize)?;
                let stamp = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                Some(Frame {
                    time_ns: nanoseconds(stamp, interface.1, interface.2),
                    link_type: interface.0,
                    bytes: packet
                        .data
                        .get(..packet.caplen as usize)
                        .unwrap_or(packet.data),
                })
            }
            Block::SimplePacket(packet) => {
                let interface = self.section.first()?;
                let len = packet.origlen as usize;
                Some(Frame {
                    time_ns: 0,
                    link_type: interface.0,
                    bytes: packet.data.get(..len).unwrap_or(packet.data),
                })
            }
            _ => None,
        }
    }
}

fn nanoseconds(stamp: u64, units_per_second: u64, offset: i64) -> u64 {
    let nanoseconds = u128::from(stamp) * 1_000_000_000 / u128::from(units_per_second);
    let shifted =
        i128::try_from(nanoseconds).unwrap_or(i128::MAX) + i128::from(offset) * 1_000_000_000;
    u64::try_from(shifted).unwrap_or(0)
}
