//! Two gateways, of which each sees one direction of a real client's connections.

use std::collections::BTreeSet;

use detector_common::flow::{Sender, flow_flags, side_flags};
use detector_common::observation::{ChunkHead, Observation, events};
use detector_user::flow::receiver::Receiver;
use detector_user::source::tap::hook::Abilities;
use detector_user::source::tap::kernel_tap::KernelTap;
use detector_user::source::tap::object::ObjectOptions;
use detector_user::source::tap::rings::Rings;
use lab::host::Namespace;
use tests::asymmetric::Asymmetric;
use tests::wire::{inside, interface, until};

/// The engine on one gateway's interface towards the client.
struct Tapped {
    _tap: KernelTap,
    rings: Rings,
    told: Told,
}

#[derive(Default)]
struct Told {
    observations: Vec<Observation>,
    chunks: Vec<(ChunkHead, Vec<u8>)>,
}

impl Receiver for Told {
    fn observation(&mut self, observation: &Observation) {
        self.observations.push(*observation);
    }

    fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]) {
        self.chunks.push((*head, bytes.to_vec()));
    }
}

impl Tapped {
    fn new(gateway: &Namespace) -> Self {
        let options = ObjectOptions {
            halves: true,
            ..ObjectOptions::default()
        };
        inside(gateway, || {
            let taps = [interface("lan0")];
            let mut tap = KernelTap::attach(&taps, &options, Abilities::of_this_kernel()).unwrap();
            let rings = Rings::take(&mut tap.kernel).unwrap();
            Self {
                _tap: tap,
                rings,
                told: Told::default(),
            }
        })
    }

    /// Waits until of so many flows an observation is as it should be; returns the last of each.
    fn await_flows(&mut self, flows: usize, wanted: fn(&Observation) -> bool) -> Vec<Observation> {
        let mut last = Vec::new();
        until("the flows are seen", || {
            self.rings.drain(&mut self.told);
            let observations = &self.told.observations;
            let ports: BTreeSet<_> = observations.iter().map(|it| it.key.ports).collect();
            let of = |ports| observations.iter().rfind(|it| it.key.ports == ports);
            last = ports.into_iter().filter_map(of).copied().collect();
            last.len() == flows && last.iter().all(wanted)
        });
        last
    }

    /// Returns the number of flows with an event.
    fn flows_with(&self, event: u16) -> usize {
        let observations = self.told.observations.iter();
        let with = observations.filter(|it| it.events & event != 0);
        with.map(|it| it.key.ports).collect::<BTreeSet<_>>().len()
    }

    fn handshake_bytes(&self, sender: Sender) -> usize {
        let chunks = self.told.chunks.iter();
        let of_sender = chunks.filter(|(head, _)| head.sender == sender as u8);
        of_sender.map(|(_, bytes)| bytes.len()).sum()
    }
}

/// A client that trusts no CA of the server's refuses its certificate, in TLS 1.2 and 1.3: one gateway sees
/// its hellos and alerts, the other the server's hellos and certificates.
#[test]
fn each_gateway_follows_the_direction_that_passes_it() {
    let lab = Asymmetric::new("halves").unwrap();
    let mut there = Tapped::new(&lab.there);
    let mut back = Tapped::new(&lab.back);
    let _server = lab.serve(&[]).unwrap();
    for version in ["1.2", "1.3"] {
        let refused = lab.curl(&["--tls-max", version]).status().unwrap();
        assert_eq!(refused.code(), Some(60), "TLS {version}");
    }
    let client_halves = there.await_flows(2, |it| {
        let [client, _] = it.watched.flow.sides;
        client.has(side_flags::FIN | side_flags::RST)
    });
    // The end of a server that its client reset passes the other gateway.
    let server_halves = back.await_flows(2, |_| true);

    let began = [&there, &back]
        .map(|it| [events::HELLO, events::SERVER_HALF].map(|event| it.flows_with(event)));
    assert_eq!(began, [[2, 0], [0, 2]]);
    // In TLS 1.3 an alert may be in the clear or a short record, as the library has it.
    assert_eq!(there.flows_with(events::ALERT | events::SHORT_RECORD), 2);
    assert!(there.handshake_bytes(Sender::Client) > 400);
    assert_eq!(there.handshake_bytes(Sender::Server), 0);
    assert!(back.handshake_bytes(Sender::Server) > 900);
    assert_eq!(back.handshake_bytes(Sender::Client), 0);

    for (client, server) in client_halves.iter().zip(&server_halves) {
        let [client, server] = [client, server].map(|it| (it.key, &it.watched.flow));
        assert_eq!(client.0.addresses, server.0.addresses);
        assert_eq!(client.0.ports, server.0.ports);
        assert_eq!(client.1.client_endpoint, server.1.client_endpoint);
        assert_eq!(
            [client, server].map(|it| it.1.flags),
            [0, flow_flags::SERVER_HALF]
        );
        let seen =
            |it: &detector_common::flow::Flow| it.sides.map(|side| side.has(side_flags::SEEN));
        assert_eq!(seen(client.1), [true, false]);
        assert_eq!(seen(server.1), [false, true]);
        // Each has its own SYN, and both know where the server's bytes begin.
        assert_eq!(client.1.syns.map(|syn| syn.count), [1, 0]);
        assert_eq!(server.1.syns.map(|syn| syn.count), [0, 1]);
        assert_eq!(client.1.syns[1].next_seq, server.1.sides[1].start_seq);
    }
}
