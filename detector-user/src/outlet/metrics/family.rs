//! The definition of a metric.

use super::snapshot::Scrape;

/// Type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Never decreases.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

/// Unit of a metric that is not a plain count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

/// One metric with all its labels.
#[derive(Debug)]
pub struct Family {
    /// Name without the unit and `_total`.
    pub(super) stem: &'static str,
    /// Type.
    pub kind: Kind,
    /// Unit, a suffix of the name.
    pub unit: Option<Unit>,
    /// Names of the labels.
    pub labels: &'static [&'static str],
    /// Meaning, a noun phrase.
    pub help: &'static str,
    pub(super) read: Read,
}

/// Source of a metric's values.
#[derive(Debug)]
pub(super) enum Read {
    Samples(fn(&Scrape<'_>) -> Vec<Sample>),
    Latency,
    Lateness,
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(u64),
    Real(f64),
}

/// One value: the labels' values in the family's order, and the number.
pub(super) type Sample = (Vec<String>, Number);

impl Family {
    /// Returns the name of its values; those of a histogram add `_bucket`, `_sum` or `_count`.
    #[must_use]
    pub fn name(&self) -> String {
        let unit = match self.unit {
            None => "",
            Some(Unit::Bytes) => "_bytes",
            Some(Unit::Seconds) => "_seconds",
        };
        let total = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("{}{unit}{total}", self.stem)
    }
}

pub(super) const fn counter(
    stem: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Scrape<'_>) -> Vec<Sample>,
) -> Family {
    Family {
        stem,
        kind: Kind::Counter,
        unit: None,
        labels,
        help,
        read: Read::Samples(read),
    }
}

pub(super) const fn gauge(
    stem: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Scrape<'_>) -> Vec<Sample>,
) -> Family {
    Family {
        kind: Kind::Gauge,
        ..counter(stem, labels, help, read)
    }
}

pub(super) const fn histogram(stem: &'static str, help: &'static str, read: Read) -> Family {
    Family {
        stem,
        kind: Kind::Histogram,
        unit: Some(Unit::Seconds),
        labels: &[],
        help,
        read,
    }
}

pub(super) const fn in_unit(family: Family, unit: Unit) -> Family {
    Family {
        unit: Some(unit),
        ..family
    }
}

pub(super) fn one(number: u64) -> Vec<Sample> {
    vec![labelled(&[], number)]
}

pub(super) fn labelled(labels: &[&str], number: u64) -> Sample {
    let labels = labels.iter().map(|&it| it.to_owned()).collect();
    (labels, Number::Whole(number))
}
