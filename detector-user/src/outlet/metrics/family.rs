//! What a metric is.

use super::snapshot::Scrape;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations, sorted into buckets.
    Histogram,
}

/// What a metric is counted in, other than things.
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
    /// Its name without the unit, and without `_total`.
    pub(super) stem: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its unit, which ends its name.
    pub unit: Option<Unit>,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
    pub(super) read: Read,
}

/// How a metric's values are found.
#[derive(Debug)]
pub(super) enum Read {
    Samples(fn(&Scrape<'_>) -> Vec<Sample>),
    Latency,
    Lateness,
}

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(u64),
    Real(f64),
}

/// One value: the labels' values in the family's order, and the number.
pub(super) type Sample = (Vec<String>, Number);

impl Family {
    /// The name that its values have; a histogram's have a further `_bucket`, `_sum` or `_count`.
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
