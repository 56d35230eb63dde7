//! The configuration of `tlswhy run`: built-in defaults, then the configuration file, then the
//! environment that systemd sets, then the command line. Each value knows its origin.

pub mod defaults;
mod document;
mod file;
mod keys;
mod origin;
mod overlay;
mod print;
mod settings;
pub(super) mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::operate::cli::RunArgs;
use defaults::{DEFAULT_FILE, DEFAULT_PINS};

pub use document::{commented_file, reference};
pub use file::{ConfigError, Problem};
pub use keys::{Key, keys};
pub use origin::Origin;
pub use settings::Settings;

/// All settings, each with its origin.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// The values.
    pub settings: Settings,
    /// Origins by `section.name`; a key without one has its default.
    origins: BTreeMap<&'static str, Origin>,
}

impl Config {
    /// Reads the configuration file, if there is one, and applies the environment and the command
    /// line on top.
    ///
    /// # Errors
    /// [`ConfigError`] if the file cannot be read or has a mistake; nothing is applied then.
    pub fn load(arguments: &RunArgs) -> Result<Self, ConfigError> {
        let mut config = match &arguments.config {
            Some(path) => Self::from_file(path)?,
            None if Path::new(DEFAULT_FILE).exists() => Self::from_file(Path::new(DEFAULT_FILE))?,
            None => Self::default(),
        };
        config.apply_environment(&|name| std::env::var_os(name).map(PathBuf::from));
        if arguments.runs_as_service() && !config.is_set("state.pins") {
            config.settings.pins = Some(config.service_pins());
            config.record_origin("state.pins", Origin::Service);
        }
        config.apply_command_line(arguments);
        Ok(config)
    }

    /// Returns the directory for a service's pins: its unprivileged user reaches the usual one only
    /// through a directory that the unit binds to it.
    fn service_pins(&self) -> PathBuf {
        let runtime = self.settings.runtime_directory.as_ref();
        runtime
            .map(|directory| directory.join("bpf"))
            .filter(|bound| bound.is_dir())
            .unwrap_or_else(|| DEFAULT_PINS.into())
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] with all mistakes.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        file::read(path)
    }

    /// Reads the agent's configuration for a command that asks the agent: the file that is given, or the
    /// default one if it exists and can be read. One that cannot be, or is wrong, need not be the agent's.
    ///
    /// # Errors
    /// [`ConfigError`] of the file that is given.
    pub fn of_agent(given: Option<&Path>) -> Result<Option<Self>, ConfigError> {
        let default = Path::new(DEFAULT_FILE);
        match given {
            Some(file) => Self::from_file(file).map(Some),
            None if default.exists() => Ok(Self::from_file(default).ok()),
            None => Ok(None),
        }
    }

    /// Whether a setting was given anywhere.
    fn is_set(&self, key: &str) -> bool {
        self.origins.contains_key(key)
    }

    fn record_origin(&mut self, key: &'static str, origin: Origin) {
        self.origins.insert(key, origin);
    }

    /// Returns the origin of a setting's value.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// Takes from the configuration of a running agent, with their origins, all that a reload does not apply:
    /// what remains is what is in force then.
    pub fn keep_fixed(&mut self, running: &Self) {
        self.settings.keep_fixed(&running.settings);
        for key in keys().filter(|key| !key.live) {
            match running.origins.get(key.path) {
                Some(origin) => self.record_origin(key.path, origin.clone()),
                None => {
                    self.origins.remove(key.path);
                }
            }
        }
    }

    /// Returns the keys whose values differ between `self` and `other`.
    #[must_use]
    pub fn changed(&self, other: &Self) -> Vec<&'static Key> {
        keys()
            .filter(|key| (key.show)(&self.settings) != (key.show)(&other.settings))
            .collect()
    }
}

#[cfg(test)]
mod tests;
