//! Failures over time, as bars of an SVG.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maud::{Markup, PreEscaped, html};

use crate::verdict::{Cause, Severity, counted};

/// Maximum number of bars.
const BARS: usize = 48;
const WIDTH: usize = 960;
const HEIGHT: usize = 160;

/// Failures over time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chart {
    /// Beginning of the first bar and length of each, nanoseconds.
    start_ns: i64,
    bar_ns: i64,
    /// Failures of each bar by cause.
    bars: Vec<BTreeMap<Cause, u64>>,
}

impl Chart {
    /// Counts failures, given by time in nanoseconds since the UNIX epoch and cause.
    #[must_use]
    pub fn of(failures: &[(i64, Cause)]) -> Self {
        let times = || failures.iter().map(|(time, _)| *time);
        let (Some(first), Some(last)) = (times().min(), times().max()) else {
            return Self::default();
        };
        // A bar is a second at least: shorter ones say nothing.
        let bar_ns = ((last - first) / BARS as i64 + 1).max(1_000_000_000);
        let number = usize::try_from((last - first) / bar_ns + 1).unwrap_or(BARS);
        let mut bars = vec![BTreeMap::new(); number];
        for (time, cause) in failures {
            let at = usize::try_from((time - first) / bar_ns).unwrap_or_default();
            if let Some(bar) = bars.get_mut(at) {
                *bar.entry(*cause).or_default() += 1;
            }
        }
        Self {
            start_ns: first,
            bar_ns,
            bars,
        }
    }

    /// Returns the picture with a table of the same numbers.
    pub(super) fn markup(&self) -> Markup {
        let totals = self.bars.iter().map(|bar| bar.values().sum::<u64>());
        let Some(most) = totals.clone().max().filter(|most| *most > 0) else {
            return html! { p { "No failures." } };
        };
        let label = format!(
            "Failures over time: {}, at most {} in one",
            counted(self.bars.len(), "bar", "bars"),
            counted(most, "failure", "failures")
        );
        html! {
            svg role="img" aria-label=(label) viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" {
                @for (at, bar) in self.bars.iter().enumerate() {
                    (self.bar(at, bar, most))
                }
            }
            p.axis { span { (self.time(0)) } span { (self.time(self.bars.len())) } }
            details {
                summary { "The same as a table" }
                table {
                    caption { "Failures over time" }
                    thead { tr { th scope="col" { "From" } th scope="col" { "Failures" } th scope="col" { "Causes" } } }
                    tbody {
                        @for (at, bar) in self.bars.iter().enumerate().filter(|(_, bar)| !bar.is_empty()) {
                            tr {
                                td { (self.time(at)) }
                                td.number { (bar.values().sum::<u64>()) }
                                td { (causes(bar)) }
                            }
                        }
                    }
                }
            }
        }
    }

    fn bar(&self, at: usize, bar: &BTreeMap<Cause, u64>, most: u64) -> Markup {
        let width = WIDTH as f64 / self.bars.len() as f64;
        let mut top = HEIGHT as f64;
        let mut parts = String::new();
        for (cause, number) in bar {
            let height = *number as f64 / most as f64 * HEIGHT as f64;
            top -= height;
            parts.push_str(&format!(
                r#"<rect class="{}" x="{:.1}" y="{top:.1}" width="{:.1}" height="{height:.1}"/>"#,
                class(*cause),
                at as f64 * width + 0.5,
                (width - 1.0).max(1.0),
            ));
        }
        html! { g { title { (self.time(at)) ": " (causes(bar)) } (PreEscaped(parts)) } }
    }

    fn time(&self, bar: usize) -> String {
        let time_ns = self
            .start_ns
            .saturating_add(self.bar_ns.saturating_mul(bar as i64));
        let time = Timestamp::from_nanosecond(i128::from(time_ns)).unwrap_or_default();
        format!("{time:.0}")
    }
}

fn causes(bar: &BTreeMap<Cause, u64>) -> String {
    let causes = bar
        .iter()
        .map(|(cause, number)| format!("{number} {cause}"));
    causes.collect::<Vec<_>>().join(", ")
}

/// Returns the style of a cause.
pub(super) const fn class(cause: Cause) -> &'static str {
    match cause.severity() {
        Severity::Warning => "warning",
        Severity::Notice => "notice",
        Severity::Informational => "information",
    }
}
