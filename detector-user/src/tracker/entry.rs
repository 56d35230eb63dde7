//! What is kept of one flow.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use detector_common::flow::{RECORDS_MAX, Sender, Side, flow_flags, side_flags};
use detector_common::observation::{ChunkHead, Observation, events};
use detector_common::record::ALERT;

use crate::timeline::{Beginning, Close, CloseKind, Ending, Timeline, TimelineRecord};
use crate::tls::HandshakeView;
use crate::tracker::FlowId;

/// FIN, RST and what follows, kept per flow; a storm of resets says no more than its beginning.
const CLOSES_MAX: usize = 24;
/// After a reset its "sender" may go on talking, and a second reset may come.
const AFTER_RESET_NS: u64 = 500_000_000;
/// After both FINs a late reset may answer late data.
const AFTER_CLOSE_NS: u64 = 200_000_000;
/// After an alert its sender closes; if it does not, this is all there will be.
const AFTER_ALERT_NS: u64 = 2_000_000_000;
/// After one FIN the other side has as long to finish.
const HALF_CLOSED_NS: u64 = 10_000_000_000;

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
    /// Records of before the flow was resumed.
    earlier: Vec<TimelineRecord>,
    resumed: bool,
    records: Vec<TimelineRecord>,
    closes: Vec<Close>,
    sides: [Side; 2],
    scheduled: Option<u64>,
}

impl Entry {
    pub(super) fn new(started_ns: u64, tap: Arc<str>) -> Self {
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
            view: HandshakeView::default(),
            earlier: Vec::new(),
            resumed: false,
            records: Vec::new(),
            closes: Vec::new(),
            sides: [Side::default(); 2],
            scheduled: None,
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
        self.scheduled.is_some()
    }

    pub(super) fn scheduled(&self) -> Option<u64> {
        self.scheduled
    }

    pub(super) fn reschedule(&mut self, deadline: u64) -> Option<u64> {
        self.scheduled.replace(deadline)
    }

    pub(super) fn feed(&mut self, sender: Sender, head: &ChunkHead, bytes: &[u8]) {
        self.client_endpoint = head.client_endpoint;
        self.vlan = head.vlan;
        self.view.feed(sender, head.offset, bytes);
    }

    pub(super) fn observe(&mut self, observation: &Observation) {
        let flow = &observation.watched.flow;
        // Every observation is of a flow whose hello was confirmed; the first may have been lost.
        if observation.events & events::HELLO != 0 {
            self.hello_egress = observation.egress != 0;
        }
        self.hello = true;
        self.last_ns = self.last_ns.max(observation.time_ns);
        self.client_endpoint = flow.client_endpoint;
        self.vlan = flow.vlan;
        if flow.has(flow_flags::RESUMED) && !self.resumed {
            self.resumed = true;
            self.settled = true;
            self.earlier = std::mem::take(&mut self.records);
        }
        self.records = merged_records(observation);
        self.settled |= observation.events & events::SETTLED != 0;
        if self.settled {
            // What is left of a settled flow is to wait for its end, perhaps for days.
            self.view.finish();
        }
        let sides_before = self.sides;
        self.sides = flow.sides;
        self.note_closes(observation, sides_before);
    }

    fn note_closes(&mut self, observation: &Observation, sides_before: [Side; 2]) {
        let kinds = [
            (events::RESET, CloseKind::Reset),
            (events::FIN, CloseKind::Fin),
            (events::SPEAKS_ON, CloseKind::SpeaksOn),
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
                self.closes.push(Close {
                    kind,
                    sender,
                    time_ns: observation.time_ns,
                    egress: observation.egress != 0,
                    records_before: side.record_count,
                    measured: observation.measured,
                    // A reset moves no baseline; a FIN moves its own, so the state before counts.
                    sides: if kind == CloseKind::Fin && sides_before != [Side::default(); 2] {
                        sides_before
                    } else {
                        observation.watched.flow.sides
                    },
                });
            }
        }
    }

    /// The flow's beginning, once: as soon as its whole hello is there, or more is told than that.
    pub(super) fn announce(&mut self, flow: FlowId, knows_direction: bool) -> Option<Beginning> {
        if self.announced || !self.hello {
            return None;
        }
        let hello = self.view.client_hello()?;
        let is_first = self.records.len() <= 1;
        if is_first && !hello.complete {
            return None;
        }
        self.announced = true;
        Some(Beginning {
            flow,
            started_ns: self.started_ns,
            random: hello.random,
            server_name: hello.server_name,
            server: endpoint(&flow, self.client_endpoint ^ 1),
            egress: knows_direction.then_some(self.hello_egress),
        })
    }

    /// When the flow is over if nothing more is told of it; `None` while it goes on.
    pub(super) fn deadline(&self, now_ns: u64) -> Option<u64> {
        let [client, server] = &self.sides;
        let reset = client.has(side_flags::RST) || server.has(side_flags::RST);
        let (client, server) = (client.has(side_flags::FIN), server.has(side_flags::FIN));
        let alert = self
            .records
            .iter()
            .any(|record| record.content_type == ALERT);
        if reset {
            Some(now_ns + AFTER_RESET_NS)
        } else if client && server {
            Some(now_ns + AFTER_CLOSE_NS)
        } else if alert && !self.settled {
            Some(now_ns + AFTER_ALERT_NS)
        } else if client || server {
            Some(now_ns + HALF_CLOSED_NS)
        } else {
            None
        }
    }

    /// What there is to judge; `None` for what never was a TLS flow.
    pub(super) fn timeline(&self, flow: FlowId, why: Option<Ending>) -> Option<Timeline> {
        if !self.hello {
            return None;
        }
        let [client, server] = &self.sides;
        let closed = client.has(side_flags::RST)
            || server.has(side_flags::RST)
            || (client.has(side_flags::FIN) && server.has(side_flags::FIN));
        let ending = match why {
            _ if closed => Ending::Closed,
            Some(why) => why,
            None => Ending::Silent,
        };
        let records = [self.earlier.as_slice(), &self.records].concat();
        Some(Timeline {
            flow,
            tap: Arc::clone(&self.tap),
            client: endpoint(&flow, self.client_endpoint),
            server: endpoint(&flow, self.client_endpoint ^ 1),
            vlan: self.vlan.into_iter().filter(|id| *id != 0).collect(),
            started_ns: self.started_ns,
            last_ns: self.last_ns,
            handshake: self.view.parse(),
            records,
            closes: self.closes.clone(),
            sides: self.sides,
            settled: self.settled,
            ending,
        })
    }
}

/// One of a flow's ends by its number in the key.
fn endpoint(flow: &FlowId, number: u8) -> SocketAddr {
    let index = usize::from(number & 1);
    let address = flow.key.addresses.get(index).copied().unwrap_or_default();
    let port = flow.key.ports.get(index).copied().unwrap_or_default();
    let ip = match Ipv6Addr::from(address.octets()) {
        ip if ip.to_ipv4_mapped().is_some() => IpAddr::V6(ip).to_canonical(),
        ip => IpAddr::V6(ip),
    };
    SocketAddr::new(ip, port)
}

fn sender(number: u8) -> Sender {
    if number == 0 {
        Sender::Client
    } else {
        Sender::Server
    }
}

/// Both sides' records in the order they were seen.
fn merged_records(observation: &Observation) -> Vec<TimelineRecord> {
    let mut ranked = Vec::with_capacity(RECORDS_MAX);
    let sides = &observation.watched.flow.sides;
    for ((number, side), records) in (0..).zip(sides).zip(&observation.watched.records) {
        for record in records.iter().take(usize::from(side.record_count)) {
            ranked.push((
                (record.at_us, record.order),
                TimelineRecord {
                    sender: sender(number),
                    at_us: record.at_us,
                    content_type: record.content_type,
                    version_minor: record.version_minor,
                    length: record.length,
                    detail: record.detail,
                    flags: record.flags,
                },
            ));
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, record)| record).collect()
}
