//! The latest snapshot, and its text formats.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::families::FAMILIES;
use super::family::{self, Kind, Number, Read};
use super::meter::{self, Meter};
use super::process::Process;
use super::snapshot::{Scrape, Snapshot};

/// Time without a turn after which the event loop counts as stalled; it turns every two seconds.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Metrics shared by the agent, which puts them in, and the server, which shows them. A clone is a handle.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    snapshot: Mutex<Arc<Snapshot>>,
    latency: Histogram,
    lateness: Histogram,
    began: Instant,
    started_s: f64,
    /// Time of the last turn of the event loop, milliseconds since `began`.
    turned_ms: AtomicU64,
    /// The reason for not being ready, if any.
    unready: Mutex<Option<&'static str>>,
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
    /// Returns a meter whose histograms are shown.
    #[must_use]
    pub fn meter(&self) -> Meter {
        Meter::new(self.0.latency.clone(), self.0.lateness.clone())
    }

    /// Replaces the snapshot that is shown.
    pub fn put(&self, snapshot: Snapshot) {
        *lock(&self.0.snapshot) = Arc::new(snapshot);
    }

    /// Records a turn of the event loop.
    pub fn record_turn(&self) {
        let since = self.0.began.elapsed().as_millis() as u64;
        self.0.turned_ms.store(since, Ordering::Relaxed);
    }

    /// Sets the reason for not being ready, or none.
    pub fn set_unready(&self, why: Option<&'static str>) {
        *lock(&self.0.unready) = why;
    }

    /// Returns the reason for not being healthy, if any.
    #[must_use]
    pub fn unhealthy(&self) -> Option<String> {
        let turned = Duration::from_millis(self.0.turned_ms.load(Ordering::Relaxed));
        let since = self.0.began.elapsed().saturating_sub(turned);
        (since > STALLED_AFTER).then(|| format!("event loop stalled for {} s", since.as_secs()))
    }

    /// Returns the reason for not being ready, if any.
    #[must_use]
    pub fn unready(&self) -> Option<String> {
        let why = lock(&self.0.unready).map(str::to_owned);
        why.or_else(|| self.unhealthy())
    }

    /// Returns all metrics in the OpenMetrics text format.
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

    /// Returns all metrics in the Prometheus text format, for promtool and people without a scraper: it
    /// names a counter by the name of its values, and has no units.
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
            // A HELP line is followed by its TYPE line.
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

/// Locks a value that is consistent between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
