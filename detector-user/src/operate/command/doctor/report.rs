//! The doctor's report: a line for each check, and its fix.

use std::fmt::Write as _;

use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;

use crate::outlet::sink::escaped;

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Ok,
    /// `tlswhy run` works, with a limitation.
    Warning,
    /// `tlswhy run` does not work.
    Problem,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }

    const fn style(self) -> Style {
        match self {
            Self::Ok => AnsiColor::Green.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Problem => AnsiColor::Red.on_default(),
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Severity.
    pub state: State,
    /// Stable name of the check.
    pub name: &'static str,
    /// Interface that it concerns, if any.
    pub interface: Option<String>,
    /// Finding, for people.
    pub detail: String,
    /// Command or change that fixes it.
    pub fix: Option<String>,
}

impl Check {
    pub(super) fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(State::Ok, name, detail)
    }

    pub(super) fn warning(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(State::Warning, name, detail)
    }

    pub(super) fn problem(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(State::Problem, name, detail)
    }

    fn new(state: State, name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            state,
            name,
            interface: None,
            detail: detail.into(),
            fix: None,
        }
    }

    pub(super) fn fixed_by(self, command: impl Into<String>) -> Self {
        Self {
            fix: Some(command.into()),
            ..self
        }
    }

    pub(super) fn on(self, interface: &str) -> Self {
        Self {
            interface: Some(interface.to_owned()),
            ..self
        }
    }
}

/// All findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The highest severity.
    pub state: State,
    /// The findings, the machine's before the interfaces'.
    pub checks: Vec<Check>,
}

impl Report {
    pub(super) fn new(checks: Vec<Check>) -> Self {
        let state = checks
            .iter()
            .map(|check| check.state)
            .max()
            .unwrap_or(State::Ok);
        Self { state, checks }
    }

    /// Returns the report as text for people.
    #[must_use]
    pub fn text(&self, colour: bool) -> String {
        let mut text = String::new();
        let width = self
            .checks
            .iter()
            .map(|check| check.name.len())
            .max()
            .unwrap_or(0);
        for check in &self.checks {
            let style = if colour {
                check.state.style()
            } else {
                Style::new()
            };
            let _ = write!(text, "{style}{:<7}{style:#}  ", check.state.name());
            let _ = write!(text, "{:<width$}  ", check.name);
            if let Some(interface) = &check.interface {
                let _ = write!(text, "{}: ", escaped(interface));
            }
            let _ = writeln!(text, "{}", escaped(&check.detail));
            if let Some(fix) = &check.fix {
                let _ = writeln!(
                    text,
                    "{:indent$}fix: {}",
                    "",
                    escaped(fix),
                    indent = width + 11
                );
            }
        }
        let _ = writeln!(text, "\n{}", self.summary());
        text
    }

    fn summary(&self) -> String {
        let count = |state| {
            self.checks
                .iter()
                .filter(|check| check.state == state)
                .count()
        };
        let counted = |number: usize, what: &str| match number {
            1 => format!("1 {what}"),
            _ => format!("{number} {what}s"),
        };
        let found = format!(
            "{}, {}",
            counted(count(State::Problem), "problem"),
            counted(count(State::Warning), "warning")
        );
        match self.state {
            State::Problem => format!("{found}: `tlswhy run` does not work; `tlswhy pcap` does"),
            State::Warning => format!("{found}: `tlswhy run` works, with the limitations above"),
            State::Ok => format!("{found}: `tlswhy run` works"),
        }
    }
}
