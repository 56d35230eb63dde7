//! `cargo xtask score`: the agent's verdicts on a folder of captures beside the folder's labels.
//!
//! docs/scoring.md has the format of the labels and the rules of judgement.

pub mod agent;
pub mod cases;
pub mod compare;
pub mod controls;
pub mod goals;
pub mod judgement;
mod report;
pub mod streams;
pub mod tally;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;
use xtask::commands::{ArgMatches, value, values};

use crate::build::{Profile, build_agent};
use crate::labels::{self, Capture, Folder};

use self::agent::Agent;
use self::cases::Case;
use self::controls::{Controls, Without};
use self::goals::Goal;
use self::judgement::Leniency;
use self::streams::Streams;
use self::tally::Tally;

/// Arguments of `cargo xtask score`.
pub struct Arguments {
    folder: PathBuf,
    tlswhy: Option<PathBuf>,
    inspection_ca: Vec<String>,
    intercepted: Option<String>,
    alone: bool,
    without: Option<String>,
    compare: bool,
    json: bool,
    require_goals: bool,
}

impl Arguments {
    /// Reads them from the command line.
    #[must_use]
    pub fn of(matches: &ArgMatches) -> Self {
        let output: Option<String> = value(matches, "output");
        Self {
            folder: value(matches, "folder").unwrap_or_default(),
            tlswhy: value(matches, "tlswhy"),
            inspection_ca: values(matches, "inspection-ca"),
            intercepted: value(matches, "intercepted"),
            alone: matches.get_flag("alone"),
            without: value(matches, "without"),
            compare: matches.get_flag("compare"),
            json: output.as_deref() == Some("json"),
            require_goals: matches.get_flag("require-goals"),
        }
    }
}

/// A folder's score.
#[derive(Debug, Serialize)]
pub struct Score {
    /// Captures in the folder.
    pub captures: usize,
    /// Runs of the agent.
    pub runs: usize,
    /// Verdicts it gave, revised ones too.
    pub verdicts: usize,
    /// Verdicts on connections that nobody labelled.
    pub unlabelled: usize,
    /// The numbers.
    pub tally: Tally,
    /// The goals.
    pub goals: Vec<Goal>,
    /// Each labelled capture or connection.
    pub cases: Vec<Case>,
    /// Captures that could not be read to their end, and why.
    pub unread: Vec<String>,
    /// The refusals of groups without some of their captures, where that was asked for.
    pub controls: Option<Controls>,
    /// Other ways on the same labels, where that was asked for.
    pub comparison: Vec<compare::Row>,
}

/// Scores a folder and prints the score.
///
/// # Errors
/// If labels or captures cannot be read, or goals are required and not met.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let folder = Folder::read(&arguments.folder)?;
    let path = match &arguments.tlswhy {
        Some(path) => path.clone(),
        None => build_agent(Profile::Release)?,
    };
    let agent = Agent {
        path,
        inspection_ca: arguments.inspection_ca.clone(),
        intercepted: arguments.intercepted.clone(),
    };
    let read = Read::new(&folder)?;
    let mut score = match &arguments.without {
        Some(word) => controls::score(&folder, &read, &agent, Without::parse(word)?)?,
        None => score(&folder, &read, &agent, arguments.alone)?,
    };
    if arguments.compare {
        score.comparison = compare::compare(&folder, &read.streams, &score.cases)?;
    }
    if arguments.json {
        println!("{}", serde_json::to_string(&score)?);
    } else {
        print!("{score}");
        if arguments.compare {
            print!("\n{}", compare::Markdown(&score.comparison));
        }
    }
    if !score.unread.is_empty() {
        bail!(
            "not every capture was read to its end: {}",
            score.unread.join("; ")
        );
    }
    let missed = score.goals.iter().filter(|goal| goal.met != Some(true));
    let missed = missed.count();
    if arguments.require_goals && missed > 0 {
        bail!("{missed} goals are not met, or not shown by any case");
    }
    Ok(())
}

/// The folder's captures, their connections numbered.
#[derive(Debug)]
pub struct Read {
    streams: Vec<Streams>,
    unread: Vec<String>,
}

impl Read {
    /// Reads every capture.
    ///
    /// # Errors
    /// If a label is about a connection that its capture doesn't have.
    pub fn new(folder: &Folder) -> anyhow::Result<Self> {
        let mut read = Self {
            streams: Vec::new(),
            unread: Vec::new(),
        };
        for capture in &folder.captures {
            let (streams, result) = Streams::read(&capture.path);
            let damage = result.err().map(|error| format!("{error:#}"));
            let numbers = capture.connections.iter().map(|(stream, _)| *stream);
            if let Some(last) = numbers.max()
                && usize::try_from(last).is_ok_and(|last| last >= streams.all.len())
            {
                bail!(
                    "{}: `{}` has no stream {last}, only {}, numbered from 0{}",
                    labels::CONNECTIONS,
                    capture.file,
                    streams.all.len(),
                    damage.map_or_else(String::new, |damage| format!("; {damage}"))
                );
            }
            read.unread.extend(damage.filter(|_| !capture.damaged));
            read.streams.push(streams);
        }
        Ok(read)
    }
}

/// Runs the agent over a folder and judges its verdicts.
///
/// # Errors
/// If the agent cannot be run or doesn't write verdicts.
pub fn score(
    folder: &Folder,
    read: &Read,
    agent: &Agent,
    ignore_groups: bool,
) -> anyhow::Result<Score> {
    let mut sum = Judged {
        unread: read.unread.clone(),
        ..Judged::default()
    };
    let runs = folder.runs(ignore_groups);
    for run in &runs {
        let mut captures = run.iter().filter_map(|index| folder.captures.get(*index));
        let grouped = captures.any(|capture| capture.group.is_some());
        let leniency = if grouped && !ignore_groups {
            Leniency::Group
        } else {
            Leniency::LoneFlow
        };
        sum.add(judge(folder, read, agent, run, leniency)?);
    }
    let tally = Tally::of(&sum.cases);
    let goals = goals::goals(&tally);
    Ok(sum.into_score(folder, runs.len(), tally, goals))
}

/// Judged runs.
#[derive(Debug, Default)]
struct Judged {
    cases: Vec<Case>,
    verdicts: usize,
    unlabelled: usize,
    unread: Vec<String>,
}

impl Judged {
    fn add(&mut self, run: Self) {
        self.cases.extend(run.cases);
        self.verdicts += run.verdicts;
        self.unlabelled += run.unlabelled;
        self.unread.extend(run.unread);
    }

    fn into_score(self, folder: &Folder, runs: usize, tally: Tally, goals: Vec<Goal>) -> Score {
        Score {
            captures: folder.captures.len(),
            runs,
            verdicts: self.verdicts,
            unlabelled: self.unlabelled,
            tally,
            goals,
            cases: self.cases,
            unread: self.unread,
            controls: None,
            comparison: Vec::new(),
        }
    }
}

/// Runs the agent over some captures together, named by their places in the folder, and judges its
/// verdicts.
fn judge(
    folder: &Folder,
    read: &Read,
    agent: &Agent,
    run: &[usize],
    leniency: Leniency,
) -> anyhow::Result<Judged> {
    let members: Vec<(&Capture, &Streams)> = run
        .iter()
        .filter_map(|index| Some((folder.captures.get(*index)?, read.streams.get(*index)?)))
        .collect();
    let paths: Vec<&Path> = members.iter().map(|(one, _)| one.path.as_path()).collect();
    let said = agent.run(&paths, &inspection_cas(folder, &members));
    let said = said.with_context(|| named(&members))?;
    let verdicts = said.verdicts.len();
    let judged = cases::judge(&members, cases::place(said.verdicts, &members), leniency);
    Ok(Judged {
        cases: judged.cases,
        verdicts,
        unlabelled: judged.unlabelled.len(),
        unread: Vec::from_iter(unread_by_agent(&members, said.failure)),
    })
}

fn named(members: &[(&Capture, &Streams)]) -> String {
    let names: Vec<_> = members.iter().map(|(one, _)| one.file.as_str()).collect();
    names.join(", ")
}

/// Returns the captures that the agent could not read. It has to complain of a damaged one.
fn unread_by_agent(members: &[(&Capture, &Streams)], failure: Option<String>) -> Option<String> {
    let damaged = members.iter().any(|(capture, _)| capture.damaged);
    match failure {
        Some(_) if damaged => None,
        None if damaged => Some(format!(
            "{}: damaged, and the agent didn't say so",
            named(members)
        )),
        Some(failure) => Some(format!(
            "{}: {}",
            named(members),
            failure.replace('\n', "; ")
        )),
        None => None,
    }
}

/// Returns the inspection CAs that labels name: files of the folder, or certificates' names.
fn inspection_cas(folder: &Folder, members: &[(&Capture, &Streams)]) -> Vec<OsString> {
    let mut names = Vec::new();
    for (capture, _) in members {
        let Some(name) = &capture.inspection_ca else {
            continue;
        };
        let file = folder.path.join(name);
        let name = if file.is_file() {
            file.into_os_string()
        } else {
            OsString::from(name)
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
