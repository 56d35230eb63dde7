//! Messages about the agent itself: on standard error, or, if that is the journal, as entries of
//! their own.

mod journal;

use std::fmt;
use std::io;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::host::service_manager::connected_to_journal;
use crate::operate::cli::LogLevel;
use crate::outlet::message_kind;
use crate::source::tap::diagnostics::TARGET;
use journal::{JournalEntries, Message};

/// Sends messages to standard error, or to journald if that reads it: there they have a priority and
/// a kind. Messages of the eBPF programs below `level` are filtered out.
///
/// A closed or full standard error blocks nothing: messages that cannot be written are dropped.
pub(super) fn start(level: LogLevel) {
    let filter = Targets::new()
        .with_default(LevelFilter::INFO)
        // The fleet's room says all that an operator needs of its connections.
        .with_target("async_nats", LevelFilter::OFF)
        .with_target(TARGET, filter(level));
    let entries = connected_to_journal()
        .then(JournalEntries::open)
        .and_then(Result::ok);
    let lines = entries.is_none().then(|| {
        layer()
            .with_writer(io::stderr)
            .log_internal_errors(false)
            .event_format(Line)
    });
    // A program that uses this as a library may have installed its own subscriber.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(entries)
        .with(lines)
        .try_init();
}

/// One plain line, as the other commands write them; warnings and errors begin with the program's
/// name. Messages of the eBPF programs carry their level.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let about = event.metadata();
        if about.target() == TARGET {
            write!(writer, "eBPF {}: ", about.level())?;
        } else if *about.level() <= Level::WARN {
            write!(writer, "tlswhy: ")?;
        }
        if about.target() == message_kind::EXPLAINED {
            // Its fields are for the journal.
            let mut message = Message::default();
            event.record(&mut message);
            writer.write_str(&message.text)?;
        } else {
            context.format_fields(writer.by_ref(), event)?;
        }
        writeln!(writer)
    }
}

const fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
