//! `tlswhy fleet serve`: the fleet's database, lists and page on a machine that watches nothing.

use std::time::Duration;

use anyhow::Context as _;
use tracing::info;

use super::configured;
use crate::fleet::Muted;
use crate::fleet::collector::{Collector, CollectorSettings};
use crate::operate::cli::{EXIT_DONE, FleetServeArgs, LogLevel};
use crate::operate::command::messages;
use crate::operate::command::run::{Served, Signals};
use crate::outlet::database::FLEET_FILE;
use crate::outlet::edl::ServedLists;
use crate::outlet::live_page::LivePage;
use crate::outlet::status::server::Latest;

/// Time between two attempts to serve after a failure.
const RETRY: Duration = Duration::from_secs(2);

/// Collects and serves until a signal.
///
/// # Errors
/// The configuration is wrong, or the system refuses a thread.
pub(super) fn run(arguments: &FleetServeArgs) -> anyhow::Result<u8> {
    let config = configured(arguments.config.as_deref())?;
    messages::start(LogLevel::Info);
    let settings = &config.settings;
    let directory = settings.state_directory.as_ref();
    let directory = directory.context("there is no state.directory to keep the database in")?;
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let _collector = Collector::start(CollectorSettings {
        fleet: settings.fleet.clone(),
        database: directory.join(FLEET_FILE),
        retention: settings.database,
        muted: Muted::default(),
        serves: true,
    })
    .context("cannot collect the fleet's messages")?;
    let mut lists = Served::<ServedLists>::new(settings, ());
    let mut page = Served::<LivePage>::new(settings, Latest::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    info!("ready");
    runtime.block_on(async {
        let mut signals = Signals::catch()?;
        let mut retry = tokio::time::interval(RETRY);
        loop {
            tokio::select! {
                is_over = signals.next() => {
                    if is_over {
                        return Ok(EXIT_DONE);
                    }
                    // A reload reads certificates again, as that of an agent does.
                    lists.serve(settings);
                    page.serve(settings);
                }
                _ = retry.tick() => {
                    lists.try_to_serve();
                    page.try_to_serve();
                }
            }
        }
    })
}
