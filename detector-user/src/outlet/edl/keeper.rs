//! The thread that makes lists of the database and keeps them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::{EdlSettings, Published, PublishedList, Shelf};
use crate::outlet::database::{DatabaseError, Past};
use crate::outlet::exclusions::{
    Change, Criteria, DatabaseFacts, Entry, Patterns, Selection, Standing, record_past,
    refusing_clients,
};
use crate::outlet::message_kind::LISTS_UNAVAILABLE;
use crate::outlet::steady_time::{SteadyTime, calendar_ns};
use crate::outlet::worker::Worker;
use crate::verdict::Cause;

/// File of the lists in the state directory.
const FILE: &str = "exclusions.json";
/// Shortest time between two looks at the database.
const REFRESH: Duration = Duration::from_secs(10);
/// Share of a processor that looking may take: one part in so many.
const SHARE: u32 = 20;
/// Longest time until ages are written to the state directory although nothing else has changed.
const SAVE: Duration = Duration::from_secs(3_600);

/// Starts the thread that keeps the lists.
///
/// # Errors
/// If no thread can be started.
pub(super) fn start(
    settings: EdlSettings,
    database: &Path,
    state: &Path,
    shelf: Shelf,
) -> io::Result<Worker> {
    let (database, file) = (database.to_owned(), state.join(FILE));
    let mut kept = None;
    Worker::start("lists-keeper", move || {
        let began = Instant::now();
        let keeping = kept.get_or_insert_with(|| {
            let keeping = Keeping::new(settings.clone(), database.clone(), file.clone());
            keeping.publish(&shelf);
            keeping
        });
        keeping.refresh(&shelf);
        REFRESH.max(began.elapsed() * SHARE)
    })
}

/// The lists that stand, as they are kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Lists {
    pinning: Standing,
    client_auth: Standing,
}

pub(super) struct Keeping {
    settings: EdlSettings,
    database: PathBuf,
    file: PathBuf,
    lists: Lists,
    saved: Lists,
    saved_at: Instant,
    /// Whether lists of an earlier run, or of the database, are there.
    is_known: bool,
    clock: SteadyTime,
    /// The last failure, which is told once.
    told: String,
    clients: Vec<crate::outlet::exclusions::RefusingClient>,
    by_hand: [Vec<Entry>; 2],
}

impl Keeping {
    pub(super) fn new(settings: EdlSettings, database: PathBuf, file: PathBuf) -> Self {
        let now = Instant::now();
        let lists = load(&file);
        let is_known = lists.is_some();
        let lists = lists.unwrap_or_default();
        let updated = lists.pinning.updated();
        let latest = updated.and_then(|it| i64::try_from(it.as_nanosecond()).ok());
        Self {
            settings,
            database,
            file,
            saved: lists.clone(),
            lists,
            saved_at: now,
            is_known,
            clock: SteadyTime::new(latest, calendar_ns(), now),
            told: String::new(),
            clients: Vec::new(),
            by_hand: Default::default(),
        }
    }

    /// Asks the database, and publishes the lists. If it cannot be read, they stay as they are.
    pub(super) fn refresh(&mut self, shelf: &Shelf) {
        let time = self.clock.read(calendar_ns(), Instant::now());
        let now = Timestamp::from_nanosecond(i128::from(time.time_ns)).unwrap_or_default();
        match self.ask(now) {
            Ok(()) => {
                self.is_known = true;
                self.told.clear();
            }
            // A new agent has no database until its first verdict is written.
            Err(DatabaseError::Missing { .. }) if !self.is_known => {}
            Err(error) => self.complain(&format!("{error}; the lists stay as they are")),
        }
        self.publish(shelf);
        self.save();
    }

    fn ask(&mut self, now: Timestamp) -> Result<(), DatabaseError> {
        let past = Past::open(&self.database)?;
        let lists = [
            (Cause::Pinning, &mut self.lists.pinning),
            (Cause::ClientAuth, &mut self.lists.client_auth),
        ];
        let age = self.settings.age;
        let since = jiff::SignedDuration::try_from(age)
            .ok()
            .and_then(|age| now.checked_sub(age).ok());
        for ((cause, standing), by_hand) in lists.into_iter().zip(&mut self.by_hand) {
            let mut selection = Selection::default();
            record_past(&past, cause, &mut selection)?;
            let criteria = Criteria {
                cause,
                min_confidence: self.settings.min_confidence,
                min_connections: self.settings.min_connections,
                min_clients: self.settings.min_clients,
                min_gateways: if past.is_of_fleet() {
                    self.settings.min_gateways
                } else {
                    0
                },
                always: match cause {
                    Cause::Pinning => Patterns(self.settings.always.clone()),
                    _ => Patterns::default(),
                },
                never: Patterns(self.settings.never.clone()),
                proxies: Vec::new(),
                since,
                max: self.settings.max,
            };
            let selected = selection.select(&criteria).entries;
            let facts = DatabaseFacts(&past);
            for change in standing.update(&selected, &criteria, (now, age), &facts) {
                tell(cause, &change);
            }
            let is_by_hand = |entry: &Entry| entry.connections == 0 || entry.with_subdomains;
            *by_hand = selected.into_iter().filter(is_by_hand).collect();
        }
        self.clients = refusing_clients(&past, self.settings.min_confidence, since)?;
        self.clients.truncate(self.settings.max);
        Ok(())
    }

    pub(super) fn publish(&self, shelf: &Shelf) {
        if !self.is_known {
            return;
        }
        let [pinning, client_auth] = &self.by_hand;
        shelf.put(Published {
            pinning: published(&self.lists.pinning, pinning),
            client_auth: published(&self.lists.client_auth, client_auth),
            clients: self.clients.clone(),
            age: self.settings.age,
        });
    }

    fn save(&mut self) {
        let is_old = self.saved_at.elapsed() >= SAVE;
        if !self.is_known || self.lists.is_like(&self.saved) && !is_old {
            return;
        }
        match write(&self.file, &self.lists) {
            Ok(()) => {
                self.saved = self.lists.clone();
                self.saved_at = Instant::now();
            }
            Err(error) => {
                let file = self.file.display();
                self.complain(&format!("cannot write {file}: {error}"));
            }
        }
    }

    fn complain(&mut self, failure: &str) {
        if self.told != failure {
            warn!(target: LISTS_UNAVAILABLE, "lists: {failure}");
            failure.clone_into(&mut self.told);
        }
    }
}

impl Lists {
    /// Whether it differs in nothing but the time of its update.
    fn is_like(&self, other: &Self) -> bool {
        self.pinning.is_like(&other.pinning) && self.client_auth.is_like(&other.client_auth)
    }
}

/// Returns the entries of a list: the operator's own, which may include others, and those that stand.
fn published(standing: &Standing, by_hand: &[Entry]) -> PublishedList {
    let mut entries = by_hand.to_vec();
    for it in standing.entries() {
        let host = &it.entry.host;
        let is_included = by_hand.iter().any(|entry| entry.includes(host));
        if !is_included {
            entries.push(it.entry.clone());
        }
    }
    entries.sort_by(|a, b| a.host.cmp(&b.host));
    PublishedList {
        entries,
        standing: standing.clone(),
    }
}

fn tell(cause: Cause, change: &Change) {
    match change {
        Change::Listed(host) => info!("{cause}: {host} is listed; /why has the reason"),
        Change::Again(host, left) => {
            info!(
                "{cause}: {host} is listed again: it left the list at {left:.0}, and fails again"
            );
        }
        Change::Aged(host) => {
            info!("{cause}: {host} has left the list by its age: it is tried again");
        }
        Change::Withdrawn(host) => {
            info!("{cause}: {host} has left the list: it meets the conditions no longer");
        }
        Change::Works(host) => {
            info!("{cause}: {host} was excluded, is intercepted again, and works");
        }
        Change::Held(entries) => warn!(
            target: LISTS_UNAVAILABLE,
            "lists: all {entries} entries of {cause} would leave at once by their age: they stay for a day; check \
             the clock"
        ),
    }
}

/// Returns the lists of an earlier run. A damaged file is set aside.
fn load(file: &Path) -> Option<Lists> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            let shown = file.display();
            warn!(target: LISTS_UNAVAILABLE, "lists: cannot read {shown}: {error}; they begin again");
            return None;
        }
    };
    match serde_json::from_str(&text) {
        Ok(lists) => Some(lists),
        Err(error) => {
            let aside = file.with_extension("json.damaged");
            // If it cannot be renamed, the next save replaces it.
            let _ = fs::rename(file, &aside);
            let shown = aside.display();
            warn!(target: LISTS_UNAVAILABLE, "lists: damaged ({error}): set aside as {shown}; they begin again");
            None
        }
    }
}

fn write(file: &Path, lists: &Lists) -> io::Result<()> {
    let temporary = file.with_extension("json.new");
    let mut open = OpenOptions::new();
    let mut written = open
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    written.write_all(&serde_json::to_vec(lists)?)?;
    written.sync_all()?;
    fs::rename(temporary, file)
}
