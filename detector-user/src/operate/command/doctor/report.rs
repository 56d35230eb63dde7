//! What the doctor says: a line for each check, and what mends it.

use std::fmt::Write as _;

use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;

use crate::outlet::sink::escaped;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Ok,
    /// It runs, but with less than it could.
    Warning,
    /// `tlswhy run` does not work this way.
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

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// How bad it is.
    pub state: State,
    /// What was looked at: a stable name.
    pub name: &'static str,
    /// The interface it is about, if any.
    pub interface: Option<String>,
    /// What was found.
    pub detail: String,
    /// The command that mends it.
    pub mend: Option<String>,
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
            mend: None,
        }
    }

    pub(super) fn mended_by(self, command: impl Into<String>) -> Self {
        Self {
            mend: Some(command.into()),
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

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The worst of the checks.
    pub state: State,
    /// Each check, the machine's before the interfaces'.
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

    /// The report for people.
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
            if let Some(mend) = &check.mend {
                let _ = writeln!(
                    text,
                    "{:indent$}mend: {}",
                    "",
                    escaped(mend),
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
            State::Problem => format!("{found}: `tlswhy run` will not work; `tlswhy pcap` does"),
            State::Warning => format!("{found}: `tlswhy run` works, with the limits above"),
            State::Ok => format!("{found}: `tlswhy run` works here"),
        }
    }
}
