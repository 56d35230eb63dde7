//! The latest report: the running agent's, or one on a capture that is being read.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use detector_common::observation::{ChunkHead, Observation};
use jiff::Timestamp;

use super::{draw, fleet};
use crate::cause::knowledge::Knowledge;
use crate::flow::preamble::PreambleReport;
use crate::flow::receiver::{Receiver, TimedReceiver};
use crate::flow::unreachable::UnreachableReport;
use crate::operate::cli::TopArgs;
use crate::operate::command::{NothingRead, past, pcap, report, status};
use crate::operate::pipeline::Pipeline;
use crate::operate::progress::Progress;
use crate::operate::unseen_ca::CERTIFICATES_MIN_AT_END;
use crate::outlet::database::{FLEET_FILE, Rate};
use crate::outlet::failure_rates::FailureRates;
use crate::outlet::sink::Sinks;
use crate::outlet::status::{LastVerdict, Loss, Report, Tap};
use crate::source::capture_set::rounds;
use crate::verdict::counted;

/// Time between two questions to the agent; its report is two seconds old at most.
const ASK: Duration = Duration::from_secs(1);
/// Time between two questions to the fleet's database.
const ASK_FLEET: Duration = Duration::from_secs(3);
/// Time between two reports on a capture.
const PUBLISH: Duration = Duration::from_millis(200);
/// Maximum groups of a report.
const GROUPS_MAX: usize = 1_000;

/// The latest report.
pub(super) struct Feed {
    report: Arc<Report>,
    source: Source,
    /// Why there is no newer report.
    trouble: Option<String>,
}

enum Source {
    Agent {
        socket: PathBuf,
        asked: Instant,
    },
    Fleet {
        database: PathBuf,
        asked: Instant,
        gateways: usize,
    },
    Capture(Replay),
}

/// The end of a replay.
#[derive(Default)]
struct Ended {
    /// Whether all captures were read to their end.
    is_whole: bool,
    /// Whether none could be read at all.
    is_nothing: bool,
    /// The message about an inspection CA that issued nothing.
    unseen_ca: Option<String>,
}

/// A capture that is read on a thread of its own.
struct Replay {
    latest: Arc<Mutex<Arc<Report>>>,
    progress: Progress,
    reader: Option<JoinHandle<Ended>>,
    ended: Ended,
}

impl Feed {
    /// Opens the source.
    ///
    /// # Errors
    /// No agent is running, or no thread can be started.
    pub(super) fn open(arguments: &TopArgs) -> anyhow::Result<Self> {
        if !arguments.replay.is_empty() {
            return Ok(Self {
                report: Arc::default(),
                source: Source::Capture(Replay::start(arguments)?),
                trouble: None,
            });
        }
        if arguments.fleet {
            let database = past::database_of(None, arguments.config.as_deref(), FLEET_FILE)?;
            let (report, gateways) = fleet::report(&database, Timestamp::now(), GROUPS_MAX)?;
            return Ok(Self {
                report: Arc::new(report),
                source: Source::Fleet {
                    database,
                    asked: Instant::now(),
                    gateways,
                },
                trouble: None,
            });
        }
        let socket = status::socket(arguments.socket.as_deref(), arguments.config.as_deref())?;
        let (_, report) = status::report(&socket)?;
        Ok(Self {
            report: Arc::new(report),
            source: Source::Agent {
                socket,
                asked: Instant::now(),
            },
            trouble: None,
        })
    }

    /// Takes a newer report, if there is one.
    pub(super) fn refresh(&mut self) {
        match &mut self.source {
            Source::Agent { socket, asked } => {
                if asked.elapsed() < ASK {
                    return;
                }
                *asked = Instant::now();
                match status::report(socket) {
                    Ok((_, report)) => {
                        self.report = Arc::new(report);
                        self.trouble = None;
                    }
                    Err(error) => self.trouble = Some(format!("{error:#}")),
                }
            }
            Source::Fleet {
                database,
                asked,
                gateways,
            } => {
                if asked.elapsed() < ASK_FLEET {
                    return;
                }
                *asked = Instant::now();
                match fleet::report(database, Timestamp::now(), GROUPS_MAX) {
                    Ok((report, number)) => {
                        (self.report, *gateways) = (Arc::new(report), number);
                        self.trouble = None;
                    }
                    Err(error) => self.trouble = Some(error.to_string()),
                }
            }
            Source::Capture(replay) => self.report = replay.latest(),
        }
    }

    /// Waits until a capture was read to its end.
    ///
    /// # Errors
    /// [`NothingRead`].
    pub(super) fn wait(&mut self) -> Result<(), NothingRead> {
        if let Source::Capture(replay) = &mut self.source {
            replay.join();
            if replay.ended.is_nothing {
                return Err(NothingRead);
            }
            self.report = replay.latest();
        }
        Ok(())
    }

    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    /// Returns what a frame shows.
    pub(super) fn source(&self) -> draw::Source<'_> {
        draw::Source {
            report: &self.report,
            title: self.title(),
            trouble: self.trouble.as_deref(),
        }
    }

    /// Returns the name of the source, and its state.
    fn title(&self) -> String {
        let report = &self.report;
        match &self.source {
            Source::Agent { .. } => {
                let now = Timestamp::now();
                let state = match (report.is_old(now), report.is_ending) {
                    (true, _) => "hangs",
                    (_, true) => "is ending",
                    _ => "runs",
                };
                format!("agent {} {state}, process {}", report.version, report.pid)
            }
            Source::Fleet { gateways, .. } => {
                format!("fleet of {}", counted(*gateways, "gateway", "gateways"))
            }
            Source::Capture(replay) => {
                let is_over = replay.reader.as_ref().is_none_or(JoinHandle::is_finished);
                if is_over {
                    "capture, at its end".to_owned()
                } else {
                    "capture".to_owned()
                }
            }
        }
    }

    /// Ends the source. Returns whether a capture was read to its end.
    pub(super) fn close(self) -> bool {
        match self.source {
            Source::Agent { .. } | Source::Fleet { .. } => true,
            Source::Capture(mut replay) => {
                replay.progress.interrupt();
                replay.join();
                if let Some(message) = replay.ended.unseen_ca {
                    complain!("tlswhy: {message}");
                }
                replay.ended.is_whole
            }
        }
    }
}

impl Replay {
    fn start(arguments: &TopArgs) -> anyhow::Result<Self> {
        let latest: Arc<Mutex<Arc<Report>>> = Arc::default();
        let progress = Progress::default();
        let knowledge = Knowledge::from(arguments.knowledge.clone());
        let mut pipeline = Pipeline::new(pcap::FLOWS, knowledge, Sinks::default(), report);
        pipeline.keep_groups();
        let files = arguments.replay.clone();
        let mut published = Published {
            pipeline,
            latest: Arc::clone(&latest),
            last: Instant::now(),
            now_ns: 0,
            pace: arguments.speed.map(|speed| Pace { speed, begin: None }),
            progress: progress.clone(),
            taps: Vec::new(),
            cut_captures: 0,
        };
        let reader = thread::Builder::new()
            .name("replay".to_owned())
            .spawn(move || {
                let progress = published.progress.clone();
                let reading = pcap::read_into(
                    &mut published,
                    &rounds(&[], &files, pcap::cores()),
                    &progress,
                );
                published.pipeline.finish();
                let loss = (reading.cut_captures as u64, reading.is_nothing());
                published.cut_captures = loss.0;
                published.publish();
                Ended {
                    is_whole: loss.0 == 0,
                    is_nothing: loss.1,
                    unseen_ca: published.pipeline.take_unseen_ca(CERTIFICATES_MIN_AT_END),
                }
            })?;
        Ok(Self {
            latest,
            progress,
            reader: Some(reader),
            ended: Ended::default(),
        })
    }

    fn latest(&self) -> Arc<Report> {
        Arc::clone(&self.latest.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn join(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.ended = reader.join().unwrap_or_default();
        }
    }
}

/// The speed of a replay, and the times at its beginning: on the capture's clock and on this machine's.
struct Pace {
    speed: f64,
    begin: Option<(u64, Instant)>,
}

/// A pipeline that reports several times a second how far it is.
struct Published {
    pipeline: Pipeline,
    latest: Arc<Mutex<Arc<Report>>>,
    last: Instant,
    now_ns: u64,
    pace: Option<Pace>,
    progress: Progress,
    taps: Vec<String>,
    /// Captures that could not be read to their end.
    cut_captures: u64,
}

impl Published {
    fn publish(&mut self) {
        self.last = Instant::now();
        let tally = self.pipeline.tally();
        let now = Timestamp::from_nanosecond(i128::from(self.now_ns)).unwrap_or_default();
        let failure_rates = self.pipeline.failure_rates(GROUPS_MAX);
        let report = Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            time: now,
            taps: self
                .taps
                .iter()
                .map(|name| tap(name, &failure_rates))
                .collect(),
            losses: losses(tally.tracker.evicted, self.cut_captures),
            groups: self.pipeline.failing_groups(now, GROUPS_MAX),
            failure_rates,
            last_verdicts: self.pipeline.recent().map(LastVerdict::from).collect(),
            ..Report::of(&tally)
        };
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(report);
    }

    /// Waits until the capture's time has come.
    fn wait_for(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        let Some(pace) = &mut self.pace else {
            return;
        };
        let (first_ns, begin) = *pace.begin.get_or_insert((now_ns, Instant::now()));
        let passed = now_ns.saturating_sub(first_ns) as f64 / 1e9 / pace.speed;
        // A day at the most: a jump of the capture's clock may be one of years.
        let due = begin + Duration::from_secs_f64(passed.min(86_400.0));
        while Instant::now() < due && !self.progress.is_interrupted() {
            if self.last.elapsed() >= PUBLISH {
                self.publish();
            }
            thread::sleep(due.saturating_duration_since(Instant::now()).min(PUBLISH));
        }
    }
}

fn tap(name: &str, rates: &FailureRates) -> Tap {
    let rate = rates.taps.most.iter().find(|it| it.of == name);
    let rate = rate.map_or_else(Rate::default, |it| it.rate);
    Tap {
        name: name.to_owned(),
        verdicts: rate.failed,
        established: rate.all - rate.failed,
        ..Tap::default()
    }
}

fn losses(evicted: u64, cut_captures: u64) -> Vec<Loss> {
    let loss = |reason: &str, meaning: &str, count| Loss {
        reason: reason.to_owned(),
        meaning: meaning.to_owned(),
        count,
    };
    let mut losses = vec![
        loss(
            "evicted",
            "connections in progress, evicted from memory",
            evicted,
        ),
        loss(
            "cut",
            "captures that could not be read to their end",
            cut_captures,
        ),
    ];
    losses.retain(|loss| loss.count > 0);
    losses
}

impl Receiver for Published {
    fn observation(&mut self, observation: &Observation) {
        self.pipeline.observation(observation);
    }

    fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]) {
        self.pipeline.chunk(head, bytes);
    }

    fn preamble(&mut self, report: &PreambleReport) {
        self.pipeline.preamble(report);
    }

    fn unreachable(&mut self, report: &UnreachableReport) {
        self.pipeline.unreachable(report);
    }
}

impl TimedReceiver for Published {
    fn name_tap(&mut self, interface: u32, name: &str) {
        if !self.taps.iter().any(|tap| tap == name) {
            self.taps.push(name.to_owned());
        }
        self.pipeline.name_tap(interface, name);
    }

    fn set_unix_offset(&mut self, offset_ns: i64) {
        self.pipeline.set_unix_offset(offset_ns);
    }

    fn advance(&mut self, now_ns: u64) {
        self.pipeline.advance(now_ns);
        self.now_ns = self.now_ns.max(now_ns);
    }

    fn advance_if_due(&mut self, now_ns: u64) {
        self.wait_for(now_ns);
        self.pipeline.advance_if_due(now_ns);
        if self.last.elapsed() >= PUBLISH {
            self.publish();
        }
    }

    fn end_flows(&mut self) {
        self.pipeline.end_flows();
    }

    fn is_closed(&self) -> bool {
        // Without a sink: nobody reads the verdicts.
        false
    }
}
