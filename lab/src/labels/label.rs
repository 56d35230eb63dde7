//! A row of `labels.tsv`, as the laboratory writes it.

use super::table::Record;

/// A row of `labels.tsv` without its file name. Empty means that it isn't said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// A cause of the design's list, or `none` for captures without a TLS connection.
    pub cause: String,
    /// `yes`, `no` or empty.
    pub intercepted: String,
    /// `client`, `server`, `middlebox` or empty.
    pub ended_by: String,
    /// The client program.
    pub client: String,
    /// Its version.
    pub client_version: String,
    /// The interceptor.
    pub interceptor: String,
    /// `1.2`, `1.3` or empty.
    pub tls_version: String,
    /// The side it was recorded on: `client` (or empty) or `server`.
    pub stage: String,
    /// Files to be judged together.
    pub group: String,
    /// The value of `--inspection-ca`.
    pub inspection_ca: String,
    /// For people.
    pub note: String,
}

/// The columns of `labels.tsv` as written here.
pub const COLUMNS: [&str; 12] = [
    "file",
    "cause",
    "intercepted",
    "ended_by",
    "client",
    "client_version",
    "interceptor",
    "tls_version",
    "stage",
    "group",
    "inspection_ca",
    "note",
];

impl Label {
    /// Creates a label with a cause only.
    #[must_use]
    pub fn of(cause: &str) -> Self {
        Self {
            cause: cause.to_owned(),
            ..Self::default()
        }
    }

    /// Returns the same with more said for people.
    #[must_use]
    pub fn noted(&self, note: &str) -> Self {
        let mut label = self.clone();
        label.note = if self.note.is_empty() {
            note.to_owned()
        } else {
            format!("{}; {note}", self.note)
        };
        label
    }

    /// Returns the same client and interceptor, but another end.
    #[must_use]
    pub fn ending(&self, cause: &str, ended_by: &str) -> Self {
        let mut label = self.clone();
        label.cause = cause.to_owned();
        label.ended_by = ended_by.to_owned();
        label
    }

    /// Returns a line of `labels.tsv`.
    #[must_use]
    pub fn line(&self, file: &str) -> String {
        [
            file,
            &self.cause,
            &self.intercepted,
            &self.ended_by,
            &self.client,
            &self.client_version,
            &self.interceptor,
            &self.tls_version,
            &self.stage,
            &self.group,
            &self.inspection_ca,
            &self.note,
        ]
        .map(|cell| cell.replace(['\t', '\n', '\r'], " "))
        .join("\t")
    }

    /// Reads a row of a table.
    #[must_use]
    pub fn read(row: &Record<'_>) -> Self {
        let cell = |name| row.cell(name).to_owned();
        Self {
            cause: cell("cause"),
            intercepted: cell("intercepted"),
            ended_by: cell("ended_by"),
            client: cell("client"),
            client_version: cell("client_version"),
            interceptor: cell("interceptor"),
            tls_version: cell("tls_version"),
            stage: cell("stage"),
            group: cell("group"),
            inspection_ca: cell("inspection_ca"),
            note: cell("note"),
        }
    }
}
