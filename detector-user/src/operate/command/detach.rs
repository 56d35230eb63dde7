//! `tlswhy detach`: takes away what `tlswhy run` left on interfaces.

use super::show;
use crate::operate::cli::{DetachArgs, EXIT_DONE};
use crate::source::tap::TapError;
use crate::source::tap::clsact::remove_abandoned;
use crate::source::tap::pins::lock_if_there;

/// Removes every pin, which takes programs off, and filters that nobody answers for.
///
/// # Errors
/// If an agent uses the pins, or something cannot be removed.
pub fn run(arguments: &DetachArgs) -> anyhow::Result<u8> {
    // An agent that runs holds its programs, and would be deaf without its pins.
    let root = match lock_if_there(&arguments.pins) {
        Err(TapError::PinsTaken { directory }) => {
            return Err(TapError::PinsInUse { directory }.into());
        }
        root => root?,
    };
    let links = root.map_or(Ok(0), |root| root.remove_all())?;
    let taken = links + remove_abandoned()?;
    let directory = arguments.pins.display();
    let said = match taken {
        0 => format!("nothing was attached from {directory}\n"),
        1 => "took 1 program off its interface\n".to_owned(),
        _ => format!("took {taken} programs off their interfaces\n"),
    };
    show(&said)?;
    Ok(EXIT_DONE)
}
