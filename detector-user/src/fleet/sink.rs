//! Verdicts to the fleet: a sink like others, with their queue and spill.
//!
//! A verdict is delivered when the server has acknowledged it. Its identifier makes one that is sent again once in
//! effect.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use super::connection::TIMEOUT;
use super::message::{GatewayVerdict, verdict_subject, with_clients, write};
use crate::cause::client_identity::ClientIdentity;
use crate::outlet::sink::{Sink, SinkError};
use crate::verdict::Verdict;

const NAME: &str = "fleet";
/// Longest wait for the fleet's thread, which answers in time if it is alive.
const PATIENCE: Duration = Duration::from_secs(2 * TIMEOUT.as_secs() + 2);

/// A verdict on its way to the fleet's thread.
pub(super) struct Job {
    pub(super) subject: String,
    pub(super) id: String,
    pub(super) payload: Bytes,
    pub(super) answer: SyncSender<Result<(), Refusal>>,
}

/// The reason why a verdict is not delivered.
pub(super) enum Refusal {
    /// Another attempt may succeed.
    Later(String),
    /// None will.
    Never(String),
}

/// Publishes each verdict.
pub(super) struct FleetSink {
    pub(super) gateway: Arc<str>,
    pub(super) server: String,
    pub(super) identity: ClientIdentity,
    pub(super) jobs: Sender<Job>,
}

impl FleetSink {
    fn unreachable(&self, why: String) -> SinkError {
        SinkError::Unreachable {
            output: NAME,
            server: self.server.clone(),
            source: io::Error::other(why),
        }
    }
}

impl Sink for FleetSink {
    fn name(&self) -> &'static str {
        NAME
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        let shown = with_clients(verdict, &self.identity);
        let subject = verdict_subject(&self.gateway, verdict.cause.name());
        let payload = write(&GatewayVerdict::new(&self.gateway, shown));
        let payload = payload.map_err(|error| SinkError::Write {
            output: NAME,
            source: error.into(),
        })?;
        let (answer, answered) = sync_channel(1);
        let job = Job {
            subject,
            id: format!("{}.{}", self.gateway, verdict.id),
            payload: payload.into(),
            answer,
        };
        if self.jobs.blocking_send(job).is_err() {
            return Err(self.unreachable("the fleet's thread has ended".to_owned()));
        }
        match answered.recv_timeout(PATIENCE) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Refusal::Later(why))) => Err(self.unreachable(why)),
            Ok(Err(Refusal::Never(reason))) => Err(SinkError::Rejected {
                server: self.server.clone(),
                reason,
            }),
            Err(_) => Err(self.unreachable("no answer from the fleet's thread".to_owned())),
        }
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}
