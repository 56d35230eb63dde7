//! A tap under observation, and the traces that it leaves in its namespace.

use std::time::Duration;

use aya::programs::ProgramInfo;
use aya::programs::tc::{SchedClassifier, TcAttachType};
use detector_common::counter::Counter;
use detector_common::observation::{ChunkHead, Observation, events};
use detector_user::flow::receiver::Receiver;
use detector_user::host::interfaces::Interface;
use detector_user::source::tap::counters::Counters;
use detector_user::source::tap::hook::{Abilities, Hook};
use detector_user::source::tap::kernel_tap::KernelTap;
use detector_user::source::tap::object::ObjectOptions;
use detector_user::source::tap::rings::Rings;
use lab::host::Namespace;
use tests::conversation::{Conversation, From, Network, tls};
use tests::wire::{inside, send, until};

/// A tap with its observations so far.
pub(super) struct Watched {
    pub(super) tap: KernelTap,
    pub(super) rings: Rings,
    pub(super) counters: Counters,
    pub(super) told: Told,
}

#[derive(Default)]
pub(super) struct Told {
    pub(super) observations: Vec<Observation>,
    pub(super) chunk_bytes: usize,
}

impl Receiver for Told {
    fn observation(&mut self, observation: &Observation) {
        self.observations.push(*observation);
    }

    fn chunk(&mut self, _: &ChunkHead, bytes: &[u8]) {
        self.chunk_bytes += bytes.len();
    }
}

impl Watched {
    pub(super) fn new(interfaces: &[Interface], abilities: Abilities) -> Self {
        Self::with(interfaces, abilities, &ObjectOptions::default())
    }

    pub(super) fn with(
        interfaces: &[Interface],
        abilities: Abilities,
        options: &ObjectOptions,
    ) -> Self {
        let mut tap = KernelTap::attach(interfaces, options, abilities).unwrap();
        Self {
            rings: Rings::take(&mut tap.kernel).unwrap(),
            counters: Counters::take(&mut tap.kernel).unwrap(),
            tap,
            told: Told::default(),
        }
    }

    pub(super) fn hooks(&self) -> Vec<(Hook, Option<Hook>)> {
        let hooks = self.tap.tapped.iter().map(|it| (it.ingress, it.egress));
        hooks.collect()
    }

    pub(super) fn count(&self, wanted: Counter) -> u64 {
        let all = self.counters.read().unwrap();
        all.iter().find(|(it, _)| *it == wanted).unwrap().1
    }

    /// Waits for an observation and returns its interface and whether it was at egress.
    pub(super) fn await_event(&mut self, event: u16) -> (u32, bool) {
        let mut found = None;
        until(&format!("an observation with event {event}"), || {
            self.rings.drain(&mut self.told);
            let mut all = self.told.observations.iter();
            found = all.find(|it| it.events & event != 0).copied();
            found.is_some()
        });
        let found = found.unwrap();
        (found.key.interface, found.egress != 0)
    }
}

pub(super) fn hello(talk: &mut Conversation) -> Vec<Vec<u8>> {
    vec![talk.data(From::Client, &tls::client_hello("www.works.test", 300))]
}

pub(super) fn alert(talk: &mut Conversation) -> Vec<Vec<u8>> {
    vec![
        talk.data(From::Server, &tls::server_hello(0xc02f, false)),
        talk.data(From::Server, &tls::record(21, &[2, 40])),
    ]
}

/// A hello comes in by g0 and an alert leaves by it: both are told, each with its direction.
pub(super) fn sees_both_directions(client: &Namespace, gateway: &Namespace, watched: &mut Watched) {
    let index = watched.tap.tapped[0].index;
    let mut talk = Conversation::new(Network::Ipv4);
    send(client, "c0", &hello(&mut talk));
    assert_eq!(watched.await_event(events::HELLO), (index, false));
    send(gateway, "g0", &alert(&mut talk));
    assert_eq!(watched.await_event(events::ALERT), (index, true));
    assert!(watched.told.chunk_bytes > 300);
    assert_eq!(watched.count(Counter::Started), 1);
    assert_eq!(watched.count(Counter::Followed), 3);
}

/// The namespace's programs, filters and queueing disciplines.
pub(super) fn traces(gateway: &Namespace, interface: &str) -> String {
    [
        format!("ip -details link show dev {interface}"),
        format!("tc qdisc show dev {interface}"),
        format!("tc filter show dev {interface} ingress"),
        format!("tc filter show dev {interface} egress"),
        "bpftool net show".to_owned(),
    ]
    .iter()
    // Before there is a clsact, tc has no filters to list and says so by failing.
    .map(|line| gateway.run(line).unwrap_or_default())
    .chain([inside(gateway, || tcx_programs(interface))])
    .collect()
}

/// Waits until the namespace shows the same as before.
pub(super) fn await_traces(gateway: &Namespace, interface: &str, before: &str) {
    let mut now = String::new();
    for _ in 0..500 {
        now = traces(gateway, interface);
        if now == before {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(now, before, "something stays");
}

fn tcx_programs(interface: &str) -> String {
    let programs = |direction| {
        // Before Linux 6.6 there is nothing to ask for.
        let found = SchedClassifier::query_tcx(interface, direction);
        let (_, programs) = found.unwrap_or_default();
        programs.iter().map(ProgramInfo::id).collect::<Vec<_>>()
    };
    let (ingress, egress) = (
        programs(TcAttachType::Ingress),
        programs(TcAttachType::Egress),
    );
    format!("TCX: {ingress:?} {egress:?}")
}
