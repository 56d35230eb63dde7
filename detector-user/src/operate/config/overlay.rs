//! Layers above the configuration file: the environment that systemd sets, then the command line.

use std::path::PathBuf;

use super::{Config, Origin, Settings};
use crate::operate::cli::{FilterArgs, RunArgs};

impl Config {
    /// Applies the directories that systemd makes for its services (systemd.exec(5)), unless the
    /// file names others. Of several in one variable, the first counts.
    pub(super) fn apply_environment(&mut self, variable: &dyn Fn(&str) -> Option<PathBuf>) {
        let first = |name: &str| {
            let all = variable(name)?;
            let first = all.to_str()?.split(':').next()?;
            (!first.is_empty()).then(|| PathBuf::from(first))
        };
        if !self.is_set("state.directory")
            && let Some(path) = first("STATE_DIRECTORY")
        {
            self.settings.state_directory = Some(path);
            self.record_origin("state.directory", Origin::Service);
        }
        if !self.is_set("state.runtime")
            && let Some(path) = first("RUNTIME_DIRECTORY")
        {
            self.settings.runtime_directory = Some(path);
            self.record_origin("state.runtime", Origin::Service);
        }
    }

    /// Applies the options that were given.
    pub(super) fn apply_command_line(&mut self, arguments: &RunArgs) {
        let mut noted = Vec::new();
        let settings = &mut self.settings;
        if !arguments.interfaces.is_empty() {
            settings.interfaces = arguments.interfaces.clone();
            noted.push("watch.interfaces");
        }
        if !arguments.outputs.is_empty() {
            settings.outputs = arguments.outputs.clone();
            noted.push("output.to");
        }
        if !arguments.inspection_cas.is_empty() {
            settings.knowledge.inspection_cas = arguments.inspection_cas.clone();
            noted.push("inspection.ca");
        }
        if !arguments.interceptors.is_empty() {
            settings.knowledge.interceptors = arguments.interceptors.clone();
            noted.push("inspection.interceptors");
        }
        let mut note = |key, is_given: bool| {
            if is_given {
                noted.push(key);
            }
        };
        note(
            "inspection.intercepted",
            set(&mut settings.knowledge.intercepted, arguments.intercepted),
        );
        note("tables.flows", set(&mut settings.flows, arguments.flows));
        note(
            "watch.netns",
            set_some(&mut settings.netns, arguments.netns.as_ref()),
        );
        note(
            "output.json_file",
            set_some(&mut settings.json_file, arguments.json_file.as_ref()),
        );
        note(
            "metrics.listen",
            set_some(&mut settings.metrics, arguments.metrics.as_ref()),
        );
        note(
            "state.directory",
            set_some(
                &mut settings.state_directory,
                arguments.state_directory.as_ref(),
            ),
        );
        note(
            "state.runtime",
            set_some(
                &mut settings.runtime_directory,
                arguments.runtime_directory.as_ref(),
            ),
        );
        note(
            "state.pins",
            set_some(&mut settings.pins, arguments.pins.as_ref()),
        );
        self.apply_filters(&arguments.filter);
        for key in noted {
            self.record_origin(key, Origin::CommandLine);
        }
    }

    /// Applies the filters that were given.
    fn apply_filters(&mut self, arguments: &FilterArgs) {
        let Settings {
            filter, ignored, ..
        } = &mut self.settings;
        let given = [
            (
                "filter.clients",
                set_list(&mut filter.clients, &arguments.clients),
            ),
            (
                "filter.servers",
                set_list(&mut filter.servers, &arguments.servers),
            ),
            (
                "filter.ports",
                set_list(&mut filter.ports, &arguments.ports),
            ),
            (
                "filter.names",
                set_list(&mut filter.names, &arguments.names),
            ),
            (
                "filter.causes",
                set_list(&mut filter.causes, &arguments.causes),
            ),
            (
                "filter.min_confidence",
                set(&mut filter.min_confidence, arguments.min_confidence),
            ),
            ("output.log", set(&mut filter.endings, arguments.endings)),
            (
                "ignore.clients",
                set_list(&mut ignored.clients, &arguments.ignored_clients),
            ),
            (
                "ignore.servers",
                set_list(&mut ignored.servers, &arguments.ignored_servers),
            ),
            (
                "ignore.ports",
                set_list(&mut ignored.ports, &arguments.ignored_ports),
            ),
            (
                "ignore.names",
                set_list(&mut ignored.names, &arguments.ignored_names),
            ),
        ];
        for (key, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
            self.record_origin(key, Origin::CommandLine);
        }
    }
}

/// Replaces a list by one that was given. Returns whether it was.
fn set_list<T: Clone>(values: &mut Vec<T>, given: &[T]) -> bool {
    if !given.is_empty() {
        *values = given.to_vec();
    }
    !given.is_empty()
}

/// Replaces a value by one that was given. Returns whether it was.
fn set<T: Copy>(value: &mut T, given: Option<T>) -> bool {
    if let Some(given) = given {
        *value = given;
    }
    given.is_some()
}

/// Does as [`set`], for a value that may be absent.
fn set_some<T: Clone>(value: &mut Option<T>, given: Option<&T>) -> bool {
    if given.is_some() {
        *value = given.cloned();
    }
    given.is_some()
}
