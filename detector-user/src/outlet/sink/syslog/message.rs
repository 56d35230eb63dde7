//! Messages by RFC 5424: header, the verdict's fields as structured data, and one line of text.

use std::process;

use jiff::Timestamp;

use super::NAME;
use super::server::SyslogSettings;
use crate::host::name::machine_name;
use crate::outlet::sink::escape::escaped;
use crate::outlet::sink::fields::{Fields, add_connection, add_judgement, add_repeats};
use crate::outlet::sink::fold::Repeats;
use crate::outlet::sink::{SinkError, headline};
use crate::verdict::Verdict;

/// Marks UTF-8 (RFC 5424 §6.4).
const BOM: &str = "\u{feff}";
/// Maximum size of a parameter's value, bytes as they are sent.
const VALUE_MAX: usize = 1_024;
/// Parameters that a message has in any case.
const FIRST: [&str; 9] = [
    "id",
    "cause",
    "confidence",
    "client_ip",
    "client_port",
    "server_ip",
    "server_port",
    "community_id",
    "repeats",
];
/// Parameters that it lacks first.
const LAST: [&str; 2] = ["advice", "evidence"];
/// Parameter of a message that lacks fields for want of room.
const TRUNCATED: &str = " truncated=\"true\"";
/// The largest `sequenceId` (RFC 5424 §7.3.1).
const SEQUENCE_MAX: u32 = 2_147_483_647;

/// The form of this agent's messages.
pub(super) struct Form {
    hostname: String,
    process: u32,
    facility: u8,
    sd_id: String,
    /// Maximum size of a message, bytes.
    max: usize,
    /// Number of the next message, from 1.
    sequence: u32,
}

impl Form {
    pub(super) fn new(settings: &SyslogSettings, max: usize) -> Self {
        Self {
            // As RFC 5424 §6.2.4 has it.
            hostname: machine_name().unwrap_or_else(|| "-".to_owned()),
            process: process::id(),
            facility: settings.facility.number(),
            sd_id: settings.sd_id.clone(),
            max,
            sequence: 1,
        }
    }

    /// Counts a message as sent.
    pub(super) const fn count(&mut self) {
        self.sequence = if self.sequence == SEQUENCE_MAX {
            1
        } else {
            self.sequence + 1
        };
    }

    /// Returns the message about a verdict.
    pub(super) fn verdict(&self, verdict: &Verdict) -> Result<String, SinkError> {
        let text = headline::message(verdict);
        self.message(verdict, None, verdict.cause.name(), &text)
    }

    /// Returns the message that counts repeats.
    pub(super) fn repeats(&self, repeats: &Repeats) -> Result<String, SinkError> {
        let text = headline::repeats(&repeats.verdict, repeats.count, repeats.first);
        self.message(&repeats.verdict, Some(repeats), "repeats", &text)
    }

    fn message(
        &self,
        verdict: &Verdict,
        repeats: Option<&Repeats>,
        kind: &str,
        text: &str,
    ) -> Result<String, SinkError> {
        let text = marked(text);
        let mut message = self.header(verdict, kind);
        // The text has a third at least.
        let left = self.max.saturating_sub(message.len() + 1);
        let room = left - text.len().min(left / 3);
        let mut data = Data::default();
        if let Some(repeats) = repeats {
            add_repeats(&mut data, repeats);
        }
        add_connection(&mut data, verdict);
        add_judgement(&mut data, verdict).map_err(|error| SinkError::Write {
            output: NAME,
            source: error.into(),
        })?;
        for evidence in &verdict.evidence {
            data.add(
                "evidence",
                &format!("{}: {}", evidence.name, evidence.detail),
            );
        }
        message.push_str(&data.within(&self.sd_id, room));
        message.push(' ');
        message.push_str(cut(&text, self.max.saturating_sub(message.len())));
        Ok(message)
    }

    fn header(&self, verdict: &Verdict, kind: &str) -> String {
        let severity = verdict.cause.severity().number();
        format!(
            "<{}>1 {} {} tlswhy {} {kind} [meta sequenceId=\"{}\"]",
            self.facility * 8 + severity,
            timestamp(verdict.time),
            self.hostname,
            self.process,
            self.sequence,
        )
    }
}

/// Returns a time with microseconds, the most that is allowed (§6.2.3).
fn timestamp(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// Returns text as it is sent. Text in UTF-8 must begin with a byte order mark, and text of other octets
/// may do without (§6.4): most servers keep the mark as part of the text, so ASCII goes without, and
/// the arrow in each line is written in ASCII.
fn marked(text: &str) -> String {
    let text = text.replace('→', "->");
    if text.is_ascii() {
        text
    } else {
        BOM.to_owned() + &text
    }
}

/// Returns as many of the first characters as fit.
fn cut(text: &str, max: usize) -> &str {
    let is_end = |end: &usize| text.is_char_boundary(*end);
    let end = (0..=max.min(text.len())).rev().find(is_end);
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// The verdict's fields as one element of structured data.
#[derive(Default)]
struct Data {
    parameters: Vec<(String, String)>,
}

impl Data {
    fn add(&mut self, name: &str, value: &str) {
        self.parameters.push((name.to_owned(), value.to_owned()));
    }

    /// Returns the element, with as many parameters as fit: first those that identify the connection and
    /// its verdict, and last those that the text has, too, or that are long.
    fn within(mut self, sd_id: &str, room: usize) -> String {
        let room = room.saturating_sub(TRUNCATED.len() + 1);
        let value_max = (room / 4).min(VALUE_MAX);
        self.parameters.sort_by_key(|(name, _)| {
            let name = name.as_str();
            (!FIRST.contains(&name), LAST.contains(&name))
        });
        let mut element = format!("[{sd_id}");
        let mut is_truncated = false;
        for (name, value) in &self.parameters {
            let parameter = parameter(name, value, value_max);
            if element.len() + parameter.len() <= room {
                element.push_str(&parameter);
            } else {
                is_truncated = true;
            }
        }
        if is_truncated {
            element.push_str(TRUNCATED);
        }
        element.push(']');
        element
    }
}

/// Returns a parameter. A value that is too long is cut behind a whole character.
fn parameter(name: &str, value: &str, max: usize) -> String {
    let mut parameter = format!(" {name}=\"");
    let end = parameter.len() + max;
    for character in escaped(value).to_string().chars() {
        if parameter.len() >= end {
            parameter.push('…');
            break;
        }
        // RFC 5424 §6.3.3.
        if matches!(character, '"' | '\\' | ']') {
            parameter.push('\\');
        }
        parameter.push(character);
    }
    parameter.push('"');
    parameter
}

impl Fields for Data {
    fn field(&mut self, name: &'static str, value: &str) {
        // Evidence is added in words: its JSON needs most room.
        if name != "TLSWHY_EVIDENCE" {
            let name = name.trim_start_matches("TLSWHY_").to_ascii_lowercase();
            self.add(&name, value);
        }
    }
}
