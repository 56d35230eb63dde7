//! Servers that run while their address is configured: of lists of exclusions, and of the page.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::operate::config::Settings;
use crate::outlet::database::{FILE, FLEET_FILE};
use crate::outlet::edl::{EdlSettings, ServedLists};
use crate::outlet::live_page::{LivePage, PageSettings};
use crate::outlet::message_kind::{LISTS_UNAVAILABLE, PAGE_UNAVAILABLE};
use crate::outlet::status::server::Latest;

/// A server that answers from the database.
pub(in crate::operate::command) trait Service: Sized {
    /// Its settings.
    type Settings: Clone + Default;
    /// All that it needs beside the database.
    type Sources;
    /// The content, a noun.
    const WHAT: &'static str;
    /// The key with its address.
    const KEY: &'static str;

    /// Returns its settings.
    fn of(settings: &Settings) -> &Self::Settings;
    /// Whether an address is configured.
    fn is_wanted(settings: &Self::Settings) -> bool;
    /// Starts it, in the state directory and of a database there.
    fn start(
        settings: &Self::Settings,
        places: (&Path, &Path),
        sources: &Self::Sources,
    ) -> Result<Option<Self>, String>;
    /// Whether it runs.
    fn is_running(&self) -> bool;
    /// Returns its address.
    fn port(&self) -> Option<SocketAddr>;
    /// Logs its absence.
    fn complain(failure: &str);
}

impl Service for ServedLists {
    type Settings = EdlSettings;
    type Sources = ();
    const WHAT: &'static str = "lists";
    const KEY: &'static str = "edl.listen";

    fn of(settings: &Settings) -> &EdlSettings {
        &settings.edl
    }

    fn is_wanted(settings: &EdlSettings) -> bool {
        settings.listen.is_some()
    }

    fn start(
        settings: &EdlSettings,
        (directory, database): (&Path, &Path),
        (): &(),
    ) -> Result<Option<Self>, String> {
        Self::start(settings, database, directory).map_err(|error| error.to_string())
    }

    fn is_running(&self) -> bool {
        self.is_running()
    }

    fn port(&self) -> Option<SocketAddr> {
        self.port()
    }

    fn complain(failure: &str) {
        warn!(target: LISTS_UNAVAILABLE, "{failure}");
    }
}

impl Service for LivePage {
    type Settings = PageSettings;
    type Sources = Latest;
    const WHAT: &'static str = "the page";
    const KEY: &'static str = "page.listen";

    fn of(settings: &Settings) -> &PageSettings {
        &settings.page
    }

    fn is_wanted(settings: &PageSettings) -> bool {
        settings.listen.is_some()
    }

    fn start(
        settings: &PageSettings,
        (_, database): (&Path, &Path),
        latest: &Latest,
    ) -> Result<Option<Self>, String> {
        Self::start(settings, database, latest.clone()).map_err(|error| error.to_string())
    }

    fn is_running(&self) -> bool {
        self.is_running()
    }

    fn port(&self) -> Option<SocketAddr> {
        self.port()
    }

    fn complain(failure: &str) {
        warn!(target: PAGE_UNAVAILABLE, "{failure}");
    }
}

/// A service, while its address is configured.
pub(in crate::operate::command) struct Served<T: Service> {
    wanted: T::Settings,
    sources: T::Sources,
    /// The state directory, if it has a database.
    directory: Option<PathBuf>,
    /// The name of the database there: a fleet's, if there is one.
    file: &'static str,
    service: Option<T>,
    /// Whether the failure to serve was reported.
    reported: bool,
}

impl<T: Service> Served<T> {
    pub(in crate::operate::command) fn new(settings: &Settings, sources: T::Sources) -> Self {
        let directory = settings.state_directory.clone();
        let mut served = Self {
            wanted: T::Settings::default(),
            sources,
            directory: directory.filter(|_| !settings.database.age.is_zero()),
            file: if settings.fleet.is_wanted() {
                FLEET_FILE
            } else {
                FILE
            },
            service: None,
            reported: false,
        };
        served.serve(settings);
        served
    }

    /// Serves by other settings from now on, or nothing. Files are read again.
    pub(in crate::operate::command) fn serve(&mut self, settings: &Settings) {
        // The old one first: it may be the same port at another address.
        self.service = None;
        self.reported = false;
        T::of(settings).clone_into(&mut self.wanted);
        self.try_to_serve();
    }

    /// Serves after a failure.
    pub(in crate::operate::command) fn try_to_serve(&mut self) {
        if !T::is_wanted(&self.wanted) || self.is_serving() {
            return;
        }
        self.service = None;
        let what = T::WHAT;
        let Some(directory) = &self.directory else {
            let key = T::KEY;
            self.report(&format!(
                "{key} needs state.directory and a database there; running without {what}"
            ));
            return;
        };
        match T::start(
            &self.wanted,
            (directory, &directory.join(self.file)),
            &self.sources,
        ) {
            Ok(service) => {
                if let Some(port) = service.as_ref().and_then(T::port) {
                    info!("serving {what} on {port}");
                }
                self.reported = false;
                self.service = service;
            }
            Err(error) => self.report(&format!("{error}; running without {what}, retrying")),
        }
    }

    /// Whether it runs.
    pub(in crate::operate::command) fn is_serving(&self) -> bool {
        self.service.as_ref().is_some_and(T::is_running)
    }

    fn report(&mut self, failure: &str) {
        if !self.reported {
            T::complain(failure);
            self.reported = true;
        }
    }
}
