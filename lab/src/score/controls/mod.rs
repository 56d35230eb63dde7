//! `cargo xtask score --without`: the refusals of groups, without some of the captures that were
//! recorded to tell their causes.

mod names;

use std::collections::HashMap;
use std::fmt;

use anyhow::bail;
use serde::Serialize;

use super::agent::{Agent, Verdict};
use super::cases::Case;
use super::goals::Goal;
use super::judgement::{Judgement, Leniency, is_failure, judge as judge_cause};
use super::tally::Tally;
use super::{Judged, Read, Score, judge};
use crate::labels::{Capture, Folder, PerCause, Truth};

use self::names::names;

/// Confidence from which on a wrong cause is held against the agent.
pub const TOLD: f64 = 0.7;

/// The captures of its group that a refusal is judged without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Without {
    /// Those in which another app accepts the same name.
    NameAccepted,
    /// Those of other names.
    OtherNames,
    /// All others.
    All,
}

impl Without {
    /// Each of them.
    pub const EACH: [Self; 3] = [Self::NameAccepted, Self::OtherNames, Self::All];

    /// Returns its word on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NameAccepted => "name-accepted",
            Self::OtherNames => "other-names",
            Self::All => "all",
        }
    }

    /// Parses a word.
    ///
    /// # Errors
    /// If it is none of the three.
    pub fn parse(word: &str) -> anyhow::Result<Self> {
        match Self::EACH.into_iter().find(|one| one.name() == word) {
            Some(one) => Ok(one),
            None => bail!("`{word}` is not name-accepted, other-names or all"),
        }
    }

    /// Whether a refusal is judged with another capture of its group.
    fn keeps(self, refused: &Refused<'_>, other: &Named<'_>) -> bool {
        match self {
            Self::NameAccepted => {
                let accepted = other.accepted();
                let same_app = refused.app.is_some() && refused.app == other.app();
                same_app || !refused.names.iter().any(|name| accepted.contains(name))
            }
            Self::OtherNames => refused.names.iter().any(|name| other.names.contains(name)),
            Self::All => false,
        }
    }
}

/// A capture of a group and the names of its connections.
struct Named<'a> {
    capture: &'a Capture,
    names: Vec<String>,
}

/// A refusal in a group.
struct Refused<'a> {
    stream: Option<u64>,
    app: Option<&'a str>,
    names: Vec<&'a String>,
}

impl Named<'_> {
    fn app(&self) -> Option<&str> {
        self.capture.client.as_deref()
    }

    /// Returns the labelled connections, or the capture as a whole with all of its names.
    fn labelled(&self) -> Vec<(Option<u64>, &Truth, Vec<&String>)> {
        let connections = &self.capture.connections;
        if connections.is_empty() {
            return vec![(None, &self.capture.truth, self.names.iter().collect())];
        }
        let of = |stream: u64| {
            usize::try_from(stream)
                .ok()
                .and_then(|at| self.names.get(at))
        };
        let rows = connections.iter();
        rows.map(|(stream, truth)| (Some(*stream), truth, Vec::from_iter(of(*stream))))
            .collect()
    }

    fn accepted(&self) -> Vec<&String> {
        let labelled = self.labelled().into_iter();
        let accepted = labelled.filter(|(_, truth, _)| !is_failure(truth.cause));
        accepted.flat_map(|(.., names)| names).collect()
    }

    fn refused(&self) -> Vec<Refused<'_>> {
        let labelled = self.labelled().into_iter();
        let refused = labelled.filter(|(_, truth, _)| is_failure(truth.cause));
        refused
            .map(|(stream, _, names)| Refused {
                stream,
                app: self.app(),
                names,
            })
            .collect()
    }
}

/// The outcomes of one cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcomes {
    /// The cause was told.
    pub told: usize,
    /// The verdict is `certificate-rejected`.
    pub open: usize,
    /// There was no verdict.
    pub none: usize,
    /// Another cause was told.
    pub wrong: usize,
    /// Another cause was told at 0.7 or more, also if it was revised later.
    pub wrong_told: usize,
}

/// The outcomes without some captures.
#[derive(Clone, Debug, Serialize)]
pub struct Controls {
    /// The captures left out.
    pub without: Without,
    /// By true cause.
    pub outcomes: PerCause<Outcomes>,
}

impl Controls {
    fn of(without: Without, cases: &[Case]) -> Self {
        let mut outcomes = PerCause::<Outcomes>::default();
        for case in cases {
            outcomes.entry(case.truth).count(case);
        }
        Self { without, outcomes }
    }

    /// Returns the number of refusals of which another cause was told at 0.7 or more.
    #[must_use]
    pub fn wrong_told(&self) -> usize {
        self.outcomes.iter().map(|(_, one)| one.wrong_told).sum()
    }

    fn goal(&self) -> Goal {
        let wrong = self.wrong_told();
        Goal {
            goal: format!("no wrong cause at {TOLD} or more"),
            measured: wrong.to_string(),
            met: self.outcomes.iter().next().map(|_| wrong == 0),
        }
    }
}

impl Outcomes {
    fn count(&mut self, case: &Case) {
        match (&case.verdict, case.judgement) {
            (None, _) => self.none += 1,
            (_, Judgement::Right) => self.told += 1,
            (_, Judgement::RightButOpen) => self.open += 1,
            (_, Judgement::Wrong) => self.wrong += 1,
        }
        let is_wrong = |verdict: &Verdict| {
            let leniency = Leniency::LoneFlow.of(verdict);
            verdict.confidence >= TOLD
                && judge_cause(case.truth, verdict.cause, leniency) == Judgement::Wrong
        };
        let last = case.verdicts.iter().map(|(verdict, _)| verdict);
        let any = last.chain(&case.superseded).any(is_wrong);
        self.wrong_told += usize::from(any);
    }
}

impl fmt::Display for Controls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = format!("without {}", self.without.name());
        writeln!(
            f,
            "{head:24}{:>7}{:>7}{:>7}{:>7}{:>20}",
            "told", "open", "none", "wrong", "wrong, 0.7 or more"
        )?;
        for (cause, one) in self.outcomes.iter() {
            writeln!(
                f,
                "{cause:24}{:7}{:7}{:7}{:7}{:20}",
                one.told, one.open, one.none, one.wrong, one.wrong_told
            )?;
        }
        Ok(())
    }
}

/// Judges each refusal of a group without some of the group's captures. Other captures are not
/// judged.
///
/// # Errors
/// If the agent cannot be run or doesn't write verdicts.
pub fn score(
    folder: &Folder,
    read: &Read,
    agent: &Agent,
    without: Without,
) -> anyhow::Result<Score> {
    let mut sum = Judged {
        unread: read.unread.clone(),
        ..Judged::default()
    };
    let mut cases = Vec::new();
    let mut runs: HashMap<Vec<usize>, Vec<Case>> = HashMap::new();
    for group in groups(folder) {
        for (index, refused, run) in runs_of(&group, without) {
            if !runs.contains_key(&run) {
                let mut judged = judge(folder, read, agent, &run, Leniency::LoneFlow)?;
                runs.insert(run.clone(), std::mem::take(&mut judged.cases));
                sum.add(judged);
            }
            let file = folder.captures.get(index).map(|capture| &capture.file);
            let mut judged = runs.get(&run).into_iter().flatten();
            let case =
                judged.find(|case| Some(&case.file) == file && case.stream == refused.stream);
            cases.extend(case.cloned());
        }
    }
    let controls = Controls::of(without, &cases);
    let goals = vec![controls.goal()];
    let tally = Tally::of(&cases);
    sum.cases = cases;
    let score = sum.into_score(folder, runs.len(), tally, goals);
    Ok(Score {
        controls: Some(controls),
        ..score
    })
}

/// Returns the groups' captures, named, with their places in the folder.
fn groups(folder: &Folder) -> Vec<Vec<(usize, Named<'_>)>> {
    let member = |index: usize| {
        let capture = folder.captures.get(index)?;
        capture.group.as_ref()?;
        let names = names(capture);
        Some((index, Named { capture, names }))
    };
    let runs = folder.runs(false).into_iter();
    runs.map(|run| run.into_iter().filter_map(member).collect())
        .collect()
}

/// Returns a group's refusals, each with the place of its capture and the captures it is judged
/// with, itself included.
fn runs_of<'a>(
    group: &'a [(usize, Named<'_>)],
    without: Without,
) -> Vec<(usize, Refused<'a>, Vec<usize>)> {
    let mut runs = Vec::new();
    for (index, named) in group {
        for refused in named.refused() {
            let kept = group
                .iter()
                .filter(|(other, it)| other == index || without.keeps(&refused, it));
            let run = kept.map(|(place, _)| *place).collect();
            runs.push((*index, refused, run));
        }
    }
    runs
}

#[cfg(test)]
mod tests;
