//! Verdicts to an OpenTelemetry collector: one log record each, by OTLP/HTTP with JSON.
//!
//! A verdict is delivered when the collector has answered 2xx to the request that carries it. Sources:
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp> for requests and answers, and
//! `opentelemetry/proto/logs/v1/logs.proto` of opentelemetry-proto 1.10 for records.

mod answer;
mod client;
mod endpoint;
mod record;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::time::{Duration, Instant};

use super::fold::Repeats;
use super::folding::WriteRepeats;
use super::{Sink, SinkError};
use crate::verdict::Verdict;
use answer::Outcome;
use client::Client;
use record::Source;

pub use endpoint::{OtlpEndpoint, OtlpSettings};

const NAME: &str = "otlp";
/// Longest random pause after a failure, which keeps a fleet's agents apart.
const JITTER_MS: u64 = 500;

/// Sends each verdict in a request of its own, over one connection.
pub struct Otlp {
    client: Client,
    source: Source,
    server: String,
    /// The collector asked not to be sent anything before.
    not_before: Option<Instant>,
}

impl Otlp {
    /// Sends to `endpoint`, as soon as it can be reached.
    ///
    /// # Errors
    /// [`SinkError::Write`] if the system has no event loop left for it.
    pub fn new(endpoint: &OtlpEndpoint, settings: &OtlpSettings) -> Result<Self, SinkError> {
        let client = Client::new(endpoint.clone(), settings.clone());
        Ok(Self {
            client: client.map_err(|source| SinkError::Write {
                output: NAME,
                source,
            })?,
            source: Source::this_agent(),
            server: endpoint.to_string(),
            not_before: None,
        })
    }

    fn send(&mut self, verdict: &Verdict, repeats: Option<&Repeats>) -> Result<(), SinkError> {
        let now = Instant::now();
        if self.not_before.is_some_and(|time| now < time) {
            return Err(self.unreachable(io::Error::other("it asked to wait")));
        }
        let body = self.source.request(verdict, repeats);
        let outcome = match self.client.post(body) {
            Ok(answer) => answer.outcome(),
            Err(error) => {
                let jitter = RandomState::new().build_hasher().finish() % JITTER_MS;
                self.not_before = Some(now + Duration::from_millis(jitter));
                return Err(self.unreachable(error));
            }
        };
        self.not_before = None;
        match outcome {
            Outcome::Accepted => Ok(()),
            Outcome::Rejected(reason) => Err(SinkError::Rejected {
                server: self.server.clone(),
                reason,
            }),
            Outcome::Later(reason, wait) => {
                self.not_before = wait.map(|wait| now + wait);
                Err(self.unreachable(io::Error::other(reason)))
            }
        }
    }

    fn unreachable(&self, source: io::Error) -> SinkError {
        SinkError::Unreachable {
            output: NAME,
            server: self.server.clone(),
            source,
        }
    }
}

impl Sink for Otlp {
    fn name(&self) -> &'static str {
        NAME
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        self.send(verdict, None)
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Begins a new connection, with the files and the name's addresses of now.
    fn reopen(&mut self) -> Result<(), SinkError> {
        self.client.close();
        Ok(())
    }
}

impl WriteRepeats for Otlp {
    fn write_repeats(&mut self, repeats: &Repeats) -> Result<(), SinkError> {
        self.send(&repeats.verdict, Some(repeats))
    }
}

#[cfg(test)]
mod tests;
