//! `tlswhy detach`: takes away what `tlswhy run` pinned.

use super::show;
use crate::cli::{DetachArgs, EXIT_DONE};
use crate::tap::pins::remove_all;

/// Removes every pin; programs that nothing else holds go with them.
///
/// # Errors
/// If something cannot be removed.
pub fn run(arguments: &DetachArgs) -> anyhow::Result<u8> {
    let links = remove_all(&arguments.pins)?;
    let directory = arguments.pins.display();
    let said = match links {
        0 => format!("nothing was attached from {directory}\n"),
        1 => "took 1 program off its interface\n".to_owned(),
        _ => format!("took {links} programs off their interfaces\n"),
    };
    show(&said)?;
    Ok(EXIT_DONE)
}
