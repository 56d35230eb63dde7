//! The thread that makes the page's content of the database.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tracing::warn;

use super::{Made, Shelf};
use crate::outlet::database::{DatabaseError, Past, Query};
use crate::outlet::message_kind::PAGE_UNAVAILABLE;
use crate::outlet::report::{Content, Report};
use crate::outlet::worker::Worker;

/// Shortest time between two looks at the database.
const REFRESH: Duration = Duration::from_secs(2);
/// The same while nobody looks at the page.
const UNWATCHED: Duration = Duration::from_secs(60);
/// Time for which a visit counts.
const VISITED: Duration = Duration::from_secs(10);
/// Share of a processor that making may take: one part in so many.
const SHARE: u32 = 10;
/// Maximum groups and stories.
const GROUPS: usize = 200;
const STORIES: usize = 30;
/// Digits of a version.
const VERSION_DIGITS: usize = 32;

/// Starts the thread that makes the content.
///
/// # Errors
/// If no thread can be started.
pub(super) fn start(age: Duration, database: &Path, shelf: Shelf) -> io::Result<Worker> {
    let mut making = Making::new(age, database.to_owned());
    Worker::start("page-maker", move || {
        let began = Instant::now();
        making.turn(&shelf);
        REFRESH.max(began.elapsed() * SHARE)
    })
}

pub(super) struct Making {
    age: Duration,
    database: PathBuf,
    /// Times of the last change to the database's files that were read.
    seen: Option<[Option<SystemTime>; 2]>,
    made_at: Option<Instant>,
    /// The last failure, which is told once.
    told: String,
}

impl Making {
    pub(super) const fn new(age: Duration, database: PathBuf) -> Self {
        Self {
            age,
            database,
            seen: None,
            made_at: None,
            told: String::new(),
        }
    }

    /// Makes the content if somebody looks, and now and then if nobody does.
    pub(super) fn turn(&mut self, shelf: &Shelf) {
        let is_due = self
            .made_at
            .is_none_or(|made| made.elapsed() >= UNWATCHED || shelf.is_visited(VISITED));
        let files = self.files();
        // Connections also age: once in a minute the page is made though nothing was written.
        let is_old = self.made_at.is_none_or(|made| made.elapsed() >= UNWATCHED);
        if !is_due || self.seen == Some(files) && !is_old {
            return;
        }
        match self.make() {
            Ok(made) => {
                self.told.clear();
                shelf.put(made);
            }
            Err(error) => self.complain(&format!("{error}; the page stays as it is")),
        }
        self.seen = Some(files);
        self.made_at = Some(Instant::now());
    }

    /// Returns the times of the last change to the database and its write-ahead log.
    fn files(&self) -> [Option<SystemTime>; 2] {
        let mut log = self.database.clone().into_os_string();
        log.push("-wal");
        // A reader of a database that nobody writes makes an empty log.
        let changed = |path: &Path| {
            let file = fs::metadata(path).ok().filter(|it| it.len() > 0)?;
            file.modified().ok()
        };
        [changed(&self.database), changed(Path::new(&log))]
    }

    fn make(&self) -> Result<Made, DatabaseError> {
        let age = SignedDuration::try_from(self.age).unwrap_or(SignedDuration::MAX);
        let now = Timestamp::now();
        let content = Content {
            source: "From the agent's database".to_owned(),
            query: Box::new(|all, limit| Query {
                // An age beyond the calendar selects all.
                since: now.checked_sub(age).ok(),
                all,
                limit,
                ..Query::default()
            }),
            has_ended: false,
            limit: GROUPS,
            stories: STORIES,
        };
        let report = match Past::open(&self.database) {
            Ok(past) => content.report(&past)?,
            // A new agent has no database until its first verdict is written.
            Err(DatabaseError::Missing { .. }) => Report::empty(content.source.clone(), now),
            Err(error) => return Err(error),
        };
        Ok(Made::of(report.content()))
    }

    fn complain(&mut self, failure: &str) {
        if self.told != failure {
            warn!(target: PAGE_UNAVAILABLE, "page: {failure}");
            failure.clone_into(&mut self.told);
        }
    }
}

impl Made {
    pub(super) fn of(content: String) -> Self {
        let digest = Sha256::digest(&content);
        let mut version: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        version.truncate(VERSION_DIGITS);
        Self { content, version }
    }
}
