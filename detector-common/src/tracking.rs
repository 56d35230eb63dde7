//! Following one side's record headers through its segments.
//!
//! The side keeps the sequence number of its next record header. A segment within a record's body
//! costs one comparison. Bytes that are missing when they are needed leave a hole: tracking goes
//! on at the next segment that begins with a plausible header, the record is marked, and if the
//! missing bytes come after all, they are read then.

use crate::counter::Counter;
use crate::flow::{Flow, RECORDS_MAX, Record, Side, flow_flags, record_flags, side_flags};
use crate::headers::Segment;
use crate::observation::events;
use crate::packet::Packet;
use crate::record::{
    ALERT, APPLICATION_DATA, CLIENT_HELLO, HANDSHAKE, HEAD_MAX, HEADER_LEN, RecordHeader, detail,
};

/// Records read off one segment; it is the timeline's capacity, beyond which nothing is noted.
const RECORDS_PER_SEGMENT: usize = RECORDS_MAX;
/// The shortest TLS 1.3 Finished: 4 + 32 + content type + 16 of tag (RFC 8446 §4.4.4, §5.2).
const FINISHED_MIN: u16 = 53;
/// Short application records told of, per side; a Finished and an alert or two are what counts.
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
    /// Where the side's first byte is to be expected, if its peer has acknowledged anything.
    pub(crate) expected: Option<u32>,
}

/// How far the first segment of a side may be ahead of its first byte: a flight that was reordered.
const FIRST_AHEAD_MAX: u32 = 1 << 16;

/// Where reading starts in a segment.
struct Cursor {
    /// Sequence number of the record header.
    seq: u32,
    /// Bytes of that record's head that came in earlier segments.
    have: u32,
    /// Records that begin here or later are not read.
    limit: u32,
    flags: u8,
}

/// `a` is before `b` in sequence space (RFC 9293 §3.4).
#[inline(always)]
pub(crate) fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl Track<'_> {
    /// Reads the record headers of one segment with payload.
    ///
    /// # Errors
    /// [`Counter::NotHello`] if a provisional flow turns out not to begin with a ClientHello.
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
            self.side.carried_to = first;
            if !self.resumed() {
                self.side.flags |= side_flags::SYNCED;
                self.side.header_seq = first;
            }
        }
        let Some(mut cursor) = self.cursor(packet, segment, start, end) else {
            return Ok(());
        };
        cursor.flags = packet.forget(u32::from(cursor.flags)) as u8;
        cursor.have = packet.forget(cursor.have);
        self.read(packet, segment, start, cursor)
    }

    /// Where the side's bytes begin if the first segment seen begins at `start`.
    #[inline(always)]
    fn first_byte(&self, start: u32) -> u32 {
        match self.expected {
            Some(expected) if start.wrapping_sub(expected) < FIRST_AHEAD_MAX => expected,
            _ => start,
        }
    }

    #[inline(always)]
    fn resumed(&self) -> bool {
        *self.flow_flags & flow_flags::RESUMED != 0
    }

    /// Where the first record header of this segment is, if it has one.
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
            // Before the header, or a retransmission of what of its head has come already.
            if !before(side.header_seq, end) || (side.head_len > 0 && !before(head_end, end)) {
                return None;
            }
            // The header is in this segment as a whole: what was kept of its head is not needed.
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

    /// Notes that the bytes from the expected header up to `start` have not come.
    #[inline(always)]
    fn open_hole(&mut self, start: u32) {
        let side = &mut *self.side;
        side.flags |= side_flags::GAP | side_flags::HOLE;
        side.hole_seq = side.header_seq;
        side.hole_end = start;
        side.head_len = 0;
        side.flags &= !side_flags::SYNCED;
    }

    /// Takes the segment's first byte for a record header if it looks like one and is news.
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

    /// Reads records from the cursor to the segment's end and keeps where the next one begins.
    #[inline(always)]
    fn read<P: Packet>(
        &mut self,
        packet: &P,
        segment: &Segment,
        start: u32,
        mut cursor: Cursor,
    ) -> Result<(), Counter> {
        let late = cursor.flags & record_flags::LATE != 0;
        let mut synced = true;
        for _ in 0..RECORDS_PER_SEGMENT {
            if !before(cursor.seq.wrapping_add(cursor.have), cursor.limit) {
                break;
            }
            let Some((head, have)) = self.head(packet, segment, start, &cursor) else {
                synced = false;
                break;
            };
            let header = RecordHeader::parse(head);
            if have >= HEADER_LEN && header.is_none() {
                synced = false;
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
            self.note(&header, detail(head), &cursor)?;
            self.side.head_len = 0;
            // What one record was must not matter to how the verifier sees the next.
            let next = cursor
                .seq
                .wrapping_add(HEADER_LEN)
                .wrapping_add(u32::from(header.length));
            cursor.seq = packet.forget(next);
            self.events = packet.forget(u32::from(self.events)) as u16;
            cursor.have = 0;
            cursor.flags = packet.forget(u32::from(cursor.flags & !record_flags::AFTER_GAP)) as u8;
        }
        let synced = packet.forget(u32::from(synced)) != 0;
        if late {
            self.close_hole(cursor.seq, synced);
        } else {
            self.keep(cursor.seq, synced)?;
        }
        Ok(())
    }

    /// The head of the record at the cursor, and how many bytes of it there are: what came before
    /// and what this segment adds.
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

    /// Puts one record on the timeline.
    #[inline(always)]
    fn note(
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
        self.consequences(header, cursor.seq);
        Ok(())
    }

    /// What a record's type means for events and for the bytes that are carried.
    #[inline(always)]
    fn consequences(&mut self, header: &RecordHeader, seq: u32) {
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
            && (!self.side.has(side_flags::CARRY_STOP) || before(seq, self.side.carry_stop))
        {
            self.side.flags |= side_flags::CARRY_STOP;
            self.side.carry_stop = seq;
        }
    }

    /// After reading in order: the next header's place, or that it is unknown.
    #[inline(always)]
    fn keep(&mut self, next: u32, synced: bool) -> Result<(), Counter> {
        if synced {
            self.side.flags |= side_flags::SYNCED;
            self.side.header_seq = next;
            return Ok(());
        }
        if *self.flow_flags & flow_flags::PROVISIONAL != 0 {
            return Err(Counter::NotHello);
        }
        self.side.flags |= side_flags::GAP;
        self.side.flags &= !side_flags::SYNCED;
        self.side.head_len = 0;
        Ok(())
    }

    /// After reading late bytes: the hole shrinks or closes, and may give back the lost place.
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

/// Splits a flow into the sender's side, with what else tracking changes, and lends it.
#[inline(always)]
pub(crate) fn track<'a>(
    expected: Option<u32>,
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

/// Whether the flow's handshake is so far behind it that its data need no look any more.
///
/// Records in number, on both sides, are all it asks: what they mean is user space's to say, and
/// a refusal shows in fewer. In TLS 1.3 the server's flight is up to five encrypted records, its
/// tickets are two, and its refusal is one.
#[inline(always)]
pub(crate) fn is_settled(flow: &Flow) -> bool {
    let [client, server] = &flow.sides;
    let (client, server) = (client.application_records, server.application_records);
    (client >= 4 && server >= 9) || (client >= 1 && server >= 24) || client >= 24
}
