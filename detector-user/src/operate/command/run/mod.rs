//! `tlswhy run`: taps interfaces and streams verdicts.

mod calendar;
mod catch_up;
mod endpoint;
mod housekeeping;
mod metrics;
mod reload;
mod resume;
mod served;
mod setup;
mod signals;
mod sizes;
mod status;

mod taps;
mod wakeups;
mod watch;

use anyhow::Context;
use tracing::warn;

use super::messages;
use super::show;
use crate::fleet::Fleet;
use crate::host::namespace;
use crate::host::privileges::keep_for_tapping;
use crate::operate::cli::{EXIT_DONE, RunArgs};
use crate::operate::config::{Config, Settings};
use crate::outlet::database::Acceptances;
use crate::outlet::message_kind;
use crate::outlet::sink::Sinks;
use crate::source::tap::object::lift_memory_limit;
pub(super) use served::Served;
use setup::sink_options;
pub(super) use signals::Signals;
use watch::Watch;

/// Watches interfaces until a signal.
///
/// # Errors
/// If the configuration is invalid, no interface can be tapped or an output cannot be opened.
pub fn run(arguments: RunArgs) -> anyhow::Result<u8> {
    let mut config = Config::load(&arguments)?;
    if arguments.print_config {
        show(&config.to_string())?;
        return Ok(EXIT_DONE);
    }
    messages::start(arguments.log);
    // Before interfaces are listed, and while there is one thread.
    if let Some(name) = &config.settings.netns {
        namespace::enter(name)?;
    }
    make_directories(&mut config.settings);
    lift_memory_limit();
    keep_for_tapping();
    // Before the sinks, which continue files that an earlier agent left.
    let root = taps::lock(&config)?;
    let acceptances = Acceptances::default();
    let options = sink_options(&config.settings, &arguments, &acceptances);
    let fleet = start_fleet(&config.settings)?;
    let further = fleet.as_ref().filter(|_| config.settings.fleet.verdicts);
    let further = further.map(Fleet::sink).into_iter().collect();
    let (sinks, warnings) = Sinks::start(&options, further)?;
    for warning in warnings {
        warn!(target: message_kind::STATE_UNUSABLE, "{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(async {
        // From here on a signal ends the run in order, so that no filter is left behind.
        let signals = Signals::catch()?;
        let acceptances = options.database.is_some().then_some(acceptances);
        let watch = Watch::start(arguments, config, root, (sinks, fleet), acceptances)?;
        watch.until(signals).await
    })
}

/// Joins the fleet, if the configuration names its servers.
fn start_fleet(settings: &Settings) -> anyhow::Result<Option<Fleet>> {
    if !settings.fleet.is_wanted() {
        return Ok(None);
    }
    let fleet = Fleet::start(&settings.fleet, settings.state_directory.clone());
    fleet.map(Some).context("cannot join the fleet")
}

/// Makes the directories for state, as systemd does for a service. Without one the agent keeps nothing
/// there, and says so once.
fn make_directories(settings: &mut Settings) {
    let directories = [
        ("state", &mut settings.state_directory),
        ("runtime", &mut settings.runtime_directory),
    ];
    for (kind, directory) in directories {
        let Some(path) = directory else {
            continue;
        };
        if let Err(error) = std::fs::create_dir_all(&*path) {
            let shown = path.display();
            warn!(
                target: message_kind::STATE_UNUSABLE,
                "cannot make the {kind} directory {shown}: {error}; running without it"
            );
            *directory = None;
        }
    }
}
