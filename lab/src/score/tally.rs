//! The numbers drawn from judged cases.

use serde::Serialize;

use super::agent::Verdict;
use super::cases::Case;
use super::judgement::{Judgement, is_failure};
use crate::labels::{Cause, PerCause};

/// Lower bounds of the confidences that are counted together.
const BINS: [f64; 6] = [0.0, 0.5, 0.7, 0.8, 0.9, 0.95];
/// From here on a wrong `pinning` would be acted on.
const SURE: f64 = 0.8;

/// A share of a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The part.
    pub part: usize,
    /// The whole.
    pub whole: usize,
}

impl Share {
    /// Counts one more.
    pub fn count(&mut self, is_part: bool) {
        self.whole += 1;
        self.part += usize::from(is_part);
    }

    /// Returns 0 to 1; `None` of nothing.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of captures are small")]
    pub fn ratio(self) -> Option<f64> {
        (self.whole > 0).then(|| self.part as f64 / self.whole as f64)
    }
}

/// The figures of one cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OfCause {
    /// Cases where it is true, and of these those that were told, open ones too.
    pub recall: Share,
    /// Of those that were told, how many were left open.
    pub open: usize,
    /// Verdicts that name it, and of these the right ones.
    pub precision: Share,
}

/// Verdicts of like confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// From this confidence on.
    pub from: f64,
    /// Below this one; the last bin includes it.
    pub to: f64,
    /// Verdicts, and of these the right ones.
    pub right: Share,
}

/// The agreement of a verdict's field with the label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Agreement {
    /// The same.
    pub same: usize,
    /// The verdict says `unknown`.
    pub unknown: usize,
    /// Something else.
    pub other: usize,
}

/// A `pinning` that would make a hole in a policy.
#[derive(Clone, Debug, Serialize)]
pub struct FalsePinning {
    /// The capture.
    pub file: String,
    /// The connection.
    pub stream: Option<u64>,
    /// The truth.
    pub truth: Cause,
    /// The verdict's confidence at the time.
    pub confidence: f64,
    /// It was revised later.
    pub superseded: bool,
}

/// All numbers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    /// Labelled captures and connections, and of these those told rightly.
    pub right: Share,
    /// Of the right ones, those that left a question open that a lone flow cannot answer.
    pub open: usize,
    /// Wrong verdicts beside the one that counts.
    pub extra: usize,
    /// Truth, then verdict, then their number.
    pub matrix: PerCause<PerCause<usize>>,
    /// By cause.
    pub causes: PerCause<OfCause>,
    /// By confidence.
    pub calibration: Vec<Bin>,
    /// Successes, and of these those called failures.
    pub successes_failed: Share,
    /// Injected resets, and of these those told.
    pub injected_told: Share,
    /// Cases whose packets show a reset that decided nothing or was honest, and of these those
    /// called injected.
    pub honest_injected: Share,
    /// `pinning` from confidence 0.8 on where something else is true, revised ones too.
    pub false_pinning: Vec<FalsePinning>,
    /// By the verdicts of cases where that is labelled.
    pub intercepted: Agreement,
    /// By the verdicts of cases where that is labelled.
    pub ended_by: Agreement,
}

impl Tally {
    /// Counts.
    #[must_use]
    pub fn of(cases: &[Case]) -> Self {
        let mut tally = Self {
            calibration: bins(),
            ..Self::default()
        };
        for case in cases {
            tally.count(case);
            tally.count_resets(case);
            tally.count_verdicts(case);
            tally.find_false_pinning(case);
            tally.compare_fields(case);
        }
        tally
    }

    /// Returns the figures of one cause; zeros where it never occurs.
    #[must_use]
    pub fn of_cause(&self, cause: Cause) -> OfCause {
        self.causes.get(cause).copied().unwrap_or_default()
    }

    fn count(&mut self, case: &Case) {
        let open = case.judgement == Judgement::RightButOpen;
        self.right.count(case.judgement.is_right());
        self.open += usize::from(open);
        self.extra += case.extra.len();
        *self.matrix.entry(case.truth).entry(case.said) += 1;
        let of_cause = self.causes.entry(case.truth);
        of_cause.recall.count(case.judgement.is_right());
        of_cause.open += usize::from(open);
        if case.verdict.is_none() {
            let silence = self.causes.entry(Cause::Established);
            silence.precision.count(!is_failure(case.truth));
        }
        if !is_failure(case.truth) {
            self.successes_failed.count(is_failure(case.said));
        }
    }

    fn count_resets(&mut self, case: &Case) {
        let said_injected = case
            .verdicts
            .iter()
            .any(|(verdict, _)| verdict.cause == Cause::InjectedReset);
        if case.truth == Cause::InjectedReset {
            self.injected_told.count(case.judgement.is_right());
        } else if case.was_reset || said_injected {
            self.honest_injected.count(said_injected);
        }
    }

    fn count_verdicts(&mut self, case: &Case) {
        for (verdict, judgement) in &case.verdicts {
            let of_cause = self.causes.entry(verdict.cause);
            of_cause.precision.count(judgement.is_right());
            let mut bins = self.calibration.iter_mut().rev();
            if let Some(bin) = bins.find(|bin| verdict.confidence >= bin.from) {
                bin.right.count(judgement.is_right());
            }
        }
    }

    fn find_false_pinning(&mut self, case: &Case) {
        let wrong = |verdict: &Verdict| {
            verdict.cause == Cause::Pinning
                && verdict.confidence >= SURE
                && case.truth != Cause::Pinning
        };
        let last = case.verdicts.iter().map(|(verdict, _)| (verdict, false));
        let earlier = case.superseded.iter().map(|verdict| (verdict, true));
        for (verdict, superseded) in last.chain(earlier) {
            if wrong(verdict) {
                self.false_pinning.push(FalsePinning {
                    file: case.file.clone(),
                    stream: case.stream,
                    truth: case.truth,
                    confidence: verdict.confidence,
                    superseded,
                });
            }
        }
    }

    fn compare_fields(&mut self, case: &Case) {
        let Some(verdict) = &case.verdict else {
            return;
        };
        self.intercepted
            .count(case.intercepted.as_deref(), &verdict.intercepted);
        self.ended_by
            .count(case.ended_by.as_deref(), &verdict.ended_by);
    }
}

impl Agreement {
    fn count(&mut self, label: Option<&str>, said: &str) {
        match label {
            None => {}
            Some(label) if label == said => self.same += 1,
            Some(_) if said == "unknown" => self.unknown += 1,
            Some(_) => self.other += 1,
        }
    }
}

fn bins() -> Vec<Bin> {
    let ends = BINS.iter().skip(1).copied().chain([1.0]);
    BINS.iter()
        .zip(ends)
        .map(|(from, to)| Bin {
            from: *from,
            to,
            right: Share::default(),
        })
        .collect()
}
