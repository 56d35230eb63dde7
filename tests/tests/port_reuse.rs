//! Source ports used again: every connection is told, or counted as working or lost.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use detector_common::headers::LinkType;
use detector_user::cause::knowledge::Knowledge;
use detector_user::flow::receiver::TimedReceiver;
use detector_user::operate::pipeline::Pipeline;
use detector_user::outlet::sink::{Sink, SinkError, Sinks};
use detector_user::source::capture::{Frame, LinkType as CaptureLinkType};
use detector_user::source::capture_tap::CaptureTap;
use detector_user::verdict::Verdict;
use lab::host::{Namespace, Process};
use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::Value;
use tests::conversation::{Conversation, From, Network, tls};
use tests::gateway::agent;
use tests::wire::{pair, send_paced};

/// Gaps between connections, so that a port is used again within milliseconds, seconds and minutes.
const GAPS: [Duration; 3] = [
    Duration::from_micros(20),
    Duration::from_millis(2),
    Duration::from_millis(60),
];

/// Connections that fail one after the other, `ports` of them at most before the first port comes again.
struct Failures {
    ports: u16,
    flight: Vec<u8>,
    /// Initial sequence numbers, as Linux chooses them: a hash of the ports and a clock (RFC 6528).
    clock: u32,
}

impl Failures {
    fn new(ports: u16) -> Self {
        let flight = [
            tls::server_hello(0xc02f, false),
            tls::record(22, &tls::message(11, &[7; 300])),
            tls::record(22, &tls::message(14, &[])),
        ];
        Self {
            ports,
            flight: flight.concat(),
            clock: 1,
        }
    }

    /// The frames of connection `number`, which begins `gap` after the last.
    fn connection(&mut self, number: u32, gap: Duration) -> Vec<Vec<u8>> {
        // One step of the clock takes 64 ns.
        self.clock = self.clock.wrapping_add((gap.as_nanos() / 64) as u32);
        let port = 1024 + (number % u32::from(self.ports)) as u16;
        let hash = u32::from(port).wrapping_mul(0x9e37_79b9);
        let mut talk = Conversation::new(Network::Ipv4);
        talk.client_port = port;
        talk.seq = [
            hash.wrapping_add(self.clock),
            hash.rotate_left(7).wrapping_add(self.clock),
        ];
        let mut frames = talk.three_way_handshake();
        let name = format!("n{}.again.test", number % 97);
        frames.push(talk.data(From::Client, &tls::client_hello(&name, 200)));
        frames.push(talk.data(From::Server, &self.flight));
        frames.push(talk.data(From::Client, &tls::record(21, &[2, 46])));
        match number % 3 {
            0 => frames.push(talk.rst(From::Client)),
            1 => frames.extend([talk.fin(From::Client), talk.ack(From::Server)]),
            _ => frames.extend([
                talk.fin(From::Client),
                talk.fin(From::Server),
                talk.ack(From::Client),
            ]),
        }
        frames
    }
}

/// Counts verdicts that revise none.
struct Told(Arc<Mutex<u64>>);

impl Sink for Told {
    fn name(&self) -> &'static str {
        "told"
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        *self.0.lock().unwrap() += u64::from(verdict.revises.is_none());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

#[test]
fn each_of_a_hundred_thousand_in_a_capture_is_told() {
    const CONNECTIONS: u32 = 100_000;
    let told = Arc::new(Mutex::new(0));
    let sinks = Sinks::new(vec![Box::new(Told(Arc::clone(&told)))]);
    let mut pipeline = Pipeline::new(1 << 16, Knowledge::default(), sinks, |_| {});
    let mut tap = CaptureTap::default();
    let mut failures = Failures::new(2000);
    let mut now_ns = 1_700_000_000_000_000_000;
    for number in 0..CONNECTIONS {
        let gap = GAPS[number as usize * GAPS.len() / CONNECTIONS as usize];
        now_ns += gap.as_nanos() as u64;
        for (index, bytes) in failures.connection(number, gap).iter().enumerate() {
            let frame = Frame {
                time_ns: now_ns + index as u64 * 1000,
                captured: bytes,
                original_len: bytes.len() as u32,
                interface: 0,
                link_type: CaptureLinkType::ETHERNET,
            };
            pipeline.advance_if_due(frame.time_ns);
            tap.frame(&frame, LinkType::Ethernet, 0, &mut pipeline);
            pipeline.advance_if_due(frame.time_ns);
        }
    }
    pipeline.finish();
    let tally = pipeline.tally();
    assert_eq!(tally.tracker.flows, u64::from(CONNECTIONS));
    let others = tally.outcomes.established + tally.outcomes.unused + tally.outcomes.unfinished;
    assert_eq!((*told.lock().unwrap(), others), (u64::from(CONNECTIONS), 0));
}

/// The numbers in a line, in order.
fn numbers(line: &str) -> Vec<u64> {
    line.split(|it: char| !it.is_ascii_digit())
        .filter_map(|it| it.parse().ok())
        .collect()
}

/// Frames that the kernel dropped at an interface: on a busy machine, before a tap could see them.
fn dropped(namespace: &Namespace, interface: &str) -> u64 {
    let shown = namespace.run(&format!("ip -stats -json link show dev {interface}"));
    let shown: Value = serde_json::from_str(&shown.unwrap()).unwrap();
    let of = |way| shown[0]["stats64"][way]["dropped"].as_u64().unwrap();
    of("rx") + of("tx")
}

/// Connections a second: a calm one, one that a busy gateway has, and as fast as a socket sends.
#[rstest]
fn live_the_sums_are_equal(#[values(500, 2000, 20_000)] rate: u32) {
    const CONNECTIONS: u32 = 3000;
    let (client, gateway) = pair();
    let mut command = gateway.command(agent());
    command.args(["run", "-i", "g0", "--output", "json"]);
    let mut agent = Process::start(&mut command).unwrap();
    agent
        .wait_for(tests::wire::PATIENCE, |line| line == "ready")
        .unwrap();
    let mut failures = Failures::new(200);
    let gap = Duration::from_secs(1) / rate;
    let connections: Vec<Vec<Vec<u8>>> = (0..CONNECTIONS)
        .map(|number| failures.connection(number, gap))
        .collect();
    send_paced(&client, "c0", &connections, gap);
    // Half-closed ones are over ten seconds later; at the agent's end, at once.
    let (_, lines) = agent.stop(Signal::SIGTERM).unwrap();
    let line = |begin: &str| lines.iter().find(|line| line.starts_with(begin)).unwrap();
    let verdicts = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|verdict| verdict["revises"].is_null());
    let ends: HashSet<String> = verdicts
        .map(|verdict| format!("{} {}", verdict["time"], verdict["client"]))
        .collect();
    let [_, seen, ..] = numbers(line("seen:"))[..] else {
        panic!("{lines:?}");
    };
    let judged = line("judged:").replace(char::is_alphabetic, " ");
    let [established, failed, ..] = numbers(&judged)[..] else {
        panic!("{lines:?}");
    };
    let [.., unused, unfinished] = numbers(judged.split(';').next().unwrap())[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(
        established + failed + unused + unfinished,
        seen,
        "{lines:?}"
    );
    assert_eq!(ends.len() as u64, failed, "{:?}", line("judged:"));
    let dropped = dropped(&client, "c0") + dropped(&gateway, "g0");
    if line("lost:").as_str() == "lost: nothing" && dropped == 0 {
        assert_eq!(seen, u64::from(CONNECTIONS));
        assert_eq!(failed, seen);
    }
}
