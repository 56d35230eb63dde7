//! Every metric there is, in one table: what is served and what is documented are made from it.
//!
//! No label has values from the network. Counts are the kernel's or the agent's own, since either
//! began.

use detector_common::counter::Counter;

use super::family::{
    Family, Number, Read, Sample, Unit, counter, gauge, histogram, in_unit, labelled, one,
};
use super::meter::Counted;
use super::snapshot::{Scrape, Snapshot};
use crate::outlet::sink::{SinkError, SinkStatus};
use crate::verdict::Cause;

/// Every metric.
pub const FAMILIES: &[Family] = &[
    gauge(
        "tlswhy_build_info",
        &["version"],
        "Always 1; which agent this is",
        |_| vec![(vec![env!("CARGO_PKG_VERSION").to_owned()], Number::Whole(1))],
    ),
    gauge(
        "tlswhy_ready",
        &[],
        "Whether it watches: 1 as long as /readyz is 200",
        |scrape| one(u64::from(scrape.is_ready)),
    ),
    gauge(
        "tlswhy_tap_attached",
        &["tap", "direction", "hook"],
        "Always 1; one for each direction in which an interface is tapped",
        attached,
    ),
    counter(
        "tlswhy_packets",
        &["path"],
        "Packets seen at taps, each by the one path it took in the kernel; followed is what was read",
        |scrape| {
            let ways = scrape
                .counters()
                .filter(|(counter, _)| counter.is_outcome());
            ways.map(|(counter, number)| labelled(&[counter.name()], number))
                .collect()
        },
    ),
    counter(
        "tlswhy_flow_events",
        &["event"],
        "What became of flows in the kernel: a ClientHello started one, data settled it, an end or alert \
         resumed it; not_hello was none after all",
        |scrape| {
            let counters = [
                Counter::Started,
                Counter::Settled,
                Counter::Resumed,
                Counter::NotHello,
            ];
            let named = |counter: Counter| labelled(&[counter.name()], scrape.of(counter));
            counters.map(named).into()
        },
    ),
    gauge(
        "tlswhy_flows",
        &["table"],
        "Flows followed: settled is established connections in the kernel, agent is those the agent holds \
         something of",
        |scrape| {
            vec![
                labelled(&["settled"], scrape.settled()),
                labelled(&["agent"], scrape.tally.under_way as u64),
            ]
        },
    ),
    gauge(
        "tlswhy_flows_limit",
        &["table"],
        "Flows there is room for; watched is for handshakes and ends in the kernel",
        |scrape| {
            vec![
                labelled(&["watched"], scrape.watched_max),
                labelled(&["settled"], scrape.settled_max),
                labelled(&["agent"], scrape.watched_max + scrape.settled_max),
            ]
        },
    ),
    counter(
        "tlswhy_flows_evicted",
        &["table", "state"],
        "Flows forgotten to make room for others; of an idle one nothing is lost, of others a verdict \
         may be",
        |scrape| {
            vec![
                labelled(&["watched", "idle"], scrape.of(Counter::Evicted)),
                labelled(&["watched", "busy"], scrape.of(Counter::EvictedBusy)),
                labelled(&["settled", "oldest"], scrape.forgotten),
                labelled(&["agent", "oldest"], scrape.tally.tracker.evicted),
            ]
        },
    ),
    counter(
        "tlswhy_flows_refused",
        &[],
        "Flows not followed since the table of watched flows took no more",
        |scrape| one(scrape.of(Counter::TableFull)),
    ),
    counter(
        "tlswhy_ring_items",
        &["ring"],
        "Observations, and pieces of handshakes, that the agent took off the kernel's rings",
        |scrape| {
            vec![
                labelled(&["observations"], scrape.observations),
                labelled(&["handshakes"], scrape.chunks),
            ]
        },
    ),
    counter(
        "tlswhy_ring_lost",
        &["ring", "reason"],
        "What did not get onto a ring: it was full (or bytes out of reach), or the flow had raised as many \
         observations as one may (capped)",
        |scrape| {
            vec![
                labelled(
                    &["observations", "full"],
                    scrape.of(Counter::ObservationLost),
                ),
                labelled(
                    &["observations", "capped"],
                    scrape.of(Counter::ObservationsCapped),
                ),
                labelled(&["handshakes", "full"], scrape.of(Counter::HandshakeLost)),
            ]
        },
    ),
    counter(
        "tlswhy_ring_malformed",
        &[],
        "Items of a wrong size on the rings: agent and eBPF object do not fit together",
        |scrape| one(scrape.malformed),
    ),
    counter(
        "tlswhy_records",
        &[],
        "TLS records in what was judged; the kernel tells of a flow's first 16 per side",
        |scrape| one(scrape.tally.records),
    ),
    counter(
        "tlswhy_connections",
        &["outcome"],
        "Connections judged; failed has a verdict, unused went through and nobody had a use for it, \
         unfinished did not end in a way that says anything",
        |scrape| {
            vec![
                labelled(&["established"], scrape.tally.established),
                labelled(&["failed"], scrape.tally.causes.values().sum()),
                labelled(&["unused"], scrape.tally.unused),
                labelled(&["unfinished"], scrape.tally.unfinished),
            ]
        },
    ),
    counter(
        "tlswhy_verdicts",
        &["cause", "tap"],
        "First verdicts on connections that failed",
        |scrape| verdicts(scrape, |counted| counted.given),
    ),
    counter(
        "tlswhy_verdicts_revised",
        &["cause", "tap"],
        "Verdicts that replace an earlier one, by their new cause: pinning and ca-not-trusted mostly \
         come so",
        |scrape| verdicts(scrape, |counted| counted.revised),
    ),
    histogram(
        "tlswhy_verdict_latency",
        "From a connection's last packet to its first verdict. Most of it is waiting for evidence: 0.2 s \
         after a close, 0.5 s after a reset, 2 s after an alert alone and for connections beside it, 3 s \
         for the other tap, 10 s after half a close, an hour in silence",
        Read::Latency,
    ),
    histogram(
        "tlswhy_verdict_lateness",
        "The rest of the latency: from when nothing more was waited for to the verdict",
        Read::Lateness,
    ),
    gauge(
        "tlswhy_sink_queue_length",
        &["sink"],
        "Verdicts that wait in memory for a sink, with the one being written",
        |scrape| by_sink(scrape, |sink| sink.queued as u64),
    ),
    gauge(
        "tlswhy_sink_queue_limit",
        &["sink"],
        "Verdicts that may wait in memory for a sink",
        |scrape| by_sink(scrape, |sink| sink.capacity as u64),
    ),
    in_unit(
        gauge(
            "tlswhy_sink_spilled",
            &["sink"],
            "Verdicts that wait on disk for a sink",
            |scrape| by_sink(scrape, |sink| sink.spilled_bytes),
        ),
        Unit::Bytes,
    ),
    counter(
        "tlswhy_sink_verdicts",
        &["sink", "result"],
        "Verdicts a sink is done with: written, folded into another's count, or repeated, as it had got \
         out before a restart",
        |scrape| {
            let results = |sink: &SinkStatus| {
                [
                    labelled(&[sink.output, "written"], sink.written),
                    labelled(&[sink.output, "folded"], sink.folded),
                    labelled(&[sink.output, "repeated"], sink.already_delivered),
                ]
            };
            scrape.sinks.iter().flat_map(results).collect()
        },
    ),
    counter(
        "tlswhy_sink_lost",
        &["sink", "reason"],
        "Verdicts a sink lost",
        lost,
    ),
    counter(
        "tlswhy_history_unkept",
        &[],
        "Facts learned that did not get to the state directory",
        |scrape| one(scrape.unkept),
    ),
    in_unit(
        gauge(
            "tlswhy_kernel_memory",
            &[],
            "Memory of tables and rings in the kernel, by its own account from Linux 6.4",
            |scrape| one(scrape.kernel_memory),
        ),
        Unit::Bytes,
    ),
    in_unit(
        gauge(
            "process_resident_memory",
            &[],
            "Memory of the agent itself",
            |scrape| scrape.process.resident_bytes.map_or_else(Vec::new, one),
        ),
        Unit::Bytes,
    ),
    in_unit(
        counter(
            "process_cpu",
            &[],
            "Processor time of the agent, without what its programs take in the kernel",
            |scrape| {
                let seconds = scrape.process.cpu_seconds.map(Number::Real);
                seconds.map(|it| (Vec::new(), it)).into_iter().collect()
            },
        ),
        Unit::Seconds,
    ),
    in_unit(
        gauge(
            "process_start_time",
            &[],
            "When the agent started, UNIX time",
            |scrape| vec![(Vec::new(), Number::Real(scrape.started_s))],
        ),
        Unit::Seconds,
    ),
];

fn by_sink(snapshot: &Snapshot, of: fn(&SinkStatus) -> u64) -> Vec<Sample> {
    let sinks = snapshot.sinks.iter();
    sinks
        .map(|sink| labelled(&[sink.output], of(sink)))
        .collect()
}

/// Each reason of each sink from the start, so that the first loss is an increase.
fn lost(scrape: &Scrape<'_>) -> Vec<Sample> {
    let mut samples = Vec::new();
    for sink in &scrape.sinks {
        let mut lost = sink.lost.clone();
        for reason in SinkError::LOSSES {
            lost.entry(reason).or_default();
        }
        samples.extend(
            lost.iter()
                .map(|(reason, number)| labelled(&[sink.output, reason], *number)),
        );
    }
    samples
}

fn verdicts(scrape: &Scrape<'_>, of: fn(Counted) -> u64) -> Vec<Sample> {
    let taps = scrape.taps.iter().map(|tap| tap.name.as_str());
    let counts = scrape.verdicts.with(taps).into_iter();
    counts
        // What works has no verdict.
        .filter(|(_, cause, _)| *cause != Cause::Established)
        .map(|(tap, cause, counted)| labelled(&[cause.name(), tap], of(counted)))
        .collect()
}

fn attached(scrape: &Scrape<'_>) -> Vec<Sample> {
    let mut samples = Vec::new();
    for tap in &scrape.taps {
        samples.push(labelled(&[&tap.name, "ingress", tap.ingress], 1));
        samples.extend(
            tap.egress
                .map(|hook| labelled(&[&tap.name, "egress", hook], 1)),
        );
    }
    samples
}
