//! The score as people read it.

use std::fmt::{self, Write};

use super::Score;
use super::agent::Verdict;
use super::cases::Case;
use super::tally::{Agreement, Share, Tally};
use crate::labels::Cause;

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        totals(f, self)?;
        matrix(f, &self.tally)?;
        causes(f, &self.tally)?;
        calibration(f, &self.tally)?;
        errors_that_cost(f, &self.tally)?;
        fields(f, &self.tally)?;
        if let Some(controls) = &self.controls {
            write!(f, "\n{controls}")?;
        }
        wrong(f, &self.cases)?;
        goals(f, self)?;
        trouble(f, self)
    }
}

/// `97.1 %`, or a dash of nothing.
struct Percent(Share);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.ratio() {
            Some(ratio) => f.pad(&format!("{:.1} %", ratio * 100.0)),
            None => f.pad("-"),
        }
    }
}

fn totals(f: &mut fmt::Formatter<'_>, score: &Score) -> fmt::Result {
    let tally = &score.tally;
    writeln!(
        f,
        "{} captures in {} runs, {} labelled cases, {} verdicts",
        score.captures, score.runs, tally.right.whole, score.verdicts
    )?;
    writeln!(
        f,
        "right {} of {} ({}), {} of them open (rejected: pinning or a missing CA), {} wrong, {} additional wrong verdicts",
        tally.right.part,
        tally.right.whole,
        Percent(tally.right),
        tally.open,
        tally.right.whole - tally.right.part,
        tally.extra
    )?;
    if score.unlabelled > 0 {
        writeln!(
            f,
            "not scored: {} verdicts on connections without a label",
            score.unlabelled
        )?;
    }
    Ok(())
}

/// Returns the head of a column: as much of the cause's name as tells it from all others.
fn short(cause: Cause) -> &'static str {
    const LETTERS: usize = 4;
    cause.name().get(..LETTERS).unwrap_or(cause.name())
}

fn matrix(f: &mut fmt::Formatter<'_>, tally: &Tally) -> fmt::Result {
    let said = |cause: &Cause| {
        let mut rows = tally.matrix.iter();
        rows.any(|(_, row)| row.get(*cause).is_some())
    };
    let columns: Vec<Cause> = Cause::ALL.into_iter().filter(said).collect();
    write!(
        f,
        "\nconfusion: truth in rows, verdicts in columns\n{:29}",
        ""
    )?;
    for cause in &columns {
        write!(f, "{:>5}", short(*cause))?;
    }
    writeln!(f)?;
    for (truth, row) in tally.matrix.iter() {
        write!(f, "{:>5}  {truth:22}", short(truth))?;
        for said in &columns {
            match row.get(*said) {
                Some(count) => write!(f, "{count:5}")?,
                None => write!(f, "{:>5}", "·")?,
            }
        }
        writeln!(f)?;
    }
    Ok(())
}

fn causes(f: &mut fmt::Formatter<'_>, tally: &Tally) -> fmt::Result {
    writeln!(
        f,
        "\n{:24}{:>7}{:>7}{:>7}{:>9}{:>10}{:>11}",
        "cause", "cases", "told", "open", "recall", "verdicts", "precision"
    )?;
    for (cause, one) in tally.causes.iter() {
        writeln!(
            f,
            "{cause:24}{:7}{:7}{:7}{:>9}{:10}{:>11}",
            one.recall.whole,
            one.recall.part,
            one.open,
            Percent(one.recall),
            one.precision.whole,
            Percent(one.precision)
        )?;
    }
    Ok(())
}

fn calibration(f: &mut fmt::Formatter<'_>, tally: &Tally) -> fmt::Result {
    writeln!(
        f,
        "\n{:16}{:>9}{:>7}{:>9}",
        "confidence", "verdicts", "right", "share"
    )?;
    for bin in &tally.calibration {
        writeln!(
            f,
            "{:16}{:9}{:7}{:>9}",
            format!("{:.2} to {:.2}", bin.from, bin.to),
            bin.right.whole,
            bin.right.part,
            Percent(bin.right)
        )?;
    }
    Ok(())
}

fn errors_that_cost(f: &mut fmt::Formatter<'_>, tally: &Tally) -> fmt::Result {
    let line = |f: &mut fmt::Formatter<'_>, what: &str, share: Share| {
        writeln!(
            f,
            "{what:34}{:4} of {:<5}{}",
            share.part,
            share.whole,
            Percent(share)
        )
    };
    writeln!(f)?;
    line(f, "successes called failures", tally.successes_failed)?;
    line(f, "injected resets told", tally.injected_told)?;
    line(f, "honest resets called injected", tally.honest_injected)?;
    writeln!(
        f,
        "{:34}{:4}",
        "false pinning at 0.8 or more",
        tally.false_pinning.len()
    )?;
    for one in &tally.false_pinning {
        writeln!(
            f,
            "  {}: truth {}, confidence {:.2}{}",
            place(&one.file, one.stream),
            one.truth,
            one.confidence,
            if one.superseded {
                ", revised later"
            } else {
                ""
            }
        )?;
    }
    Ok(())
}

fn fields(f: &mut fmt::Formatter<'_>, tally: &Tally) -> fmt::Result {
    let line = |f: &mut fmt::Formatter<'_>, what: &str, one: Agreement| {
        writeln!(
            f,
            "{what:14}as labelled {:4}, unknown {:4}, otherwise {:4}",
            one.same, one.unknown, one.other
        )
    };
    writeln!(f)?;
    line(f, "intercepted", tally.intercepted)?;
    line(f, "ended_by", tally.ended_by)
}

fn place(file: &str, stream: Option<u64>) -> String {
    stream.map_or_else(
        || file.to_owned(),
        |stream| format!("{file} stream {stream}"),
    )
}

fn wrong(f: &mut fmt::Formatter<'_>, cases: &[Case]) -> fmt::Result {
    let mut text = String::new();
    for case in cases {
        wrong_case(&mut text, case)?;
    }
    if !text.is_empty() {
        write!(f, "\nwrong:\n{text}")?;
    }
    Ok(())
}

fn wrong_case(text: &mut String, case: &Case) -> fmt::Result {
    let place = place(&case.file, case.stream);
    if !case.judgement.is_right() {
        match &case.verdict {
            Some(verdict) => wrong_verdict(text, &place, case.truth, verdict, "verdict")?,
            None => writeln!(text, "{place}: truth {}, no verdict", case.truth)?,
        }
        if let Some(note) = &case.note {
            writeln!(text, "  note      {note}")?;
        }
    }
    for verdict in &case.extra {
        wrong_verdict(text, &place, case.truth, verdict, "additional verdict")?;
    }
    Ok(())
}

fn wrong_verdict(
    text: &mut String,
    place: &str,
    truth: Cause,
    verdict: &Verdict,
    kind: &str,
) -> fmt::Result {
    writeln!(
        text,
        "{place}: truth {truth}, {kind} {} {:.2} ({} → {})",
        verdict.cause,
        verdict.confidence,
        verdict.client,
        verdict
            .sni
            .clone()
            .unwrap_or_else(|| verdict.server.to_string())
    )?;
    for one in &verdict.evidence {
        writeln!(
            text,
            "  evidence  {:+} {}: {}",
            one.weight, one.name, one.detail
        )?;
    }
    Ok(())
}

fn goals(f: &mut fmt::Formatter<'_>, score: &Score) -> fmt::Result {
    writeln!(f, "\ngoals:")?;
    for goal in &score.goals {
        let word = match goal.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not shown",
        };
        writeln!(f, "  {word:10}{}: {}", goal.goal, goal.measured)?;
    }
    Ok(())
}

fn trouble(f: &mut fmt::Formatter<'_>, score: &Score) -> fmt::Result {
    if score.unread.is_empty() {
        return Ok(());
    }
    writeln!(f, "\nnot read to the end:")?;
    for one in &score.unread {
        writeln!(f, "  {one}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn heads_of_columns_differ() {
        let heads: BTreeSet<&str> = Cause::ALL.into_iter().map(short).collect();
        assert_eq!(heads.len(), Cause::ALL.len());
    }
}
