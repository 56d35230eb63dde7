//! The table of metrics, from which they are served and documented.
//!
//! No label has values from the network. Counters run since the kernel's programs or the agent started.

use detector_common::counter::Counter;

use super::family::{
    Family, Number, Read, Sample, Unit, counter, gauge, histogram, in_unit, labelled, one,
};
use super::meter::Counted;
use super::snapshot::{Scrape, Snapshot};
use crate::outlet::sink::{SinkError, SinkStatus};
use crate::outlet::status::FleetCounts;
use crate::verdict::{Cause, Intercepted};

/// Every metric.
pub const FAMILIES: &[Family] = &[
    gauge(
        "tlswhy_build_info",
        &["version"],
        "Version of the agent; always 1",
        |_| vec![(vec![env!("CARGO_PKG_VERSION").to_owned()], Number::Whole(1))],
    ),
    gauge(
        "tlswhy_ready",
        &[],
        "Whether the agent watches an interface: 1 while /readyz returns 200",
        |scrape| one(u64::from(scrape.is_ready)),
    ),
    gauge(
        "tlswhy_tap_attached",
        &["tap", "direction", "hook"],
        "Tapped interfaces, one series per direction and hook; always 1",
        attached,
    ),
    counter(
        "tlswhy_packets",
        &["path"],
        "Packets at taps, by path in the kernel; followed are the ones whose records were read",
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
        "Changes of flow state in the kernel: started by a ClientHello, settled by data, resumed by an end \
         or alert; not_hello if it proved to be no ClientHello",
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
        "Tracked flows: settled are established connections in the kernel, agent are flows in the agent's \
         memory",
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
        "Maximum flows; watched are handshakes and ends in the kernel",
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
        "Flows evicted to make room for others; an idle one loses nothing, another may lose a verdict",
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
        "Flows not tracked because the table of watched flows was full",
        |scrape| one(scrape.of(Counter::TableFull)),
    ),
    counter(
        "tlswhy_ring_items",
        &["ring"],
        "Observations and handshake fragments that the agent read from the kernel's rings",
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
        "Items not written to a ring: it was full or the bytes were not captured (full), or the flow had \
         reached its maximum of observations (capped)",
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
        "tlswhy_ring_shed",
        &["ring"],
        "Items that the agent read and dropped because it could not keep up and their clients had more than \
         their share; those of others kept their verdicts",
        |scrape| {
            vec![
                labelled(&["observations"], scrape.shed.observations),
                labelled(&["handshakes"], scrape.shed.chunks),
            ]
        },
    ),
    counter(
        "tlswhy_ring_malformed",
        &[],
        "Ring items of unexpected size: agent and eBPF object do not match",
        |scrape| one(scrape.malformed),
    ),
    counter(
        "tlswhy_records",
        &[],
        "TLS records of judged connections; at most the first 16 per side of a flow",
        |scrape| one(scrape.tally.records),
    ),
    counter(
        "tlswhy_connections",
        &["outcome"],
        "Judged connections; failed has a verdict, unused was closed by the client after the handshake \
         before any use, unfinished has no end that shows a cause; one that proves to have failed later \
         counts as failed, too",
        |scrape| {
            vec![
                labelled(&["established"], scrape.tally.outcomes_ever.established),
                labelled(&["failed"], scrape.tally.causes.values().sum()),
                labelled(&["unused"], scrape.tally.outcomes_ever.unused),
                labelled(&["unfinished"], scrape.tally.outcomes_ever.unfinished),
            ]
        },
    ),
    counter(
        "tlswhy_tap_connections",
        &["tap", "intercepted", "outcome"],
        "Connections at each tap that were established or failed, and whether they were known to be \
         intercepted; the share of failed is the failure rate",
        tap_connections,
    ),
    counter(
        "tlswhy_resets_without_effect",
        &[],
        "Resets that their receivers outlived: forged, and of no connection's end",
        |scrape| one(scrape.tally.resets_without_effect),
    ),
    counter(
        "tlswhy_connections_refused",
        &["answer"],
        "Connections of TLS servers and ports refused before their first byte: reset by a RST that answered \
         the SYN or came right behind the SYN,ACK; none if the SYN was sent three times in vain",
        |scrape| {
            let refused = scrape.tally.refused;
            vec![
                labelled(&["reset"], refused.reset),
                labelled(&["none"], refused.unanswered),
            ]
        },
    ),
    counter(
        "tlswhy_verdicts",
        &["cause", "tap"],
        "First verdicts on failed connections",
        |scrape| verdicts(scrape, |counted| counted.given),
    ),
    counter(
        "tlswhy_verdicts_revised",
        &["cause", "tap"],
        "Verdicts that replace an earlier one, by new cause; most of pinning and ca-not-trusted are \
         revisions",
        |scrape| verdicts(scrape, |counted| counted.revised),
    ),
    histogram(
        "tlswhy_verdict_latency",
        "Time from a connection's last packet to its first verdict. Most of it is a wait for evidence: \
         0.2 s after a close, 0.5 s after a reset, 2 s after an alert alone and for parallel connections, \
         3 s for the other tap, 10 s after a half close, one hour of silence",
        Read::Latency,
    ),
    histogram(
        "tlswhy_verdict_lateness",
        "Part of the latency after the wait for evidence",
        Read::Lateness,
    ),
    gauge(
        "tlswhy_sink_queue_length",
        &["sink"],
        "Verdicts queued in memory for a sink, including the one being written",
        |scrape| by_sink(scrape, |sink| sink.queued as u64),
    ),
    gauge(
        "tlswhy_sink_queue_limit",
        &["sink"],
        "Maximum verdicts queued in memory for a sink",
        |scrape| by_sink(scrape, |sink| sink.capacity as u64),
    ),
    in_unit(
        gauge(
            "tlswhy_sink_spilled",
            &["sink"],
            "Size of verdicts spilled to disk for a sink",
            |scrape| by_sink(scrape, |sink| sink.spilled_bytes),
        ),
        Unit::Bytes,
    ),
    counter(
        "tlswhy_sink_verdicts",
        &["sink", "result"],
        "Verdicts that a sink completed: written, folded into the count of another, or repeated after a \
         restart and skipped",
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
        "Verdicts that a sink lost",
        lost,
    ),
    counter(
        "tlswhy_history_unkept",
        &[],
        "Learned facts that could not be saved to the state directory",
        |scrape| one(scrape.unkept),
    ),
    counter(
        "tlswhy_probes",
        &[],
        "Origins that the agent asked for their own certificate",
        |scrape| one(scrape.tally.probes.asked),
    ),
    counter(
        "tlswhy_probes_answered",
        &["answer"],
        "Answers to these: the origin's certificate is valid or not, an interceptor answered instead, or nobody \
         did (none)",
        |scrape| {
            let probes = &scrape.tally.probes;
            vec![
                labelled(&["valid"], probes.valid),
                labelled(&["invalid"], probes.invalid),
                labelled(&["interceptor"], probes.intercepted),
                labelled(&["none"], probes.failed),
            ]
        },
    ),
    counter(
        "tlswhy_probes_skipped",
        &["reason"],
        "Origins not asked though the answer would have decided: asked within a day (name), beyond the hour's \
         limit (hour), in probe.never (never), or while too many waited (busy)",
        |scrape| {
            let probes = &scrape.tally.probes;
            vec![
                labelled(&["name"], probes.skipped_day),
                labelled(&["hour"], probes.skipped_hour),
                labelled(&["never"], probes.skipped_never),
                labelled(&["busy"], probes.skipped_busy),
            ]
        },
    ),
    gauge(
        "tlswhy_fleet_connected",
        &[],
        "Whether a server of the fleet is there; absent without a fleet, like the others of it",
        |scrape| of_fleet(scrape, |it| one(u64::from(it.connected))),
    ),
    counter(
        "tlswhy_fleet_facts",
        &["direction"],
        "Facts shared with the fleet: published, taken in from other gateways, and lost, which made room for \
         others before they were published",
        |scrape| {
            of_fleet(scrape, |it| {
                vec![
                    labelled(&["published"], it.facts_published),
                    labelled(&["taken"], it.facts_taken),
                    labelled(&["lost"], it.facts_lost),
                ]
            })
        },
    ),
    gauge(
        "tlswhy_fleet_facts_waiting",
        &[],
        "Facts that wait to be published or acknowledged",
        |scrape| of_fleet(scrape, |it| one(it.facts_waiting + it.facts_unacknowledged)),
    ),
    gauge(
        "tlswhy_fleet_facts_known",
        &[],
        "Facts in memory, of all gateways",
        |scrape| of_fleet(scrape, |it| one(it.facts_known)),
    ),
    counter(
        "tlswhy_fleet_messages_skipped",
        &["reason"],
        "Messages of other gateways that were skipped: of another version, malformed, with clients named otherwise, \
         or too large",
        |scrape| {
            of_fleet(scrape, |it| {
                let number = |reason: &str| it.skipped.get(reason).copied().unwrap_or(0);
                let reasons = FleetCounts::SKIPPED.into_iter();
                reasons
                    .map(|reason| labelled(&[reason], number(reason)))
                    .collect()
            })
        },
    ),
    gauge(
        "tlswhy_fleet_messages_behind",
        &[],
        "Messages of facts that are not read yet",
        |scrape| of_fleet(scrape, |it| one(it.messages_behind)),
    ),
    gauge(
        "tlswhy_fleet_gateways_doubtful",
        &[],
        "Gateways whose facts others contradict, that share implausibly many, or whose name two agents have; `tlswhy fleet` names them",
        |scrape| of_fleet(scrape, |it| one(it.gateways_doubtful)),
    ),
    gauge(
        "tlswhy_fleet_halves_gateways",
        &[],
        "Gateways that join halves of connections, this one included; 0 where `fleet.halves` is false",
        |scrape| of_fleet(scrape, |it| one(it.halves_gateways)),
    ),
    counter(
        "tlswhy_fleet_halves",
        &["outcome"],
        "Halves of connections whose directions pass different gateways: messages published, and taken of others; \
         connections joined here; client's halves judged alone, and server's without a partner; those dropped",
        |scrape| {
            of_fleet(scrape, |it| {
                vec![
                    labelled(&["published"], it.halves_published),
                    labelled(&["taken"], it.halves_taken),
                    labelled(&["joined"], it.halves_joined),
                    labelled(&["alone"], it.halves_alone),
                    labelled(&["unmatched"], it.halves_unmatched),
                    labelled(&["lost"], it.halves_lost),
                ]
            })
        },
    ),
    in_unit(
        gauge(
            "tlswhy_fleet_lag",
            &[],
            "Age of the message of facts that was read last, while further ones wait",
            |scrape| {
                of_fleet(scrape, |it| {
                    vec![(Vec::new(), Number::Real(it.lag_ms as f64 / 1_000.0))]
                })
            },
        ),
        Unit::Seconds,
    ),
    in_unit(
        gauge(
            "tlswhy_kernel_memory",
            &[],
            "Kernel memory of tables and rings; before Linux 6.4 estimated from their sizes",
            |scrape| one(scrape.kernel_memory),
        ),
        Unit::Bytes,
    ),
    in_unit(
        gauge(
            "process_resident_memory",
            &[],
            "Resident memory of the agent",
            |scrape| scrape.process.resident_bytes.map_or_else(Vec::new, one),
        ),
        Unit::Bytes,
    ),
    in_unit(
        counter(
            "process_cpu",
            &[],
            "CPU time of the agent, without its programs in the kernel",
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
            "Start of the agent, UNIX time",
            |scrape| vec![(Vec::new(), Number::Real(scrape.started_s))],
        ),
        Unit::Seconds,
    ),
];

fn of_fleet(snapshot: &Snapshot, of: fn(&FleetCounts) -> Vec<Sample>) -> Vec<Sample> {
    snapshot.fleet.as_ref().map_or_else(Vec::new, of)
}

fn by_sink(snapshot: &Snapshot, of: fn(&SinkStatus) -> u64) -> Vec<Sample> {
    let sinks = snapshot.sinks.iter();
    sinks
        .map(|sink| labelled(&[sink.output], of(sink)))
        .collect()
}

/// Lists each reason of each sink from the start, so that the first loss is an increase.
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
        // Established connections have no verdict.
        .filter(|(_, cause, _)| *cause != Cause::Established)
        .map(|(tap, cause, counted)| labelled(&[cause.name(), tap], of(counted)))
        .collect()
}

fn tap_connections(scrape: &Scrape<'_>) -> Vec<Sample> {
    let taps = scrape.taps.iter().map(|tap| tap.name.as_str());
    let mut samples = Vec::new();
    for (tap, counts) in scrape.connections.with(taps) {
        for (outcome, by) in [
            ("established", counts.established),
            ("failed", counts.failed),
        ] {
            let numbers = Intercepted::ALL.into_iter().zip(by);
            let sample = |(known, number): (Intercepted, u64)| {
                labelled(&[tap, known.name(), outcome], number)
            };
            samples.extend(numbers.map(sample));
        }
    }
    samples
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
