//! What there is to show at the moment, and showing it as text.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use detector_common::counter::Counter;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::families::FAMILIES;
use super::family::{self, Kind, Number, Read, Sample};
use super::meter::{self, Meter, VerdictCounts};
use super::process::Process;
use crate::outlet::sink::SinkStatus;
use crate::outlet::tally::Tally;

/// An event loop that has not turned for so long hangs; it turns every two seconds.
const HANGS_AFTER: Duration = Duration::from_secs(30);

/// What the agent has to say at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The kernel's counters.
    pub counters: Vec<(Counter, u64)>,
    /// Settled flows that made room for others.
    pub forgotten: u64,
    /// Flows the table of watched flows holds.
    pub watched_max: u64,
    /// Flows the table of settled flows holds.
    pub settled_max: u64,
    /// Observations taken off their ring.
    pub observations: u64,
    /// Pieces of handshakes taken off theirs.
    pub chunks: u64,
    /// Items of a wrong size.
    pub malformed: u64,
    /// What was judged.
    pub tally: Tally,
    /// Verdicts by tap and cause.
    pub verdicts: VerdictCounts,
    /// How sinks are doing.
    pub sinks: Vec<SinkStatus>,
    /// Facts that were to be kept and were not.
    pub unkept: u64,
    /// Interfaces that are tapped.
    pub taps: Vec<TapState>,
    /// Bytes of kernel memory.
    pub kernel_memory: u64,
}

/// How an interface is tapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TapState {
    /// Its name.
    pub name: String,
    /// Where incoming frames are seen.
    pub ingress: &'static str,
    /// Where outgoing ones are.
    pub egress: Option<&'static str>,
}

impl Snapshot {
    pub(super) fn counters(&self) -> impl Iterator<Item = (Counter, u64)> {
        self.counters.iter().copied()
    }

    pub(super) fn of(&self, wanted: Counter) -> u64 {
        self.counters()
            .find(|(counter, _)| *counter == wanted)
            .map_or(0, |(_, number)| number)
    }

    pub(super) fn named(&self, wanted: &[Counter]) -> Vec<Sample> {
        let sample = |counter: &Counter| {
            let labels = vec![counter.name().to_owned()];
            (labels, Number::Whole(self.of(*counter)))
        };
        wanted.iter().map(sample).collect()
    }

    /// Settled flows there are: what went in and neither came out nor made room.
    pub(super) fn settled(&self) -> u64 {
        self.of(Counter::Settled)
            .saturating_sub(self.of(Counter::Resumed))
            .saturating_sub(self.forgotten)
    }
}

/// What the agent puts in and the server takes out. Clones are the same.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    snapshot: Mutex<Arc<Snapshot>>,
    latency: Histogram,
    lateness: Histogram,
    began: Instant,
    started_s: f64,
    /// When the event loop turned last, milliseconds since `began`.
    turned_ms: AtomicU64,
    /// Why it is not ready, if it is not.
    unready: Mutex<Option<&'static str>>,
}

/// What one scrape shows.
pub(super) struct Scrape<'a> {
    snapshot: &'a Snapshot,
    pub(super) process: Process,
    pub(super) is_ready: bool,
    pub(super) started_s: f64,
}

impl Deref for Scrape<'_> {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        self.snapshot
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        Self(Arc::new(Shared {
            snapshot: Mutex::default(),
            latency: meter::histogram(),
            lateness: meter::histogram(),
            began: Instant::now(),
            started_s: since_epoch.map_or(0.0, |time| time.as_secs_f64()),
            turned_ms: AtomicU64::new(0),
            unready: Mutex::new(Some("starting")),
        }))
    }
}

impl Metrics {
    /// What counts verdicts from now on.
    #[must_use]
    pub fn meter(&self) -> Meter {
        Meter::new(self.0.latency.clone(), self.0.lateness.clone())
    }

    /// Shows this from now on.
    pub fn put(&self, snapshot: Snapshot) {
        *lock(&self.0.snapshot) = Arc::new(snapshot);
    }

    /// Notes that the event loop turned.
    pub fn turned(&self) {
        let since = self.0.began.elapsed().as_millis() as u64;
        self.0.turned_ms.store(since, Ordering::Relaxed);
    }

    /// Says why the agent is not ready, or that it is.
    pub fn set_unready(&self, why: Option<&'static str>) {
        *lock(&self.0.unready) = why;
    }

    /// Why the agent does not live, if it does not.
    #[must_use]
    pub fn unhealthy(&self) -> Option<String> {
        let turned = Duration::from_millis(self.0.turned_ms.load(Ordering::Relaxed));
        let since = self.0.began.elapsed().saturating_sub(turned);
        (since > HANGS_AFTER).then(|| format!("hangs since {} s", since.as_secs()))
    }

    /// Why it does not watch, if it does not.
    #[must_use]
    pub fn unready(&self) -> Option<String> {
        let why = lock(&self.0.unready).map(str::to_owned);
        why.or_else(|| self.unhealthy())
    }

    /// Everything in the OpenMetrics text format.
    ///
    /// # Errors
    /// None: text is written to memory.
    pub fn openmetrics(&self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }

    /// The same in Prometheus' own text format, as promtool and people without a scraper want it: it
    /// names a counter by its values' name and knows no units.
    ///
    /// # Errors
    /// None: text is written to memory.
    pub fn classic(&self) -> Result<String, fmt::Error> {
        let mut classic = String::new();
        let openmetrics = self.openmetrics()?;
        let mut lines = openmetrics.lines().peekable();
        while let Some(line) = lines.next() {
            let Some(head) = line.strip_prefix("# ") else {
                classic.extend([line, "\n"]);
                continue;
            };
            let mut words = head.splitn(3, ' ');
            let (keyword, name, rest) = (words.next(), words.next(), words.next());
            let (Some(keyword @ ("HELP" | "TYPE")), Some(name), Some(rest)) = (keyword, name, rest)
            else {
                continue;
            };
            // A help is followed by its type.
            let kind = if keyword == "TYPE" {
                Some(line)
            } else {
                lines.peek().copied()
            };
            let total = match kind.is_some_and(|line| line.ends_with(" counter")) {
                true => "_total",
                false => "",
            };
            classic.push_str(&format!("# {keyword} {name}{total} {rest}\n"));
        }
        Ok(classic)
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = Arc::clone(&lock(&self.0.snapshot));
        let scrape = Scrape {
            snapshot: &snapshot,
            process: Process::now(),
            is_ready: self.unready().is_none(),
            started_s: self.0.started_s,
        };
        for family in FAMILIES {
            let unit = family.unit.map(|unit| match unit {
                family::Unit::Bytes => Unit::Bytes,
                family::Unit::Seconds => Unit::Seconds,
            });
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut values =
                encoder.encode_descriptor(family.stem, family.help, unit.as_ref(), kind)?;
            let samples = match family.read {
                Read::Latency => {
                    self.0.latency.encode(values)?;
                    continue;
                }
                Read::Lateness => {
                    self.0.lateness.encode(values)?;
                    continue;
                }
                Read::Samples(read) => read(&scrape),
            };
            for (of_labels, number) in samples {
                if of_labels.is_empty() {
                    write(&mut values, family.kind, number)?;
                    continue;
                }
                let of_labels = of_labels.iter().map(String::as_str);
                let labels: Vec<_> = family.labels.iter().copied().zip(of_labels).collect();
                write(&mut values.encode_family(&labels)?, family.kind, number)?;
            }
        }
        Ok(())
    }
}

fn write(encoder: &mut MetricEncoder<'_>, kind: Kind, number: Number) -> fmt::Result {
    match (kind, number) {
        (Kind::Counter, Number::Whole(number)) => {
            encoder.encode_counter::<NoLabelSet, _, u64>(&number, None)
        }
        (Kind::Counter, Number::Real(number)) => {
            encoder.encode_counter::<NoLabelSet, _, u64>(&number, None)
        }
        (_, Number::Whole(number)) => encoder.encode_gauge(&number),
        (_, Number::Real(number)) => encoder.encode_gauge(&number),
    }
}

/// What is under these locks is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
