//! Facts of other gateways: those in snapshots first, then each message as it comes.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::kv::Operation;
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};

use super::connection::{TIMEOUT, complain, create_missing, is_missing};
use super::message::{
    FACT_SUBJECTS, FACTS, FactBatch, MUTE_SUBJECTS, MUTES, Mute, SNAPSHOTS, SharedFact,
    SnapshotPart, gateway_of, muted_of, read,
};
use super::settings::FleetSettings;
use super::shared::Shared;
use crate::cause::history::Lesson;

/// Pause after a failure.
const PAUSE: Duration = Duration::from_millis(500);
/// A gateway whose clock is ahead by more than this has seen its facts now.
const AHEAD_S: u64 = 300;

/// Follows the stream of facts.
pub(super) struct Follower {
    pub(super) shared: Arc<Shared>,
    pub(super) jetstream: Context,
    pub(super) settings: FleetSettings,
    pub(super) gateway: Arc<str>,
    pub(super) clients: String,
    /// Names of other gateways, each once.
    pub(super) names: BTreeMap<String, Arc<str>>,
    /// Sequence number of the next message; 0 before the snapshots are read.
    pub(super) next: u64,
}

/// A gateway's snapshot as far as it was read.
#[derive(Default)]
struct Read {
    sequence: u64,
    is_final: bool,
    parts: u32,
    found: u32,
}

type Failure = Box<dyn Error + Send + Sync>;

impl Follower {
    /// Follows for ever.
    pub(super) async fn run(&mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            let followed = tokio::select! {
                // A server that comes back knows nothing of this consumer.
                () = shared.changed.notified() => Ok(()),
                followed = self.follow() => followed,
            };
            if let Err(error) = followed {
                complain(&self.shared, &error.to_string());
            }
            sleep(PAUSE).await;
        }
    }

    /// Reads the snapshots, unless that is done. Then this gateway's own snapshot may be written.
    pub(super) async fn prepare(&mut self) -> Result<(), Failure> {
        if self.next == 0 {
            create_missing(&self.jetstream, &self.settings).await?;
            self.read_mutes().await?;
            self.next = self.read_snapshots().await?;
        }
        Ok(())
    }

    /// Reads the operator's words, of which the database hears only at the same time: what a muted gateway has in its
    /// snapshot is not to be taken in.
    async fn read_mutes(&self) -> Result<(), Failure> {
        let stream = match self.jetstream.get_stream(MUTES).await {
            Ok(stream) => stream,
            // Nobody has said a word.
            Err(error) if is_missing(&error.kind()) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if stream.cached_info().state.messages == 0 {
            return Ok(());
        }
        let consumer = stream.create_consumer(OrderedConfig {
            filter_subject: MUTE_SUBJECTS.to_owned(),
            deliver_policy: DeliverPolicy::LastPerSubject,
            ..OrderedConfig::default()
        });
        let mut messages = consumer.await?.messages().await?;
        while let Some(message) = timeout(TIMEOUT, messages.next()).await? {
            let message = message?;
            if let Some(gateway) = muted_of(&message.subject)
                && let Ok(mute) = read::<Mute>(&message.payload)
            {
                self.shared.muted.change(gateway, mute.muted);
            }
            if message.info()?.pending == 0 {
                break;
            }
        }
        Ok(())
    }

    async fn follow(&mut self) -> Result<(), Failure> {
        self.prepare().await?;
        let stream = self.jetstream.get_stream(FACTS).await?;
        let last = stream.cached_info().state.last_sequence;
        if self.next > last + 1 {
            // Another stream of that name: the server lost the one before.
            self.next = 1;
        }
        let consumer = stream.create_consumer(OrderedConfig {
            filter_subject: FACT_SUBJECTS.to_owned(),
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: self.next,
            },
            ..OrderedConfig::default()
        });
        let mut messages = consumer.await?.messages().await?;
        while let Some(message) = messages.next().await {
            let message = message?;
            let mut sequence = 0;
            if let Ok(info) = message.info() {
                sequence = info.stream_sequence;
                let published_ns = info.published.unix_timestamp_nanos();
                let now_ns = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
                let age_ms =
                    now_ns.saturating_sub(u128::try_from(published_ns).unwrap_or(0)) / 1_000_000;
                let mut state = self.shared.lock();
                state.counts.messages_behind = info.pending;
                state.counts.lag_ms = match info.pending {
                    0 => 0,
                    _ => u64::try_from(age_ms).unwrap_or(u64::MAX),
                };
            }
            self.take_message(&message.subject, &message.payload, sequence)
                .await;
            // Not before: whatever interrupts this, the message comes again.
            self.next = self.next.max(sequence + 1);
            let mut state = self.shared.lock();
            state.followed = state.followed.max(sequence);
        }
        Ok(())
    }

    async fn take_message(&mut self, subject: &str, payload: &[u8], sequence: u64) {
        let Some(gateway) = gateway_of(subject) else {
            return;
        };
        // Of this gateway's own, those of an earlier agent count alone.
        let is_own = *gateway == *self.gateway;
        if is_own && sequence > self.shared.lock().catch_up {
            return;
        }
        let gateway = self.intern(gateway);
        match FactBatch::read(payload, &self.clients) {
            Ok(batch) if is_own => self.restore(&batch.facts),
            Ok(batch) => self.take_facts(&gateway, batch.facts).await,
            Err(reason) => self.shared.skip(reason),
        }
    }

    /// Restores facts that an earlier agent of this gateway published.
    fn restore(&self, facts: &[SharedFact]) {
        let mut state = self.shared.lock();
        for fact in facts {
            state.ledger.restore(fact);
            state.merged.merge(&self.gateway, fact);
        }
    }

    fn intern(&mut self, gateway: &str) -> Arc<str> {
        let known = self.names.entry(gateway.to_owned());
        Arc::clone(known.or_insert_with(|| gateway.into()))
    }

    /// Merges a gateway's facts. News go to the pipeline.
    async fn take_facts(&self, gateway: &Arc<str>, facts: Vec<SharedFact>) {
        if self.shared.muted.contains(gateway) {
            return;
        }
        self.shared.wait_for_room().await;
        let now_s = now_s();
        let mut state = self.shared.lock();
        for mut fact in facts {
            fact.seen.last_s = fact.seen.last_s.min(now_s + AHEAD_S);
            state.counts.facts_taken += 1;
            if state.merged.merge(gateway, &fact) {
                let lesson = lesson(fact);
                state.arrivals.push_back((Arc::clone(gateway), lesson));
            }
        }
        drop(state);
        self.shared.arrived.notify_one();
    }

    /// Reads all gateways' snapshots, this one's own for its counts. Returns the sequence number of the first message
    /// that is in none of them.
    async fn read_snapshots(&mut self) -> Result<u64, Failure> {
        // Before the snapshots: a gateway writes one before it publishes anything.
        let facts = self.jetstream.get_stream(FACTS).await?;
        let last = facts.cached_info().state.last_sequence;
        let bucket = self.jetstream.get_key_value(SNAPSHOTS).await?;
        let mut read: BTreeMap<Arc<str>, Read> = BTreeMap::new();
        if bucket.status().await?.values() > 0 {
            let mut entries = bucket.watch_with_history(">").await?;
            while let Some(entry) = timeout(TIMEOUT, entries.next()).await? {
                let entry = entry?;
                if entry.operation == Operation::Put
                    && let Some((gateway, _)) = entry.key.split_once('.')
                {
                    let gateway = self.intern(gateway);
                    self.take_part(&gateway, &entry.value, &mut read).await;
                }
                if entry.delta == 0 {
                    break;
                }
            }
        }
        let is_whole = |it: &Read| it.found == it.parts;
        let own = read.get(&self.gateway).filter(|it| is_whole(it));
        let mut state = self.shared.lock();
        state.restored = own.map_or(last, |it| it.sequence);
        state.catch_up = last;
        if !read.values().all(is_whole) {
            return Ok(1);
        }
        let open = read.values().filter(|it| !it.is_final);
        Ok(open.map(|it| it.sequence).min().unwrap_or(last) + 1)
    }

    async fn take_part(
        &self,
        gateway: &Arc<str>,
        value: &[u8],
        read: &mut BTreeMap<Arc<str>, Read>,
    ) {
        let part = match SnapshotPart::read(value, &self.clients) {
            Ok(part) => part,
            Err(reason) => return self.shared.skip(reason),
        };
        let whole = read.entry(Arc::clone(gateway)).or_default();
        if part.sequence > whole.sequence || whole.parts == 0 {
            *whole = Read {
                sequence: part.sequence,
                is_final: part.is_final,
                parts: part.parts,
                found: 0,
            };
        }
        // Parts of an earlier one are facts, too.
        whole.found += u32::from(part.sequence == whole.sequence);
        if *gateway == self.gateway {
            self.restore(&part.batch.facts);
        } else {
            self.take_facts(gateway, part.batch.facts).await;
        }
    }
}

/// Returns seconds since the UNIX epoch.
pub(super) fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| time.as_secs())
}

fn lesson(fact: SharedFact) -> Lesson {
    let SharedFact { key, seen } = fact;
    Lesson {
        client: key.client,
        app: key.app.0,
        name: key.name.into(),
        issuer: key.issuer.map(Into::into),
        intercepted: key.intercepted,
        answer: key.outcome,
        sure: seen.sure,
        time_s: seen.last_s,
        is_news: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Clients;
    use crate::fleet::connection::streams;
    use crate::fleet::message::{fact_subject, parts, write};

    #[test]
    fn nothing_of_a_muted_gateway_is_taken_in_until_it_counts_again() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let text = br#"{"version":1,"clients":"clear","facts":[{"client":"10.0.0.1","app":"aa","name":"a.test","issuer":null,"intercepted":true,"outcome":"refused","last_s":7,"count":1,"sure":1}]}"#;
        let batch = FactBatch::read(text, Clients::Clear.name()).unwrap();
        let part = parts("clear", 1, true, &batch.facts)[0]
            .compressed()
            .unwrap();
        runtime.block_on(async {
            // Nobody is there.
            let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
            let client = options.connect("nats://127.0.0.1:1").await.unwrap();
            let mut follower = Follower {
                shared: Arc::new(Shared::new("own", 100)),
                jetstream: streams(client),
                settings: FleetSettings::default(),
                gateway: "own".into(),
                clients: "clear".to_owned(),
                names: BTreeMap::new(),
                next: 1,
            };
            let payload = write(&batch).unwrap();
            for (muted, known) in [(true, 0), (false, 1)] {
                follower.shared.muted.change("loud", muted);
                let subject = fact_subject("loud");
                follower.take_message(&subject, &payload, 1).await;
                follower
                    .take_part(&"loud".into(), &part, &mut BTreeMap::new())
                    .await;
                let state = follower.shared.lock();
                assert_eq!((state.merged.len(), state.arrivals.len()), (known, known));
            }
        });
    }
}
