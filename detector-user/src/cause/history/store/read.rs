//! Reading the history's files at the start.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::line::{Header, Line};
use crate::verdict::counted;

/// The contents of the history's files.
#[derive(Debug, Default)]
pub(in crate::cause::history) struct Kept {
    pub(in crate::cause::history) lines: Vec<Line>,
    /// Warnings for the operator.
    pub(in crate::cause::history) warnings: Vec<String>,
}

/// Reads one file. Damaged lines are left out, and a file of another version is set aside.
pub(super) fn read(path: &Path, since_s: u64, kept: &mut Kept) {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            let warning = format!("cannot read {}: {error}", path.display());
            kept.warnings.push(warning);
            return;
        }
    };
    let mut lines = BufReader::new(file).split(b'\n').map_while(Result::ok);
    let is_ours = lines.next().is_some_and(|line| {
        serde_json::from_slice::<Header>(&line).is_ok_and(|header| header == Header::ours())
    });
    if !is_ours {
        set_aside(path, kept);
        return;
    }
    let mut damaged = 0;
    for line in lines {
        match serde_json::from_slice::<Line>(&line) {
            Ok(line) if line.time_s() >= since_s => kept.lines.push(line),
            Ok(_) => {}
            Err(_) => damaged += 1,
        }
    }
    if damaged > 0 {
        let damaged = counted(damaged, "damaged line", "damaged lines");
        let warning = format!("{}: {damaged} left out", path.display());
        kept.warnings.push(warning);
    }
}

fn set_aside(path: &Path, kept: &mut Kept) {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".unreadable");
    let aside = PathBuf::from(aside);
    let outcome = match fs::rename(path, &aside) {
        Ok(()) => format!("set aside as {}", aside.display()),
        Err(error) => format!("cannot be set aside: {error}"),
    };
    let warning = format!(
        "{} is damaged or of another version: {outcome}; the history starts empty",
        path.display()
    );
    kept.warnings.push(warning);
}

/// Keeps the latest of lines that differ only in their times, in the order of those.
pub(super) fn keep_latest(lines: &mut Vec<Line>) {
    let mut latest: HashMap<String, Line> = HashMap::new();
    for line in lines.drain(..) {
        let key = match &line {
            Line::Fact { fact, intercepted } => format!("{intercepted} {:?}", fact.at(0)),
            Line::Origin { host, .. } => format!("origin {host}"),
            Line::Taken { subject, .. } => format!("taken {subject}"),
            Line::Recognized { mark, .. } => format!("{mark:?}"),
        };
        let known = latest.entry(key).or_insert(line);
        if line.time_s() >= known.time_s() {
            *known = line;
        }
    }
    lines.extend(latest.into_values());
    lines.sort_by_key(Line::time_s);
}
