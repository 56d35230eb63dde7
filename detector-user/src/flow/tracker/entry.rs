//! State of one flow under way.

mod packed;

use std::net::SocketAddr;
use std::sync::Arc;

use detector_common::flow::{RECORDS_MAX, Sender, Side, flow_flags, side_flags};
use detector_common::headers::tcp_flags;
use detector_common::observation::{ChunkHead, Observation, baseline, events};
use detector_common::record::ALERT;
use detector_common::syn::Syn;

use crate::flow::flow_id::FlowId;
use crate::flow::halves::Half;
use crate::flow::preamble::{Preamble, Target};
use crate::flow::timeline::{Beginning, Close, CloseKind, Ending, Timeline, TimelineRecord};
use crate::flow::tls::records::PlaintextEnd;
use crate::flow::tls::{Handshake, HandshakeView};
use crate::flow::tracker::buffers::Buffers;
use crate::flow::tracker::deadlines::{Due, Scheduled};
use crate::flow::tracker::halves::Seen;
use crate::flow::tracker::latest::Latest;
use crate::flow::tracker::outlived::remove_outlived;
use crate::flow::tracker::proxies::Proxies;
use crate::flow::unreachable::Unreachable;

pub(super) use packed::Packed;

/// Alerts that are told beside the records at most.
const ALERTS: usize = 3;
/// Maximum number of closing segments per flow; a storm of resets says no more than its beginning.
const CLOSES_MAX: usize = 24;
/// After a reset its "sender" may go on talking, and a second reset may come.
const AFTER_RESET_NS: u64 = 500_000_000;
/// After both FINs a late reset may answer late data.
const AFTER_CLOSE_NS: u64 = 200_000_000;
/// After an alert its sender closes; if it does not, nothing more is expected.
const AFTER_ALERT_NS: u64 = 2_000_000_000;
/// After one FIN the other side has as long to finish.
const HALF_CLOSED_NS: u64 = 10_000_000_000;
/// After its side's FIN a half has said all but a reset.
const HALF_OVER_NS: u64 = 1_000_000_000;

/// One flow under way.
pub(super) struct Entry {
    tap: Arc<str>,
    started_ns: u64,
    last_ns: u64,
    client_endpoint: u8,
    vlan: [u16; 2],
    hello: bool,
    hello_egress: bool,
    announced: bool,
    settled: bool,
    view: HandshakeView,
    /// Whether the view holds the parsed handshake and no bytes.
    read: bool,
    /// Records of before the flow was resumed.
    earlier: Box<[TimelineRecord]>,
    resumed: bool,
    latest: Option<Box<Latest>>,
    /// Its records while it is settled, in place of the latest.
    records: Box<[TimelineRecord]>,
    /// Sender and time of the first alert for which its side's records left no place.
    late_alert: Option<(Sender, u64)>,
    closes: Vec<Close>,
    resets_outlived: u8,
    /// Times of alerts that cannot be a part of their side's stream, microseconds since the beginning.
    elsewhere_us: Vec<u64>,
    alert_acknowledges: [Option<u32>; 2],
    sides: [Side; 2],
    syns: [Syn; 2],
    preamble: Option<Arc<Preamble>>,
    unreachable: Option<Box<Unreachable>>,
    /// Its observations, while it may be a half.
    half: Option<Box<Seen>>,
    due: Due,
}

impl Entry {
    pub(super) fn new(started_ns: u64, tap: Arc<str>, view: HandshakeView) -> Self {
        Self {
            tap,
            started_ns,
            last_ns: started_ns,
            client_endpoint: 0,
            vlan: [0; 2],
            hello: false,
            hello_egress: false,
            announced: false,
            settled: false,
            view,
            read: false,
            earlier: Box::default(),
            resumed: false,
            latest: None,
            records: Box::default(),
            late_alert: None,
            closes: Vec::new(),
            resets_outlived: 0,
            elsewhere_us: Vec::new(),
            alert_acknowledges: [None; 2],
            sides: [Side::default(); 2],
            syns: [Syn::default(); 2],
            preamble: None,
            unreachable: None,
            half: None,
            due: Due::default(),
        }
    }

    pub(super) fn set_preamble(&mut self, preamble: Option<Arc<Preamble>>) {
        self.preamble = preamble;
    }

    pub(super) const fn tap(&self) -> &Arc<str> {
        &self.tap
    }

    pub(super) const fn last_ns(&self) -> u64 {
        self.last_ns
    }

    /// Keeps observations while the flow may be a half.
    pub(super) fn watch_for_half(&mut self) {
        self.half = Some(Box::default());
    }

    /// Whether one direction alone passes its tap, by all that was seen.
    pub(super) fn is_half(&self) -> bool {
        self.half.as_ref().is_some_and(|half| half.side.is_some())
    }

    /// Marks a half as one that is to be passed on. Returns whether it was not.
    pub(super) fn begin_waiting(&mut self) -> bool {
        let half = self.half.as_mut();
        half.is_some_and(|half| !std::mem::replace(&mut half.waits, true))
    }

    pub(super) fn end_waiting(&mut self) {
        if let Some(half) = &mut self.half {
            half.waits = false;
        }
    }

    /// Returns the half so far; `None` of a flow that is none.
    pub(super) fn half(&self, flow: FlowId, unix_offset_ns: i64, is_over: bool) -> Option<Half> {
        let seen = self.half.as_ref()?;
        let side = seen.side?;
        let pieces = self.view.pieces(side);
        Some(Half {
            flow,
            side,
            tap: Arc::clone(&self.tap),
            unix_offset_ns,
            observations: seen.observations.clone(),
            handshake: pieces.map(|(at, bytes)| (at, bytes.to_vec())).collect(),
            is_over,
        })
    }

    /// Records an ICMP error, or that what the errors so far are about arrived.
    pub(super) fn record_unreachable(&mut self, error: Option<&Unreachable>) {
        match (error, &mut self.unreachable) {
            (None, before) => *before = None,
            (Some(error), Some(before)) => before.add(error),
            (Some(error), before @ None) => *before = Some(Box::new(*error)),
        }
    }

    /// Whether the flow is known to begin with a ClientHello.
    pub(super) fn has_hello(&self) -> bool {
        self.hello
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    pub(super) fn is_scheduled(&self) -> bool {
        self.due.is_set()
    }

    pub(super) fn feed(&mut self, sender: Sender, head: &ChunkHead, bytes: &[u8]) {
        self.client_endpoint = head.client_endpoint;
        self.vlan = head.vlan;
        self.view.feed(sender, head.offset, bytes);
        // A half is passed on with its bytes.
        if sender == Sender::Client && self.half.is_none() {
            self.view.read_hello();
        }
    }

    pub(super) fn observe(&mut self, observation: &Observation, buffers: &mut Buffers) {
        let flow = &observation.watched.flow;
        // Every observation is of a flow whose hello was confirmed; the first may have been lost.
        if observation.events & events::HELLO != 0 {
            self.hello_egress = observation.egress != 0;
        }
        self.hello = true;
        self.last_ns = self.last_ns.max(observation.time_ns);
        if let Some(half) = &mut self.half
            && !half.record(observation)
        {
            self.half = None;
        }
        self.client_endpoint = flow.client_endpoint;
        self.vlan = flow.vlan;
        if flow.has(flow_flags::RESUMED) && !self.resumed {
            self.resumed = true;
            self.settled = true;
            self.earlier = self.take_records();
        }
        self.records = Box::default();
        let latest = self.latest.get_or_insert_with(|| buffers.latest());
        latest.read(observation);
        if self.late_alert.is_none() && has_late_alert(observation) {
            self.late_alert = Some((sender(observation.sender), observation.time_ns));
        }
        self.record_alert(observation);
        // No more can be among the records, which hold so many of each side.
        if self.elsewhere_us.len() < 2 * RECORDS_MAX && is_elsewhere(observation) {
            let at_ns = observation.time_ns.saturating_sub(self.started_ns);
            self.elsewhere_us.push(at_ns / 1000);
        }
        let settles = observation.events & events::SETTLED != 0;
        self.settled |= settles;
        if settles {
            // A settled flow waits for its end, perhaps for days: its buffer has only the size needed.
            self.records = self.take_records();
            buffers.recycle_latest(self.latest.take());
        }
        self.read_if_over(observation, buffers);
        let sides_before = self.sides;
        self.sides = flow.sides;
        if !self.resumed {
            self.syns = flow.syns;
        }
        self.record_closes(observation, sides_before, buffers);
        if observation.events & events::OUTLIVED_RESET != 0 {
            self.forget_resets_to(sender(observation.sender));
        }
    }

    /// Records how much of the other side's stream a side's first alert acknowledges.
    fn record_alert(&mut self, observation: &Observation) {
        let measured = &observation.measured;
        let is_alert = observation.events & events::ALERT != 0;
        if !is_alert || measured.flags & tcp_flags::ACK == 0 || self.resumed {
            return;
        }
        let [client, server] = &observation.watched.flow.sides;
        let [by_client, by_server] = &mut self.alert_acknowledges;
        let (first, peer) = match sender(observation.sender) {
            Sender::Client => (by_client, server),
            Sender::Server => (by_server, client),
        };
        let is_known = peer.has(side_flags::STARTED);
        let acknowledged = measured.ack.wrapping_sub(peer.start_seq);
        if first.is_none() && is_known && acknowledged <= i32::MAX as u32 {
            *first = Some(acknowledged);
        }
    }

    /// Counts the resets that this side outlived: they are no part of the flow's end.
    fn forget_resets_to(&mut self, survivor: Sender) {
        self.closes.retain(|close| {
            let is_reset = close.kind == CloseKind::Reset;
            let outlived = close.sender != survivor && close.kind != CloseKind::Fin;
            if outlived && is_reset {
                self.resets_outlived = self.resets_outlived.saturating_add(1);
            }
            !outlived
        });
    }

    /// Parses the handshake once no more bytes of it follow, so that its buffers can be recycled while the
    /// flow waits for its end.
    fn read_if_over(&mut self, observation: &Observation, buffers: &mut Buffers) {
        let sides = &observation.watched.flow.sides;
        let is_whole = |side: &Side| side.has(side_flags::FIN) && !side.has(side_flags::HOLE);
        let closed = sides.iter().all(is_whole) && !self.view.has_hole();
        if !self.read && !self.is_half() && (self.settled || closed) {
            self.read = true;
            let read = HandshakeView::of(self.view.take());
            buffers.recycle_view(std::mem::replace(&mut self.view, read));
        }
    }

    fn record_closes(
        &mut self,
        observation: &Observation,
        sides_before: [Side; 2],
        buffers: &mut Buffers,
    ) {
        let kinds = [
            (events::RESET, CloseKind::Reset),
            (events::FIN, CloseKind::Fin),
            (events::SENT_AFTER_RESET, CloseKind::SpeaksOn),
        ];
        let sender = sender(observation.sender);
        let [client, server] = &observation.watched.flow.sides;
        let side = if sender == Sender::Client {
            client
        } else {
            server
        };
        for (event, kind) in kinds {
            if observation.events & event != 0 && self.closes.len() < CLOSES_MAX {
                if self.closes.capacity() == 0 {
                    self.closes = buffers.closes();
                }
                self.closes.push(Close {
                    kind,
                    sender,
                    time_ns: observation.time_ns,
                    egress: observation.egress != 0,
                    records_before: side.record_count,
                    measured: observation.measured,
                    sides: sides_at(kind, sender, observation, sides_before),
                });
            }
        }
    }

    /// Returns the flow's beginning, once: with its whole hello, or with the next record.
    pub(super) fn announce(
        &mut self,
        flow: FlowId,
        knows_direction: bool,
        proxies: &Proxies,
    ) -> Option<Beginning> {
        if self.announced || !self.hello {
            return None;
        }
        let hello = self.view.client_hello()?;
        let is_first = self.count_records() <= 1;
        if is_first && !hello.complete {
            return None;
        }
        self.announced = true;
        let server = endpoint(&flow, self.client_endpoint ^ 1);
        let target = self.preamble.as_ref().and_then(|it| it.target.as_ref());
        let asked_for = || {
            Some(
                target
                    .filter(|target| target.is_name())?
                    .host
                    .as_str()
                    .into(),
            )
        };
        Some(Beginning {
            flow,
            started_ns: self.started_ns,
            random: hello.random,
            server_name: hello.server_name.or_else(asked_for),
            server,
            client: endpoint(&flow, self.client_endpoint),
            ends_at_proxy: target.is_some() || proxies.is_named(server.ip()),
            target: target.and_then(Target::address),
            egress: knows_direction.then_some(self.hello_egress),
        })
    }

    /// Returns the time when the flow is over if no observation follows; `None` while it goes on.
    pub(super) fn deadline(&self, now_ns: u64) -> Option<u64> {
        let [client, server] = &self.sides;
        let reset = client.is_reset() || server.is_reset();
        let (client, server) = (client.has(side_flags::FIN), server.has(side_flags::FIN));
        if self.is_half() && !reset && (client || server) {
            return Some(now_ns.saturating_add(HALF_OVER_NS));
        }
        let has_alert = || {
            let of_settled = || self.records.iter().any(|it| it.content_type == ALERT);
            let latest = self.latest.as_ref();
            self.late_alert.is_some() || latest.map_or_else(of_settled, |it| it.has(ALERT))
        };
        if reset {
            Some(now_ns.saturating_add(AFTER_RESET_NS))
        } else if client && server {
            Some(now_ns.saturating_add(AFTER_CLOSE_NS))
        } else if !self.settled && has_alert() {
            Some(now_ns.saturating_add(AFTER_ALERT_NS))
        } else if client || server {
            Some(now_ns.saturating_add(HALF_CLOSED_NS))
        } else {
            None
        }
    }

    /// Returns the timeline so far; `None` without a ClientHello.
    pub(super) fn timeline(&self, flow: FlowId, buffers: &mut Buffers) -> Option<Box<Timeline>> {
        let write = || self.write_timeline(flow, None, self.view.parse(), buffers.timeline());
        self.hello.then(write)
    }

    /// Returns the last timeline, and moves the handshake into it.
    pub(super) fn last_timeline(
        &mut self,
        flow: FlowId,
        why: Option<Ending>,
        buffers: &mut Buffers,
    ) -> Option<Box<Timeline>> {
        self.hello.then(|| {
            let handshake = self.view.take();
            self.write_timeline(flow, why, handshake, buffers.timeline())
        })
    }

    /// Removes its buffers: its flow is over.
    pub(super) fn take_buffers(&mut self) -> (Option<Box<Latest>>, Vec<Close>, HandshakeView) {
        (
            self.latest.take(),
            std::mem::take(&mut self.closes),
            std::mem::take(&mut self.view),
        )
    }

    /// Returns the number of records since the flow began, or was resumed.
    fn count_records(&self) -> usize {
        let latest = self.latest.as_ref();
        latest.map_or(self.records.len(), |latest| latest.len())
    }

    /// Returns these records in a list of their own; they are removed where they are in one.
    fn take_records(&mut self) -> Box<[TimelineRecord]> {
        if self.latest.is_none() {
            return std::mem::take(&mut self.records);
        }
        let mut records = Vec::new();
        self.append_records(&mut records);
        records.into()
    }

    /// Appends these records in order.
    fn append_records(&self, to: &mut Vec<TimelineRecord>) {
        match &self.latest {
            Some(latest) => latest.append_to(to),
            None => to.extend_from_slice(&self.records),
        }
    }

    /// Returns the alert behind a side's last record that has a place, if the handshake's bytes show it.
    fn late_alert(&self, handshake: &Handshake) -> Option<TimelineRecord> {
        let (sender, time_ns) = self.late_alert?;
        self.alert_at(sender, time_ns, handshake)
    }

    /// Returns a side's alert behind an empty record, at which the engine stops, if the handshake's bytes
    /// show it.
    fn hidden_alert(
        &self,
        sender: Sender,
        records: &[TimelineRecord],
        handshake: &Handshake,
    ) -> Option<TimelineRecord> {
        let is_told = |record: &TimelineRecord| {
            record.sender == sender && record.content_type == ALERT && record.length > 0
        };
        if records.iter().any(is_told) {
            return None;
        }
        let side = self.sides.get(sender as usize)?;
        self.alert_at(sender, side.last_ns, handshake)
    }

    /// Returns a side's first alert in the clear as a record of this time.
    fn alert_at(
        &self,
        sender: Sender,
        time_ns: u64,
        handshake: &Handshake,
    ) -> Option<TimelineRecord> {
        let [client, server] = handshake.alerts;
        let detail = match sender {
            Sender::Client => client,
            Sender::Server => server,
        }?;
        Some(TimelineRecord {
            sender,
            at_us: u32::try_from(time_ns.saturating_sub(self.started_ns) / 1000).ok()?,
            content_type: ALERT,
            version_minor: 3,
            length: 2,
            detail,
            flags: 0,
        })
    }

    /// Writes the timeline in the place of another.
    fn write_timeline(
        &self,
        flow: FlowId,
        why: Option<Ending>,
        handshake: Handshake,
        mut timeline: Box<Timeline>,
    ) -> Box<Timeline> {
        let [client, server] = &self.sides;
        let closed = client.is_reset()
            || server.is_reset()
            || (client.has(side_flags::FIN) && server.has(side_flags::FIN));
        let ending = match why {
            _ if closed => Ending::Closed,
            Some(why) => why,
            None => Ending::Silent,
        };
        let late_alert = self.late_alert(&handshake);
        let mut records = std::mem::take(&mut timeline.records);
        records.clear();
        records.reserve(self.earlier.len() + self.count_records() + ALERTS);
        records.extend_from_slice(&self.earlier);
        self.append_records(&mut records);
        let latest_end = records.len();
        records.extend(late_alert);
        let mut sides = self.sides;
        let ends = [handshake.client_end, handshake.server_end];
        for (sender, (side, end)) in [Sender::Client, Sender::Server]
            .into_iter()
            .zip(sides.iter_mut().zip(ends))
        {
            let empty = handshake.empty_records.get(sender as usize) == Some(&true);
            if empty && end != PlaintextEnd::NotTls && side.has(side_flags::NOT_TLS) {
                side.flags &= !side_flags::NOT_TLS;
                let latest = records
                    .get(self.earlier.len()..latest_end)
                    .unwrap_or_default();
                let hidden = self.hidden_alert(sender, latest, &handshake);
                records.extend(hidden);
            }
        }
        let mut closes = std::mem::take(&mut timeline.closes);
        closes.clear();
        closes.extend_from_slice(&self.closes);
        if !self.elsewhere_us.is_empty() {
            let elsewhere = &self.elsewhere_us;
            records.retain(|it| it.content_type != ALERT || !elsewhere.contains(&it.at_us.into()));
        }
        remove_outlived(self.started_ns, &mut records, &mut closes);
        *timeline = Timeline {
            flow,
            tap: Arc::clone(&self.tap),
            client: endpoint(&flow, self.client_endpoint),
            server: endpoint(&flow, self.client_endpoint ^ 1),
            vlan: self.vlan.into_iter().filter(|id| *id != 0).collect(),
            started_ns: self.started_ns,
            last_ns: self.last_ns,
            handshake,
            records,
            closes,
            resets_outlived: self.resets_outlived,
            alert_acknowledges: self.alert_acknowledges,
            sides,
            syns: self.syns,
            refused: false,
            settled: self.settled,
            ending,
            preamble: self.preamble.clone(),
            unreachable: self.unreachable.clone(),
            largest_answered: None,
            client_is_proxy: false,
        };
        timeline
    }
}

impl Scheduled for Entry {
    fn due(&self) -> &Due {
        &self.due
    }

    fn due_mut(&mut self) -> &mut Due {
        &mut self.due
    }
}

/// Returns an endpoint of a flow by its number in the key.
pub(super) fn endpoint(flow: &FlowId, number: u8) -> SocketAddr {
    flow.endpoint(number)
}

fn sender(number: u8) -> Sender {
    if number == 0 {
        Sender::Client
    } else {
        Sender::Server
    }
}

/// Returns both sides' states at a close. A reset moves no baseline; a FIN moves its own, so its sender's
/// state before counts.
fn sides_at(
    kind: CloseKind,
    by: Sender,
    observation: &Observation,
    before: [Side; 2],
) -> [Side; 2] {
    let mut sides = observation.watched.flow.sides;
    let own = by as usize;
    if kind == CloseKind::Fin
        && before != [Side::default(); 2]
        && let (Some(side), Some(before)) = (sides.get_mut(own), before.get(own))
    {
        *side = *before;
    }
    sides
}

/// Whether an alert came so far behind the last byte of its side that no handshake has as many between: a stranger
/// guessed its place.
fn is_elsewhere(observation: &Observation) -> bool {
    const HANDSHAKE_MAX: i32 = 1 << 20;
    if observation.events & events::ALERT == 0 {
        return false;
    }
    let measured = &observation.measured;
    let [client, server] = &observation.watched.flow.syns;
    let syn = match sender(observation.sender) {
        Sender::Client => client,
        Sender::Server => server,
    };
    let ahead = if measured.baseline & baseline::SEQ != 0 {
        measured.seq_ahead
    } else if syn.was_seen() {
        measured.seq.wrapping_sub(syn.next_seq).cast_signed()
    } else {
        0
    };
    ahead > HANDSHAKE_MAX
}

/// Whether an alert came for which its side's records have no place.
fn has_late_alert(observation: &Observation) -> bool {
    if observation.events & events::ALERT == 0 {
        return false;
    }
    let number = usize::from(observation.sender & 1);
    let watched = &observation.watched;
    let side = watched.flow.sides.get(number);
    let is_full = side.is_some_and(|side| usize::from(side.record_count) >= RECORDS_MAX);
    let records = watched.records.get(number).map_or(&[][..], |it| it);
    let is_told = records.iter().any(|it| it.content_type == ALERT);
    is_full && !is_told
}
