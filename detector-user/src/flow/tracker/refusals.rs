//! Connections that were refused before their first byte, by server.

use std::net::SocketAddr;

use detector_common::flow::FlowKey;
use detector_common::observation::{Observation, events};
use detector_common::syn::Syn;
use hashlink::LruCache;

use crate::flow::flow_id::FlowId;
use crate::flow::timeline::Timeline;
use crate::flow::tracker::entry::endpoint;

/// Maximum servers remembered; the one heard of longest ago is forgotten.
const SERVERS_MAX: usize = 4096;
/// Maximum refused connections remembered, so that two taps count one once.
const RECENT_MAX: usize = 4096;
/// Time within which two taps see the same refusal, nanoseconds. Ports are not reused sooner.
const SAME_NS: u64 = 3_000_000_000;
/// Ports whose services begin with TLS (IANA's registry, and the usual alternatives to 443). On others a
/// refusal counts once TLS was seen there.
const TLS_PORTS: [u16; 17] = [
    443, 465, 563, 636, 853, 989, 990, 992, 993, 994, 995, 5061, 5223, 5671, 6697, 8443, 8883,
];

/// Numbers of refused connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusalCounts {
    /// By a RST that answered the SYN, or came right behind the SYN,ACK.
    pub reset: u64,
    /// The SYN was sent three times and got no answer.
    pub unanswered: u64,
    /// By an ICMP error about the SYN; only of captures.
    pub unreachable: u64,
}

impl RefusalCounts {
    /// Returns both together.
    #[must_use]
    pub const fn all(self) -> u64 {
        self.reset + self.unanswered + self.unreachable
    }
}

/// Refusals so far, and what a server's answers look like.
pub(super) struct Refusals {
    servers: LruCache<SocketAddr, RefusalCounts>,
    /// A SYN,ACK of each server that speaks TLS, by interface.
    answers: LruCache<(u32, SocketAddr), Syn>,
    recent: LruCache<FlowKey, u64>,
    counts: RefusalCounts,
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            servers: LruCache::new(SERVERS_MAX),
            answers: LruCache::new(SERVERS_MAX),
            recent: LruCache::new(RECENT_MAX),
            counts: RefusalCounts::default(),
        }
    }
}

impl Refusals {
    /// Remembers the SYN,ACK of a server to which a ClientHello was sent.
    pub(super) fn record_answer(&mut self, observation: &Observation) {
        let [_, syn_ack] = &observation.watched.flow.syns;
        if syn_ack.was_seen() {
            let server = (observation.key.interface, server(observation));
            self.answers.insert(server, *syn_ack);
        }
    }

    /// Counts a refused connection. Returns the SYN,ACK that its reset is to be compared with: its own, or
    /// one that the server sent earlier.
    pub(super) fn record(&mut self, observation: &Observation) -> Option<Syn> {
        let server = server(observation);
        let earlier = self
            .answers
            .get(&(observation.key.interface, server))
            .copied();
        let known = earlier.is_some() || TLS_PORTS.contains(&server.port());
        if !known || self.is_repeated(&observation.key, observation.time_ns) {
            return None;
        }
        let by_reset = observation.events & events::REFUSED != 0;
        self.count(server, |counts| {
            counts.reset += u64::from(by_reset);
            counts.unanswered += u64::from(!by_reset);
        });
        let [_, own] = observation.watched.flow.syns;
        earlier
            .filter(|_| by_reset)
            .map(|earlier| if own.was_seen() { own } else { earlier })
    }

    /// Counts a connection whose SYN was answered with an ICMP error; false if it counts already, or is
    /// of a service that may not be TLS.
    pub(super) fn record_unreachable(&mut self, timeline: &Timeline) -> bool {
        let answered = (timeline.flow.key.interface, timeline.server);
        let known =
            self.answers.contains_key(&answered) || TLS_PORTS.contains(&timeline.server.port());
        if !known || self.is_repeated(&timeline.flow.key, timeline.last_ns) {
            return false;
        }
        self.count(timeline.server, |counts| counts.unreachable += 1);
        true
    }

    /// Whether the same refusal was recorded before, from another tap.
    fn is_repeated(&mut self, key: &FlowKey, time_ns: u64) -> bool {
        let connection = FlowKey {
            interface: 0,
            vlan: [0; 2],
            tunnel: 0,
            ..*key
        };
        let before_ns = self.recent.insert(connection, time_ns);
        before_ns.is_some_and(|before| time_ns.saturating_sub(before) < SAME_NS)
    }

    fn count(&mut self, server: SocketAddr, add: impl Fn(&mut RefusalCounts)) {
        let of_server = self
            .servers
            .entry(server)
            .or_insert_with(RefusalCounts::default);
        add(of_server);
        add(&mut self.counts);
    }

    /// Forgets the numbers so far.
    pub(super) fn reset_counts(&mut self) {
        self.counts = RefusalCounts::default();
        self.servers.clear();
    }

    /// Numbers so far.
    pub(super) fn counts(&self) -> RefusalCounts {
        self.counts
    }

    /// Returns the servers with most refusals, at most `limit` of them, most first.
    pub(super) fn servers(&self, limit: usize) -> Vec<(SocketAddr, RefusalCounts)> {
        let mut servers: Vec<_> = self
            .servers
            .iter()
            .map(|(server, n)| (*server, *n))
            .collect();
        servers.sort_unstable_by_key(|(server, counts)| (u64::MAX - counts.all(), *server));
        servers.truncate(limit);
        servers
    }
}

fn server(observation: &Observation) -> SocketAddr {
    let flow = FlowId {
        key: observation.key,
        started_ns: 0,
    };
    endpoint(&flow, observation.watched.flow.client_endpoint ^ 1)
}

#[cfg(test)]
mod tests {
    use detector_common::flow::Address;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn syn(ttl: u8) -> Syn {
        Syn {
            ttl,
            count: 1,
            ..Syn::default()
        }
    }

    /// An observation of a connection to a port of 10.0.0.2.
    fn observed(events: u16, client_port: u16, port: u16, at_s: u64) -> Observation {
        let mut observation = Observation {
            time_ns: at_s * SECOND,
            events,
            ..Observation::default()
        };
        observation.key = FlowKey {
            addresses: [1, 2].map(|last| Address::from_ipv4(0x0a00_0000 | last)),
            ports: [client_port, port],
            ..FlowKey::default()
        };
        observation
    }

    fn counts(reset: u64, unanswered: u64, unreachable: u64) -> RefusalCounts {
        RefusalCounts {
            reset,
            unanswered,
            unreachable,
        }
    }

    #[test]
    fn on_a_port_of_another_service_refusals_count_once_it_spoke_tls() {
        let mut refusals = Refusals::default();
        refusals.record(&observed(events::REFUSED, 1, 8080, 10));
        assert_eq!(refusals.counts(), counts(0, 0, 0));
        refusals.record(&observed(events::UNANSWERED, 2, 8443, 10));
        assert_eq!(refusals.counts(), counts(0, 1, 0));
        // A ClientHello says nothing of the server before it has answered a SYN.
        refusals.record_answer(&observed(events::HELLO, 3, 8080, 10));
        refusals.record(&observed(events::REFUSED, 4, 8080, 10));
        assert_eq!(refusals.counts(), counts(0, 1, 0));
        let mut hello = observed(events::HELLO, 5, 8080, 10);
        hello.watched.flow.syns[1] = syn(57);
        refusals.record_answer(&hello);
        refusals.record(&observed(events::REFUSED, 6, 8080, 10));
        assert_eq!(refusals.counts(), counts(1, 1, 0));
    }

    #[test]
    fn one_that_two_taps_see_counts_once() {
        let mut refusals = Refusals::default();
        let lan = observed(events::REFUSED, 1, 443, 10);
        let mut wan = lan;
        wan.key.interface = 7;
        wan.key.vlan = [3, 0];
        refusals.record(&lan);
        refusals.record(&wan);
        assert_eq!(refusals.counts().all(), 1);
        // The next connection with the same ports is another one.
        wan.time_ns += 3 * SECOND;
        refusals.record(&wan);
        assert_eq!(refusals.counts().all(), 2);
    }

    #[test]
    fn a_reset_is_compared_with_its_own_syn_ack_or_an_earlier_one() {
        let mut refusals = Refusals::default();
        let record = |refusals: &mut Refusals, events, port, own| {
            let mut observation = observed(events, port, 443, 10);
            observation.watched.flow.syns[1] = own;
            refusals.record(&observation).map(|syn| syn.ttl)
        };
        let unseen = Syn::default();
        // Of a server that never answered a hello nothing is known.
        assert_eq!(record(&mut refusals, events::REFUSED, 1, syn(60)), None);
        let mut hello = observed(events::HELLO, 2, 443, 10);
        hello.watched.flow.syns[1] = syn(57);
        refusals.record_answer(&hello);
        assert_eq!(record(&mut refusals, events::REFUSED, 3, unseen), Some(57));
        assert_eq!(record(&mut refusals, events::REFUSED, 4, syn(60)), Some(60));
        // Silence has no sender.
        assert_eq!(record(&mut refusals, events::UNANSWERED, 5, unseen), None);
        assert_eq!(refusals.counts(), counts(3, 1, 0));
    }

    #[test]
    fn an_icmp_error_counts_by_its_server() {
        let mut refusals = Refusals::default();
        let timeline = |client_port: u16, port: u16| {
            let flow = FlowId {
                key: observed(0, client_port, port, 0).key,
                started_ns: SECOND,
            };
            Timeline {
                server: endpoint(&flow, 1),
                ..Timeline::unspoken(flow, SECOND)
            }
        };
        assert!(!refusals.record_unreachable(&timeline(1, 8080)));
        assert!(refusals.record_unreachable(&timeline(2, 443)));
        assert!(!refusals.record_unreachable(&timeline(2, 443)), "twice");
        assert_eq!(refusals.counts(), counts(0, 0, 1));
    }

    #[test]
    fn servers_with_most_refusals_come_first_until_they_are_forgotten() {
        let mut refusals = Refusals::default();
        for (client_port, port) in [(1, 443), (2, 993), (3, 853), (4, 993), (5, 993), (6, 853)] {
            refusals.record(&observed(events::REFUSED, client_port, port, 10));
        }
        let ports = |refusals: &Refusals, limit| {
            let servers = refusals.servers(limit).into_iter();
            let ports = servers.map(|(server, counts)| (server.port(), counts.reset));
            ports.collect::<Vec<_>>()
        };
        assert_eq!(ports(&refusals, 9), [(993, 3), (853, 2), (443, 1)]);
        assert_eq!(ports(&refusals, 1), [(993, 3)]);
        refusals.reset_counts();
        assert_eq!(ports(&refusals, 9), []);
        assert_eq!(refusals.counts(), counts(0, 0, 0));
    }
}
