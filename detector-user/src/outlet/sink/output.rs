//! The outputs, and opening those that were chosen.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::outlet::database::{Acceptances, DatabaseSink, Retention};

use super::delivered::Delivered;
use super::folding::Folding;
use super::queue::{Extras, Queue};
use super::spill::Spill;
use super::{
    DEFAULT_SOCKET, Journald, JsonFile, JsonLines, JsonShape, Otlp, OtlpSettings, Sink, SinkError,
    Sinks, Syslog, SyslogSettings, Text,
};

/// An output for verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Text for people: headline, evidence and advice
    Text,
    /// JSON, one object per line
    Json,
    /// JSON in the shape of Suricata's EVE, one event per line
    Eve,
    /// Entries in the systemd journal with TLSWHY_* fields
    Journald,
}

impl Output {
    /// Returns its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Eve => "eve",
            Self::Journald => "journald",
        }
    }

    /// Whether it writes to standard output.
    #[must_use]
    pub const fn is_on_stdout(self) -> bool {
        matches!(self, Self::Text | Self::Json | Self::Eve)
    }
}

/// Time for which repeats are only counted on standard output; zero writes them all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Folds {
    /// In text.
    pub text: Duration,
    /// In JSON.
    pub json: Duration,
}

impl Folds {
    fn stdout(self, output: Output) -> Option<Box<dyn Sink>> {
        Some(match output {
            Output::Text => Box::new(Folding::new(Text::stdout(), self.text)),
            Output::Json => Box::new(Folding::new(JsonLines::new(io::stdout()), self.json)),
            Output::Eve => {
                let lines = JsonLines::in_shape(io::stdout(), JsonShape::Eve);
                Box::new(Folding::new(lines, self.json))
            }
            Output::Journald => return None,
        })
    }
}

/// Options of the sinks of `tlswhy run`.
#[derive(Debug, Clone)]
pub struct SinkOptions {
    /// Outputs, each once.
    pub outputs: Vec<Output>,
    /// File of JSON lines in addition to them.
    pub json_file: Option<PathBuf>,
    /// Shape of its lines.
    pub json_shape: JsonShape,
    /// Whether a file that cannot be opened yet is retried instead of failing the start.
    pub waits_for_file: bool,
    /// Maximum verdicts queued in memory for each.
    pub queue: usize,
    /// Syslog server in addition to them.
    pub syslog: SyslogSettings,
    /// OpenTelemetry collector in addition to them.
    pub otlp: OtlpSettings,
    /// Time for which repeats are only counted in the journal and at servers; zero writes them all.
    pub fold: Duration,
    /// The same on standard output.
    pub folds: Folds,
    /// Directory to which verdicts for journald and servers are spilled; without it they stay in memory.
    pub state_directory: Option<PathBuf>,
    /// Maximum size of spilled verdicts, bytes.
    pub spill_max: u64,
    /// Directory of records of delivered verdicts; without it verdicts may be repeated after a restart.
    pub runtime_directory: Option<PathBuf>,
    /// Socket of journald.
    pub journal_socket: PathBuf,
    /// Database of verdicts and of connections that worked.
    pub database: Option<DatabaseOptions>,
}

/// Options of the database.
#[derive(Debug, Clone)]
pub struct DatabaseOptions {
    /// Its file.
    pub path: PathBuf,
    /// Limits of its content.
    pub retention: Retention,
    /// Connections that worked, which others count.
    pub acceptances: Acceptances,
}

impl Sinks {
    /// Opens each of `outputs`, on standard output and in the system's journal.
    ///
    /// # Errors
    /// [`SinkError`] if one of them cannot accept verdicts from the start.
    pub fn open(outputs: &[Output], folds: Folds) -> Result<Self, SinkError> {
        let open = |output: &Output| -> Result<Box<dyn Sink>, SinkError> {
            match folds.stdout(*output) {
                Some(sink) => Ok(sink),
                None => Ok(Box::new(Journald::open(DEFAULT_SOCKET)?)),
            }
        };
        Ok(Self::new(
            outputs.iter().map(open).collect::<Result<_, _>>()?,
        ))
    }

    /// Starts every output on a thread of its own, so that none delays another or the caller. A journald
    /// that is unavailable is retried, and among the warnings. `further` ones wait and spill like servers over the
    /// network.
    ///
    /// # Errors
    /// [`SinkError`] if a file cannot be opened.
    pub fn start(
        options: &SinkOptions,
        further: Vec<Box<dyn Sink>>,
    ) -> Result<(Self, Vec<String>), SinkError> {
        let mut warnings = Vec::new();
        let mut queues = Vec::new();
        for output in &options.outputs {
            let sink = match options.folds.stdout(*output) {
                Some(sink) => sink,
                None => {
                    let journald = Journald::at(&options.journal_socket)?;
                    Box::new(journald.folding(options.fold))
                }
            };
            let spills = *output == Output::Journald;
            let queue = options.queue(sink, spills, &mut warnings)?;
            if spills && let Err(error) = Journald::open(&options.journal_socket) {
                queue.mark_reported(&error);
                warnings.push(format!("{error}; verdicts for it wait"));
            }
            queues.push(queue);
        }
        if let Some(path) = &options.json_file {
            let sink = match JsonFile::open(path) {
                Err(error) if options.waits_for_file => {
                    warnings.push(format!("{error}; verdicts for it are queued in memory"));
                    JsonFile::at(path)
                }
                opened => opened?,
            };
            let sink = sink.in_shape(options.json_shape);
            queues.push(options.queue(Box::new(sink), false, &mut warnings)?);
        }
        if let Some(server) = &options.syslog.server {
            let sink = Folding::new(Syslog::new(server, &options.syslog), options.fold);
            queues.push(options.queue(Box::new(sink), true, &mut warnings)?);
        }
        if let Some(endpoint) = &options.otlp.endpoint {
            let sink = Otlp::new(endpoint, &options.otlp)?;
            let sink = Folding::new(sink, options.fold);
            queues.push(options.queue(Box::new(sink), true, &mut warnings)?);
        }
        for sink in further {
            queues.push(options.queue(sink, true, &mut warnings)?);
        }
        if let Some(database) = &options.database {
            queues.extend(options.database_queue(database, &mut warnings)?);
        }
        Ok((Self::queued(queues), warnings))
    }
}

impl SinkOptions {
    /// Starts the database, which knows by itself what it has; `None` if it cannot be used.
    fn database_queue(
        &self,
        database: &DatabaseOptions,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Queue>, SinkError> {
        let acceptances = database.acceptances.clone();
        let sink = match DatabaseSink::open(&database.path, database.retention, acceptances) {
            Ok(sink) => Box::new(sink),
            Err(error) => {
                warnings.push(format!("{error}; verdicts are not kept in a database"));
                return Ok(None);
            }
        };
        let output = sink.name();
        let extras = Extras {
            capacity: self.queue,
            ..Extras::default()
        };
        Queue::start(sink, extras)
            .map(Some)
            .map_err(|source| SinkError::Write { output, source })
    }

    fn queue(
        &self,
        sink: Box<dyn Sink>,
        spills: bool,
        warnings: &mut Vec<String>,
    ) -> Result<Queue, SinkError> {
        let output = sink.name();
        let directory = self.state_directory.as_ref().filter(|_| spills);
        let spill = directory.and_then(|directory| {
            let path = directory.join(format!("waiting-{output}.jsonl"));
            match Spill::open(&path, self.spill_max) {
                Ok((spill, warning)) => {
                    warnings.extend(warning);
                    Some(spill)
                }
                Err(source) => {
                    warnings.push(SinkError::Spill { output, source }.to_string());
                    None
                }
            }
        });
        let directory = self.runtime_directory.as_ref();
        let opened = directory.and_then(|directory| {
            match Delivered::open(&directory.join(format!("delivered-{output}"))) {
                Ok(opened) => Some(opened),
                Err(source) => {
                    warnings.push(SinkError::Delivered { output, source }.to_string());
                    None
                }
            }
        });
        let (delivered, earlier) = opened.unzip();
        let extras = Extras {
            capacity: self.queue,
            spill,
            delivered,
            earlier: earlier.unwrap_or_default(),
        };
        Queue::start(sink, extras).map_err(|source| SinkError::Write { output, source })
    }
}
