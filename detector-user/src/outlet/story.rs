//! The story of a failing group or connection, in plain words, with the ladder of its records.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::database::{Group, StoredVerdict};
use super::sink::escaped;
use crate::verdict::{
    Intercepted, Ladder, Party, Rung, Verdict, written_confidence, written_weight,
};

/// Number of other groups that are named.
const NAMED_MAX: usize = 3;

/// A failure with all that is known of it.
#[derive(Debug, Serialize)]
pub struct Story {
    /// The latest verdict.
    pub verdict: Verdict,
    /// Its records in order.
    pub ladder: Ladder,
    /// Verdicts on the same connection before it, in order.
    pub earlier: Vec<Verdict>,
    /// The group it belongs to.
    pub group: Option<Group>,
    /// Groups of the same client and app to other names.
    pub same_app: Vec<Group>,
    /// Groups of other clients or apps to the same name.
    pub same_name: Vec<Group>,
}

impl Story {
    /// Creates the story of a connection by its verdicts, the last one last; `None` without one.
    #[must_use]
    pub fn of(mut verdicts: Vec<StoredVerdict>) -> Option<Self> {
        let last = verdicts.pop()?.verdict;
        Some(Self {
            ladder: (*last.ladder).clone(),
            verdict: last,
            earlier: verdicts.into_iter().map(|it| it.verdict).collect(),
            group: None,
            same_app: Vec::new(),
            same_name: Vec::new(),
        })
    }

    fn name(&self) -> String {
        let name = self.verdict.server_name().map(str::to_owned);
        name.unwrap_or_else(|| self.verdict.server.ip.to_string())
    }

    fn app(&self) -> String {
        match &self.verdict.ja4 {
            Some(ja4) => format!("app {}", escaped(ja4)),
            None => "an app whose hello was not seen whole".to_owned(),
        }
    }

    fn group(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(group) = &self.group else {
            return Ok(());
        };
        let (failed, all) = (group.failed, group.failed + group.worked);
        writeln!(
            f,
            "  {}, {}: {failed} of {all} connections failed, from {:.0} to {:.0}.",
            group.client,
            self.app(),
            group.first,
            group.last
        )?;
        if let [_, _, ..] = group.causes.as_slice() {
            let causes = group.causes.iter();
            let causes: Vec<_> = causes
                .map(|it| format!("{} {}", it.failed, it.cause))
                .collect();
            writeln!(f, "  Causes: {}.", causes.join(", "))?;
        }
        Ok(())
    }

    fn interception(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let issuer = self.verdict.issuer.as_deref();
        let text = match (self.verdict.intercepted, issuer) {
            (Intercepted::Yes, Some(issuer)) => format!("intercepted by {}", escaped(issuer)),
            (Intercepted::Yes, None) => "intercepted".to_owned(),
            (Intercepted::No, Some(issuer)) => {
                format!(
                    "not intercepted; its certificate is from {}",
                    escaped(issuer)
                )
            }
            (Intercepted::No, None) => "not intercepted".to_owned(),
            (Intercepted::Unknown, Some(issuer)) => format!(
                "perhaps intercepted; its certificate is from {}",
                escaped(issuer)
            ),
            (Intercepted::Unknown, None) => {
                "perhaps intercepted: no certificate could be read".to_owned()
            }
        };
        writeln!(f, "  The connection was {text}.")
    }

    fn elsewhere(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.group.is_none() {
            return Ok(());
        }
        writeln!(f)?;
        let works = |groups: &[Group]| -> Vec<String> {
            let groups = groups.iter().filter(|it| it.worked > 0);
            groups.map(|it| escaped(&it.name).to_string()).collect()
        };
        let fails = |groups: &[Group]| -> Vec<String> {
            let groups = groups.iter().filter(|it| it.worked == 0);
            groups.map(|it| escaped(&it.name).to_string()).collect()
        };
        match (works(&self.same_app), fails(&self.same_app)) {
            (works, fails) if works.is_empty() && fails.is_empty() => {
                writeln!(f, "  No other name was seen from this app on this client.")
            }
            (works, fails) => {
                write!(f, "  This app on this client: ")?;
                some(f, "works with", &works)?;
                if !works.is_empty() && !fails.is_empty() {
                    write!(f, "; ")?;
                }
                some(f, "fails with", &fails)?;
                writeln!(f, ".")
            }
        }?;
        let working = self.same_name.iter().filter(|it| it.worked > 0).count();
        let failing = self.same_name.len() - working;
        let name = self.name();
        match (working, failing) {
            (0, 0) => writeln!(f, "  Nobody else was seen at {}.", escaped(&name)),
            _ => writeln!(
                f,
                "  Others at {}: {working} clients or apps work, {failing} fail.",
                escaped(&name)
            ),
        }
    }

    fn connection(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let verdict = &self.verdict;
        writeln!(
            f,
            "\n  {:.3} on {}: {} → {}, {}",
            verdict.time,
            escaped(&verdict.tap),
            verdict.client,
            verdict.server,
            escaped(&verdict.community_id)
        )?;
        if self.ladder.0.is_empty() {
            return writeln!(f, "    its records are not in the database");
        }
        for rung in &self.ladder.0 {
            write_rung(f, rung)?;
        }
        Ok(())
    }

    fn evidence(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let verdict = &self.verdict;
        if !verdict.evidence.is_empty() {
            writeln!(f)?;
        }
        for evidence in &verdict.evidence {
            let weight = written_weight(evidence.weight);
            let side = if weight > 0.0 {
                "for"
            } else if weight < 0.0 {
                "against"
            } else {
                "beside"
            };
            writeln!(f, "  {side:<7} {weight:+.2}  {}", escaped(&evidence.detail))?;
        }
        Ok(())
    }

    fn earlier(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for verdict in &self.earlier {
            writeln!(
                f,
                "  Before, it was called {} ({}).",
                verdict.cause,
                percent(verdict)
            )?;
        }
        Ok(())
    }
}

impl Display for Story {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let verdict = &self.verdict;
        let name = self.name();
        writeln!(
            f,
            "{}: {} ({}). {}",
            escaped(&name),
            verdict.cause,
            percent(verdict),
            verdict.cause.meaning()
        )?;
        writeln!(f)?;
        self.group(f)?;
        self.interception(f)?;
        self.elsewhere(f)?;
        self.connection(f)?;
        self.evidence(f)?;
        writeln!(f)?;
        self.earlier(f)?;
        if let Some(pan_os) = &verdict.pan_os {
            writeln!(f, "  PAN-OS would log {}.", escaped(pan_os))?;
        }
        if let Some(advice) = &verdict.advice {
            writeln!(f, "  Advice: {}.", escaped(advice))?;
        }
        Ok(())
    }
}

fn percent(verdict: &Verdict) -> String {
    format!("{:.0} %", written_confidence(verdict.confidence) * 100.0)
}

/// Writes `works with a, b, c and 4 more`; nothing for an empty list.
fn some(f: &mut Formatter<'_>, verb: &str, names: &[String]) -> fmt::Result {
    if names.is_empty() {
        return Ok(());
    }
    let named: Vec<_> = names.iter().take(NAMED_MAX).map(String::as_str).collect();
    write!(f, "{verb} {}", named.join(", "))?;
    match names.len() - named.len() {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

fn write_rung(f: &mut Formatter<'_>, rung: &Rung) -> fmt::Result {
    let mark = if rung.decides { '►' } else { ' ' };
    let milliseconds = rung.at_us as f64 / 1000.0;
    let arrow = if rung.from == Party::Client {
        "client →       "
    } else {
        "       ← server"
    };
    writeln!(
        f,
        "  {mark} {milliseconds:>10.3} ms  {arrow}  {}",
        escaped(&rung.what)
    )
}
