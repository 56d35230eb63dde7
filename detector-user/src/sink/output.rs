//! Which outputs there are, and opening the ones asked for.

use std::io;

use clap::ValueEnum;

use super::{DEFAULT_SOCKET, Journald, JsonLines, Sink, SinkError, Sinks, Text};

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
}
