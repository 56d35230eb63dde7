//! Which outputs there are, and opening the ones asked for.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::delivered::Delivered;
use super::queue::{Extras, Queue};
use super::spill::Spill;
use super::{DEFAULT_SOCKET, Journald, JsonFile, JsonLines, Sink, SinkError, Sinks, Text};

/// An output verdicts can be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people: a headline, the evidence and what to do
    Text,
    /// One JSON object a line
    Json,
    /// Entries in the systemd journal, fields TLSWHY_*
    Journald,
}

impl Output {
    /// What the command line calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Journald => "journald",
        }
    }

    /// Whether it writes to standard output.
    #[must_use]
    pub const fn is_on_stdout(self) -> bool {
        matches!(self, Self::Text | Self::Json)
    }
}

/// What `tlswhy run` asks of its sinks.
#[derive(Debug, Clone)]
pub struct SinkOptions {
    /// Outputs, each once.
    pub outputs: Vec<Output>,
    /// A file of JSON lines beside them.
    pub json_file: Option<PathBuf>,
    /// Whether one that cannot be opened is waited for, as the other outputs are worth more.
    pub waits_for_file: bool,
    /// Verdicts that may wait for each.
    pub queue: usize,
    /// How long repeats are only counted in the journal; zero writes them all.
    pub fold: Duration,
    /// Where verdicts wait that journald does not take; without it they wait in memory alone.
    pub state_directory: Option<PathBuf>,
    /// How many bytes of them.
    pub spill_max: u64,
    /// Where it is noted what got out; without it verdicts may be given twice after a restart.
    pub runtime_directory: Option<PathBuf>,
    /// Where journald listens.
    pub journal_socket: PathBuf,
}

impl Sinks {
    /// Opens every one of `outputs`, on standard output and the system's journal.
    ///
    /// # Errors
    /// [`SinkError`] when one of them cannot take verdicts from the start.
    pub fn open(outputs: &[Output]) -> Result<Self, SinkError> {
        let open = |output: &Output| -> Result<Box<dyn Sink>, SinkError> {
            Ok(match output {
                Output::Text => Box::new(Text::stdout()),
                Output::Json => Box::new(JsonLines::new(io::stdout())),
                Output::Journald => Box::new(Journald::open(DEFAULT_SOCKET)?),
            })
        };
        Ok(Self::new(
            outputs.iter().map(open).collect::<Result<_, _>>()?,
        ))
    }

    /// Starts every output on a thread of its own, so that none of them holds up the others or the
    /// one who gives verdicts. A journald that is away is waited for. Returns what to warn of, too.
    ///
    /// # Errors
    /// [`SinkError`] when a file cannot be opened.
    pub fn start(options: &SinkOptions) -> Result<(Self, Vec<String>), SinkError> {
        let mut warnings = Vec::new();
        let mut queues = Vec::new();
        for output in &options.outputs {
            let sink: Box<dyn Sink> = match output {
                Output::Text => Box::new(Text::stdout()),
                Output::Json => Box::new(JsonLines::new(io::stdout())),
                Output::Journald => {
                    let journald = Journald::at(&options.journal_socket)?;
                    Box::new(journald.folding(options.fold))
                }
            };
            let spills = *output == Output::Journald;
            queues.push(options.queue(sink, spills, &mut warnings)?);
        }
        if let Some(path) = &options.json_file {
            let sink = match JsonFile::open(path) {
                Err(error) if options.waits_for_file => {
                    warnings.push(format!("{error}; verdicts for it wait in memory"));
                    JsonFile::at(path)
                }
                opened => opened?,
            };
            queues.push(options.queue(Box::new(sink), false, &mut warnings)?);
        }
        Ok((Self::queued(queues), warnings))
    }
}

impl SinkOptions {
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
