use std::collections::BTreeSet;

use detector_common::counter::Counter;

use super::*;
use crate::cause::history::Outcomes;
use crate::flow::fair_share::Shed;
use crate::flow::tracker::RefusalCounts;
use crate::outlet::metrics::TapState;
use crate::outlet::sink::SinkStatus;
use crate::outlet::status::FleetCounts;
use crate::outlet::tally::Tally;
use crate::verdict::Intercepted;
use crate::verdict::tests::pinning;

/// A snapshot in which no number is zero.
fn snapshot(metrics: &Metrics) -> Snapshot {
    let mut meter = metrics.meter();
    meter.record(&pinning(), Duration::from_millis(240), Duration::ZERO);
    meter.record_established("lan0", Intercepted::No);
    let counters = Counter::ALL.iter().enumerate();
    let mut sink = SinkStatus {
        output: "journald",
        queued: 3,
        capacity: 10_000,
        spilled_bytes: 4096,
        written: 7,
        folded: 2,
        already_delivered: 1,
        ..SinkStatus::default()
    };
    sink.lost.insert("overflow", 5);
    let mut tally = Tally {
        under_way: 4,
        outcomes_ever: Outcomes {
            established: 100,
            unused: 2,
            unfinished: 1,
        },
        resets_without_effect: 3,
        refused: RefusalCounts {
            reset: 5,
            unanswered: 6,
            unreachable: 0,
        },
        records: 400,
        ..Tally::default()
    };
    tally.causes.insert("pinning", 1);
    Snapshot {
        counters: counters
            .map(|(at, &it)| (it, 1000 - 10 * at as u64))
            .collect(),
        forgotten: 1,
        watched_max: 16_384,
        settled_max: 245_760,
        fleet: Some(FleetCounts {
            connected: true,
            facts_published: 70,
            lag_ms: 1_500,
            ..FleetCounts::default()
        }),
        observations: 50,
        chunks: 60,
        malformed: 0,
        shed: Shed::default(),
        tally,
        verdicts: meter.counts().clone(),
        connections: meter.connections().clone(),
        sinks: vec![sink],
        unkept: 9,
        taps: vec![TapState {
            name: "wan\"0".to_owned(),
            ingress: "TCX",
            egress: Some("TCX"),
        }],
        kernel_memory: 1 << 20,
    }
}

fn full() -> Metrics {
    let metrics = Metrics::default();
    metrics.put(snapshot(&metrics));
    metrics.set_unready(None);
    metrics
}

/// Returns the lines that are the same each time.
fn lasting(text: &str) -> String {
    let lines = text.lines();
    lines
        .filter(|line| !line.starts_with("process_"))
        .flat_map(|line| [line, "\n"])
        .collect()
}

#[test]
fn everything_is_shown() {
    insta::assert_snapshot!(lasting(&full().openmetrics().unwrap()));
}

#[test]
fn the_classic_text_has_the_same_values_under_their_own_names() {
    let metrics = full();
    let classic = lasting(&metrics.classic().unwrap());
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(
        values(&classic),
        values(&lasting(&metrics.openmetrics().unwrap()))
    );
    for line in [
        "# HELP tlswhy_packets_total Packets at taps",
        "# TYPE tlswhy_packets_total counter\n",
        "# TYPE tlswhy_verdict_latency_seconds histogram\n",
        "# TYPE tlswhy_flows gauge\n",
    ] {
        assert!(classic.contains(line), "{line} is not in {classic}");
    }
}

#[test]
fn every_family_has_values_under_its_name_and_every_label() {
    let text = full().openmetrics().unwrap();
    for family in FAMILIES {
        let name = match family.kind {
            Kind::Histogram => format!("{}_count", family.name()),
            _ => family.name(),
        };
        let value = text.lines().find(|line| {
            let rest = line.strip_prefix(&name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        let value = value.unwrap_or_else(|| panic!("no value of {name}"));
        let names: Vec<_> = family.labels.iter().map(|it| format!("{it}=\"")).collect();
        assert!(names.iter().all(|it| value.contains(it)), "{value}");
    }
}

#[test]
fn no_series_is_there_twice() {
    let metrics = full();
    let text = metrics.openmetrics().unwrap();
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        assert!(seen.insert(series), "{series}");
    }
}

#[test]
fn an_event_loop_that_hangs_is_not_healthy() {
    let mut metrics = Metrics::default();
    metrics.set_unready(None);
    assert_eq!(metrics.unhealthy(), None);
    let shared = Arc::get_mut(&mut metrics.0).unwrap();
    shared.began -= STALLED_AFTER + Duration::from_secs(2);
    assert_eq!(
        metrics.unhealthy().as_deref(),
        Some("event loop stalled for 32 s")
    );
    assert_eq!(
        metrics.unready().as_deref(),
        Some("event loop stalled for 32 s")
    );
    metrics.record_turn();
    assert_eq!(metrics.unhealthy(), None);
}
