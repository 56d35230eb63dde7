//! The thread that collects a fleet's messages into a database.
//!
//! In: the streams of facts, verdicts, gateways and muted gateways. Out: rows of the fleet's database, and
//! messages about gateways whose facts are doubtful. The database has its place in each stream, in the same
//! transaction as the content: after a kill or a full disk it continues there, and nothing is there twice.

mod apply;
mod connection;
mod follow;
mod instances;
mod pace;

use std::io;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use async_nats::jetstream::Context;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use self::apply::Applier;
pub use self::connection::ConnectionError;
pub(super) use self::connection::connect;
use self::follow::{Batch, follow};
use super::connection::{create_halves, streams};
use super::message::{FACTS, GATEWAYS, MUTES, VERDICTS};
use super::muting::Muted;
use super::settings::FleetSettings;
use crate::host::privileges::give_up_all;
use crate::outlet::database::{DatabaseError, Doubt, FleetWriter, Retention};
use crate::outlet::message_kind::{FLEET_DOUBT, FLEET_UNAVAILABLE};

/// Streams that are collected.
const STREAMS: [&str; 4] = [GATEWAYS, MUTES, FACTS, VERDICTS];
/// Batches that wait for the database; a server keeps what does not fit.
const BATCHES_MAX: usize = 4;
/// Shortest time between two commits.
const COMMIT: Duration = Duration::from_millis(200);
/// Share of the thread's time that commits may take: one part in so many.
const SHARE: u32 = 4;
/// Time between two looks at what gateways say.
const LOOK: Duration = Duration::from_secs(10);
/// Time between two looks for rows that are too old or too many.
const CLEANING: Duration = Duration::from_secs(60);
/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(5);

/// Settings of a collector.
#[derive(Debug, Clone)]
pub struct CollectorSettings {
    /// The fleet.
    pub fleet: FleetSettings,
    /// The database's file.
    pub database: PathBuf,
    /// Limits of the database.
    pub retention: Retention,
    /// Where the gateways are put whose facts are not taken in.
    pub muted: Muted,
    /// Whether it serves the fleet, and creates streams that none of its own database is read from.
    pub serves: bool,
}

/// A collector, which runs until it is dropped.
#[derive(Debug)]
pub struct Collector {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The end of a turn.
enum End {
    Stopped,
    Failed(DatabaseError),
}

impl Collector {
    /// Starts the thread.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(settings: CollectorSettings) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("fleet-database".to_owned())
            .spawn(move || {
                give_up_all();
                runtime.block_on(run(&settings, stopped));
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic is told by the hook.
            let _ = thread.join();
        }
    }
}

async fn run(settings: &CollectorSettings, mut stopped: oneshot::Receiver<()>) {
    let mut told = String::new();
    loop {
        let turn = collect(settings, &mut stopped, &mut told);
        let failure = match turn.await {
            Ok(End::Stopped) => return,
            Ok(End::Failed(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        if told != failure {
            warn!(target: FLEET_UNAVAILABLE, "the fleet's database: {failure}; trying again");
            told = failure;
        }
        tokio::select! {
            _ = &mut stopped => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Collects until it is stopped, or the database fails.
async fn collect(
    settings: &CollectorSettings,
    stopped: &mut oneshot::Receiver<()>,
    told: &mut String,
) -> Result<End, ConnectionError> {
    let opened = FleetWriter::open(&settings.database);
    let (writer, aside) = match opened {
        Ok(opened) => opened,
        Err(error) => return Ok(End::Failed(error)),
    };
    if let Some(aside) = aside {
        let aside = aside.display();
        warn!(target: FLEET_UNAVAILABLE, "the fleet's database was damaged: set aside as {aside}; it begins again");
    }
    let kind = settings.fleet.identity()?.kind();
    let mut applier = Applier::new(writer, kind, settings.muted.clone());
    let client = connect(&settings.fleet, "tlswhy database", true).await?;
    let context = streams(client);
    let (sender, mut batches) = mpsc::channel(BATCHES_MAX);
    let mut followers = JoinSet::new();
    if settings.serves {
        let (context, fleet) = (context.clone(), settings.fleet.clone());
        followers.spawn(async move { keep_halves(&context, &fleet).await });
    }
    for stream in STREAMS {
        let place = match applier.place(stream) {
            Ok(place) => place,
            Err(error) => return Ok(End::Failed(error)),
        };
        let (context, sender) = (context.clone(), sender.clone());
        let fleet = settings.fleet.clone();
        followers.spawn(async move { follow(&context, &fleet, stream, place, &sender).await });
    }
    let end = apply(
        &mut applier,
        &mut batches,
        stopped,
        settings.retention,
        told,
    )
    .await;
    if let End::Failed(_) = end {
        applier.roll_back();
    }
    Ok(end)
}

/// Creates the stream of halves whenever it is missing, for ever: it is in memory, and goes with the servers.
async fn keep_halves(context: &Context, fleet: &FleetSettings) {
    let mut told = String::new();
    loop {
        if let Err(error) = create_halves(context, fleet).await {
            let failure = error.to_string();
            if failure != told {
                warn!(target: FLEET_UNAVAILABLE, "no stream for halves of connections: {failure}; trying again");
                told = failure;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn apply(
    applier: &mut Applier,
    batches: &mut mpsc::Receiver<Batch>,
    stopped: &mut oneshot::Receiver<()>,
    retention: Retention,
    told: &mut String,
) -> End {
    let mut tick = interval(COMMIT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut next_commit, mut next_look) = (Instant::now(), Instant::now() + LOOK);
    let mut next_cleaning = Instant::now() + CLEANING;
    loop {
        let done = tokio::select! {
            biased;
            _ = &mut *stopped => {
                return applier.commit().map_or_else(End::Failed, |()| End::Stopped);
            }
            _ = tick.tick() => {
                let now = Instant::now();
                let mut done = Ok(());
                if now >= next_look {
                    next_look = now + LOOK;
                    done = applier.doubt().map(|doubts| {
                        for (gateway, doubt) in doubts {
                            let fix = match doubt {
                                Doubt::SharedName => "set fleet.gateway on one of them".to_owned(),
                                _ => format!("`tlswhy fleet mute {gateway}` if its facts are wrong"),
                            };
                            warn!(target: FLEET_DOUBT, "gateway {gateway} is doubtful: {doubt}; {fix}");
                        }
                    });
                }
                if done.is_ok() && now >= next_cleaning {
                    done = applier.clean(retention).map(|has_more| {
                        next_cleaning = if has_more { now } else { now + CLEANING };
                    });
                }
                if done.is_ok() && now >= next_commit {
                    done = applier.commit();
                    next_commit = Instant::now() + now.elapsed() * SHARE;
                    if done.is_ok() && !told.is_empty() {
                        info!("the fleet's database is written again");
                        told.clear();
                    }
                }
                done
            }
            Some(batch) = batches.recv() => applier.apply(batch),
        };
        if let Err(error) = done {
            return End::Failed(error);
        }
    }
}
