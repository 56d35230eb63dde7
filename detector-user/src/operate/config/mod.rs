//! What `tlswhy run` is told: built-in defaults, then the configuration file, then the environment
//! that systemd sets, then the command line. Each value knows where it came from.

pub mod defaults;
mod document;
mod file;
mod keys;
mod origin;
mod overlay;
mod print;
mod settings;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::operate::cli::RunArgs;
use defaults::{DEFAULT_FILE, DEFAULT_PINS};

pub use document::{commented_file, reference};
pub use file::{ConfigError, Problem};
pub use keys::{KEYS, Key};
pub use origin::Origin;
pub use settings::Settings;

/// All settings, and where each came from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// The values.
    pub settings: Settings,
    /// By `section.name`; what is not there is a default.
    origins: BTreeMap<&'static str, Origin>,
}

impl Config {
    /// Reads the configuration file, if there is one, and lays the environment and the command
    /// line over it.
    ///
    /// # Errors
    /// [`ConfigError`] if the file cannot be read or anything in it is wrong; nothing is taken then.
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

    /// Where a service pins: its own unprivileged user gets to the usual place only by a directory
    /// that the unit binds it to.
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
    /// [`ConfigError`] with all that is wrong in it.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        file::read(path)
    }

    /// Whether anybody said something about a setting.
    fn is_set(&self, key: &str) -> bool {
        self.origins.contains_key(key)
    }

    fn record_origin(&mut self, key: &'static str, origin: Origin) {
        self.origins.insert(key, origin);
    }

    /// Where a setting's value came from.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// The keys whose values differ between `self` and `other`.
    #[must_use]
    pub fn changed(&self, other: &Self) -> Vec<&'static Key> {
        KEYS.iter()
            .filter(|key| (key.show)(&self.settings) != (key.show)(&other.settings))
            .collect()
    }
}

#[cfg(test)]
mod tests;
