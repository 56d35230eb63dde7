//! Record tracking: one side's record headers through its segments.
//!
//! The side's state has the sequence number of its next record header, so a segment within a record's
//! body costs one comparison. Missing bytes leave a hole: tracking resynchronises at the next segment
//! that begins with a plausible header and marks that record. Bytes that arrive late are read into
//! the hole.

use crate::counter::Counter;
use crate::flow::{Flow, RECORDS_MAX, Record, Side, flow_flags, record_flags, side_flags};
use crate::headers::Segment;
use crate::observation::events;
use crate::packet::Packet;
use crate::record::{
    ALERT, APPLICATION_DATA, CLIENT_HELLO, HANDSHAKE, HEAD_MAX, HEADER_LEN, RecordHeader, detail,
};

/// Maximum records read of one segment: the timeline's capacity.
const RECORDS_PER_SEGMENT: usize = RECORDS_MAX;
/// The shortest TLS 1.3 Finished: 4 + 32 + content type + 16 of tag (RFC 8446 §4.4.4, §5.2).
const FINISHED_MIN: u16 = 53;
/// Maximum short application records reported per side: a Finished and an alert or two matter.
const SHORT_RECORDS_MAX: u16 = 4;

/// One side of a flow while one of its segments is read.
pub(crate) struct Track<'a> {
    pub(crate) side: &'a mut Side,
    pub(crate) records: &'a mut [Record; RECORDS_MAX],
    pub(crate) started_ns: u64,
    pub(crate) now_ns: u64,
    pub(crate) order: &'a mut u8,
    pub(crate) flow_flags: &'a mut u8,
    pub(crate) events: u16,
    /// Sequence number of the side's first byte, if its peer acknowledged any, or [`NOT_EXPECTED`].
    ///
    /// No `Option`: the compiler would compute with the number that `None` lacks, which the verifier refuses.
    pub(crate) expected: u64,
}

/// Lack of an expected sequence number.
pub(crate) const NOT_EXPECTED: u64 = 1 << 32;

/// Maximum distance of a side's first segment from its first byte, in a reordered flight.
const FIRST_AHEAD_MAX: u32 = 1 << 16;

/// Position of the next record header in a segment.
struct Cursor {
    /// Sequence number of the record header.
    seq: u32,
    /// Bytes of that record's head received in earlier segments.
    have: u32,
    /// Sequence number after the last byte to read.
    limit: u32,
    flags: u8,
}

/// Reading ended where the next record begins, as far as it has come.
const SYNCED: u32 = side_flags::SYNCED as u32;
/// It ended at bytes of a segment that were not seen.
const NOT_SEEN: u32 = 0;
/// It ended at bytes that are no record header.
const NOT_TLS: u32 = side_flags::NOT_TLS as u32;

/// Whether `a` is before `b` in sequence space (RFC 9293 §3.4).
#[inline(always)]
pub fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl Track<'_> {
    /// Reads the record headers of one segment with payload.
    ///
    /// # Errors
    /// [`Counter::NotHello`] if a provisional flow does not begin with a ClientHello.
    #[inline(always)]
    pub(crate) fn segment<P: Packet>(
        &mut self,
        packet: &P,
        segment: &Segment,
    ) -> Result<(), Counter> {
        let start = segment.payload_seq();
        let end = start.wrapping_add(segment.payload_len);
        if !self.side.has(side_flags::STARTED) {
            let first = self.first_byte(start);
            self.side.flags |= side_flags::STARTED;
            self.side.start_seq = first;
            self.side.sent_to = first;
            if !self.resumed() {
                self.side.flags |= side_flags::SYNCED;
                self.side.header_seq = first;
            }
        }
        let Some(mut cursor) = self.cursor(packet, segment, start, end) else {
            return Ok(());
        };
        cursor.flags = packet.black_box(u32::from(cursor.flags)) as u8;
        cursor.have = packet.black_box(cursor.have);
        self.read(packet, segment, start, cursor)
    }

    /// Returns the sequence number of the side's first byte, given its first segment's `start`.
    #[inline(always)]
    fn first_byte(&self, start: u32) -> u32 {
        let expected = self.expected as u32;
        if self.expected < NOT_EXPECTED && start.wrapping_sub(expected) < FIRST_AHEAD_MAX {
            return expected;
        }
        start
    }

    #[inline(always)]
    fn resumed(&self) -> bool {
        *self.flow_flags & flow_flags::RESUMED != 0
    }

    /// Returns the position of this segment's first record header, if it has one.
    #[inline(always)]
    fn cursor<P: Packet>(
        &mut self,
        packet: &P,
        segment: &Segment,
        start: u32,
        end: u32,
    ) -> Option<Cursor> {
        let side = &mut *self.side;
        if side.has(side_flags::HOLE) && !before(side.hole_seq, start) && before(side.hole_seq, end)
        {
            let limit = if before(side.hole_end, end) {
                side.hole_end
            } else {
                end
            };
            return Some(Cursor {
                seq: side.hole_seq,
                have: 0,
                limit,
                flags: record_flags::LATE,
            });
        }
        if !side.has(side_flags::SYNCED) {
            return self.resynchronise(packet, segment, start, end);
        }
        if !before(side.header_seq, start) {
            let head_end = side.header_seq.wrapping_add(u32::from(side.head_len));
            // Before the header, or a retransmission of the received part of its head.
            if !before(side.header_seq, end) || (side.head_len > 0 && !before(head_end, end)) {
                return None;
            }
            // This segment has the whole header: its stored part is not needed.
            side.head_len = 0;
            return Some(Cursor {
                seq: side.header_seq,
                have: 0,
                limit: end,
                flags: 0,
            });
        }
        let head_end = side.header_seq.wrapping_add(u32::from(side.head_len));
        if before(head_end, start) {
            self.open_hole(start);
            return self.resynchronise(packet, segment, start, end);
        }
        before(head_end, end).then_some(Cursor {
            seq: side.header_seq,
            have: u32::from(side.head_len),
            limit: end,
            flags: 0,
        })
    }

    /// Marks the bytes from the expected header up to `start` as missing.
    #[inline(always)]
    fn open_hole(&mut self, start: u32) {
        let side = &mut *self.side;
        side.flags |= side_flags::GAP | side_flags::HOLE;
        side.hole_seq = side.header_seq;
        side.hole_end = start;
        side.head_len = 0;
        side.flags &= !side_flags::SYNCED;
    }

    /// Resumes at the segment's first byte if it is new and begins a plausible record header.
    #[inline(always)]
    fn resynchronise<P: Packet>(
        &mut self,
        packet: &P,
        segment: &Segment,
        start: u32,
        end: u32,
    ) -> Option<Cursor> {
        if self.side.has(side_flags::SEEN) && before(start, self.side.next_seq) {
            return None;
        }
        if segment.payload_len < HEADER_LEN {
            return None;
        }
        let head = packet.head(segment.payload_offset, HEADER_LEN)?;
        RecordHeader::parse(head)?;
        Some(Cursor {
            seq: start,
            have: 0,
            limit: end,
            flags: record_flags::AFTER_GAP,
        })
    }

    /// Reads records from the cursor to the segment's end and stores the next one's position.
    #[inline(always)]
    fn read<P: Packet>(
        &mut self,
        packet: &P,
        segment: &Segment,
        start: u32,
        mut cursor: Cursor,
    ) -> Result<(), Counter> {
        let late = cursor.flags & record_flags::LATE != 0;
        let mut found = SYNCED;
        for _ in 0..RECORDS_PER_SEGMENT {
            if !before(cursor.seq.wrapping_add(cursor.have), cursor.limit) {
                break;
            }
            let Some((head, have)) = self.head(packet, segment, start, &cursor) else {
                found = NOT_SEEN;
                break;
            };
            let header = RecordHeader::parse(head);
            if have >= HEADER_LEN && header.is_none() {
                found = NOT_TLS;
                break;
            }
            let Some(header) = header.filter(|header| have >= HEADER_LEN + header.detail_len())
            else {
                if !late {
                    self.side.head = head;
                    self.side.head_len = have as u8;
                }
                break;
            };
            self.record(&header, detail(head), &cursor)?;
            self.side.head_len = 0;
            // The verifier must not distinguish paths by the record before.
            let next = cursor
                .seq
                .wrapping_add(HEADER_LEN)
                .wrapping_add(u32::from(header.length));
            cursor.seq = packet.black_box(next);
            self.events = packet.black_box(u32::from(self.events)) as u16;
            cursor.have = 0;
            cursor.flags =
                packet.black_box(u32::from(cursor.flags & !record_flags::AFTER_GAP)) as u8;
        }
        let found = packet.black_box(found);
        if late {
            self.close_hole(cursor.seq, found == SYNCED);
        } else {
            self.store_position(cursor.seq, found)?;
        }
        Ok(())
    }

    /// Returns the head of the record at the cursor and its length: the stored part and this
    /// segment's.
    #[inline(always)]
    fn head<P: Packet>(
        &self,
        packet: &P,
        segment: &Segment,
        start: u32,
        cursor: &Cursor,
    ) -> Option<(u64, u32)> {
        let from = cursor.seq.wrapping_add(cursor.have);
        let available = cursor.limit.wrapping_sub(from);
        let wanted = HEAD_MAX - (cursor.have & 7);
        let count = if available < wanted {
            available
        } else {
            wanted
        };
        let offset = segment.payload_offset + from.wrapping_sub(start) as usize;
        let new = packet.head(offset, count)?;
        if cursor.have == 0 {
            return Some((new, count));
        }
        Some((
            self.side.head | (new >> ((cursor.have & 7) * 8)),
            cursor.have + count,
        ))
    }

    /// Adds one record to the timeline.
    #[inline(always)]
    fn record(
        &mut self,
        header: &RecordHeader,
        detail: [u8; 2],
        cursor: &Cursor,
    ) -> Result<(), Counter> {
        if *self.flow_flags & flow_flags::PROVISIONAL != 0 {
            let [handshake_type, _] = detail;
            if header.content_type != HANDSHAKE || handshake_type != CLIENT_HELLO {
                return Err(Counter::NotHello);
            }
            *self.flow_flags &= !flow_flags::PROVISIONAL;
            self.events |= events::HELLO;
        }
        let detail = if header.detail_len() == 0 {
            [0; 2]
        } else {
            detail
        };
        if let Some(slot) = self.records.get_mut(usize::from(self.side.record_count)) {
            let at_us = self.now_ns.saturating_sub(self.started_ns) / 1000;
            *slot = Record {
                at_us: if at_us > u64::from(u32::MAX) {
                    u32::MAX
                } else {
                    at_us as u32
                },
                length: header.length,
                content_type: header.content_type,
                version_minor: header.version_minor,
                detail,
                order: *self.order,
                flags: cursor.flags,
            };
            self.side.record_count += 1;
            *self.order = self.order.wrapping_add(1);
        }
        self.apply(header, cursor.seq);
        Ok(())
    }

    /// Updates events, counts and the end of plaintext by a record's type.
    #[inline(always)]
    fn apply(&mut self, header: &RecordHeader, seq: u32) {
        match header.content_type {
            ALERT => self.events |= events::ALERT,
            APPLICATION_DATA => {
                self.side.application_records = self.side.application_records.saturating_add(1);
                if header.length < FINISHED_MIN
                    && self.side.application_records <= SHORT_RECORDS_MAX
                {
                    self.events |= events::SHORT_RECORD;
                }
            }
            _ => {}
        }
        // Not at ChangeCipherSpec: after a HelloRetryRequest the ServerHello is yet to come
        // (RFC 8446 App. D.4), and up to TLS 1.2 little else follows in the clear's guise.
        if header.content_type == APPLICATION_DATA
            && (!self.side.has(side_flags::PLAINTEXT_END) || before(seq, self.side.plaintext_end))
        {
            self.side.flags |= side_flags::PLAINTEXT_END;
            self.side.plaintext_end = seq;
        }
    }

    /// Stores the next header's position after reading in order, or that it is unknown.
    #[inline(always)]
    fn store_position(&mut self, next: u32, found: u32) -> Result<(), Counter> {
        if found == SYNCED {
            self.side.flags |= side_flags::SYNCED;
            self.side.header_seq = next;
            return Ok(());
        }
        if *self.flow_flags & flow_flags::PROVISIONAL != 0 {
            return Err(Counter::NotHello);
        }
        self.side.flags |= side_flags::GAP | found as u16;
        self.side.flags &= !side_flags::SYNCED;
        self.side.head_len = 0;
        Ok(())
    }

    /// Shrinks or closes the hole after reading late bytes; a closed one may restore the position.
    #[inline(always)]
    fn close_hole(&mut self, next: u32, synced: bool) {
        let side = &mut *self.side;
        side.hole_seq = next;
        if synced && before(next, side.hole_end) {
            return;
        }
        side.flags &= !side_flags::HOLE;
        if synced && !side.has(side_flags::SYNCED) && !before(next, side.next_seq) {
            side.flags |= side_flags::SYNCED;
            side.header_seq = next;
            side.head_len = 0;
        }
    }
}

/// Returns the tracker of the sender's side.
#[inline(always)]
pub(crate) fn track<'a>(
    expected: u64,
    side: &'a mut Side,
    records: &'a mut [Record; RECORDS_MAX],
    order: &'a mut u8,
    flow_flags: &'a mut u8,
    started_ns: u64,
    now_ns: u64,
) -> Track<'a> {
    Track {
        side,
        records,
        started_ns,
        now_ns,
        order,
        flow_flags,
        events: 0,
        expected,
    }
}

/// Whether the flow is established, so that its data need no processing.
///
/// Only the number of records on both sides counts; a refusal has fewer. In TLS 1.3 the server's
/// flight is up to five encrypted records, its tickets are two, and its refusal is one.
#[inline(always)]
pub fn is_settled(flow: &Flow) -> bool {
    let [client, server] = &flow.sides;
    let (client, server) = (client.application_records, server.application_records);
    (client >= 4 && server >= 9) || (client >= 1 && server >= 24) || client >= 24
}
