//! Number of groups told rightly, by the number of connections that the site had seen.

use std::fmt;

use detector_user::verdict::Cause;

/// Width of a bin of confidences.
const BINS: usize = 10;

/// Groups at one point of the curve.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// All groups, and those whose interception is known.
    pub groups: usize,
    /// Told rightly, wrongly, left open.
    pub right: usize,
    /// Told with another cause.
    pub wrong: usize,
    /// Pinned in truth, and those told so.
    pub pinned: (usize, usize),
    /// Lacking the CA in truth, and those told so.
    pub lacking: (usize, usize),
    /// A bad certificate in truth, and those told so.
    pub bad: (usize, usize),
    /// Called pinning at 0.8 or more, and wrongly.
    pub false_pinning: usize,
    /// Most verdicts on one connection.
    pub verdicts_most: usize,
    /// Told, sum of confidences, and right ones, by confidence.
    bins: [(usize, f64, usize); BINS],
}

impl Tally {
    /// Counts a group: its truth, and the word on it.
    pub fn count(&mut self, truth: (Cause, Option<Cause>), said: Option<(Cause, f64)>) {
        self.groups += 1;
        let is_true = |cause: Cause| truth.0 == cause || truth.1 == Some(cause);
        let told = said.filter(|(cause, _)| {
            matches!(
                cause,
                Cause::Pinning | Cause::CaNotTrusted | Cause::ServerCertInvalid
            )
        });
        let right = told.is_some_and(|(cause, _)| is_true(cause));
        let of_truth = match truth.0 {
            Cause::Pinning => &mut self.pinned,
            Cause::CaNotTrusted => &mut self.lacking,
            _ => &mut self.bad,
        };
        of_truth.0 += 1;
        of_truth.1 += usize::from(right);
        let Some((cause, confidence)) = told else {
            return;
        };
        self.right += usize::from(right);
        self.wrong += usize::from(!right);
        let sure = cause == Cause::Pinning && confidence >= 0.8;
        self.false_pinning += usize::from(sure && !right);
        let bin = ((confidence * BINS as f64) as usize).min(BINS - 1);
        let (count, sum, rightly) = &mut self.bins[bin];
        *count += 1;
        *sum += confidence;
        *rightly += usize::from(right);
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        self.groups += other.groups;
        self.right += other.right;
        self.wrong += other.wrong;
        self.false_pinning += other.false_pinning;
        self.verdicts_most = self.verdicts_most.max(other.verdicts_most);
        for (own, of) in [
            (&mut self.pinned, other.pinned),
            (&mut self.lacking, other.lacking),
            (&mut self.bad, other.bad),
        ] {
            own.0 += of.0;
            own.1 += of.1;
        }
        for (own, of) in self.bins.iter_mut().zip(other.bins) {
            own.0 += of.0;
            own.1 += of.1;
            own.2 += of.2;
        }
    }

    /// Returns the mean distance of confidence and the share that is right, over all told.
    #[must_use]
    pub fn calibration_error(&self) -> f64 {
        let told: usize = self.bins.iter().map(|(count, ..)| count).sum();
        let distance: f64 = self
            .bins
            .iter()
            .map(|(_, sum, right)| (sum - *right as f64).abs())
            .sum();
        distance / told.max(1) as f64
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

impl fmt::Display for Tally {
    /// Writes the columns of one row.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.groups - self.right - self.wrong;
        write!(
            f,
            "{:>8} {:>7.1} {:>7.1} {:>7.1} {:>9.1} {:>9.1} {:>9.1} {:>7.1} {:>9.1} {:>5}",
            self.groups,
            percent(self.right, self.groups),
            percent(self.wrong, self.groups),
            percent(open, self.groups),
            percent(self.pinned.1, self.pinned.0),
            percent(self.lacking.1, self.lacking.0),
            percent(self.bad.1, self.bad.0),
            100.0 * self.calibration_error(),
            1e4 * self.false_pinning as f64 / self.groups.max(1) as f64,
            self.verdicts_most,
        )
    }
}
