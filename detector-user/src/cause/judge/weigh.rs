//! Weights of findings, added up per cause.

use crate::cause::judge::rules::Finding;
use crate::verdict::Cause;

/// Upper bound of every confidence: there is always something that was not seen.
const CONFIDENCE_MAX: f64 = 0.98;

fn total(findings: &[Finding<'_>], cause: Cause) -> f64 {
    findings
        .iter()
        .filter(|finding| finding.cause == cause)
        .map(|finding| finding.weight)
        .sum()
}

/// Returns a cause's odds against all others and against none, 0 to 1.
pub(super) fn share(findings: &[Finding<'_>], cause: Cause) -> f64 {
    let own = total(findings, cause);
    if own <= 0.0 {
        return 0.0;
    }
    let all: f64 = Cause::ALL
        .into_iter()
        .map(|cause| total(findings, cause))
        .filter(|total| *total > 0.0)
        .map(f64::exp)
        .sum();
    own.exp() / (all + 1.0)
}

/// Returns the heaviest cause and its confidence; `None` if nothing speaks for any.
pub(super) fn heaviest(findings: &[Finding<'_>]) -> Option<(Cause, f64)> {
    let best = Cause::ALL
        .into_iter()
        .max_by(|a, b| total(findings, *a).total_cmp(&total(findings, *b)))?;
    let share = share(findings, best);
    (share > 0.0).then(|| (best, share.min(CONFIDENCE_MAX)))
}
