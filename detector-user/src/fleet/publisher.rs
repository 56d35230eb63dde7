//! Own facts to the server, in batches of which several wait for their acknowledgement at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use tokio::time::sleep;

use super::connection::{complain, create_missing, is_connected};
use super::message::{FactBatch, SharedFact, fact_subject, message_id, write};
use super::settings::FleetSettings;
use super::shared::Shared;

/// Facts of a message.
const BATCH: usize = 256;
/// Messages that wait for their acknowledgement.
const WINDOW: usize = 16;
/// Time for which facts are collected: others know of them within two seconds.
const COLLECT: Duration = Duration::from_millis(50);
/// Pause after a failure.
const PAUSE: Duration = Duration::from_millis(500);

/// Publishes facts.
pub(super) struct Publisher {
    pub(super) shared: Arc<Shared>,
    pub(super) client: Client,
    pub(super) jetstream: Context,
    pub(super) settings: FleetSettings,
    pub(super) gateway: Arc<str>,
    /// Kind of clients' identities.
    pub(super) clients: String,
    /// Messages without an acknowledgement; the same content has the same identifier each time.
    pub(super) unacknowledged: VecDeque<Message>,
}

/// A message and its facts.
pub(super) struct Message {
    id: String,
    payload: Bytes,
    facts: Vec<SharedFact>,
}

impl Publisher {
    /// Publishes facts as they come, for ever.
    pub(super) async fn run(&mut self) {
        loop {
            if self.unacknowledged.is_empty() {
                self.shared.waits.notified().await;
                sleep(COLLECT).await;
            }
            let shared = Arc::clone(&self.shared);
            loop {
                let is_done = tokio::select! {
                    // Acknowledgements that were under way do not come any more.
                    () = shared.changed.notified() => false,
                    is_done = self.publish() => is_done,
                };
                if is_done {
                    break;
                }
                sleep(PAUSE).await;
            }
        }
    }

    /// Publishes all that waits. Returns whether nothing is left.
    pub(super) async fn publish(&mut self) -> bool {
        loop {
            self.collect();
            if self.unacknowledged.is_empty() {
                return true;
            }
            if !is_connected(&self.client) || !self.send().await {
                return false;
            }
        }
    }

    fn collect(&mut self) {
        let subject = fact_subject(&self.gateway);
        while self.unacknowledged.len() < WINDOW {
            let facts = self.shared.lock().ledger.take(BATCH);
            if facts.is_empty() {
                break;
            }
            let batch = FactBatch::new(self.clients.clone(), facts);
            let Ok(payload) = write(&batch) else {
                continue;
            };
            self.unacknowledged.push_back(Message {
                id: message_id(&subject, &payload),
                payload: payload.into(),
                facts: batch.facts,
            });
        }
        let waiting = self.unacknowledged.iter().map(|it| it.facts.len());
        self.shared.lock().counts.facts_unacknowledged = waiting.sum::<usize>() as u64;
    }

    /// Sends the messages and waits for their acknowledgements. Returns whether all came.
    async fn send(&mut self) -> bool {
        let subject = fact_subject(&self.gateway);
        let mut answers = Vec::new();
        for message in &self.unacknowledged {
            let publish = PublishMessage::build()
                .payload(message.payload.clone())
                .message_id(&message.id);
            answers.push(self.jetstream.send_publish(subject.clone(), publish).await);
        }
        let mut sequences = Vec::new();
        let mut failure = None;
        for answer in answers {
            let answer = match answer {
                Ok(acknowledgement) => acknowledgement.await,
                Err(error) => Err(error),
            };
            sequences.push(answer.as_ref().ok().map(|it| it.sequence));
            if let Err(error) = answer {
                failure = Some(error.to_string());
            }
        }
        // Only now: at the agent's end this may stop at any of the waits above.
        let sent = std::mem::take(&mut self.unacknowledged);
        for (message, sequence) in sent.into_iter().zip(sequences) {
            match sequence {
                Some(sequence) => self.record(&message, sequence),
                None => self.unacknowledged.push_back(message),
            }
        }
        let Some(failure) = failure else {
            return true;
        };
        complain(&self.shared, &failure);
        // A server that lost its streams gets them again.
        if is_connected(&self.client)
            && let Err(error) = create_missing(&self.jetstream, &self.settings).await
        {
            complain(&self.shared, &error.to_string());
        }
        false
    }

    /// Makes the facts of unacknowledged messages wait again.
    pub(super) fn put_back(&mut self) {
        let mut state = self.shared.lock();
        for message in self.unacknowledged.drain(..) {
            state.ledger.restore_waiting(&message.facts);
        }
        state.counts.facts_unacknowledged = 0;
    }

    fn record(&self, message: &Message, sequence: u64) {
        let mut state = self.shared.lock();
        state.counts.facts_published += message.facts.len() as u64;
        state.acknowledged = state.acknowledged.max(sequence);
        for fact in &message.facts {
            state.merged.merge(&self.gateway, fact);
        }
    }
}
