//! What a packet costs in the kernel, by BPF_PROG_TEST_RUN.

use std::collections::BTreeMap;

use anyhow::Context;
use aya::maps::HashMap;
use aya::programs::{SchedClassifier, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use detector_common::flow::{Flow, FlowKey, Watched};
use detector_user::tap::Receiver;
use detector_user::tap::object::{ObjectOptions, load};
use detector_user::tap::rings::Rings;
use tests::conversation::{Conversation, From, Network, tls};

use crate::table::{Goal, Row, Table};

static REFERENCE: &[u8] = aya::include_bytes_aligned!(env!("REFERENCE_EBPF_OBJECT"));

/// Which program a packet goes through.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Program {
    Empty,
    Lru,
    Xdp,
    Egress,
}

/// A packet, and those that bring its flow to where it is looked at.
struct Case {
    name: &'static str,
    before: Vec<Vec<u8>>,
    packet: Vec<u8>,
    /// Packets that tell something fill a ring, which must be emptied in between.
    tells: bool,
    goal: Option<Goal>,
}

/// Nobody looks at what is told here.
struct Nobody;

impl Receiver for Nobody {
    fn observation(&mut self, _: &detector_common::observation::Observation) {}
    fn chunk(&mut self, _: &detector_common::observation::ChunkHead, _: &[u8]) {}
}

/// Adds a row for each kind of packet.
pub(crate) fn measure(table: &mut Table, quick: bool) -> anyhow::Result<()> {
    let rounds = if quick { 5 } else { 15 };
    for case in cases() {
        eprintln!("kernel: {}", case.name);
        let ns = case.measure(rounds)?;
        let get = |program| ns.get(&program).copied().unwrap_or_default();
        let empty = get(Program::Empty);
        let reference = get(Program::Lru) - empty;
        for (program, hook) in [(Program::Xdp, "XDP"), (Program::Egress, "TCX egress")] {
            let over = get(program) - empty;
            let how = if case.tells { ", one by one" } else { "" };
            table.add(Row {
                what: format!("{}, {hook}{how}", case.name),
                figure: format!("{over:+.1} ns over empty"),
                reference: format!("parse + LRU hit {reference:+.1} ns"),
                ratio: (reference > 0.0).then_some(over / reference),
                goal: case.goal,
            });
        }
    }
    Ok(())
}

fn application_data(len: usize) -> Vec<u8> {
    tls::record(23, &vec![0xa5; len])
}

/// A connection that has settled.
fn settled(network: Network) -> (Conversation, Vec<Vec<u8>>) {
    let mut talk = Conversation::new(network);
    let mut frames = vec![talk.data(From::Client, &tls::client_hello("bench.test", 500))];
    frames.push(talk.data(From::Server, &tls::server_hello(0x1301, true)));
    for _ in 0..12 {
        frames.push(talk.data(From::Client, &application_data(300)));
        frames.push(talk.data(From::Server, &application_data(1000)));
    }
    (talk, frames)
}

/// A connection in its handshake.
fn watched(network: Network) -> (Conversation, Vec<Vec<u8>>) {
    let mut talk = Conversation::new(network);
    let hello = talk.data(From::Client, &tls::client_hello("bench.test", 500));
    let answer = talk.data(From::Server, &tls::server_hello(0xc02f, false));
    (talk, vec![hello, answer])
}

fn cases() -> Vec<Case> {
    let relaxed = Some(Goal::AtMost(1.5));
    let case = |name, before, packet, goal| Case {
        name,
        before,
        packet,
        tells: false,
        goal,
    };
    let mut cases = Vec::new();

    let mut udp = Conversation::new(Network::Ipv4).ack(From::Client);
    if let Some(protocol) = udp.get_mut(14 + 9) {
        *protocol = 17;
    }
    cases.push(case("not TCP", vec![], udp, relaxed));
    for (network, ack, data) in [
        (
            Network::Ipv4,
            "pure ACK, established, IPv4",
            "full data segment, established, IPv4",
        ),
        (
            Network::Ipv6,
            "pure ACK, established, IPv6",
            "full data segment, established, IPv6",
        ),
    ] {
        let (mut talk, before) = settled(network);
        cases.push(case(ack, before.clone(), talk.ack(From::Client), relaxed));
        let segment = talk.data(From::Server, &vec![0x5a; 1448]);
        cases.push(case(data, before, segment, relaxed));
    }
    let (mut talk, before) = watched(Network::Ipv4);
    cases.push(case(
        "data within a record, in the handshake",
        before,
        {
            let mut record = tls::record(22, &vec![0; 8000]);
            record.truncate(1448);
            talk.data(From::Server, &record)
        },
        None,
    ));
    let tells = |name, before, packet| Case {
        name,
        before,
        packet,
        tells: true,
        goal: None,
    };
    let mut talk = Conversation::new(Network::Ipv4);
    cases.push(tells(
        "ClientHello of 517 bytes",
        vec![],
        talk.data(From::Client, &tls::client_hello("bench.test", 500)),
    ));
    let (mut talk, before) = watched(Network::Ipv4);
    cases.push(tells(
        "alert",
        before,
        talk.data(From::Client, &tls::record(21, &[2, 46])),
    ));
    let (talk, before) = watched(Network::Ipv4);
    cases.push(tells(
        "RST of a watched flow",
        before,
        talk.rst(From::Server),
    ));
    let unknown = Conversation::new(Network::Ipv4);
    cases.push(case(
        "RST of no flow",
        vec![],
        unknown.rst(From::Server),
        None,
    ));
    cases
}

impl Case {
    /// Median nanoseconds of each program.
    fn measure(&self, rounds: usize) -> anyhow::Result<BTreeMap<Program, f64>> {
        let mut reference = EbpfLoader::new()
            .load(REFERENCE)
            .context("the bench needs root")?;
        for name in ["reference_empty", "reference_lru"] {
            xdp(&mut reference, name)?.load()?;
        }
        let mut object = load(&ObjectOptions::default())?;
        xdp(&mut object, "tlswhy_xdp")?.load()?;
        classifier(&mut object)?.load()?;
        let mut rings = Rings::take(&mut object)?;
        let mut times: BTreeMap<Program, Vec<f64>> = BTreeMap::new();
        for _ in 0..rounds {
            for program in [Program::Empty, Program::Lru, Program::Xdp, Program::Egress] {
                // What tells something once must be brought about anew each time; then the
                // references are run one by one, too, with caches as cold.
                let (runs, repeat) = if self.tells { (60, 1) } else { (1, 400_000) };
                let mut each = Vec::new();
                for _ in 0..runs {
                    each.push(match program {
                        Program::Empty => run_xdp(
                            xdp(&mut reference, "reference_empty")?,
                            &self.packet,
                            repeat,
                        )?,
                        Program::Lru => {
                            run_xdp(xdp(&mut reference, "reference_lru")?, &self.packet, repeat)?
                        }
                        Program::Xdp | Program::Egress => {
                            self.prepare(&mut object, &mut rings)?;
                            run(&mut object, program, &self.packet, repeat)?
                        }
                    });
                }
                let ns = median(each);
                times.entry(program).or_default().push(ns);
            }
        }
        Ok(times
            .into_iter()
            .map(|(program, ns)| (program, median(ns)))
            .collect())
    }

    fn prepare(&self, object: &mut Ebpf, rings: &mut Rings) -> anyhow::Result<()> {
        forget_flows(object)?;
        for frame in &self.before {
            run(object, Program::Xdp, frame, 1)?;
        }
        rings.drain(&mut Nobody);
        Ok(())
    }
}

/// Empties the tables, so that the next hello begins a new flow.
fn forget_flows(object: &mut Ebpf) -> anyhow::Result<()> {
    forget(object, "WATCHED", [0u8; size_of::<Watched>()])?;
    forget(object, "SETTLED", [0u8; size_of::<Flow>()])
}

/// Removes every key of a map whose values are as long as `_value`.
fn forget<const N: usize>(object: &mut Ebpf, name: &str, _value: [u8; N]) -> anyhow::Result<()> {
    const KEY: usize = size_of::<FlowKey>();
    let map = object.map_mut(name).context("no such map")?;
    let mut map: HashMap<_, [u8; KEY], [u8; N]> = map.try_into()?;
    let keys: Vec<[u8; KEY]> = map.keys().collect::<Result<_, _>>()?;
    for key in keys {
        map.remove(&key)?;
    }
    Ok(())
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

fn xdp<'e>(ebpf: &'e mut Ebpf, name: &str) -> anyhow::Result<&'e mut Xdp> {
    Ok(ebpf
        .program_mut(name)
        .context("no such program")?
        .try_into()?)
}

fn classifier(ebpf: &mut Ebpf) -> anyhow::Result<&mut SchedClassifier> {
    Ok(ebpf
        .program_mut("tlswhy_egress")
        .context("no such program")?
        .try_into()?)
}

fn run_xdp(program: &Xdp, packet: &[u8], repeat: u32) -> anyhow::Result<f64> {
    let options = TestRunOptions {
        data_in: Some(packet),
        repeat,
        ..Default::default()
    };
    Ok(program.test_run(options)?.duration.as_nanos() as f64)
}

fn run(object: &mut Ebpf, program: Program, packet: &[u8], repeat: u32) -> anyhow::Result<f64> {
    let options = TestRunOptions {
        data_in: Some(packet),
        repeat,
        ..Default::default()
    };
    let result = match program {
        Program::Egress => classifier(object)?.test_run(options)?,
        _ => xdp(object, "tlswhy_xdp")?.test_run(options)?,
    };
    Ok(result.duration.as_nanos() as f64)
}
