//! Halves between the near end and the servers: published as they come, and read as they arrive.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::message::{Info, PublishMessage};
use futures_util::StreamExt;
use tokio::time::sleep;

use super::WAITING_MAX;
use super::owner::ALIVE;
use crate::fleet::connection::{complain, create_halves, is_connected};
use crate::fleet::message::{
    GATEWAY_SUBJECTS, GATEWAYS, HALVES, HalfMessage, Health, gateway_of, half_subject,
    half_subjects_to, message_id,
};
use crate::fleet::settings::FleetSettings;
use crate::fleet::shared::Shared;

/// Pause after a failure.
const PAUSE: Duration = Duration::from_millis(500);
/// Messages that wait for their acknowledgement.
const WINDOW: usize = 64;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The thread's side.
pub(in crate::fleet) struct HalfExchange {
    pub(in crate::fleet) shared: Arc<Shared>,
    pub(in crate::fleet) client: Client,
    pub(in crate::fleet) jetstream: Context,
    pub(in crate::fleet) settings: FleetSettings,
    pub(in crate::fleet) gateway: Arc<str>,
}

impl HalfExchange {
    /// Exchanges halves for ever.
    pub(in crate::fleet) async fn run(&self) {
        tokio::join!(
            self.publish(),
            self.repeat(Following::Halves),
            self.repeat(Following::Gateways),
        );
    }

    async fn publish(&self) {
        loop {
            self.shared.halves_wait.notified().await;
            loop {
                let batch: Vec<_> = {
                    let mut state = self.shared.lock();
                    let number = state.halves_out.len().min(WINDOW);
                    state.halves_out.drain(..number).collect()
                };
                if batch.is_empty() {
                    break;
                }
                let number = batch.len() as u64;
                let sent = self.send(batch).await;
                let mut state = self.shared.lock();
                state.counts.halves_published += sent;
                // They are judged alone.
                state.counts.halves_lost += number - sent;
            }
        }
    }

    /// Returns how many were acknowledged.
    async fn send(&self, batch: Vec<super::Outgoing>) -> u64 {
        if !is_connected(&self.client) {
            return 0;
        }
        let mut answers = Vec::new();
        for outgoing in batch {
            let Ok(payload) = outgoing.message.compressed() else {
                continue;
            };
            let subject = half_subject(&self.gateway, &outgoing.to);
            let publish = PublishMessage::build()
                .message_id(message_id(&subject, &payload))
                .payload(payload.into());
            answers.push(self.jetstream.send_publish(subject, publish).await);
        }
        let mut acknowledged = 0;
        for answer in answers {
            let answer = match answer {
                Ok(acknowledgement) => acknowledgement.await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(_) => acknowledged += 1,
                Err(error) => complain(&self.shared, &error.to_string()),
            }
        }
        acknowledged
    }

    async fn repeat(&self, what: Following) {
        loop {
            let followed = tokio::select! {
                // A server that comes back knows nothing of this consumer.
                () = self.shared.changed.notified() => Ok(()),
                followed = self.follow(what) => followed,
            };
            if let Err(error) = followed {
                complain(&self.shared, &error.to_string());
            }
            sleep(PAUSE).await;
        }
    }

    /// Follows new messages. Halves that passed while there was no connection are judged alone.
    async fn follow(&self, what: Following) -> Result<(), Failure> {
        let (stream, subject) = match what {
            Following::Halves => (HALVES, half_subjects_to(&self.gateway)),
            Following::Gateways => (GATEWAYS, GATEWAY_SUBJECTS.to_owned()),
        };
        if let Following::Halves = what {
            create_halves(&self.jetstream, &self.settings).await?;
        }
        let stream = self.jetstream.get_stream(stream).await?;
        let last = stream.cached_info().state.last_sequence;
        let deliver_policy = match what {
            Following::Halves => DeliverPolicy::New,
            Following::Gateways => DeliverPolicy::LastPerSubject,
        };
        let consumer = stream.create_consumer(OrderedConfig {
            filter_subject: subject,
            deliver_policy,
            ..OrderedConfig::default()
        });
        let mut messages = consumer.await?.messages().await?;
        while let Some(message) = messages.next().await {
            let message = message?;
            let Some(gateway) = gateway_of(&message.subject) else {
                continue;
            };
            match what {
                Following::Halves => self.take_half(gateway, &message.payload),
                Following::Gateways if message.info().is_ok_and(|it| is_old(it, last)) => {}
                Following::Gateways => self.take_health(gateway, &message.payload),
            }
        }
        Ok(())
    }

    fn take_half(&self, gateway: &str, payload: &[u8]) {
        if self.shared.muted.contains(gateway) {
            return;
        }
        let message = match HalfMessage::read(payload) {
            Ok(message) => message,
            Err(reason) => return self.shared.skip(reason),
        };
        let mut state = self.shared.lock();
        if state.halves_in.len() >= WAITING_MAX {
            state.counts.halves_lost += 1;
            return;
        }
        state.counts.halves_taken += 1;
        state.halves_in.push_back((gateway.into(), message));
        drop(state);
        self.shared.arrived.notify_one();
    }

    fn take_health(&self, gateway: &str, payload: &[u8]) {
        let Ok(health) = Health::read(payload) else {
            return;
        };
        let joins = health.halves && !health.ended && !self.shared.muted.contains(gateway);
        let mut state = self.shared.lock();
        if state.members_in.len() < WAITING_MAX {
            state.members_in.push((gateway.to_owned(), joins));
        }
    }
}

/// Whether a message was there before, and its gateway may be gone. Of later ones nobody's clock counts.
fn is_old(info: Info<'_>, last: u64) -> bool {
    let published_ns = info.published.unix_timestamp_nanos();
    let now_ns = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |it| it.as_nanos());
    let age_ns = now_ns.saturating_sub(u128::try_from(published_ns).unwrap_or(0));
    info.stream_sequence <= last && age_ns >= ALIVE.as_nanos()
}

#[derive(Clone, Copy)]
enum Following {
    Halves,
    Gateways,
}

#[cfg(test)]
mod tests {
    use detector_common::flow::Sender;
    use jiff::Timestamp;

    use super::*;
    use crate::fleet::connection::streams;
    use crate::fleet::message::write;

    #[test]
    fn no_half_of_a_muted_gateway_is_taken_and_it_joins_none() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let first = super::super::tests::observation(Sender::Client, 40_000, 7, 0);
        let payload = HalfMessage::Joined(Box::new(first)).compressed().unwrap();
        let mut health = Health::new(Timestamp::UNIX_EPOCH, 1, "clear".to_owned());
        health.halves = true;
        let health = write(&health).unwrap();
        runtime.block_on(async {
            // Nobody is there.
            let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
            let client = options.connect("nats://127.0.0.1:1").await.unwrap();
            let exchange = HalfExchange {
                shared: Arc::new(Shared::new("own", 100)),
                jetstream: streams(client.clone()),
                client,
                settings: FleetSettings::default(),
                gateway: "own".into(),
            };
            for (muted, taken) in [(true, 0), (false, 1)] {
                exchange.shared.muted.change("loud", muted);
                exchange.take_half("loud", &payload);
                exchange.take_health("loud", &health);
                let mut state = exchange.shared.lock();
                assert_eq!(state.halves_in.len(), taken);
                let members = std::mem::take(&mut state.members_in);
                assert_eq!(members, [("loud".to_owned(), !muted)]);
            }
        });
    }
}
