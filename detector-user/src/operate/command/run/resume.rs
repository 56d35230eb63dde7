//! State that an earlier agent left: facts it learned, and observations it had not judged.

use std::time::{SystemTime, UNIX_EPOCH};

use tracing::{info, warn};

use crate::operate::config::Settings;
use crate::operate::pipeline::Pipeline;
use crate::outlet::message_kind;
use crate::source::tap::carry::Carry;
use crate::source::tap::rings::Rings;

/// Loads the facts that were learned before, and warns of damage.
pub(super) fn keep_history(settings: &Settings, pipeline: &mut Pipeline) {
    let Some(directory) = &settings.state_directory else {
        return;
    };
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = since_epoch.map_or(0, |time| time.as_secs());
    let remembered = pipeline.keep_history(directory, settings.retention, now_s);
    for warning in &remembered.warnings {
        warn!(target: message_kind::STATE_UNUSABLE, "{warning}");
    }
    if remembered.facts > 0 {
        info!("loaded {} learned facts", remembered.facts);
    }
}

/// Replays the observations that an earlier agent had read and not judged, and records new ones for
/// the next agent. Returns whether they are recorded.
pub(super) fn carry_over(settings: &Settings, rings: &mut Rings, pipeline: &mut Pipeline) -> bool {
    let Some(directory) = &settings.runtime_directory else {
        return false;
    };
    let (carry, carried) = match Carry::open(directory) {
        Ok(opened) => opened,
        Err(error) => {
            warn!(target: message_kind::STATE_UNUSABLE, "{error}");
            return false;
        }
    };
    if !carried.is_empty() {
        let observations = rings.replay(&carried, pipeline);
        if observations > 0 {
            info!("replayed {observations} observations of an earlier agent");
        }
    }
    rings.carry_in(carry);
    true
}
