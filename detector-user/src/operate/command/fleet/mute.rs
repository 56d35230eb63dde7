//! `tlswhy fleet mute` and `unmute`.

use anyhow::Context as _;

use super::configured;
use crate::fleet::mute;
use crate::operate::cli::{EXIT_DONE, FleetMuteArgs};
use crate::operate::command::show;

/// Tells the fleet that a gateway counts for nobody, or counts again.
///
/// # Errors
/// The servers cannot be reached, or do not allow it.
pub(super) fn run(arguments: &FleetMuteArgs, muted: bool) -> anyhow::Result<u8> {
    let config = configured(arguments.config.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let gateway = &arguments.gateway;
    let told = mute(&config.settings.fleet, gateway, muted);
    runtime.block_on(told).with_context(|| {
        let word = if muted { "mute" } else { "unmute" };
        format!("cannot {word} {gateway}")
    })?;
    let state = if muted {
        "counts for nobody"
    } else {
        "counts again"
    };
    show(&format!("{gateway} {state}\n"))?;
    Ok(EXIT_DONE)
}
