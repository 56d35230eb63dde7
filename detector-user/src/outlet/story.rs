//! The story of a failing group or connection, in plain words, with the ladder of its records, or what is
//! left of it where the database keeps its numbers alone.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::database::{Group, StoredVerdict};
use super::sink::{escaped, strength};
use crate::verdict::{
    Intercepted, Ladder, Party, Rung, Verdict, counted, written_confidence, written_weight,
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

/// The numbers of a group that failed and whose verdicts are no longer in the database.
#[derive(Debug, Serialize)]
pub struct Remainder {
    /// The group.
    pub group: Group,
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

    /// Returns the server's name, or its address.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.verdict.server_name().map(str::to_owned);
        name.unwrap_or_else(|| self.verdict.server.ip.to_string())
    }

    /// Returns the facts about the group, its interception and the others, a sentence each, safe to show.
    #[must_use]
    pub fn facts(&self) -> Vec<String> {
        let mut facts = Vec::new();
        if let Some(group) = &self.group {
            facts.extend(numbers(group));
        }
        facts.push(self.interception());
        if self.group.is_some() {
            facts.push(same_app(&self.same_app));
            facts.push(same_name(&self.name(), &self.same_name));
        }
        facts
    }

    fn interception(&self) -> String {
        let issuer = self.verdict.issuer.as_deref().map(escaped);
        let text = match (self.verdict.intercepted, issuer) {
            (Intercepted::Yes, Some(issuer)) => format!("intercepted by {issuer}"),
            (Intercepted::Yes, None) => "intercepted".to_owned(),
            (Intercepted::No, Some(issuer)) => {
                format!("not intercepted; its certificate is from {issuer}")
            }
            (Intercepted::No, None) => "not intercepted".to_owned(),
            (Intercepted::Unknown, Some(issuer)) => {
                format!("perhaps intercepted; its certificate is from {issuer}")
            }
            (Intercepted::Unknown, None) => {
                "perhaps intercepted: no certificate could be read".to_owned()
            }
        };
        format!("The connection was {text}.")
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
            let strength = strength(weight, verdict.cause);
            writeln!(
                f,
                "  {weight:+.2} {strength}: {}",
                escaped(&evidence.detail)
            )?;
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
        for fact in self.facts() {
            writeln!(f, "  {fact}")?;
        }
        self.connection(f)?;
        self.evidence(f)?;
        writeln!(f)?;
        self.earlier(f)?;
        if let Some(pan_os) = &verdict.pan_os {
            write!(f, "  PAN-OS would log {}", escaped(pan_os))?;
            if let Some(beneath) = &verdict.pan_os_beneath {
                write!(f, "; beneath it, by the alert: {}", escaped(beneath))?;
            }
            writeln!(f, ".")?;
        }
        if let Some(advice) = &verdict.advice {
            writeln!(f, "  Advice: {}.", escaped(advice))?;
        }
        Ok(())
    }
}

impl Display for Remainder {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = escaped(&self.group.name);
        match self.group.causes.first() {
            Some(it) => writeln!(
                f,
                "{name}: {} ({}). {}",
                it.cause,
                percentage(it.confidence),
                it.cause.meaning()
            )?,
            None => writeln!(f, "{name}: failed")?,
        }
        writeln!(f)?;
        let mut facts = numbers(&self.group);
        if let Some(cause) = self.group.causes.first() {
            facts.push(format!("The last failure was at {:.0}.", cause.last));
        }
        facts.push(same_app(&self.same_app));
        facts.push(same_name(&self.group.name, &self.same_name));
        for fact in facts {
            writeln!(f, "  {fact}")?;
        }
        writeln!(
            f,
            "\n  The verdicts are no longer in the database, by their age or its size: records and evidence are \
             gone, these numbers are left."
        )
    }
}

fn percent(verdict: &Verdict) -> String {
    percentage(verdict.confidence)
}

fn percentage(confidence: f64) -> String {
    format!("{:.0} %", written_confidence(confidence) * 100.0)
}

/// Returns the numbers of a group, a sentence each.
fn numbers(group: &Group) -> Vec<String> {
    let app = match &group.app {
        Some(ja4) => format!("app {}", escaped(ja4)),
        None => "an app whose hello was not seen whole".to_owned(),
    };
    let (failed, all) = (group.failed, group.failed + group.worked);
    let mut lines = vec![format!(
        "{}, {app}: {failed} of {} failed, from {:.0} to {:.0}.",
        group.client,
        counted(all, "connection", "connections"),
        group.first,
        group.last
    )];
    if group.causes.len() > 1 {
        let causes = group.causes.iter();
        let causes: Vec<_> = causes
            .map(|it| format!("{} {}", it.failed, it.cause))
            .collect();
        lines.push(format!("Causes: {}.", causes.join(", ")));
    }
    lines
}

fn same_app(groups: &[Group]) -> String {
    let names = |works: bool| -> Vec<String> {
        let groups = groups.iter().filter(|it| (it.worked > 0) == works);
        groups.map(|it| escaped(&it.name).to_string()).collect()
    };
    let works = some("works with", &names(true));
    let fails = some("fails with", &names(false));
    match (works, fails) {
        (None, None) => "No other name was seen from this app on this client.".to_owned(),
        (works, fails) => {
            let both: Vec<_> = works.into_iter().chain(fails).collect();
            format!("This app on this client: {}.", both.join("; "))
        }
    }
}

fn same_name(name: &str, groups: &[Group]) -> String {
    let name = escaped(name);
    let working = groups.iter().filter(|it| it.worked > 0).count();
    let failing = groups.len() - working;
    if groups.is_empty() {
        return format!("Nobody else was seen at {name}.");
    }
    let work = counted(working, "client or app works", "clients or apps work");
    let fail = if failing == 1 { "fails" } else { "fail" };
    format!("Others at {name}: {work}, {failing} {fail}.")
}

/// Returns `works with a, b, c and 4 more`; `None` for an empty list.
fn some(verb: &str, names: &[String]) -> Option<String> {
    let (named, more) = names.split_at(names.len().min(NAMED_MAX));
    if named.is_empty() {
        return None;
    }
    let named = named.join(", ");
    Some(match more.len() {
        0 => format!("{verb} {named}"),
        more => format!("{verb} {named} and {more} more"),
    })
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
