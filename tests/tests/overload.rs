//! An agent that does not keep up: handshake bytes are dropped before anything that tells of a failure. And one
//! that runs for a day: it keeps nothing of what is over.

use std::sync::{Arc, Mutex};

use detector_common::counter::Counter;
use detector_common::headers::LinkType;
use detector_user::cause::knowledge::Knowledge;
use detector_user::flow::fair_share::Shed;
use detector_user::flow::receiver::TimedReceiver;
use detector_user::operate::pipeline::Pipeline;
use detector_user::outlet::sink::{Sink, SinkError, Sinks};
use detector_user::outlet::summary::{CutFrames, Summary};
use detector_user::source::capture::{Frame, LinkType as CaptureLinkType};
use detector_user::source::capture_tap::CaptureTap;
use detector_user::source::tap::counters::forgotten;
use detector_user::source::tap::object::ObjectOptions;
use detector_user::verdict::{Cause, Verdict};
use tests::conversation::{Conversation, From, Network, tls};
use tests::engines::{Kernel, Program};

/// Connections, more than the smaller ring has room for.
const CONNECTIONS: u16 = 1000;

/// Keeps verdicts.
struct Kept(Arc<Mutex<Vec<Verdict>>>);

impl Sink for Kept {
    fn name(&self) -> &'static str {
        "kept"
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        self.0.lock().unwrap().push(verdict.clone());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// A client that refuses the certificate.
fn refused(client: u32, port: u16) -> Vec<Vec<u8>> {
    let mut talk = Conversation::new(Network::Ipv4);
    (talk.client, talk.client_port) = (client, port);
    let flight = [
        tls::server_hello(0xc02f, false),
        tls::record(22, &tls::message(11, &[7; 900])),
        tls::record(22, &tls::message(14, &[])),
    ];
    vec![
        talk.data(From::Client, &tls::client_hello("www.refused.test", 500)),
        talk.data(From::Server, &flight.concat()),
        talk.data(From::Client, &tls::record(21, &[2, 46])),
        talk.rst(From::Client),
    ]
}

#[test]
fn a_full_handshake_ring_costs_no_verdict() {
    let options = ObjectOptions {
        handshake_ring: 64 << 10,
        ..ObjectOptions::default()
    };
    let mut kernel = Kernel::new(Program::Xdp, &options).unwrap();
    for port in 1..=CONNECTIONS {
        for frame in refused(0, port) {
            kernel.frame(&frame).unwrap();
        }
    }
    let verdicts = Arc::new(Mutex::new(Vec::new()));
    let sinks = Sinks::new(vec![Box::new(Kept(Arc::clone(&verdicts)))]);
    let mut pipeline = Pipeline::new(1 << 16, Knowledge::default(), sinks, |_| {});
    kernel.drain(&mut pipeline);
    pipeline.finish();

    let verdicts = verdicts.lock().unwrap();
    assert_eq!(verdicts.len(), usize::from(CONNECTIONS));
    for verdict in verdicts.iter() {
        let code = verdict.alert.as_ref().and_then(|alert| alert.code);
        assert_eq!(
            (verdict.cause, code),
            (Cause::CertificateRejected, Some(46))
        );
    }
    let named = verdicts.iter().filter(|it| it.sni.is_some()).count();
    assert!((1..verdicts.len()).contains(&named), "{named} have a name");

    let counters = kernel.counters().unwrap();
    let count = |wanted| counters.iter().find(|(it, _)| *it == wanted).unwrap().1;
    assert_eq!(count(Counter::ObservationLost), 0);
    let lost = count(Counter::HandshakeLost);
    assert!(lost > 0);
    let tally = pipeline.tally();
    let summary = Summary {
        tally,
        forgotten: forgotten(&counters, 1),
        shed: Shed::default(),
        counters,
        unread: Vec::new(),
        rejected: 0,
        cut_captures: 0,
        cut_frames: CutFrames::default(),
    }
    .to_string();
    assert!(
        summary.contains(&format!("lost: {lost} pieces of handshakes (")),
        "{summary}"
    );
}

/// Connections of the day; `TLSWHY_CONNECTIONS` asks for more.
const OF_A_DAY: u64 = 4_000;
const DAY_NS: u64 = 24 * 3_600_000_000_000;
/// Growth of resident memory from the first third of a day to its end, KiB: one flow in a thousand of a million
/// would be more.
const GROWTH_MAX: u64 = 12 << 10;

/// Returns the frames of one of a day's connections: refused, without an end, or working.
fn of_a_day(number: u64) -> Vec<Vec<u8>> {
    // The same bytes at the same place would be the connection before, sent again.
    let mut frames = refused((number / 60_000) as u32, 1024 + (number % 60_000) as u16);
    match number % 4 {
        // A beginning of which nothing more comes.
        0 => frames.truncate(1),
        // A handshake that nobody ends.
        1 => frames.truncate(2),
        _ => {}
    }
    frames
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[test]
fn a_day_of_connections_leaves_nothing_under_way_and_no_memory() {
    let wanted = std::env::var("TLSWHY_CONNECTIONS").ok();
    let connections = wanted.map_or(OF_A_DAY, |it| it.parse().expect("a number"));
    let sinks = Sinks::new(Vec::new());
    // Of a million a day some twenty thousand are waited for at any time.
    let mut pipeline = Pipeline::new(1 << 16, Knowledge::default(), sinks, |_| {});
    let mut tap = CaptureTap::default();
    let begin_ns = 1_700_000_000_000_000_000;
    let mut early_kib = 0;
    for number in 0..connections {
        let mut time_ns = begin_ns + DAY_NS / connections * number;
        if number == connections / 3 {
            early_kib = resident_kib();
        }
        if number % 4_096 == 0 {
            // A gateway has the engine's tables in the kernel; those of captures grow up to a million flows.
            tap = CaptureTap::default();
        }
        pipeline.advance_if_due(time_ns);
        for captured in of_a_day(number) {
            let frame = Frame {
                time_ns,
                interface: 0,
                link_type: CaptureLinkType::ETHERNET,
                captured: &captured,
                original_len: captured.len() as u32,
            };
            tap.frame(&frame, LinkType::Ethernet, 0, &mut pipeline);
            time_ns += 10_000;
        }
    }
    let late_kib = resident_kib();
    // The last ones have two hours to be idle in.
    pipeline.advance(begin_ns + DAY_NS + DAY_NS / 12);
    pipeline.finish();
    println!(
        "{connections} connections in a day: {early_kib} KiB after a third of them, {late_kib} KiB at the end"
    );
    let tally = pipeline.tally();
    let causes: u64 = tally.causes.values().sum();
    assert_eq!(tally.tracker.flows, connections);
    assert_eq!(tally.tracker.evicted, 0);
    assert_eq!(tally.under_way, 0);
    assert_eq!(causes, connections / 2, "{:?}", tally.causes);
    let growth = late_kib.saturating_sub(early_kib);
    assert!(
        growth <= GROWTH_MAX,
        "{early_kib} KiB became {late_kib} KiB"
    );
}
