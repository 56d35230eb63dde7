//! This gateway as a member of the fleet: the near end, and the thread that speaks with the servers.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::{Client, ConnectOptions};
use jiff::Timestamp;
use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver as JobReceiver, Sender, channel};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::warn;

use super::connection::{FleetError, complain, connect, is_connected, log, options, streams};
use super::follower::{Follower, now_s};
use super::halves::{Clock, HalfExchange, Joiner, Ready, WAITING_MAX};
use super::merged::Merged;
use super::message::{Health, SNAPSHOTS, gateway_subject, write};
use super::muting::Muted;
use super::publisher::Publisher;
use super::settings::{FleetSettings, FleetSettingsError};
use super::shared::Shared;
use super::sink::{FleetSink, Job, Refusal};
use super::snapshot::{WAITING_FILE, read_waiting, write_snapshot, write_waiting};
use crate::cause::client_identity::ClientIdentity;
use crate::cause::history::Lesson;
use crate::flow::tracker::SeenHalf;
use crate::host::privileges::give_up_all;
use crate::outlet::message_kind::STATE_UNUSABLE;
use crate::outlet::sink::Sink;
use crate::outlet::status::FleetCounts;

/// Interval of health.
const HEALTH: Duration = Duration::from_secs(5);
/// Interval of snapshots, in intervals of health.
const SNAPSHOT_EVERY: u64 = 60;
/// Verdicts between the sink's thread and this one.
const JOBS: usize = 4;
/// Lessons of other gateways that the pipeline takes at a time.
const LESSONS_AT_A_TIME: usize = 512;

/// A member of the fleet, until it is dropped.
pub struct Fleet {
    shared: Arc<Shared>,
    gateway: Arc<str>,
    server: String,
    identity: ClientIdentity,
    /// Joins halves, where that is wanted.
    joiner: Option<Joiner>,
    jobs: Sender<Job>,
    is_done: Receiver<()>,
}

impl Fleet {
    /// Starts the thread. Facts that wait for the servers survive in `directory`.
    ///
    /// # Errors
    /// [`FleetError`]; a server that is away is none.
    pub fn start(settings: &FleetSettings, directory: Option<PathBuf>) -> Result<Self, FleetError> {
        let gateway: Arc<str> = settings.name()?.into();
        let identity = settings.identity()?;
        if settings.halves && settings.clients == super::Clients::Hashed {
            return Err(FleetSettingsError::HalvesInClear.into());
        }
        let shared = Arc::new(Shared::new(&gateway, settings.max_facts));
        let options = options(settings, &gateway, &shared)?;
        let (jobs, waiting) = channel(JOBS);
        let (done, is_done) = sync_channel(1);
        let member = Member {
            shared: Arc::clone(&shared),
            gateway: Arc::clone(&gateway),
            clients: identity.kind(),
            settings: settings.clone(),
            file: directory.map(|directory| directory.join(WAITING_FILE)),
            started: Timestamp::now(),
            instance: u64::from(std::process::id()) << 32 | u64::from(now_s() as u32),
        };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("fleet".to_owned())
            .spawn(move || {
                give_up_all();
                runtime.block_on(member.run(options, waiting));
                end(&done);
            })?;
        let servers: Vec<&str> = settings.urls.iter().map(super::ServerUrl::as_str).collect();
        Ok(Self {
            shared,
            server: servers.join(", "),
            joiner: settings.halves.then(|| Joiner::new(&gateway)),
            gateway,
            identity,
            jobs,
            is_done,
        })
    }

    /// Returns the identities of clients.
    #[must_use]
    pub const fn identity(&self) -> &ClientIdentity {
        &self.identity
    }

    /// Returns the sink of verdicts.
    #[must_use]
    pub fn sink(&self) -> Box<dyn Sink> {
        Box::new(FleetSink {
            gateway: Arc::clone(&self.gateway),
            server: self.server.clone(),
            identity: self.identity.clone(),
            jobs: self.jobs.clone(),
        })
    }

    /// Records what connections here taught.
    pub fn record(&self, lessons: &[Lesson]) {
        if lessons.is_empty() {
            return;
        }
        let mut waits = false;
        let mut state = self.shared.lock();
        for lesson in lessons {
            waits |= state.ledger.record(lesson);
        }
        drop(state);
        if waits {
            self.shared.waits.notify_one();
        }
    }

    /// Returns some lessons of other gateways, each with its gateway.
    pub fn take_lessons(&self) -> Vec<(Arc<str>, Lesson)> {
        let mut state = self.shared.lock();
        let number = state.arrivals.len().min(LESSONS_AT_A_TIME);
        let lessons: Vec<_> = state.arrivals.drain(..number).collect();
        let has_more = !state.arrivals.is_empty();
        drop(state);
        if !lessons.is_empty() {
            self.shared.room.notify_one();
        }
        if has_more {
            self.shared.arrived.notify_one();
        }
        lessons
    }

    /// Whether halves of connections are joined.
    #[must_use]
    pub const fn joins_halves(&self) -> bool {
        self.joiner.is_some()
    }

    /// Exchanges halves with other gateways: those seen here go on, and what is ready to be judged comes back. Times
    /// are nanoseconds on the taps' clock, and from there to UNIX time.
    pub fn exchange_halves(
        &mut self,
        seen: Vec<SeenHalf>,
        now_ns: u64,
        unix_offset_ns: i64,
    ) -> Vec<Ready> {
        let Some(joiner) = &mut self.joiner else {
            return Vec::new();
        };
        let now = Instant::now();
        let mut state = self.shared.lock();
        let members = std::mem::take(&mut state.members_in);
        let messages = std::mem::take(&mut state.halves_in);
        drop(state);
        for (gateway, joins) in members {
            joiner.record_member(&gateway, joins, now);
        }
        for (gateway, message) in messages {
            joiner.record_message(&gateway, message, now);
        }
        for half in seen {
            joiner.record_seen(half, now);
        }
        let ready = joiner.advance(Clock {
            now,
            now_ns,
            unix_offset_ns,
        });
        let outgoing = joiner.take_outgoing();
        if outgoing.is_empty() {
            return ready;
        }
        let mut state = self.shared.lock();
        for message in outgoing {
            if state.halves_out.len() < WAITING_MAX {
                state.halves_out.push_back(message);
            } else {
                state.counts.halves_lost += 1;
            }
        }
        drop(state);
        self.shared.halves_wait.notify_one();
        ready
    }

    /// Returns the halves that wait for others, at the agent's end.
    pub fn end_halves(&mut self) -> Vec<Ready> {
        self.joiner.as_mut().map_or_else(Vec::new, Joiner::finish)
    }

    /// Returns the notice of lessons or halves of other gateways.
    #[must_use]
    pub fn arrived(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.arrived)
    }

    /// Returns the gateways whose facts are not taken in.
    #[must_use]
    pub fn muted(&self) -> Muted {
        self.shared.muted.clone()
    }

    /// Returns the numbers so far.
    #[must_use]
    pub fn counts(&self) -> FleetCounts {
        let mut counts = self.shared.counts();
        if let Some(joiner) = &self.joiner {
            let joined = joiner.counts();
            let [clients, servers] = joined.alone;
            counts.halves_gateways = joined.gateways;
            counts.halves_joined = joined.joined;
            (counts.halves_alone, counts.halves_unmatched) = (clients, servers);
            counts.halves_lost += joined.dropped;
        }
        counts
    }

    /// Sets the agent's own part of the gateway's health.
    pub fn set_health(&self, taps: Vec<String>, losses: u64) {
        let mut state = self.shared.lock();
        (state.taps, state.losses) = (taps, losses);
    }

    /// Returns an evaluation of all gateways' facts. Nobody else reads or merges facts meanwhile.
    pub fn with_facts<T>(&self, evaluate: impl FnOnce(&Merged) -> T) -> T {
        evaluate(&self.shared.lock().merged)
    }

    /// Ends the thread: facts that wait are published within five seconds, and otherwise kept in the state directory.
    pub fn close(self) {
        self.shared.is_ending.store(true, Ordering::Release);
        self.shared.end.notify_one();
        let _ = self.is_done.recv_timeout(LAST_WORDS + HEALTH);
    }
}

fn end(done: &SyncSender<()>) {
    let _ = done.send(());
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.shared.is_ending.store(true, Ordering::Release);
        self.shared.end.notify_one();
    }
}

/// Longest time for the rest at the end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The thread's side.
struct Member {
    shared: Arc<Shared>,
    gateway: Arc<str>,
    clients: String,
    settings: FleetSettings,
    /// File of facts that wait.
    file: Option<PathBuf>,
    started: Timestamp,
    instance: u64,
}

impl Member {
    async fn run(self, options: ConnectOptions, mut jobs: JobReceiver<Job>) {
        if let Some(file) = &self.file {
            let facts = read_waiting(file, &self.clients);
            self.shared.lock().ledger.restore_waiting(&facts);
        }
        let client = match connect(options, &self.settings).await {
            Ok(client) => client,
            Err(error) => {
                log(&self.shared, &error.to_string());
                self.shared.end.notified().await;
                return self.keep_waiting();
            }
        };
        let jetstream = streams(client.clone());
        let mut publisher = Publisher {
            shared: Arc::clone(&self.shared),
            client: client.clone(),
            jetstream: jetstream.clone(),
            settings: self.settings.clone(),
            gateway: Arc::clone(&self.gateway),
            clients: self.clients.clone(),
            unacknowledged: VecDeque::new(),
        };
        let mut follower = Follower {
            shared: Arc::clone(&self.shared),
            jetstream: jetstream.clone(),
            settings: self.settings.clone(),
            gateway: Arc::clone(&self.gateway),
            clients: self.clients.clone(),
            names: BTreeMap::new(),
            next: 0,
        };
        tokio::select! {
            () = self.shared.end.notified() => {}
            () = self.exchange(&client, &jetstream, &mut publisher, &mut follower) => {}
            () = publish_verdicts(&client, &jetstream, &self.shared, &mut jobs) => {}
            () = self.explain_refusals() => {}
        }
        let is_prepared = follower.next > 0;
        let last_words = self.say_last_words(&client, &jetstream, &mut publisher, is_prepared);
        let _ = timeout(LAST_WORDS, last_words).await;
        publisher.put_back();
        self.keep_waiting();
    }

    /// Logs why no server is reached, for ever: the library's connection does not tell, a single attempt does.
    async fn explain_refusals(&self) {
        loop {
            self.shared.refused.notified().await;
            let attempt = super::collector::connect(&self.settings, "tlswhy attempt", false);
            if let Ok(Err(error)) = timeout(LAST_WORDS, attempt).await {
                log(&self.shared, &error.to_string());
            }
            sleep(HEALTH).await;
        }
    }

    /// Exchanges facts for ever.
    async fn exchange(
        &self,
        client: &Client,
        jetstream: &Context,
        publisher: &mut Publisher,
        follower: &mut Follower,
    ) {
        // Before anything is published: others read what is not in a snapshot.
        while let Err(error) = follower.prepare().await {
            complain(&self.shared, &error.to_string());
            self.keep_waiting();
            sleep(Duration::from_secs(1)).await;
        }
        let parts = match self.write_snapshot(jetstream, false, 0).await {
            Ok(parts) => parts,
            Err(error) => {
                complain(&self.shared, &error.to_string());
                0
            }
        };
        self.shared.waits.notify_one();
        let halves = HalfExchange {
            shared: Arc::clone(&self.shared),
            client: client.clone(),
            jetstream: jetstream.clone(),
            settings: self.settings.clone(),
            gateway: Arc::clone(&self.gateway),
        };
        let exchange_halves = async {
            if self.settings.halves {
                halves.run().await;
            }
        };
        tokio::join!(
            publisher.run(),
            follower.run(),
            self.report(client, jetstream, parts),
            exchange_halves,
        );
    }

    /// Publishes health, and now and then a snapshot, for ever.
    async fn report(&self, client: &Client, jetstream: &Context, mut parts: usize) {
        let mut ticks = interval(HEALTH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut number = 0_u64;
        let mut covered = 0;
        loop {
            ticks.tick().await;
            number += 1;
            if number.is_multiple_of(SNAPSHOT_EVERY) {
                self.shared.lock().merged.forget(now_s());
            }
            if !is_connected(client) {
                self.keep_waiting();
                continue;
            }
            self.publish_health(jetstream, false).await;
            let now = self.shared.lock().covered();
            if number.is_multiple_of(SNAPSHOT_EVERY) && now != covered {
                match self.write_snapshot(jetstream, false, parts).await {
                    Ok(written) => (parts, covered) = (written, now),
                    Err(error) => complain(&self.shared, &error.to_string()),
                }
            }
        }
    }

    async fn say_last_words(
        &self,
        client: &Client,
        jetstream: &Context,
        publisher: &mut Publisher,
        is_prepared: bool,
    ) {
        if !is_prepared || !is_connected(client) {
            return;
        }
        let is_empty = publisher.publish().await;
        // Surplus parts of an earlier one, if there are any, have the same facts.
        let written = self.write_snapshot(jetstream, is_empty, 0).await;
        if let Err(error) = written {
            complain(&self.shared, &error.to_string());
        }
        self.publish_health(jetstream, true).await;
    }

    async fn publish_health(&self, jetstream: &Context, ended: bool) {
        let mut health = Health::new(self.started, self.instance, self.clients.clone());
        health.time = Timestamp::now();
        health.ended = ended;
        health.halves = self.settings.halves;
        let counts = self.shared.counts();
        {
            let state = self.shared.lock();
            health.taps.clone_from(&state.taps);
            health.losses = state.losses + counts.facts_lost;
        }
        health.facts_published = counts.facts_published;
        health.facts_waiting = counts.facts_waiting + counts.facts_unacknowledged;
        health.verdicts_published = counts.verdicts_published;
        health.facts_taken = counts.facts_taken;
        health.skipped = counts.skipped.values().sum();
        health.lag_ms = counts.lag_ms;
        let Ok(payload) = write(&health) else {
            return;
        };
        let subject = gateway_subject(&self.gateway);
        let published = jetstream.publish(subject, payload.into()).await;
        let acknowledged = match published {
            Ok(acknowledgement) => acknowledgement.await,
            Err(error) => Err(error),
        };
        if let Err(error) = acknowledged {
            complain(&self.shared, &error.to_string());
        }
    }

    async fn write_snapshot(
        &self,
        jetstream: &Context,
        is_final: bool,
        parts_before: usize,
    ) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
        let bucket = jetstream.get_key_value(SNAPSHOTS).await?;
        let names = (&*self.gateway, self.clients.as_str());
        write_snapshot(&bucket, &self.shared, names, is_final, parts_before).await
    }

    /// Keeps the facts that wait on disk.
    fn keep_waiting(&self) {
        let Some(file) = &self.file else {
            return;
        };
        let facts = self.shared.lock().ledger.all_waiting();
        if let Err(error) = write_waiting(file, &self.clients, facts) {
            let shown = file.display();
            warn!(target: STATE_UNUSABLE, "cannot write {shown}: {error}; facts that wait for the fleet do not survive a restart");
        }
    }
}

/// Publishes verdicts one after the other, for ever.
async fn publish_verdicts(
    client: &Client,
    jetstream: &Context,
    shared: &Shared,
    jobs: &mut JobReceiver<Job>,
) {
    while let Some(job) = jobs.recv().await {
        let answer = if is_connected(client) {
            publish_verdict(jetstream, &job).await
        } else {
            Err(Refusal::Later("no server is there".to_owned()))
        };
        if answer.is_ok() {
            shared.lock().counts.verdicts_published += 1;
        }
        // A sink that gave up sends it again.
        let _ = job.answer.try_send(answer);
    }
    // The near end is gone, and so is the agent.
    std::future::pending::<()>().await;
}

async fn publish_verdict(jetstream: &Context, job: &Job) -> Result<(), Refusal> {
    let publish = PublishMessage::build()
        .payload(job.payload.clone())
        .message_id(&job.id);
    let sent = jetstream.send_publish(job.subject.clone(), publish).await;
    let acknowledged = match sent {
        Ok(acknowledgement) => acknowledgement.await,
        Err(error) => Err(error),
    };
    match acknowledged {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
            Err(Refusal::Never(error.to_string()))
        }
        Err(error) => Err(Refusal::Later(error.to_string())),
    }
}
