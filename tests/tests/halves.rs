//! Connections whose directions pass two gateways: joined, they are judged as by one that sees both.

use std::path::{Path, PathBuf};

use detector_common::flow::Sender;
use detector_common::observation::{ChunkHead, Observation};
use detector_user::cause::knowledge::Knowledge;
use detector_user::flow::halves::{Half, Item, JOINED_INTERFACES, compose};
use detector_user::flow::receiver::{Receiver, TimedReceiver};
use detector_user::flow::tracker::{SeenHalf, Tracker};
use detector_user::operate::pipeline::Pipeline;
use detector_user::outlet::sink::{Folds, Sinks};
use detector_user::source::capture_tap::CaptureTap;
use detector_user::verdict::Verdict;
use tests::halves::{Sent, frames, show_frame};

/// A time after all captures.
const LATER: u64 = u64::MAX / 2;

fn corpus() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/corpus");
    let paths = std::fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path());
    let mut captures: Vec<_> = paths
        .filter(|path| path.to_string_lossy().contains(".pcap"))
        .collect();
    captures.sort();
    captures
}

fn show<'a>(
    tap: &mut CaptureTap,
    frames: impl Iterator<Item = &'a Sent>,
    late_ns: u64,
    receiver: &mut impl TimedReceiver,
) {
    for sent in frames {
        let time_ns = sent.time_ns + late_ns;
        receiver.advance_if_due(time_ns);
        show_frame(tap, sent, time_ns, receiver);
        receiver.advance_if_due(time_ns);
    }
    receiver.advance(LATER);
}

fn agent() -> Pipeline {
    let sinks = Sinks::open(&[], Folds::default()).unwrap();
    Pipeline::new(1000, Knowledge::default(), sinks, |_| {})
}

fn verdicts(mut pipeline: Pipeline) -> Vec<String> {
    pipeline.finish();
    let mut told: Vec<String> = pipeline.recent().map(content).collect();
    told.push(format!("{:?}", pipeline.tally().outcomes));
    told.sort();
    told
}

/// A gateway through which one direction passes.
struct Gateway {
    tracker: Tracker,
    halves: Vec<SeenHalf>,
}

impl Receiver for Gateway {
    fn observation(&mut self, observation: &Observation) {
        self.tracker.observation(observation);
    }

    fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]) {
        self.tracker.chunk(head, bytes);
    }
}

impl TimedReceiver for Gateway {
    fn name_tap(&mut self, _: u32, _: &str) {}
    fn set_unix_offset(&mut self, _: i64) {}
    fn advance(&mut self, now_ns: u64) {
        self.tracker.advance(now_ns);
        self.halves.extend(self.tracker.take_halves());
    }
    fn advance_if_due(&mut self, now_ns: u64) {
        self.advance(now_ns);
    }
    fn end_flows(&mut self) {}
    fn is_closed(&self) -> bool {
        false
    }
}

/// Returns the last that a gateway saw of each connection.
fn halves(frames: &[Sent], side: Sender, late_ns: u64) -> Vec<Half> {
    let mut gateway = Gateway {
        tracker: Tracker::new(1000),
        halves: Vec::new(),
    };
    gateway.tracker.follow_halves();
    let seen = frames.iter().filter(|it| it.sender == side);
    show(
        &mut CaptureTap::default().with_halves(),
        seen,
        late_ns,
        &mut gateway,
    );
    assert_eq!(
        gateway.tracker.take_events().count(),
        0,
        "it judges by itself"
    );
    let mut last: Vec<Half> = Vec::new();
    for seen in gateway.halves {
        last.retain(|half| half.flow != seen.half.flow);
        last.push(*seen.half);
    }
    last
}

fn joined(frames: &[Sent], late_ns: u64) -> (Vec<String>, usize) {
    let clients = halves(frames, Sender::Client, 0);
    let servers = halves(frames, Sender::Server, late_ns);
    let mut pipeline = agent();
    let mut number = 0;
    let mut all = Vec::new();
    for client in &clients {
        let composed = servers
            .iter()
            .find_map(|server| compose(client, server, JOINED_INTERFACES, 0));
        all.extend(composed);
    }
    all.sort_by_key(|it| it.last_ns);
    for composed in all {
        number += 1;
        for item in &composed.items {
            match item {
                Item::Chunk(head, bytes) => pipeline.chunk(head, bytes),
                Item::Observation(observation) => pipeline.observation(observation),
            }
        }
    }
    pipeline.advance(LATER);
    (verdicts(pipeline), number)
}

/// The part of a verdict that one gateway and two have in common.
fn content(verdict: &Verdict) -> String {
    let evidence = verdict.evidence.iter().map(|it| it.name.as_str());
    let mut evidence: Vec<&str> = evidence.filter(|name| *name != "halves").collect();
    evidence.sort_unstable();
    format!(
        "{} {:.2} {:?} {:?} {:?} {:?} {:?} {:?} {evidence:?}",
        verdict.cause.name(),
        verdict.confidence,
        verdict.sni,
        verdict.ja4,
        verdict.issuer,
        verdict.ended_by,
        verdict.alert,
        verdict.reset,
    )
}

#[test]
fn joined_halves_are_judged_like_whole_connections() {
    let mut differences = Vec::new();
    let mut composed = 0;
    for path in corpus() {
        let frames = frames(&path);
        let (halves, number) = joined(&frames, 7_000_000_000);
        let mut pipeline = agent();
        show(&mut CaptureTap::default(), frames.iter(), 0, &mut pipeline);
        let whole = verdicts(pipeline);
        if whole != halves {
            let shown = path.display();
            differences.push(format!(
                "{shown}\n  whole  {whole:#?}\n  halves {halves:#?}"
            ));
        }
        composed += number;
    }
    assert!(
        differences.is_empty(),
        "{} differ: {}",
        differences.len(),
        differences.join("\n")
    );
    assert!(composed > 600, "{composed} composed");
}
