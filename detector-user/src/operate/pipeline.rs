//! The one place that connects the rooms: tracker, legs, interception, judge, history and sinks in a row.
//!
//! In: observations and handshake bytes of a tap, and its clock, from `run` or `pcap`. Out: verdicts to
//! the sinks, and counts. Not here: a decision about a connection.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use detector_common::flow::Sender;
use detector_common::observation::{ChunkHead, Observation};
use jiff::Timestamp;

use crate::cause::history::{History, Remembered};
use crate::cause::interception::Interceptors;
use crate::cause::judge::hang_up::with_ending;
use crate::cause::judge::{Judged, Judgement, judge};
use crate::cause::knowledge::Knowledge;
use crate::fleet::{Fleet, Ready};
use crate::flow::halves::Item;
use crate::flow::legs::{Connection, Legs};
use crate::flow::preamble::PreambleReport;
use crate::flow::receiver::{Receiver, TimedReceiver};
use crate::flow::tracker::{Tracker, earliest};
use crate::flow::unreachable::UnreachableReport;
use crate::host::clock::kernel_now_ns;
use crate::operate::acceptance_counter::AcceptanceCounter;
use crate::operate::asker::{Asker, Asking};
use crate::operate::connection_counts::ConnectionCounts;
use crate::operate::firewall_log::FirewallLog;
use crate::operate::scope::{Filter, Gate, Scope};
use crate::operate::settling::Settling;
use crate::operate::unseen_ca::UnseenCa;
use crate::outlet::database::Acceptances;
use crate::outlet::failure_rates::{FailureRates, RateCounter};
use crate::outlet::metrics::{Meter, TapConnections, VerdictCounts};
use crate::outlet::recent_groups::{RecentGroup, RecentGroups};
use crate::outlet::sink::{SinkError, SinkStatus, Sinks};
use crate::outlet::status::{FirewallLogCounts, FleetCounts};
use crate::outlet::tally::Tally;
use crate::verdict::Verdict;

/// Number of latest verdicts that are kept.
const RECENT_MAX: usize = 10;
/// Servers that refuse connections which the summary names.
const REFUSERS_MAX: usize = 5;

/// Connections that are judged at a time where all end.
const ENDED_AT_ONCE: usize = 1024;

/// From observations to verdicts.
pub struct Pipeline {
    tracker: Tracker,
    legs: Legs,
    interceptors: Interceptors,
    history: History,
    knowledge: Knowledge,
    unseen_ca: UnseenCa,
    scope: Scope,
    gate: Gate,
    settling: Settling,
    asker: Asker,
    acceptances: Option<AcceptanceCounter>,
    /// The firewall's live log, whose rows wait for verdicts.
    firewall_log: Option<FirewallLog>,
    /// The fleet that facts are shared with.
    fleet: Option<Fleet>,
    /// Groups that fail, for those who watch.
    groups: Option<RecentGroups>,
    /// Failure rates, for the same.
    rates: Option<RateCounter>,
    sinks: Sinks,
    connections: ConnectionCounts,
    resets_without_effect: u64,
    ignored: u64,
    joined: u64,
    further: u64,
    records: u64,
    /// During a replay: the time up to which an earlier agent has counted connections.
    counted_to_ns: Option<u64>,
    /// The latest verdicts, the last one first.
    recent: VecDeque<Arc<Verdict>>,
    /// Counts verdicts and their latency; `None` without a clock to measure it.
    meter: Option<Meter>,
    /// Time of the next work, unless an observation comes first.
    due_ns: u64,
    on_error: fn(&SinkError),
}

impl Pipeline {
    /// Creates a pipeline that tracks at most `flows` flows. `on_error` receives each kind of failure of
    /// each sink once.
    pub fn new(flows: usize, knowledge: Knowledge, sinks: Sinks, on_error: fn(&SinkError)) -> Self {
        let mut tracker = Tracker::new(flows);
        tracker.set_interceptors(&knowledge.interceptors);
        Self {
            tracker,
            legs: Legs::default(),
            interceptors: Interceptors::default(),
            history: History::default(),
            unseen_ca: UnseenCa::new(&knowledge),
            knowledge,
            scope: Scope::default(),
            gate: Gate::default(),
            settling: Settling::default(),
            asker: Asker::default(),
            acceptances: None,
            firewall_log: None,
            fleet: None,
            groups: None,
            rates: None,
            sinks,
            connections: ConnectionCounts::default(),
            resets_without_effect: 0,
            ignored: 0,
            joined: 0,
            further: 0,
            records: 0,
            counted_to_ns: None,
            recent: VecDeque::new(),
            meter: None,
            due_ns: 0,
            on_error,
        }
    }

    /// Declares that the taps distinguish incoming from outgoing packets.
    pub fn set_knows_direction(&mut self) {
        self.tracker.set_knows_direction();
    }

    /// Counts verdicts by tap, and measures their latency from now on. The tap's clock must be the kernel's.
    pub fn measure_by(&mut self, meter: Meter) {
        self.meter = Some(meter);
    }

    /// Begins to receive the items of an earlier agent. Connections that are over up to `judged_ns`, on the
    /// tap's clock, were judged and counted by it: they are judged again, and not counted.
    pub fn begin_replay(&mut self, judged_ns: u64) {
        self.counted_to_ns = Some(judged_ns);
    }

    /// Ends the replay, after the earlier agent's last item.
    pub fn end_replay(&mut self) {
        if let Some(judged_ns) = self.counted_to_ns {
            self.advance_by_deadlines(judged_ns);
            self.begin_counting();
        }
    }

    /// Forgets the counts of connections that an earlier agent has counted.
    fn begin_counting(&mut self) {
        self.counted_to_ns = None;
        let judged = self.tally().judged_flows();
        self.tracker.reset_counts(judged);
        self.connections = ConnectionCounts::default();
        self.resets_without_effect = 0;
        self.ignored = 0;
        self.joined = 0;
        self.further = 0;
        self.records = 0;
    }

    /// Returns connections by tap; empty without a meter.
    pub fn tap_connections(&self) -> TapConnections {
        let meter = self.meter.as_ref();
        meter.map_or_else(TapConnections::default, |meter| meter.connections().clone())
    }

    /// Returns verdicts by tap and cause; empty without a meter.
    pub fn verdicts(&self) -> VerdictCounts {
        let meter = self.meter.as_ref();
        meter.map_or_else(VerdictCounts::default, |meter| meter.counts().clone())
    }

    /// Returns the latest verdicts that were written, the last one first.
    pub fn recent(&self) -> impl Iterator<Item = &Verdict> {
        self.recent.iter().map(Arc::as_ref)
    }

    /// Replaces the operator's knowledge and the connections that are judged.
    pub fn set_knowledge(&mut self, knowledge: Knowledge, scope: Scope) {
        self.unseen_ca.set_knowledge(&self.knowledge, &knowledge);
        self.tracker.set_interceptors(&knowledge.interceptors);
        self.knowledge = knowledge;
        self.scope = scope;
    }

    /// Replaces the settings of probes that the pipeline makes by itself. Returns the reason why it makes
    /// none though it should.
    pub fn set_asking(&mut self, asking: &Asking) -> Option<&'static str> {
        self.asker.set(asking, &self.knowledge.inspection_cas);
        self.history.set_asks(self.asker.asks());
        self.asker.obstacle()
    }

    /// Replaces the filter of verdicts that are written and counted.
    pub fn set_filter(&mut self, filter: Filter) {
        self.gate.set_filter(filter);
    }

    /// Counts connections that worked for the database, too.
    pub fn count_acceptances(&mut self, acceptances: Acceptances) {
        let counter = self.acceptances.get_or_insert_with(AcceptanceCounter::new);
        counter.count_for(acceptances);
    }

    /// Passes verdicts on to the firewall's live log.
    pub fn explain_for(&mut self, log: FirewallLog) {
        self.firewall_log = Some(log);
    }

    /// Shares facts with a fleet from now on. To be called before [`keep_history`](Self::keep_history).
    pub fn join(&mut self, fleet: Fleet) {
        self.history.share(fleet.identity().clone());
        if fleet.joins_halves() {
            self.tracker.follow_halves();
        }
        self.fleet = Some(fleet);
    }

    /// Returns the fleet that facts are shared with, if there is one.
    pub const fn fleet(&self) -> Option<&Fleet> {
        self.fleet.as_ref()
    }

    /// Returns the fleet's numbers, if there is one.
    pub fn fleet_counts(&self) -> Option<FleetCounts> {
        let mut counts = self.fleet.as_ref().map(Fleet::counts)?;
        counts.facts_lost += self.history.dropped_lessons();
        Some(counts)
    }

    /// Returns the counts of the firewall's live log, if there is one.
    pub fn firewall_log(&self) -> Option<FirewallLogCounts> {
        self.firewall_log.as_ref().map(FirewallLog::counts)
    }

    /// Keeps the groups that fail, and failure rates.
    pub fn keep_groups(&mut self) {
        self.acceptances.get_or_insert_with(AcceptanceCounter::new);
        self.groups.get_or_insert_default();
        self.rates.get_or_insert_default();
    }

    /// Returns the groups that fail at `now`, at most so many; none if they are not kept.
    pub fn failing_groups(&self, now: Timestamp, max: usize) -> Vec<RecentGroup> {
        let groups = self.groups.as_ref();
        groups.map_or_else(Vec::new, |groups| groups.failing(now, max))
    }

    /// Returns failure rates, at most so many of each kind; none if they are not kept.
    pub fn failure_rates(&self, max: usize) -> FailureRates {
        let rates = self.rates.as_ref();
        rates.map_or_else(FailureRates::default, |rates| rates.rates(max))
    }

    /// Writes of a connection's verdicts the last one alone, so long after the first.
    pub fn settle_after(&mut self, wait: Duration) {
        self.settling = Settling::after(wait);
    }

    /// Returns the message about a named inspection CA that issued none of at least so many certificates;
    /// once.
    pub fn take_unseen_ca(&mut self, certificates_min: u64) -> Option<String> {
        self.unseen_ca.take_message(certificates_min)
    }

    /// Loads the learned facts in `directory`, and saves new ones there. `now_s` is UNIX time in
    /// seconds.
    pub fn keep_history(
        &mut self,
        directory: &Path,
        retention: Duration,
        now_s: u64,
    ) -> Remembered {
        let remembered = self.history.restore(directory, retention, now_s);
        for mark in &remembered.marks {
            self.interceptors.remember(*mark);
        }
        remembered
    }

    /// Returns the number of learned facts that could not be saved.
    pub fn unkept(&self) -> u64 {
        self.history.unkept()
    }

    /// Returns the offset from the tap's clock to UNIX time, nanoseconds.
    pub fn unix_offset(&self) -> i64 {
        self.tracker.unix_offset()
    }

    /// Passes the deadlines up to `now_ns` one by one.
    fn advance_by_deadlines(&mut self, now_ns: u64) {
        let mut next_ns = self.next_deadline();
        let mut reached_ns = 0;
        while let Some(due_ns) = next_ns
            && reached_ns < due_ns
            && due_ns < now_ns
        {
            self.advance_to(due_ns);
            reached_ns = due_ns;
            next_ns = self.next_deadline();
        }
        // Most observations neither begin nor end anything.
        if self.has_work() || next_ns.is_some_and(|due_ns| due_ns <= now_ns) {
            self.advance_to(now_ns);
            next_ns = self.next_deadline();
        }
        self.due_ns = next_ns.unwrap_or(u64::MAX);
    }

    /// Whether there may be something to do before the next deadline.
    fn has_work(&self) -> bool {
        self.tracker.has_events() || self.fleet.is_some() || self.asker.has_asked()
    }

    fn advance_to(&mut self, now_ns: u64) {
        self.tracker.advance(now_ns);
        self.judge(now_ns);
    }

    /// Passes halves on to the fleet, and takes in what it joined, or did not. Returns whether there was any.
    fn exchange_halves(&mut self, now_ns: u64) -> bool {
        let Some(fleet) = &mut self.fleet else {
            return false;
        };
        let seen = self.tracker.take_halves();
        let ready = fleet.exchange_halves(seen, now_ns, self.tracker.unix_offset());
        let is_any = !ready.is_empty();
        self.take_ready(ready);
        is_any
    }

    /// Judges the halves alone that wait for others.
    fn end_halves(&mut self) {
        let Some(fleet) = &mut self.fleet else {
            return;
        };
        let waiting = fleet.end_halves();
        let seen = self.tracker.take_halves().into_iter();
        let clients = seen.filter(|seen| seen.half.side == Sender::Client);
        let clients = clients.filter_map(|seen| seen.alone).map(Ready::Alone);
        self.take_ready(clients.chain(waiting).collect());
    }

    fn take_ready(&mut self, ready: Vec<Ready>) {
        for ready in ready {
            match ready {
                Ready::Alone(timeline) => self.tracker.end_alone(timeline),
                Ready::Joined(composed, interface, name) => {
                    self.tracker.name_tap(interface, &name);
                    for item in composed.items {
                        match item {
                            Item::Chunk(head, bytes) => self.tracker.chunk(&head, &bytes),
                            Item::Observation(it) => self.tracker.observation(&it),
                        }
                    }
                }
            }
        }
    }

    /// Returns the time of the next deadline on the tap's clock, if no observation comes first.
    pub fn next_deadline(&self) -> Option<u64> {
        earliest([
            self.tracker.next_deadline(),
            self.legs.next_deadline(),
            self.history.next_deadline(),
            self.settling.next_deadline(),
        ])
    }

    /// Judges all remaining connections and flushes the sinks.
    pub fn finish(&mut self) {
        self.end_flows();
        self.settle(u64::MAX);
        self.flush();
    }

    /// Writes the verdicts that wait until they are settled, and those on halves that wait for others.
    pub fn settle_rest(&mut self, now_ns: u64) {
        self.end_halves();
        self.judge(now_ns);
        self.settle(u64::MAX);
    }

    /// Writes the verdicts that are settled at `now_ns`.
    fn settle(&mut self, now_ns: u64) {
        for verdict in self.settling.take_settled(now_ns) {
            self.write_one(&verdict, now_ns);
        }
    }

    /// Flushes the sinks; connections in progress are kept.
    pub fn flush(&mut self) {
        for error in self.sinks.flush() {
            (self.on_error)(&error);
        }
    }

    /// Ends all sinks, which have `patience` to write queued verdicts.
    pub fn close(&mut self, patience: Duration) {
        for error in self.sinks.close(patience) {
            (self.on_error)(&error);
        }
        if let Some(fleet) = self.fleet.take() {
            fleet.record(&self.history.take_lessons());
            fleet.close();
        }
    }

    /// Reopens files that may have been moved.
    pub fn reopen(&mut self) {
        for error in self.sinks.reopen() {
            (self.on_error)(&error);
        }
    }

    /// Returns the numbers of the sinks.
    pub fn sinks(&self) -> Vec<SinkStatus> {
        self.sinks.status()
    }

    /// Returns the counts so far.
    pub fn tally(&self) -> Tally {
        let (refused, refused_by) = self.tracker.refusals(REFUSERS_MAX);
        Tally {
            tracker: self.tracker.counts(),
            under_way: self.tracker.len(),
            outcomes: self.connections.outcomes(),
            outcomes_ever: self.connections.outcomes_ever(),
            resets_without_effect: self.resets_without_effect,
            refused,
            refused_by,
            revised: self.connections.revised(),
            settled_late: self.settling.late(),
            ignored: self.ignored,
            joined: self.joined,
            further: self.further,
            filtered: self.connections.filtered(),
            records: self.records,
            probes: self.asker.counts().clone(),
            causes: self.connections.causes().clone(),
            lost_verdicts: self
                .sinks
                .losses()
                .iter()
                .map(|loss| (loss.output, loss.kind, loss.verdicts))
                .collect(),
        }
    }

    /// Judges the connections that events of the tracker have ended.
    fn judge_ended(&mut self, now_ns: u64) {
        for event in self.tracker.take_events() {
            self.legs.record(event, now_ns);
        }
        self.judge_ready(now_ns);
    }

    fn judge_ready(&mut self, now_ns: u64) {
        let mut ready = self.legs.take_ready();
        for connection in ready.drain(..) {
            self.judge_connection(&connection, now_ns);
            self.tracker.reuse(connection.client_leg);
        }
        self.legs.reuse(ready);
    }

    fn judge(&mut self, now_ns: u64) {
        for event in self.tracker.take_events() {
            self.legs.record(event, now_ns);
        }
        self.legs.advance(now_ns);
        self.judge_ready(now_ns);
        self.further += self.legs.take_further();
        let verdicts = self.history.advance(now_ns);
        self.write(verdicts, now_ns);
        self.ask_origins(now_ns);
        self.exchange_lessons(now_ns);
        // Flows may end at any time: the end of all of them settles nothing.
        if now_ns != u64::MAX {
            self.settle(now_ns);
        }
        let reclassified = self.history.take_reclassified();
        let counted_late = self.connections.reclassify(reclassified);
        self.tracker.count_flows(counted_late);
    }

    /// Judges a connection, and writes the verdicts that follow.
    fn judge_connection(&mut self, connection: &Connection, now_ns: u64) {
        let leg = &connection.client_leg;
        let hello = leg.handshake.client_hello.as_ref();
        let name = hello.and_then(|hello| hello.server_name.as_deref());
        let is_probe = self.asker.is_own(leg.client);
        if is_probe || !self.scope.contains(leg.client, leg.server, name) {
            self.ignored += u64::from(!connection.goes_on);
            return;
        }
        let interception = self.interceptors.examine(connection, &self.knowledge);
        let mut judged = judge(connection, interception);
        // The tracker counts it among the refused.
        if leg.refused && !matches!(judged.judgement, Judgement::Failed(_)) {
            return;
        }
        if !connection.goes_on {
            judged = with_ending(judged, connection, self.gate.endings());
            if let Some(Ok(leaf)) = &leg.handshake.certificate {
                let name = name.unwrap_or_default();
                self.unseen_ca.record(&leaf.issuer, name, &self.knowledge);
            }
            let other = connection.server_leg.as_ref();
            self.joined += u64::from(other.is_some());
            let other = other.map_or(0, |(_, leg)| leg.records.len());
            self.records += (leg.records.len() + other) as u64;
            self.count(&judged);
            if judged.judgement == Judgement::Established
                && self.counted_to_ns.is_none()
                && let Some(meter) = &mut self.meter
            {
                meter.record_established(&leg.tap, judged.subject.interception.status);
            }
            if judged.judgement == Judgement::Established
                && let Some(counter) = &mut self.acceptances
            {
                let acceptance = counter.acceptance(connection, &judged.subject);
                if self.counted_to_ns.is_none() {
                    counter.count(&acceptance);
                    if let Some(groups) = &mut self.groups {
                        groups.record_acceptance(&acceptance);
                    }
                    if let Some(rates) = &mut self.rates {
                        rates.record_acceptance(&acceptance);
                    }
                }
            }
        } else if judged.judgement != Judgement::Established {
            return;
        }
        let verdicts = self.history.record(judged, now_ns);
        self.write(verdicts, now_ns);
    }

    /// Asks the origins whose answers would decide, and writes the verdicts that answers revise.
    fn ask_origins(&mut self, now_ns: u64) {
        for question in self.history.take_questions() {
            self.asker.ask(question, Instant::now());
        }
        for (name, answer) in self.asker.answers() {
            let now_s = Timestamp::now().as_second().try_into().unwrap_or(0);
            let verdicts = self.history.record_origin(&name, answer, now_s);
            self.write(verdicts, now_ns);
        }
    }

    /// Passes on to the fleet what connections taught, and writes the verdicts that other gateways' facts revise.
    fn exchange_lessons(&mut self, now_ns: u64) {
        let Some(fleet) = &self.fleet else {
            return;
        };
        let lessons = self.history.take_lessons();
        if self.counted_to_ns.is_none() {
            fleet.record(&lessons);
        }
        let arrived = fleet.take_lessons();
        if arrived.is_empty() {
            return;
        }
        let now_s = Timestamp::now().as_second().try_into().unwrap_or(0);
        for (gateway, lesson) in arrived {
            let verdicts = self.history.record_lesson(&gateway, &lesson, now_s);
            self.write(verdicts, now_ns);
        }
    }

    fn count(&mut self, judged: &Judged) {
        self.resets_without_effect += judged.resets_without_effect;
        self.connections.record(&judged.judgement);
    }

    /// Writes verdicts that were due at `due_ns` on the tap's clock.
    fn write(&mut self, verdicts: Vec<Arc<Verdict>>, due_ns: u64) {
        for verdict in verdicts {
            if let Some(verdict) = self.settling.record(verdict, due_ns) {
                self.write_one(&verdict, due_ns);
            }
        }
    }

    fn write_one(&mut self, verdict: &Arc<Verdict>, due_ns: u64) {
        if !self.gate.admits(verdict) {
            self.connections.record_filtered(verdict);
            return;
        }
        self.connections.record_verdict(verdict);
        if self.counted_to_ns.is_none() {
            self.measure(verdict, due_ns);
            if let Some(groups) = &mut self.groups {
                groups.record(verdict);
            }
            if let Some(rates) = &mut self.rates {
                rates.record(verdict);
            }
        }
        if let Some(log) = &self.firewall_log {
            log.record(verdict);
        }
        self.recent.truncate(RECENT_MAX - 1);
        self.recent.push_front(Arc::clone(verdict));
        for error in self.sinks.write(verdict) {
            (self.on_error)(&error);
        }
    }

    fn measure(&mut self, verdict: &Verdict, due_ns: u64) {
        let Some(meter) = &mut self.meter else {
            return;
        };
        let now_ns = kernel_now_ns();
        // In UNIX time by the verdict's own offset, so that a clock adjustment changes little.
        let now = now_ns.saturating_add_signed(self.tracker.unix_offset());
        let ended = u64::try_from(verdict.time.as_nanosecond()).unwrap_or(now);
        meter.record(
            verdict,
            Duration::from_nanos(now.saturating_sub(ended)),
            // At the agent's own end there is no wait.
            Duration::from_nanos(now_ns.saturating_sub(due_ns)),
        );
    }
}

impl Receiver for Pipeline {
    fn observation(&mut self, observation: &Observation) {
        self.due_ns = 0;
        self.tracker.observation(observation);
    }

    fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]) {
        self.due_ns = 0;
        self.tracker.chunk(head, bytes);
    }

    fn preamble(&mut self, report: &PreambleReport) {
        self.due_ns = 0;
        self.tracker.preamble(report);
    }

    fn unreachable(&mut self, report: &UnreachableReport) {
        self.due_ns = 0;
        self.tracker.unreachable(report);
    }
}

impl TimedReceiver for Pipeline {
    fn name_tap(&mut self, interface: u32, name: &str) {
        self.tracker.name_tap(interface, name);
    }

    fn set_unix_offset(&mut self, offset_ns: i64) {
        self.tracker.set_unix_offset(offset_ns);
    }

    fn advance(&mut self, now_ns: u64) {
        if self
            .counted_to_ns
            .is_some_and(|judged_ns| judged_ns < now_ns)
        {
            self.end_replay();
        }
        self.advance_by_deadlines(now_ns);
        if self.exchange_halves(now_ns) {
            self.advance_by_deadlines(now_ns);
        }
    }

    fn advance_if_due(&mut self, now_ns: u64) {
        if now_ns >= self.due_ns {
            self.advance(now_ns);
        }
    }

    fn end_flows(&mut self) {
        self.end_halves();
        self.tracker.begin_finish();
        // All timelines at once would be many.
        while self.tracker.finish_next(ENDED_AT_ONCE) {
            self.judge_ended(u64::MAX);
        }
        self.judge(u64::MAX);
        self.due_ns = 0;
    }

    fn is_closed(&self) -> bool {
        self.sinks.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use detector_common::flow::RECORDS_MAX;
    use detector_common::item::ITEM_MAX;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;
    use crate::outlet::sink::Folds;

    /// Bytes of an item: any, or the ends of the range, where arithmetic fails.
    fn bytes(len: usize) -> impl Strategy<Value = Vec<u8>> {
        let word = |word: u16| match word >> 14 {
            0 => 0,
            1 => word as u8,
            _ => u8::MAX,
        };
        let words = proptest::collection::vec(any::<u16>(), len);
        words.prop_map(move |words| words.into_iter().map(word).collect())
    }

    /// Makes any bytes an item of an observation: its kind, its counts of records and its length agree.
    fn agreeing(mut item: Vec<u8>) -> Vec<u8> {
        const KIND: [usize; 2] = [8 * 8 + 6, 8 * 8 + 7];
        const COUNTS: [usize; 2] = [15 * 8 + 7, 21 * 8 + 7];
        let [kind, beside] = KIND;
        item[kind] &= 15;
        item[beside] = 0;
        let pairs = COUNTS.map(|at| {
            item[at] %= RECORDS_MAX as u8 + 1;
            usize::from(item[at]).div_ceil(2)
        });
        let addresses = if item[kind] & 4 != 0 { 1 } else { 4 };
        let syns = if item[kind] & 8 != 0 { 6 } else { 0 };
        item.truncate(8 * (24 + addresses + syns + 3 * pairs.iter().sum::<usize>()));
        item
    }

    proptest! {
        // The same items each time: new ones are the fuzzer's to find.
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(8446),
            failure_persistence: None,
            ..Default::default()
        })]

        /// The file of unread items may be damaged by a kill.
        #[test]
        fn items_with_any_bytes_end_nothing(
            items in proptest::collection::vec(bytes(ITEM_MAX), 1..20),
        ) {
            let sinks = Sinks::open(&[], Folds::default()).unwrap();
            let mut pipeline = Pipeline::new(8, Knowledge::default(), sinks, |_| {});
            for item in &items {
                let item = &agreeing(item.clone());
                if let Some((head, room)) = ChunkHead::read(item) {
                    let len = room.len().min(usize::from(head.len));
                    pipeline.chunk(&head, &room[..len]);
                }
                pipeline.late_observation(&Observation::read(item).unwrap());
            }
            pipeline.finish();
            prop_assert!(pipeline.recent().all(|it| (0.0..=1.0).contains(&it.confidence)));
        }
    }
}
