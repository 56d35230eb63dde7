//! Failures of the database.

use std::path::PathBuf;

use rusqlite::ErrorCode;

use crate::outlet::sink::escaped;

/// Failure of the database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// There is none, or it cannot be opened.
    #[error("cannot open the database {}: {}", .path.display(), told(failure))]
    Open {
        /// Its file.
        path: PathBuf,
        /// SQLite's error; no source, whose message would be shown as it is.
        failure: rusqlite::Error,
    },
    /// Nothing was ever written to it.
    #[error(
        "no database at {}; `tlswhy run` writes one where state.directory is set, --pcap asks captures instead",
        .path.display()
    )]
    Missing {
        /// The file that was looked for.
        path: PathBuf,
    },
    /// It belongs to another user.
    #[error(
        "cannot open the database {}: permission denied; run as root or as the user of the agent", .path.display()
    )]
    Denied {
        /// Its file.
        path: PathBuf,
    },
    /// A later version of tlswhy wrote it.
    #[error(
        "the database {} has version {version}, which a later tlswhy wrote; this one reads version \
         {supported}", .path.display()
    )]
    Newer {
        /// Its file.
        path: PathBuf,
        /// Its version.
        version: i64,
        /// The version of this program.
        supported: i64,
    },
    /// A damaged file could not be moved out of the way.
    #[error("cannot set the damaged database {} aside: {source}", .path.display())]
    Damaged {
        /// Its file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A statement failed.
    #[error("cannot use the database: {}", told(.0))]
    Statement(rusqlite::Error),
    /// A row has a value that no version of tlswhy writes.
    #[error("a row of the database cannot be read: {0}")]
    Row(String),
}

/// Returns SQLite's message, which repeats bytes of a damaged file, and the fix if there is one.
fn told(source: &rusqlite::Error) -> String {
    let fix = match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "; a restarted agent sets a damaged database aside and begins a new one"
        }
        _ => "",
    };
    format!("{}{fix}", escaped(&source.to_string()))
}

impl From<rusqlite::Error> for DatabaseError {
    fn from(failure: rusqlite::Error) -> Self {
        Self::Statement(failure)
    }
}

impl DatabaseError {
    /// Whether the file is no database, or no longer one.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(
            self.code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
    }

    /// Whether another attempt may succeed: another process has the file locked, or the disk has no
    /// room or does not answer.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(
            self.code(),
            Some(
                ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
            )
        )
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Statement(failure) | Self::Open { failure, .. } => failure.sqlite_error_code(),
            _ => None,
        }
    }
}
