//! Text for people.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use clap::builder::styling::{AnsiColor, Style};

use super::escape::escaped;
use super::fold::Repeats;
use super::folding::WriteRepeats;
use super::headline::{alert, destination, percent, reset};
use super::{Sink, SinkError, stream};
use crate::verdict::{
    Cause, Intercepted, Party, Severity, Verdict, written_milliseconds, written_weight,
};

const NAME: &str = "text";
const PLAIN: Style = Style::new();
const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
/// Maximum width of a column; columns grow to the widest value so far.
const WIDEST_COLUMN: usize = 48;
const LABEL_WIDTH: usize = 13;

/// Writes a headline for each verdict and, indented, its evidence and advice.
pub struct Text<W> {
    to: W,
    colour: bool,
    tap_width: usize,
    client_width: usize,
}

impl Text<io::Stdout> {
    /// Writes to standard output, in colour on a terminal unless `NO_COLOR` is set.
    #[must_use]
    pub fn stdout() -> Self {
        Self::new(io::stdout(), stdout_takes_colour())
    }
}

impl<W: Write + Send> Text<W> {
    /// Writes to `to`, in colour or without.
    pub const fn new(to: W, colour: bool) -> Self {
        Self {
            to,
            colour,
            tap_width: 0,
            client_width: 0,
        }
    }

    const fn style(&self, style: Style) -> Style {
        if self.colour { style } else { PLAIN }
    }

    fn headline(&mut self, verdict: &Verdict) -> String {
        let tap = escaped(&verdict.tap).to_string();
        let client = verdict.client.to_string();
        self.tap_width = widened(self.tap_width, &tap);
        self.client_width = widened(self.client_width, &client);
        let (dim, bold) = (self.style(DIM), self.style(BOLD));
        let cause = self.style(cause_style(verdict.cause));
        format!(
            "{dim}{:.3}{dim:#}  {tap:<tap_width$}  {client:>client_width$} → {bold}{}{bold:#}  \
             {cause}{}{cause:#} {}\n",
            verdict.time,
            destination(verdict),
            verdict.cause,
            percent(verdict.confidence),
            tap_width = self.tap_width,
            client_width = self.client_width,
        )
    }

    fn line(&self, block: &mut String, label: &str, text: &str) {
        let dim = self.style(DIM);
        let _ = writeln!(block, "  {dim}{label:<LABEL_WIDTH$}{dim:#} {text}");
    }

    fn details(&self, block: &mut String, verdict: &Verdict) {
        // Each fact once: often it is evidence, too.
        let is_evidence = |text: &str| verdict.evidence.iter().any(|it| it.detail.contains(text));
        if let Some(text) = verdict.alert.as_ref().map(alert)
            && !is_evidence(&text)
        {
            self.line(block, "alert", &text);
        }
        if let Some(text) = verdict.reset.as_ref().map(reset)
            && !is_evidence(&text)
        {
            self.line(block, "reset", &text);
        }
        let mut facts = facts(verdict);
        if facts.is_empty() {
            facts.push("nothing more is known".into());
        }
        self.line(block, "connection", &facts.join(", "));
        for evidence in &verdict.evidence {
            let weight = written_weight(evidence.weight);
            let text = format!(
                "{weight:+} {}, {}: {}",
                strength(weight, verdict.cause),
                escaped(&evidence.name),
                escaped(&evidence.detail)
            );
            self.line(block, "evidence", &text);
        }
        if let Some(pan_os) = &verdict.pan_os {
            let beneath = verdict.pan_os_beneath.as_deref();
            let beneath = beneath.map_or_else(String::new, |it| {
                format!("; beneath it, by the alert: {}", escaped(it))
            });
            self.line(
                block,
                "PAN-OS",
                &format!("would log {}{beneath}", escaped(pan_os)),
            );
        }
        if let Some(advice) = &verdict.advice {
            let bold = self.style(BOLD);
            self.line(
                block,
                "advice",
                &format!("{bold}{}{bold:#}", escaped(advice)),
            );
        }
        if let Some(earlier) = &verdict.revises {
            self.line(block, "revises", &escaped(earlier).to_string());
        }
    }
}

/// Returns the meaning of a weight in words. Log-odds of 1 raise one to one to three to one, of 2.5 to
/// twelve to one.
pub(crate) fn strength(weight: f64, cause: Cause) -> String {
    let how = match weight.abs() {
        0.0..0.05 => return "no weight of its own".to_owned(),
        0.05..1.0 => "weakly",
        1.0..2.5 => "clearly",
        _ => "strongly",
    };
    let side = if weight > 0.0 { "for" } else { "against" };
    format!("{how} {side} {cause}")
}

/// Whether standard output is a terminal that shows colour, and `NO_COLOR` is not set.
#[must_use]
pub fn stdout_takes_colour() -> bool {
    io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn widened(width: usize, value: &str) -> usize {
    width.max(value.chars().count().min(WIDEST_COLUMN))
}

/// Lists the facts about the connection; unknown ones are left out.
fn facts(verdict: &Verdict) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(version) = &verdict.tls_version {
        facts.push(format!("TLS {}", escaped(version)));
    }
    if !verdict.vlan.is_empty() {
        let tags: Vec<_> = verdict.vlan.iter().map(u16::to_string).collect();
        facts.push(format!("VLAN {}", tags.join(".")));
    }
    if let Some(tunnel) = &verdict.tunnel {
        let id = tunnel.id.map_or_else(String::new, |id| format!(" {id}"));
        facts.push(format!("inside {}{id}", escaped(&tunnel.kind)));
    }
    match (verdict.intercepted, &verdict.issuer) {
        (Intercepted::Yes, Some(issuer)) => {
            facts.push(format!("intercepted by {}", escaped(issuer)));
        }
        (Intercepted::Yes, None) => facts.push("intercepted".into()),
        (Intercepted::No, Some(issuer)) => {
            facts.push(format!("not intercepted, issuer {}", escaped(issuer)));
        }
        (Intercepted::No, None) => facts.push("not intercepted".into()),
        (Intercepted::Unknown, Some(issuer)) => facts.push(format!("issuer {}", escaped(issuer))),
        (Intercepted::Unknown, None) => {}
    }
    if verdict.ended_by != Party::Unknown {
        facts.push(format!("ended by {}", verdict.ended_by));
    }
    if let Some(duration) = written_milliseconds(verdict.duration_ms) {
        facts.push(format!("after {duration} ms"));
    }
    if let Some(ja4) = &verdict.ja4 {
        facts.push(format!("app {}", escaped(ja4)));
    }
    facts
}

/// Returns the style of a cause: red for action, yellow for attention, others for information.
const fn cause_style(cause: Cause) -> Style {
    let colour = match cause.severity() {
        Severity::Warning => AnsiColor::Red,
        Severity::Notice => AnsiColor::Yellow,
        Severity::Informational if matches!(cause, Cause::Established) => AnsiColor::Green,
        Severity::Informational => AnsiColor::Cyan,
    };
    colour.on_default().bold()
}

impl<W: Write + Send> Sink for Text<W> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        let mut block = self.headline(verdict);
        self.details(&mut block, verdict);
        stream::write(&mut self.to, block.as_bytes(), NAME)
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        stream::flush(&mut self.to, NAME)
    }
}

impl<W: Write + Send> WriteRepeats for Text<W> {
    fn write_repeats(&mut self, repeats: &Repeats) -> Result<(), SinkError> {
        let mut block = self.headline(&repeats.verdict);
        let text = format!("{} more since {:.0}", repeats.count, repeats.first);
        self.line(&mut block, "repeats", &text);
        stream::write(&mut self.to, block.as_bytes(), NAME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::{injected_reset, pinning};
    use crate::verdict::{Alert, Evidence};

    fn written(verdicts: &[Verdict], colour: bool) -> String {
        let mut out = Vec::new();
        let mut sink = Text::new(&mut out, colour);
        for verdict in verdicts {
            sink.write(verdict).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn for_people() {
        insta::assert_snapshot!(written(&[pinning(), injected_reset(), pinning()], false));
    }

    #[test]
    fn in_colour() {
        insta::assert_snapshot!(written(&[pinning()], true).replace('\u{1b}', "ESC"));
    }

    #[test]
    fn an_encrypted_alert_and_one_with_an_unassigned_code() {
        let encrypted = Alert {
            from: Party::Client,
            level: None,
            code: None,
            description: None,
            encrypted: true,
        };
        let odd = Alert {
            code: Some(200),
            encrypted: false,
            ..encrypted.clone()
        };
        assert_eq!(alert(&encrypted), "client sent an encrypted alert");
        assert_eq!(
            alert(&odd),
            "client sent alert of unknown level: unassigned code (200)"
        );
    }

    #[test]
    fn nothing_from_the_network_reaches_the_terminal_unescaped() {
        let hostile = "\u{1b}]0;owned\u{7}\nforged line\u{9b}2J\u{202e}";
        let text = || Some(hostile.to_owned());
        let mut verdict = Verdict {
            tap: hostile.into(),
            sni: text(),
            ja4: text(),
            tls_version: text(),
            issuer: text(),
            pan_os: text(),
            pan_os_beneath: text(),
            advice: text(),
            revises: text(),
            evidence: vec![Evidence {
                name: hostile.into(),
                detail: hostile.into(),
                weight: 1.0,
            }],
            ..injected_reset()
        };
        verdict.reset.as_mut().unwrap().tells = vec![hostile.into()];
        verdict.alert = pinning().alert;
        verdict.alert.as_mut().unwrap().description = text();
        let shown = written(&[verdict], false);
        let harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!shown.contains(harmful), "{shown:?}");
        assert!(
            !shown.lines().any(|line| line.starts_with("forged")),
            "{shown}"
        );
    }

    #[test]
    fn an_alert_that_is_evidence_is_written_once() {
        let mut verdict = pinning();
        verdict.evidence[0].detail = "client sent fatal certificate_unknown (46) at once".into();
        let text = written(&[verdict], false);
        assert_eq!(text.matches("certificate_unknown").count(), 1, "{text}");
    }

    #[test]
    fn a_reader_that_left_is_an_end_not_a_failure() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        drop(theirs);
        let error = Text::new(ours, false).write(&pinning()).unwrap_err();
        assert!(
            matches!(error, SinkError::Closed { output: "text" }),
            "{error}"
        );
    }
}
