//! Other methods of telling why a connection failed, on the same labels.

pub mod alerts;
pub mod interceptor_logs;
pub mod tshark;
pub mod used_rule;

use std::fmt;

use serde::Serialize;

use super::cases::Case;
use super::judgement::{Judgement, Leniency, is_failure, judge};
use super::streams::Streams;
use super::tally::Share;
use crate::labels::Cause;
use crate::labels::Folder;

/// A method and its results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its name.
    pub method: String,
    /// Labelled failures that it was asked about.
    pub failures: usize,
    /// It names the cause, or rejection where that is pinning or a missing CA.
    pub right: usize,
    /// Of these, those it left open: rejected, but pinning or a missing CA?
    pub open: usize,
    /// It names another cause.
    pub wrong: usize,
    /// It says nothing.
    pub silent: usize,
    /// Successes that it was asked about, and of these those it calls failures.
    pub successes: Share,
}

/// The causes, any number, that a method names for a labelled capture or connection.
pub type Says<'a> = dyn Fn(&Case) -> Vec<Cause> + 'a;

/// Compares all methods, the agent's own first.
///
/// # Errors
/// If tshark cannot be run.
pub fn compare(folder: &Folder, streams: &[Streams], cases: &[Case]) -> anyhow::Result<Vec<Row>> {
    let dissected = tshark::dissect_all(folder)?;
    let all = |_: &Case| true;
    let mut rows = vec![
        row("tlswhy", cases, &all, &|case| {
            case.verdicts
                .iter()
                .map(|(verdict, _)| verdict.cause)
                .collect()
        }),
        row("tshark, alerts in the clear", cases, &all, &|case| {
            alerts::says(case, &dissected)
        }),
    ];
    let pinned = used_rule::pinned(folder, &dissected);
    rows.push(row("IMC 2022 rule", cases, &all, &|case| pinned.says(case)));
    rows.push(row(
        "IMC 2022 rule, given which connections are intercepted",
        cases,
        &all,
        &|case| match case.intercepted.as_deref() {
            Some("yes") => pinned.says(case),
            _ => Vec::new(),
        },
    ));
    for interceptor in interceptor_logs::interceptors(folder) {
        let through = |case: &Case| case.interceptor.as_deref() == Some(interceptor.as_str());
        let name = format!("{interceptor}'s own log, of its own connections");
        rows.push(row(&name, cases, &through, &|case| {
            interceptor_logs::says(case, &interceptor, folder, streams)
        }));
    }
    Ok(rows)
}

fn row(method: &str, cases: &[Case], asked: &dyn Fn(&Case) -> bool, says: &Says<'_>) -> Row {
    let mut row = Row {
        method: method.to_owned(),
        failures: 0,
        right: 0,
        open: 0,
        wrong: 0,
        silent: 0,
        successes: Share::default(),
    };
    for case in cases.iter().filter(|case| asked(case)) {
        let mut said = says(case);
        said.retain(|cause| is_failure(*cause));
        if is_failure(case.truth) {
            row.failure(case.truth, &said);
        } else {
            row.successes.count(!said.is_empty());
        }
    }
    row
}

impl Row {
    /// Counts a failure to every method's advantage: one right word among several is right, and so
    /// is a rejection, also where others can tell whether that is pinning.
    fn failure(&mut self, truth: Cause, said: &[Cause]) {
        self.failures += 1;
        let judgements = said
            .iter()
            .map(|cause| judge(truth, *cause, Leniency::HiddenCertificate));
        match judgements.min_by_key(|judgement| *judgement as u8) {
            None => self.silent += 1,
            Some(Judgement::Wrong) => self.wrong += 1,
            Some(judgement) => {
                self.right += 1;
                self.open += usize::from(judgement == Judgement::RightButOpen);
            }
        }
    }
}

/// Rows as a table in Markdown.
pub struct Markdown<'a>(pub &'a [Row]);

impl fmt::Display for Markdown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| method | failures | correct | of these left open | wrong | not explained | successes called failures |"
        )?;
        writeln!(f, "| --- | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        for row in self.0 {
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} | {} of {} |",
                row.method,
                row.failures,
                row.right,
                row.open,
                row.wrong,
                row.silent,
                row.successes.part,
                row.successes.whole
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_right_word_among_several_is_right() {
        let mut row = row("none", &[], &|_| true, &|_| Vec::new());
        row.failure(Cause::Pinning, &[Cause::DecryptError, Cause::Pinning]);
        row.failure(
            Cause::Pinning,
            &[Cause::DecryptError, Cause::CertificateRejected],
        );
        row.failure(Cause::Pinning, &[Cause::CaNotTrusted]);
        row.failure(Cause::ClientAuth, &[]);
        assert_eq!(
            (row.failures, row.right, row.open, row.wrong, row.silent),
            (4, 2, 1, 1, 1)
        );
    }
}
