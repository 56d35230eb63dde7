//! Messages as journal entries, with their priority and kind.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::outlet::message_kind::message_id;
use crate::outlet::sink::{DEFAULT_SOCKET, Entry};
use crate::source::tap::diagnostics::TARGET;

/// Sends each message to journald. A message that journald does not accept at once goes to standard
/// error, which queues it.
pub(super) struct JournalEntries {
    path: PathBuf,
    socket: UnixDatagram,
}

impl JournalEntries {
    /// Sends to the system's journald.
    ///
    /// # Errors
    /// If no socket can be created.
    pub(super) fn open() -> io::Result<Self> {
        Self::at(Path::new(DEFAULT_SOCKET))
    }

    fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // Observations do not wait for messages.
        socket.set_nonblocking(true)?;
        Ok(Self {
            path: path.to_owned(),
            socket,
        })
    }
}

impl<S: Subscriber> Layer<S> for JournalEntries {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let about = event.metadata();
        let mut message = Message::default();
        if about.target() == TARGET {
            message.text.push_str("eBPF: ");
        }
        event.record(&mut message);
        let priority = priority(*about.level());
        let mut entry = Entry::default();
        entry.field("MESSAGE", &message.text);
        entry.field("PRIORITY", priority);
        entry.field("SYSLOG_IDENTIFIER", "tlswhy");
        if let Some(id) = message_id(about.target()) {
            entry.field("MESSAGE_ID", id);
        }
        for (name, value) in &message.fields {
            entry.field(name, value);
        }
        if entry.send(&self.socket, &self.path).is_err() {
            // The prefix is journald's for lines (sd-daemon(3)).
            let _ = writeln!(io::stderr(), "<{priority}>{}", message.text);
        }
    }
}

/// Fields of a message, and their names in the journal.
const FIELDS: [(&str, &str); 10] = [
    ("explains", "TLSWHY_EXPLAINS"),
    ("explained_connection", "TLSWHY_EXPLAINED_CONNECTION"),
    ("explained_name", "TLSWHY_EXPLAINED_NAME"),
    ("explained_cause", "TLSWHY_EXPLAINED_CAUSE"),
    ("explained_confidence", "TLSWHY_EXPLAINED_CONFIDENCE"),
    ("explained_advice", "TLSWHY_EXPLAINED_ADVICE"),
    ("firewall", "TLSWHY_FIREWALL"),
    ("firewall_log", "TLSWHY_FIREWALL_LOG"),
    ("firewall_rule", "TLSWHY_FIREWALL_RULE"),
    ("firewall_words", "TLSWHY_FIREWALL_WORDS"),
];

/// The text of an event, and its fields in the journal.
#[derive(Default)]
pub(super) struct Message {
    pub(super) text: String,
    fields: Vec<(&'static str, String)>,
}

impl Message {
    fn add(&mut self, field: &Field, value: String) {
        let known = FIELDS.iter().find(|(name, _)| *name == field.name());
        if let Some((_, name)) = known
            && !value.is_empty()
        {
            self.fields.push((name, value));
        }
    }
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.text, "{value:?}");
        } else {
            self.add(field, format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.text.push_str(value);
        } else {
            self.add(field, value.to_owned());
        }
    }
}

/// Returns syslog(3)'s number.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::outlet::message_kind;

    #[test]
    fn a_message_is_an_entry_with_its_priority_and_kind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        let entries = JournalEntries::at(&path).unwrap();
        let subscriber = tracing_subscriber::registry().with(entries);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: message_kind::LOST, "lost {} of them", 3);
            tracing::info!("ready");
            tracing::info!(
                target: message_kind::EXPLAINED,
                explains = "0123",
                explained_confidence = 0.5,
                firewall_rule = "",
                firewall_words = "two\nlines",
                "because"
            );
        });
        let received = || {
            let mut bytes = [0; 1024];
            let length = journald.recv(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes[..length]).into_owned()
        };
        assert_eq!(
            received(),
            "MESSAGE=lost 3 of them\nPRIORITY=4\nSYSLOG_IDENTIFIER=tlswhy\n\
             MESSAGE_ID=1b3204477ca14660b266f72f525f7176\n"
        );
        assert_eq!(
            received(),
            "MESSAGE=ready\nPRIORITY=6\nSYSLOG_IDENTIFIER=tlswhy\n"
        );
        let explained = received();
        assert!(explained.starts_with("MESSAGE=because\n"), "{explained}");
        assert!(
            explained.contains("TLSWHY_EXPLAINS=0123\nTLSWHY_EXPLAINED_CONFIDENCE=0.5\n"),
            "{explained}"
        );
        // With a length, so that it forges no other field.
        assert!(
            explained.contains("TLSWHY_FIREWALL_WORDS\n\u{9}\0"),
            "{explained}"
        );
        assert!(!explained.contains("FIREWALL_RULE"), "{explained}");
    }
}
