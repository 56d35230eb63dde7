//! pcapng: blocks of a type, a length, a body and the length again.
//!
//! Format: draft-ietf-opsawg-pcapng. The crate pcap-parser does not serve: it allocates for each packet
//! with options, reads the timestamp options of big-endian sections as little-endian ones, and cannot
//! tell a false length from a block that has not arrived yet.

use super::LinkType;
use super::interface::{Clock, Interface, Interfaces};
use super::record::{ByteOrder, FrameRecord, MAX_BLOCK, MAX_FRAME, Step};

/// Block types.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const PACKET_OBSOLETE: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
/// Options of an Interface Description Block.
const OPT_ENDOFOPT: u16 = 0;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;
/// The byte-order magic of a Section Header Block.
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Type and length before a block's body.
const BLOCK_HEADER: usize = 8;
/// The length again, after it.
const BLOCK_TRAILER: usize = 4;
/// Code and length before an option's value.
const OPTION_HEADER: usize = 4;
/// Type, length and byte-order magic of a Section Header Block.
const SECTION_START: usize = 12;

/// State from the sections and interfaces so far, which packets depend on.
#[derive(Debug)]
pub(super) struct PcapNg {
    order: ByteOrder,
    interfaces: Interfaces,
}

impl PcapNg {
    /// Whether a file that begins with these bytes is a pcapng file. The type of a Section Header Block reads the
    /// same in both byte orders.
    pub(super) fn recognises(magic: [u8; 4]) -> bool {
        magic == SECTION_HEADER.to_le_bytes()
    }

    pub(super) fn new() -> Self {
        Self {
            order: ByteOrder::Little,
            interfaces: Interfaces::default(),
        }
    }

    pub(super) fn interface_name(&self, interface: u32) -> Option<&str> {
        self.interfaces.name(interface)
    }

    /// Parses the block at the start of `data`.
    #[inline]
    pub(super) fn step(&mut self, data: &[u8]) -> Step {
        self.block(data).unwrap_or_else(Step::Corrupt)
    }

    /// Returns the length of the block at the start of `data`, by its header alone.
    #[inline]
    pub(super) fn record_len(&self, data: &[u8]) -> Option<usize> {
        let [_, len] = self.order.words(data)?;
        let is_plausible = (BLOCK_HEADER as u32..=MAX_BLOCK).contains(&len);
        is_plausible.then_some(len.next_multiple_of(4) as usize)
    }

    /// Returns the place in `searched`, which begins where a block may begin, of what looks like an Enhanced Packet
    /// Block whose lengths agree.
    pub(super) fn find_header(&self, searched: &[u8]) -> Option<usize> {
        (0..searched.len()).step_by(4).find(|place| {
            let block = searched.get(*place..).unwrap_or_default();
            let Some([ENHANCED_PACKET, len, _, _, _, captured_len, original_len]) =
                self.order.words(block)
            else {
                return false;
            };
            let padded = captured_len.next_multiple_of(4);
            (1..=MAX_FRAME).contains(&captured_len)
                && captured_len <= original_len
                && (padded..padded + 1024).contains(&len)
        })
    }

    fn block(&mut self, data: &[u8]) -> Result<Step, String> {
        if Self::recognises(data.first_chunk().copied().unwrap_or_default()) {
            if data.len() < SECTION_START {
                return Ok(Step::Need(SECTION_START));
            }
            self.order = section_order(data)?;
        }
        let Some([kind, len]) = self.order.words(data) else {
            return Ok(Step::Need(BLOCK_HEADER));
        };
        if len < (BLOCK_HEADER + BLOCK_TRAILER) as u32 || len > MAX_BLOCK {
            return Err(format!(
                "a block of type {kind:#x} claims to be {len} bytes long"
            ));
        }
        // Some programs leave the padding out of the length.
        let padded = len.next_multiple_of(4) as usize;
        let Some(block) = data.get(..padded) else {
            return Ok(Step::Need(padded));
        };
        let body = block
            .get(BLOCK_HEADER..padded - BLOCK_TRAILER)
            .unwrap_or_default();
        let trailer = block.last_chunk().map(|bytes| self.order.u32(*bytes));
        if trailer != Some(len) {
            return Err(format!(
                "a block of type {kind:#x} begins with the length {len} and ends with {}",
                trailer.unwrap_or_default()
            ));
        }
        match kind {
            ENHANCED_PACKET => self.enhanced_packet(padded, body),
            SIMPLE_PACKET => self.simple_packet(padded, body),
            PACKET_OBSOLETE => self.obsolete_packet(padded, body),
            INTERFACE_DESCRIPTION => self
                .interface_description(body)
                .map(|()| Step::Skip(padded)),
            SECTION_HEADER => self.section_header(body).map(|()| Step::Skip(padded)),
            _ => Ok(Step::Skip(padded)),
        }
    }

    fn section_header(&mut self, body: &[u8]) -> Result<(), String> {
        let Some([_, _, major, minor]) = self.order.halves(body) else {
            return Err("a section header is too short for a version".to_owned());
        };
        if major != 1 {
            return Err(format!(
                "a section claims pcapng version {major}.{minor}, known is 1.0"
            ));
        }
        self.interfaces.begin_section();
        Ok(())
    }

    fn interface_description(&mut self, body: &[u8]) -> Result<(), String> {
        let (Some([link_type, _]), Some([_, snap_len]), Some(mut options)) = (
            self.order.halves(body),
            self.order.words(body),
            body.get(8..),
        ) else {
            return Err("an interface description is too short".to_owned());
        };
        let mut name = None;
        let mut clock = Clock::default();
        while let Some((code, value)) = next_option(self.order, &mut options)? {
            match code {
                IF_NAME => {
                    let text = String::from_utf8_lossy(value);
                    name = Some(text.trim_end_matches('\0').to_owned());
                }
                IF_TSRESOL => match value {
                    [resolution] => clock.set_resolution(*resolution),
                    _ => return Err("an interface's time resolution is not one byte".to_owned()),
                },
                IF_TSOFFSET => match value.try_into() {
                    Ok(seconds) => clock.set_offset(self.order.i64(seconds)),
                    Err(_) => return Err("an interface's time offset is not 8 bytes".to_owned()),
                },
                _ => {}
            }
        }
        self.interfaces.add(
            name.as_deref(),
            LinkType(u32::from(link_type)),
            snap_len,
            clock,
        )
    }

    fn enhanced_packet(&self, len: usize, body: &[u8]) -> Result<Step, String> {
        let Some([interface, fields @ ..]) = self.order.words::<5>(body) else {
            return Err("an Enhanced Packet Block is too short".to_owned());
        };
        self.timed_packet(len, body, interface, fields)
    }

    fn obsolete_packet(&self, len: usize, body: &[u8]) -> Result<Step, String> {
        let (Some([interface, _]), Some([_, fields @ ..])) =
            (self.order.halves(body), self.order.words::<5>(body))
        else {
            return Err("a Packet Block is too short".to_owned());
        };
        self.timed_packet(len, body, u32::from(interface), fields)
    }

    fn timed_packet(
        &self,
        len: usize,
        body: &[u8],
        interface: u32,
        [high, low, captured_len, original_len]: [u32; 4],
    ) -> Result<Step, String> {
        let interface = self.interfaces.get(interface)?;
        let time_ns = interface.clock.unix_ns(high, low);
        frame(
            len,
            20,
            body,
            captured_len,
            original_len,
            time_ns,
            interface,
        )
    }

    /// Parses a Simple Packet Block, which has neither an interface, which is the section's first,
    /// nor a time, nor the captured length.
    fn simple_packet(&self, len: usize, body: &[u8]) -> Result<Step, String> {
        let Some([original_len]) = self.order.words(body) else {
            return Err("a Simple Packet Block is too short".to_owned());
        };
        let interface = self.interfaces.get(0)?;
        let captured_len = match interface.snap_len {
            0 => original_len,
            snap_len => original_len.min(snap_len),
        };
        frame(len, 4, body, captured_len, original_len, 0, interface)
    }
}

/// Returns the byte order of the section whose header stands at the start of `data`.
fn section_order(data: &[u8]) -> Result<ByteOrder, String> {
    for order in [ByteOrder::Little, ByteOrder::Big] {
        if let Some([_, _, BYTE_ORDER_MAGIC]) = order.words(data) {
            return Ok(order);
        }
    }
    Err("a section header without the byte-order magic".to_owned())
}

/// Splits off the code and value of a block's next option, until the end-of-options mark or the block's
/// end.
fn next_option<'a>(
    order: ByteOrder,
    options: &mut &'a [u8],
) -> Result<Option<(u16, &'a [u8])>, String> {
    if options.is_empty() {
        return Ok(None);
    }
    let too_long = || "an interface's options reach beyond their block".to_owned();
    let [code, len] = order.halves(options).ok_or_else(too_long)?;
    let len = usize::from(len);
    let (option, rest) = options
        .split_at_checked(OPTION_HEADER + len.next_multiple_of(4))
        .ok_or_else(too_long)?;
    *options = rest;
    let value = option.get(OPTION_HEADER..OPTION_HEADER + len);
    let value = value.unwrap_or_default();
    Ok((code != OPT_ENDOFOPT).then_some((code, value)))
}

/// Returns the frame that stands `at` so many bytes into a block's body.
#[inline]
fn frame(
    len: usize,
    at: usize,
    body: &[u8],
    captured_len: u32,
    original_len: u32,
    time_ns: u64,
    interface: Interface,
) -> Result<Step, String> {
    if captured_len > MAX_FRAME || body.len() < at + captured_len as usize {
        return Err(format!(
            "a packet claims {captured_len} captured bytes in a block of {len} bytes"
        ));
    }
    let start = BLOCK_HEADER + at;
    Ok(Step::Frame(FrameRecord {
        len,
        captured: start..start + captured_len as usize,
        time_ns,
        interface: interface.number,
        link_type: interface.link_type,
        original_len,
    }))
}
