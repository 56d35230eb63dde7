//! What there is to show at the moment, and showing it as text.

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

/// An event loop that has not turned for so long hangs; it turns every two seconds.
const HANGS_AFTER: Duration = Duration::from_secs(30);

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
