//! The database's tables, and opening it.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{DatabaseError, hours, taps};

/// Version of the tables, in the file's `user_version`.
const VERSION: i64 = 1;
/// Longest wait for another process that has the file locked.
const LOCKED_MAX: Duration = Duration::from_secs(2);
/// Statements that are kept parsed.
const STATEMENTS: usize = 32;

/// Times are nanoseconds since the UNIX epoch, addresses 16 bytes in network order.
const TABLES: &str = "
CREATE TABLE groups (
    number INTEGER PRIMARY KEY,
    client BLOB NOT NULL,
    app TEXT NOT NULL,
    name TEXT NOT NULL,
    intercepted TEXT NOT NULL,
    issuer TEXT NOT NULL,
    worked INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    UNIQUE (client, app, name, intercepted, issuer)
);
CREATE INDEX groups_by_client ON groups (client, failed DESC, last_ns DESC);
CREATE INDEX groups_by_name ON groups (name, failed DESC, last_ns DESC);
CREATE INDEX groups_by_app ON groups (app, failed DESC, last_ns DESC);
CREATE INDEX groups_by_last ON groups (last_ns);
CREATE INDEX groups_by_failures ON groups (failed DESC, last_ns DESC);

CREATE TABLE causes (
    group_number INTEGER NOT NULL REFERENCES groups (number) ON DELETE CASCADE,
    cause TEXT NOT NULL,
    failed INTEGER NOT NULL,
    confidence REAL NOT NULL,
    last_ns INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    PRIMARY KEY (group_number, cause)
) WITHOUT ROWID;
CREATE INDEX causes_by_cause ON causes (cause);

CREATE TABLE verdicts (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    group_number INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,
    tap TEXT NOT NULL,
    community_id TEXT NOT NULL,
    client BLOB NOT NULL,
    client_port INTEGER NOT NULL,
    server BLOB NOT NULL,
    server_port INTEGER NOT NULL,
    name TEXT NOT NULL,
    app TEXT NOT NULL,
    cause TEXT NOT NULL,
    confidence REAL NOT NULL,
    superseded_by TEXT,
    verdict TEXT NOT NULL,
    ladder TEXT NOT NULL
);
CREATE INDEX verdicts_by_time ON verdicts (time_ns);
CREATE INDEX verdicts_by_name ON verdicts (name, time_ns, superseded_by);
CREATE INDEX verdicts_by_client ON verdicts (client, time_ns, superseded_by);
CREATE INDEX verdicts_by_community_id ON verdicts (community_id);
CREATE INDEX verdicts_by_group ON verdicts (group_number, time_ns);
";
/// Added later: by it a connection of a busy client is found without reading all of that client's.
const ENDS_INDEX: &str = "
CREATE INDEX IF NOT EXISTS verdicts_by_ends ON verdicts (client, client_port, time_ns);
";

/// Opens the database in `path` for writing, and makes it if there is none.
///
/// # Errors
/// [`DatabaseError`]; see [`DatabaseError::is_damage`].
pub(super) fn open_for_writing(path: &Path) -> Result<Connection, DatabaseError> {
    make_private(path);
    let opened = Connection::open(path).map_err(|failure| DatabaseError::Open {
        path: path.to_owned(),
        failure,
    })?;
    opened.busy_timeout(LOCKED_MAX)?;
    let version = version(&opened)?;
    check_version(path, version)?;
    // Only a file without tables takes these two.
    opened.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    opened.pragma_update(None, "journal_mode", "WAL")?;
    prepare(&opened, version)?;
    Ok(opened)
}

/// Makes the file, if there is none, as one that others may not read: it says who visits which server. Files
/// that SQLite makes beside it have the same permissions.
fn make_private(path: &Path) {
    // SQLite reports why a file cannot be made.
    let _ = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
}

/// Opens the database in `path` for reading.
///
/// # Errors
/// [`DatabaseError`].
pub(super) fn open_for_reading(path: &Path) -> Result<Connection, DatabaseError> {
    // SQLite's own message names the file twice, and no reason.
    match File::open(path).map_err(|error| error.kind()) {
        Err(ErrorKind::NotFound) => {
            let path = path.to_owned();
            return Err(DatabaseError::Missing { path });
        }
        Err(ErrorKind::PermissionDenied) => {
            let path = path.to_owned();
            return Err(DatabaseError::Denied { path });
        }
        _ => {}
    }
    let opening = |failure| DatabaseError::Open {
        path: path.to_owned(),
        failure,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).map_err(opening)?;
    opened.busy_timeout(LOCKED_MAX)?;
    let version = opened
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(opening)?;
    check_version(path, version)?;
    if version == 0 {
        let path = path.to_owned();
        return Err(DatabaseError::Missing { path });
    }
    opened.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(opened)
}

/// Makes a database in memory.
///
/// # Errors
/// [`DatabaseError`].
pub(super) fn in_memory() -> Result<Connection, DatabaseError> {
    let opened = Connection::open_in_memory()?;
    prepare(&opened, 0)?;
    Ok(opened)
}

/// Moves the database in `path` out of the way. Returns its new name.
///
/// # Errors
/// [`DatabaseError::Damaged`].
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, DatabaseError> {
    let time = jiff::Timestamp::now().as_second();
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = beside(&format!(".damaged-{time}"));
    let failed = |source| DatabaseError::Damaged {
        path: path.to_owned(),
        source,
    };
    std::fs::rename(path, &aside).map_err(failed)?;
    // Another file's log would damage the next one.
    for suffix in ["-wal", "-shm"] {
        match std::fs::remove_file(beside(suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
    }
    Ok(aside)
}

fn version(opened: &Connection) -> rusqlite::Result<i64> {
    opened.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn check_version(path: &Path, version: i64) -> Result<(), DatabaseError> {
    if version > VERSION {
        return Err(DatabaseError::Newer {
            path: path.to_owned(),
            version,
            supported: VERSION,
        });
    }
    Ok(())
}

fn prepare(opened: &Connection, version: i64) -> rusqlite::Result<()> {
    // A lost power supply may cost the last seconds, never the file.
    opened.pragma_update(None, "synchronous", "NORMAL")?;
    opened.pragma_update(None, "foreign_keys", "ON")?;
    opened.set_prepared_statement_cache_capacity(STATEMENTS);
    if version == 0 {
        opened.execute_batch(&format!(
            "BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"
        ))?;
    }
    opened.execute_batch(ENDS_INDEX)?;
    opened.execute_batch(hours::TABLE)?;
    opened.execute_batch(taps::TABLE)?;
    Ok(())
}
