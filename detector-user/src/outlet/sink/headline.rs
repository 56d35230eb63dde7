//! Phrases about a verdict that text and journal share.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::escape::escaped;
use crate::verdict::{Alert, Reset, Verdict, written_confidence};

/// Returns `api.pinned.test (10.0.2.2:443)`, or the address alone if no name was seen.
pub(super) fn destination(verdict: &Verdict) -> String {
    match verdict.server_name() {
        Some(name) => format!("{} ({})", escaped(name), verdict.server),
        None => verdict.server.to_string(),
    }
}

/// Returns `97 %`.
pub(super) fn percent(confidence: f64) -> String {
    format!("{:.0} %", written_confidence(confidence) * 100.0)
}

/// Returns `client sent fatal certificate_unknown (46)`.
pub(super) fn alert(alert: &Alert) -> String {
    let mut line = format!("{} sent ", alert.from);
    match (alert.encrypted, alert.level, alert.code) {
        (_, None, None) if alert.encrypted => line.push_str("an encrypted alert"),
        (_, level, code) => {
            let level = level.map_or("alert of unknown level:", |level| level.name());
            let name = alert.description.as_deref().unwrap_or("unassigned code");
            let _ = write!(line, "{level} {}", escaped(name));
            if let Some(code) = code {
                let _ = write!(line, " ({code})");
            }
            if alert.encrypted {
                line.push_str(", encrypted");
            }
        }
    }
    line
}

/// Returns `middlebox, injected: ttl 61, the server's were 52; the server went on`.
pub(super) fn reset(reset: &Reset) -> String {
    let mut line = reset.from.to_string();
    if reset.injected {
        line.push_str(", injected");
    }
    for (index, tell) in reset.tells.iter().enumerate() {
        line.push_str(if index == 0 { ": " } else { "; " });
        let _ = write!(line, "{}", escaped(tell));
    }
    line
}

/// Returns the line of the journal for repeats.
pub(super) fn repeats(verdict: &Verdict, count: u64, first: Timestamp) -> String {
    let times = if count == 1 { "time" } else { "times" };
    format!(
        "{} → {}: {} {count} more {times} since {first:.0}",
        verdict.client.ip,
        destination(verdict),
        verdict.cause,
    )
}

/// Returns the line of the journal for a verdict.
pub(super) fn message(verdict: &Verdict) -> String {
    let mut line = format!(
        "{} → {}: {} ({})",
        verdict.client,
        destination(verdict),
        verdict.cause,
        percent(verdict.confidence)
    );
    if let Some(given) = &verdict.alert {
        let _ = write!(line, ", {}", alert(given));
    }
    if let Some(advice) = &verdict.advice {
        let _ = write!(line, "; advice: {}", escaped(advice));
    }
    line
}
