//! The goals of the agent on a corpus.

use serde::Serialize;

use super::tally::{Share, Tally};
use crate::labels::Cause;

/// One thing to reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Goal {
    /// The demand, in words.
    pub goal: String,
    /// The measured figure, for people.
    pub measured: String,
    /// `None` where no case shows it.
    pub met: Option<bool>,
}

/// Causes of which at least 97 % have to be told.
const TOLD: [Cause; 6] = [
    Cause::Pinning,
    Cause::CaNotTrusted,
    Cause::UnsupportedParameters,
    Cause::ClientAuth,
    Cause::ServerCertInvalid,
    Cause::DecryptError,
];

/// Returns all goals and whether they are met.
#[must_use]
pub fn goals(tally: &Tally) -> Vec<Goal> {
    let false_pinning = tally.false_pinning.len();
    let mut goals = vec![Goal {
        goal: "no pinning at 0.8 or more where it isn't".to_owned(),
        measured: false_pinning.to_string(),
        met: (tally.right.whole > 0).then_some(false_pinning == 0),
    }];
    for cause in TOLD {
        let share = tally.of_cause(cause).recall;
        goals.push(at_least(&format!("recall of {cause}"), share, 97.0));
    }
    let told = tally.injected_told;
    goals.push(at_least("recall of injected-reset", told, 95.0));
    let honest = tally.honest_injected;
    goals.push(at_most("honest resets called injected", honest, 0.5));
    let failed = tally.successes_failed;
    goals.push(at_most("successes called failures", failed, 0.0));
    let mut sure = Share::default();
    for bin in tally.calibration.iter().filter(|bin| bin.from >= 0.9) {
        sure.part += bin.right.part;
        sure.whole += bin.right.whole;
    }
    goals.push(at_least(
        "verdicts at 0.9 or more that are right",
        sure,
        90.0,
    ));
    goals
}

fn at_least(what: &str, share: Share, percent: f64) -> Goal {
    Goal {
        goal: format!("{what} at least {percent} %"),
        measured: measured(share),
        met: share.ratio().map(|ratio| ratio * 100.0 >= percent),
    }
}

fn at_most(what: &str, share: Share, percent: f64) -> Goal {
    Goal {
        goal: format!("{what} at most {percent} %"),
        measured: measured(share),
        met: share.ratio().map(|ratio| ratio * 100.0 <= percent),
    }
}

fn measured(share: Share) -> String {
    share.ratio().map_or_else(
        || "no case".to_owned(),
        |ratio| format!("{} of {} ({:.1} %)", share.part, share.whole, ratio * 100.0),
    )
}
