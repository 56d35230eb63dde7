//! A stream's messages in their order, from where the database is.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{Config, StorageType, Stream};
use futures_util::StreamExt as _;
use tokio::sync::mpsc::Sender;
use tracing::warn;

use crate::fleet::connection::create_missing;
use crate::fleet::message::{MUTE_SUBJECTS, MUTES};
use crate::fleet::settings::FleetSettings;
use crate::outlet::message_kind::FLEET_UNAVAILABLE;

/// Maximum messages of a batch.
const BATCH_MAX: usize = 200;
/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// Time for which the server is asked for messages, and that between its signs of life meanwhile: a reader that it has
/// forgotten has none.
const ASKED: Duration = Duration::from_secs(20);
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Time after which the server forgets a reader that does not ask.
const INACTIVE: Duration = Duration::from_secs(60);

/// The last message of a stream that is in the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Time at which the stream was created: another stream of that name has other numbers.
    pub(super) created: String,
    /// The message's number.
    pub(super) sequence: u64,
}

/// Messages of a stream that follow each other.
pub(super) struct Batch {
    pub(super) stream: &'static str,
    pub(super) created: String,
    pub(super) messages: Vec<Message>,
}

/// A message as it came.
pub(super) struct Message {
    pub(super) subject: String,
    pub(super) payload: Vec<u8>,
    pub(super) sequence: u64,
    /// When the server took it, seconds since the UNIX epoch.
    pub(super) time_s: i64,
}

/// Sends all messages of a stream after `place`, and then those that come, until nobody takes them.
pub(super) async fn follow(
    context: &Context,
    fleet: &FleetSettings,
    stream: &'static str,
    mut place: Place,
    sender: &Sender<Batch>,
) {
    let mut told = String::new();
    loop {
        let Err(error) = read(context, fleet, stream, &mut place, sender).await else {
            return;
        };
        let failure = error.to_string();
        if failure != told {
            warn!(target: FLEET_UNAVAILABLE, "cannot read {stream} of the fleet: {failure}; trying again");
            told = failure;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read(
    context: &Context,
    fleet: &FleetSettings,
    name: &'static str,
    place: &mut Place,
    sender: &Sender<Batch>,
) -> Result<(), async_nats::Error> {
    let stream = find(context, fleet, name).await?;
    let info = stream.cached_info();
    let created = info.created.to_string();
    let is_known = place.created == created && place.sequence <= info.state.last_sequence;
    if !is_known {
        *place = Place {
            created: created.clone(),
            sequence: 0,
        };
    }
    let config = pull::Config {
        deliver_policy: match place.sequence {
            0 => DeliverPolicy::All,
            sequence => DeliverPolicy::ByStartSequence {
                start_sequence: sequence.saturating_add(1),
            },
        },
        ack_policy: AckPolicy::None,
        inactive_threshold: INACTIVE,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await?;
    let messages = consumer
        .stream()
        .max_messages_per_batch(BATCH_MAX)
        .expires(ASKED)
        .heartbeat(HEARTBEAT);
    let mut ready = messages.messages().await?.ready_chunks(BATCH_MAX);
    while let Some(chunk) = ready.next().await {
        let mut messages = Vec::with_capacity(chunk.len());
        for message in chunk {
            let message = message?;
            let info = message.info()?;
            messages.push(Message {
                sequence: info.stream_sequence,
                time_s: info.published.unix_timestamp(),
                subject: message.subject.to_string(),
                payload: message.payload.to_vec(),
            });
        }
        if let Some(last) = messages.last() {
            place.sequence = last.sequence;
        }
        let batch = Batch {
            stream: name,
            created: created.clone(),
            messages,
        };
        if sender.send(batch).await.is_err() {
            return Ok(());
        }
    }
    Err("the reader has ended".into())
}

/// Returns a stream. Where it is missing it is created, if that is allowed: else it is somebody else's care.
async fn find(
    context: &Context,
    fleet: &FleetSettings,
    name: &str,
) -> Result<Stream, async_nats::Error> {
    if let Ok(stream) = context.get_stream(name).await {
        return Ok(stream);
    }
    if name == MUTES {
        return Ok(context.create_stream(mutes(fleet)).await?);
    }
    create_missing(context, fleet).await?;
    Ok(context.get_stream(name).await?)
}

/// Returns the stream of muted gateways: the last word on each, for ever.
fn mutes(fleet: &FleetSettings) -> Config {
    Config {
        name: MUTES.to_owned(),
        subjects: vec![MUTE_SUBJECTS.to_owned()],
        max_messages_per_subject: 1,
        storage: StorageType::File,
        num_replicas: fleet.replicas,
        ..Config::default()
    }
}
