//! The configuration file; all mistakes are reported at once, with line and column.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Config;
use super::keys::{Key, keys};
use super::origin::Origin;

/// A mistake at a place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// The mistake and the expected value.
    pub message: String,
}

/// Failure to read or to accept a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file has mistakes.
    #[error("{}", listed(.path, .problems))]
    Wrong {
        /// The file.
        path: PathBuf,
        /// All of them, in the order of the file.
        problems: Vec<Problem>,
    },
}

/// Lists the mistakes, one a line, in the form that editors parse.
fn listed(path: &Path, problems: &[Problem]) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| format!("{}:{problem}", path.display()))
        .collect();
    lines.join("\n")
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// Reads the file at `path`.
pub(super) fn read(path: &Path) -> Result<Config, ConfigError> {
    let bytes = std::fs::read(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    let wrong = |problems| ConfigError::Wrong {
        path: path.to_owned(),
        problems,
    };
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let before = String::from_utf8_lossy(before);
        let message = "not UTF-8 text".to_owned();
        wrong(vec![problem(&before, before.len(), message)])
    })?;
    parsed(text, path).map_err(wrong)
}

/// Reads the text of a file.
pub(super) fn parsed(text: &str, path: &Path) -> Result<Config, Vec<Problem>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reading = Reading {
        text,
        path,
        config: Config::default(),
        problems: Vec::new(),
    };
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        reading.report(at, error.message().to_owned());
    }
    // After a syntax error the rest of the document may mean something else.
    if reading.problems.is_empty() {
        reading.document(document.get_ref());
    }
    reading.problems.sort_by_key(|it| (it.line, it.column));
    if reading.problems.is_empty() {
        Ok(reading.config)
    } else {
        Err(reading.problems)
    }
}

/// A file that is being read.
struct Reading<'a> {
    text: &'a str,
    path: &'a Path,
    config: Config,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn document(&mut self, document: &DeTable<'_>) {
        for (section, value) in document {
            let (name, at) = (section.get_ref().as_ref(), section.span().start);
            if !keys().any(|key| key.section() == name) {
                let sections = keys().map(Key::section);
                self.report_unknown(at, &format!("section {name:?}"), name, sections);
                continue;
            }
            match value.get_ref().as_table() {
                Some(table) => self.section(name, table),
                None => self.report(at, format!("{name} is a section; write [{name}]")),
            }
        }
    }

    fn section(&mut self, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let (given, at) = (name.get_ref().as_ref(), name.span().start);
            let known = || keys().filter(|key| key.section() == section);
            match known().find(|key| key.name() == given) {
                Some(key) => self.value(key, value),
                None => {
                    let what = format!("key {given:?} in [{section}]");
                    self.report_unknown(at, &what, given, known().map(Key::name));
                }
            }
        }
    }

    fn value(&mut self, key: &'static Key, value: &Spanned<DeValue<'_>>) {
        let at = value.span().start;
        match (key.read)(&mut self.config.settings, value) {
            Ok(()) => {
                let origin = Origin::File {
                    path: self.path.to_owned(),
                    line: place(self.text, at).0,
                };
                self.config.record_origin(key.path, origin);
            }
            Err(complaints) => {
                for complaint in complaints.0 {
                    let message = format!(
                        "invalid {}: {}; expected {}",
                        key.path, complaint.why, key.expected
                    );
                    self.report(complaint.at.unwrap_or(at), message);
                }
            }
        }
    }

    fn report_unknown(
        &mut self,
        at: usize,
        what: &str,
        given: &str,
        known: impl Iterator<Item = &'static str>,
    ) {
        let mut known: Vec<&str> = known.collect();
        known.dedup();
        let nearest = known
            .iter()
            .map(|name| (strsim::jaro_winkler(given, name), *name))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|one, other| one.0.total_cmp(&other.0));
        let hint = match nearest {
            Some((_, name)) => format!("did you mean {name}?"),
            None => format!("known: {}", known.join(", ")),
        };
        self.report(at, format!("unknown {what}; {hint}"));
    }

    fn report(&mut self, at: usize, message: String) {
        self.problems.push(problem(self.text, at, message));
    }
}

fn problem(text: &str, at: usize, message: String) -> Problem {
    let (line, column) = place(text, at);
    Problem {
        line,
        column,
        message: message.replace('\n', " "),
    }
}

/// Returns line and column of a byte, both counted from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(start..).unwrap_or_default().chars().count() + 1;
    (line, column)
}
