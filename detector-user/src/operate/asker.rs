//! Origins asked on behalf of the history: rarely, and on a thread that nothing waits for.
//!
//! In: [`Question`]s. Out: answers, once the thread has them. A name is asked once a day at most, and all
//! names together so often an hour; what is beyond that is counted and forgotten.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use glob::Pattern;
use hashlink::LruCache;
use tracing::warn;

use crate::cause::history::{OriginAnswer, Question};
use crate::cause::inspection_ca::InspectionCa;
use crate::host::privileges::{give_up_all, keep_for_marking};
use crate::operate::scope::is_named;
use crate::outlet::message_kind;
use crate::outlet::sink::escaped;
use crate::outlet::tally::ProbeCounts;
use crate::probe::{Options, Outcome, OwnConnections, Problem, Report, Target, probe, roots};

/// Maximum names whose last question is remembered.
const NAMES_MAX: usize = 4096;
/// Maximum questions that wait for the thread.
const WAITING: usize = 16;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Settings of the probes that the agent makes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// Whether it makes any.
    pub enabled: bool,
    /// Maximum number in an hour.
    pub per_hour: u32,
    /// Names that are never asked.
    pub never: Vec<Pattern>,
    /// Address to connect from.
    pub source: Option<IpAddr>,
    /// Mark of the sockets (SO_MARK).
    pub mark: Option<u32>,
    /// Longest time for one.
    pub timeout: Duration,
    /// Files of root certificates to trust in addition to the machine's.
    pub roots: Vec<PathBuf>,
}

impl Default for Asking {
    fn default() -> Self {
        Self {
            enabled: false,
            per_hour: 20,
            never: Vec::new(),
            source: None,
            mark: None,
            timeout: Duration::from_secs(10),
            roots: Vec::new(),
        }
    }
}

/// A question on its way to the thread.
struct Order {
    question: Question,
    asking: Arc<Asking>,
    inspection_cas: Arc<[InspectionCa]>,
    own: OwnConnections,
}

/// The thread that asks, and the limits.
pub struct Asker {
    asking: Arc<Asking>,
    inspection_cas: Arc<[InspectionCa]>,
    own: OwnConnections,
    asked: LruCache<String, Instant>,
    /// Times of the questions of the last hour.
    last_hour: Vec<Instant>,
    thread: Option<(SyncSender<Order>, Receiver<Report>)>,
    counts: ProbeCounts,
}

impl Asker {
    /// Creates one that asks nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            asking: Arc::default(),
            inspection_cas: Arc::from([]),
            own: OwnConnections::default(),
            asked: LruCache::new(NAMES_MAX),
            last_hour: Vec::new(),
            thread: None,
            counts: ProbeCounts::default(),
        }
    }

    /// Replaces the settings; the limits go on.
    pub fn set(&mut self, asking: &Asking, inspection_cas: &[InspectionCa]) {
        if self.asking.mark.is_some() != asking.mark.is_some() {
            // Its thread has other capabilities.
            self.thread = None;
        }
        self.asking = Arc::new(asking.clone());
        self.inspection_cas = inspection_cas.into();
    }

    /// Whether it asks at all: without the name of an inspection CA, an interceptor's answer would be
    /// taken for the origin's.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.asking.enabled && !self.inspection_cas.is_empty()
    }

    /// Returns the reason why it asks nobody though it should.
    #[must_use]
    pub fn obstacle(&self) -> Option<&'static str> {
        (self.asking.enabled && !self.asks()).then_some(
            "probe.enabled has no effect without inspection.ca: an interceptor's answer could not be \
             told from the origin's",
        )
    }

    /// Returns the counts so far.
    #[must_use]
    pub const fn counts(&self) -> &ProbeCounts {
        &self.counts
    }

    /// Whether a connection from this address is one of its own.
    #[must_use]
    pub fn is_own(&self, client: SocketAddr) -> bool {
        self.thread.is_some() && self.own.contains(client)
    }

    /// Asks a question, unless a limit forbids it.
    pub fn ask(&mut self, question: Question, now: Instant) {
        if !self.asks() {
            return;
        }
        self.last_hour.retain(|at| now.duration_since(*at) < HOUR);
        let asked = self.asked.get(&question.name);
        if is_named(&self.asking.never, Some(&question.name)) {
            self.counts.skipped_never += 1;
        } else if asked.is_some_and(|at| now.duration_since(*at) < DAY) {
            self.counts.skipped_day += 1;
        } else if self.last_hour.len() >= self.asking.per_hour as usize {
            self.counts.skipped_hour += 1;
        } else {
            let name = question.name.clone();
            if self.send(question) {
                self.counts.asked += 1;
                self.last_hour.push(now);
                self.asked.insert(name, now);
            } else {
                self.counts.skipped_busy += 1;
            }
        }
    }

    /// Hands a question to the thread; returns false if that has enough to do, or cannot be started.
    fn send(&mut self, question: Question) -> bool {
        let order = Order {
            question,
            asking: Arc::clone(&self.asking),
            inspection_cas: Arc::clone(&self.inspection_cas),
            own: self.own.clone(),
        };
        if self.thread.is_none() {
            self.thread = start(self.asking.mark.is_some());
        }
        let Some((to, _)) = &self.thread else {
            return false;
        };
        match to.try_send(order) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => false,
            Err(TrySendError::Disconnected(_)) => {
                self.thread = None;
                false
            }
        }
    }

    /// Whether answers may come.
    pub const fn has_asked(&self) -> bool {
        self.thread.is_some()
    }

    /// Returns the answers that have come.
    pub fn answers(&mut self) -> Vec<(String, OriginAnswer)> {
        let mut answers = Vec::new();
        while let Some((_, from)) = &self.thread {
            match from.try_recv() {
                Ok(report) => {
                    let answer = answer(&report);
                    self.counts.record(report.outcome);
                    answers.push((report.name, answer));
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.thread = None,
            }
        }
        answers
    }
}

impl Default for Asker {
    fn default() -> Self {
        Self::new()
    }
}

/// Starts the thread, which ends with the sender, after the question that it is at.
fn start(marks: bool) -> Option<(SyncSender<Order>, Receiver<Report>)> {
    let (to, orders) = sync_channel::<Order>(WAITING);
    let (answer, from) = sync_channel(2 * WAITING);
    let started = std::thread::Builder::new()
        .name("probe".to_owned())
        .spawn(move || {
            if marks {
                keep_for_marking();
            } else {
                give_up_all();
            }
            while let Ok(order) = orders.recv() {
                // Where nobody takes answers, none is needed.
                if answer.try_send(order.execute()).is_err() {
                    break;
                }
            }
        });
    match started {
        Ok(_) => Some((to, from)),
        Err(error) => {
            warn!(target: message_kind::PROBE_FAILED, "cannot start a thread for probes: {error}");
            None
        }
    }
}

impl Order {
    fn execute(self) -> Report {
        let Question {
            name,
            address,
            port,
        } = self.question;
        let target = Target { name, port };
        let roots = match roots(&self.asking.roots) {
            Ok(roots) => roots,
            Err(error) => {
                warn!(target: message_kind::PROBE_FAILED, "{error}");
                return Report::new(&target);
            }
        };
        let options = Options {
            connect: address,
            source: self.asking.source,
            mark: self.asking.mark,
            timeout: self.asking.timeout,
            roots,
            inspection_cas: self.inspection_cas.to_vec(),
            own: self.own,
        };
        let report = probe(&target, &options);
        tell(&report);
        report
    }
}

/// Logs a probe that shows nothing, so that somebody may let the next one pass.
fn tell(report: &Report) {
    let detail = escaped(report.detail.as_deref().unwrap_or("no answer")).to_string();
    let name = escaped(&report.name).to_string();
    match report.outcome {
        Outcome::Intercepted => warn!(
            target: message_kind::PROBE_FAILED,
            "the probe of {name} met the interceptor and proves nothing: {detail}; let it pass by \
             probe.source or probe.mark"
        ),
        Outcome::Failed => warn!(
            target: message_kind::PROBE_FAILED,
            "the probe of {name} had no answer: {detail}"
        ),
        Outcome::Valid | Outcome::Invalid => {}
    }
}

/// Returns a report as the history counts it.
fn answer(report: &Report) -> OriginAnswer {
    match (report.outcome, report.problem) {
        (Outcome::Valid, _) => OriginAnswer::Valid,
        (Outcome::Invalid, Some(Problem::UnknownIssuer)) => OriginAnswer::Untrusted,
        (Outcome::Invalid, _) => OriginAnswer::Invalid,
        (Outcome::Intercepted, _) => OriginAnswer::Intercepted,
        (Outcome::Failed, _) => OriginAnswer::None,
    }
}

impl ProbeCounts {
    fn record(&mut self, outcome: Outcome) {
        let counted = match outcome {
            Outcome::Valid => &mut self.valid,
            Outcome::Invalid => &mut self.invalid,
            Outcome::Intercepted => &mut self.intercepted,
            Outcome::Failed => &mut self.failed,
        };
        *counted += 1;
    }
}

#[cfg(test)]
mod tests;
