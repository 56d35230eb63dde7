//! The lists of exclusions that are served, while an address is configured.

use std::path::PathBuf;

use tracing::{info, warn};

use crate::operate::config::Settings;
use crate::outlet::database::FILE;
use crate::outlet::edl::{EdlSettings, ServedLists};
use crate::outlet::message_kind;

/// Lists and their server, while an address is configured.
pub(super) struct Lists {
    wanted: EdlSettings,
    /// The state directory, if it has a database.
    directory: Option<PathBuf>,
    served: Option<ServedLists>,
    /// Whether the failure to serve was reported.
    reported: bool,
}

impl Lists {
    pub(super) fn new(settings: &Settings) -> Self {
        let directory = settings.state_directory.clone();
        let mut lists = Self {
            wanted: EdlSettings::default(),
            directory: directory.filter(|_| !settings.database.age.is_zero()),
            served: None,
            reported: false,
        };
        lists.serve(&settings.edl);
        lists
    }

    /// Serves by other settings from now on, or nothing. Files are read again.
    pub(super) fn serve(&mut self, wanted: &EdlSettings) {
        // The old one first: it may be the same port at another address.
        self.served = None;
        self.reported = false;
        self.wanted.clone_from(wanted);
        self.try_to_serve();
    }

    /// Serves after a failure.
    pub(super) fn try_to_serve(&mut self) {
        if self.wanted.listen.is_none() || self.served.as_ref().is_some_and(ServedLists::is_running)
        {
            return;
        }
        self.served = None;
        let Some(directory) = &self.directory else {
            self.report(
                "edl.listen needs state.directory and a database there; running without lists",
            );
            return;
        };
        match ServedLists::start(&self.wanted, &directory.join(FILE), directory) {
            Ok(served) => {
                if let Some(port) = served.as_ref().and_then(ServedLists::port) {
                    info!("lists are served on {port}");
                }
                self.reported = false;
                self.served = served;
            }
            Err(error) => self.report(&format!("{error}; running without lists, retrying")),
        }
    }

    fn report(&mut self, failure: &str) {
        if !self.reported {
            warn!(target: message_kind::LISTS_UNAVAILABLE, "{failure}");
            self.reported = true;
        }
    }
}
