//! `tlswhy detach`: detaches the programs that `tlswhy run` left on interfaces.

use super::show;
use crate::operate::cli::{DetachArgs, EXIT_DONE};
use crate::source::tap::TapError;
use crate::source::tap::clsact::remove_abandoned;
use crate::source::tap::pins::lock_if_there;

/// Removes every pin, which detaches the programs, and filters that no agent owns any more.
///
/// # Errors
/// If an agent uses the pins, or a pin or filter cannot be removed.
pub fn run(arguments: &DetachArgs) -> anyhow::Result<u8> {
    // A running agent holds its programs, and would see nothing without its pins.
    let root = match lock_if_there(&arguments.pins) {
        Err(TapError::PinsTaken { directory }) => {
            return Err(TapError::PinsInUse { directory }.into());
        }
        root => root?,
    };
    let links = root.map_or(Ok(0), |root| root.remove_all())?;
    let detached = links + remove_abandoned()?;
    let directory = arguments.pins.display();
    let message = match detached {
        0 => format!("no programs were attached from {directory}\n"),
        1 => "detached 1 program from its interface\n".to_owned(),
        _ => format!("detached {detached} programs from their interfaces\n"),
    };
    show(&message)?;
    Ok(EXIT_DONE)
}
