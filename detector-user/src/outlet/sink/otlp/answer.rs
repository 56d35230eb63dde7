//! The collector's answer to a request with one record.

use std::time::Duration;

use hyper::StatusCode;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde::Deserialize;

use crate::outlet::sink::escaped;

/// Longest wait that a collector may ask for.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// Maximum characters of an answer's text that are repeated.
const TEXT_MAX: usize = 200;

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<String>,
    /// `None` if it is too long, or its connection broke.
    pub(super) body: Option<Vec<u8>>,
}

/// The outcome for the record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Accepted,
    /// Not accepted now; the collector may say how long to wait.
    Later(String, Option<Duration>),
    /// Never accepted.
    Rejected(String),
}

/// `ExportLogsServiceResponse`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Response {
    partial_success: Option<PartialSuccess>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PartialSuccess {
    /// 64 bits, which JSON has as text or number.
    rejected_log_records: serde_json::Value,
    error_message: String,
}

impl Answer {
    /// Returns the outcome, as of a time of now.
    pub(super) fn outcome(&self) -> Outcome {
        self.outcome_at(Timestamp::now())
    }

    pub(super) fn outcome_at(&self, now: Timestamp) -> Outcome {
        let status = self.status;
        match (status.as_u16(), &self.body) {
            (200..=299, None) => Outcome::Rejected("its answer is too long".to_owned()),
            (200..=299, Some(body)) => accepted(body),
            // Those alone may be retried.
            (429 | 502 | 503 | 504, _) => Outcome::Later(
                format!("it answered {status}"),
                self.retry_after.as_deref().and_then(|it| wait(it, now)),
            ),
            (_, body) => {
                let text = String::from_utf8_lossy(body.as_deref().unwrap_or_default());
                let text: String = text.trim().chars().take(TEXT_MAX).collect();
                let reason = match text.as_str() {
                    "" => format!("it answered {status}"),
                    text => format!("it answered {status}: {}", escaped(text)),
                };
                Outcome::Rejected(reason)
            }
        }
    }
}

/// Returns the outcome of a success, which may be partial: then it must not be sent again.
fn accepted(body: &[u8]) -> Outcome {
    let response: Response = serde_json::from_slice(body).unwrap_or_default();
    let Some(partial) = response.partial_success else {
        return Outcome::Accepted;
    };
    let rejected = match &partial.rejected_log_records {
        serde_json::Value::String(text) => text.parse().unwrap_or(0),
        number => number.as_i64().unwrap_or(0),
    };
    if rejected > 0 {
        let text: String = partial.error_message.chars().take(TEXT_MAX).collect();
        Outcome::Rejected(format!(
            "it took the request and not the record: {}",
            escaped(&text)
        ))
    } else {
        Outcome::Accepted
    }
}

/// Reads `Retry-After`: seconds, or a date.
fn wait(given: &str, now: Timestamp) -> Option<Duration> {
    let seconds = given.trim().parse::<u64>().map(Duration::from_secs);
    let wait = seconds.ok().or_else(|| {
        let then = rfc2822::parse(given.trim()).ok()?.timestamp();
        Some(Duration::try_from(then.duration_since(now)).unwrap_or_default())
    });
    wait.map(|wait| wait.min(WAIT_MAX))
}
