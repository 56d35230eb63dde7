//! What `tlswhy run` is told: built-in defaults, then the configuration file, then the environment
//! that systemd sets, then the command line. Each value knows where it came from.

mod document;
mod file;
mod keys;
mod print;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use crate::cause::knowledge::Knowledge;
use crate::operate::cli::{DEFAULT_FLOWS, RunArgs};
use crate::operate::scope::Scope;
use crate::outlet::metrics::MetricsAddress;
use crate::outlet::sink::Output;
use crate::source::tap::selection::Wanted;

pub use document::{commented_file, reference};
pub use file::{ConfigError, Problem};
pub use keys::{KEYS, Key};

/// Where the configuration is when nobody says otherwise; it need not exist.
pub const DEFAULT_FILE: &str = "/etc/tlswhy/tlswhy.toml";
/// Where programs and maps are pinned when run as a service.
pub const DEFAULT_PINS: &str = "/sys/fs/bpf/tlswhy";

/// Every setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Interfaces to watch.
    pub interfaces: Vec<Wanted>,
    /// Networks that are clients; empty means any.
    pub clients: Vec<IpNet>,
    /// Network namespace whose interfaces are watched.
    pub netns: Option<PathBuf>,
    /// What the operator says about interception.
    pub knowledge: Knowledge,
    /// Server ports that are not looked at.
    pub ignored_ports: Vec<u16>,
    /// Networks that are not looked at, on either side.
    pub ignored_networks: Vec<IpNet>,
    /// Connections followed at once.
    pub flows: u32,
    /// Bytes of the ring of observations.
    pub observation_ring: u32,
    /// Bytes of the ring of handshake bytes.
    pub handshake_ring: u32,
    /// Where verdicts go; empty means journald as a service, text otherwise.
    pub outputs: Vec<Output>,
    /// A file of JSON lines beside that.
    pub json_file: Option<PathBuf>,
    /// How long repeats of a verdict are only counted in the journal; zero writes them all.
    pub fold: Duration,
    /// Verdicts that may wait for a sink.
    pub queue: usize,
    /// Bytes of verdicts kept on disk while journald is away.
    pub spill_max: u64,
    /// Where metrics are served.
    pub metrics: Option<MetricsAddress>,
    /// Where what must survive a reboot is kept.
    pub state_directory: Option<PathBuf>,
    /// Where what must survive a restart is kept.
    pub runtime_directory: Option<PathBuf>,
    /// How long what was learned is remembered across restarts.
    pub retention: Duration,
    /// Where programs and maps are pinned, so that they go on without the agent.
    pub pins: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interfaces: vec![Wanted::any()],
            clients: Vec::new(),
            netns: None,
            knowledge: Knowledge::default(),
            ignored_ports: Vec::new(),
            ignored_networks: Vec::new(),
            flows: DEFAULT_FLOWS,
            observation_ring: 4 << 20,
            handshake_ring: 8 << 20,
            outputs: Vec::new(),
            json_file: None,
            fold: Duration::from_secs(600),
            queue: 10_000,
            spill_max: 64 << 20,
            metrics: None,
            state_directory: None,
            runtime_directory: None,
            retention: Duration::from_secs(7 * 86_400),
            pins: None,
        }
    }
}

impl Settings {
    /// Which connections are looked at.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope {
            clients: self.clients.clone(),
            ports: self.ignored_ports.clone(),
            networks: self.ignored_networks.clone(),
        }
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of the configuration file, counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// A variable that systemd sets, or that it runs as a service.
    Service,
    /// An option.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Service => f.write_str("service"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

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
        config.take_environment(&|name| std::env::var_os(name).map(PathBuf::from));
        if arguments.runs_as_service() && !config.is_set("state.pins") {
            config.settings.pins = Some(config.service_pins());
            config.note("state.pins", Origin::Service);
        }
        config.take_command_line(arguments);
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

    fn note(&mut self, key: &'static str, origin: Origin) {
        self.origins.insert(key, origin);
    }

    /// Where a setting's value came from.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// The directories that systemd makes for its services (systemd.exec(5)), unless the file
    /// names others. Of several in one variable, the first.
    fn take_environment(&mut self, variable: &dyn Fn(&str) -> Option<PathBuf>) {
        let first = |name: &str| {
            let all = variable(name)?;
            let first = all.to_str()?.split(':').next()?;
            (!first.is_empty()).then(|| PathBuf::from(first))
        };
        if !self.is_set("state.directory")
            && let Some(path) = first("STATE_DIRECTORY")
        {
            self.settings.state_directory = Some(path);
            self.note("state.directory", Origin::Service);
        }
        if !self.is_set("state.runtime")
            && let Some(path) = first("RUNTIME_DIRECTORY")
        {
            self.settings.runtime_directory = Some(path);
            self.note("state.runtime", Origin::Service);
        }
    }

    fn take_command_line(&mut self, arguments: &RunArgs) {
        let mut noted = Vec::new();
        let settings = &mut self.settings;
        if !arguments.interfaces.is_empty() {
            let named = |name: &String| Wanted::Named(name.clone());
            settings.interfaces = arguments.interfaces.iter().map(named).collect();
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
        let mut take = |key, is_given: bool| {
            if is_given {
                noted.push(key);
            }
        };
        take(
            "inspection.intercepted",
            set(&mut settings.knowledge.intercepted, arguments.intercepted),
        );
        take("tables.flows", set(&mut settings.flows, arguments.flows));
        take(
            "watch.netns",
            set_some(&mut settings.netns, arguments.netns.as_ref()),
        );
        take(
            "output.json_file",
            set_some(&mut settings.json_file, arguments.json_file.as_ref()),
        );
        take(
            "metrics.listen",
            set_some(&mut settings.metrics, arguments.metrics.as_ref()),
        );
        take(
            "state.directory",
            set_some(
                &mut settings.state_directory,
                arguments.state_directory.as_ref(),
            ),
        );
        take(
            "state.runtime",
            set_some(
                &mut settings.runtime_directory,
                arguments.runtime_directory.as_ref(),
            ),
        );
        take(
            "state.pins",
            set_some(&mut settings.pins, arguments.pins.as_ref()),
        );
        for key in noted {
            self.note(key, Origin::CommandLine);
        }
    }

    /// The keys whose values differ between `self` and `other`.
    #[must_use]
    pub fn changed(&self, other: &Self) -> Vec<&'static Key> {
        KEYS.iter()
            .filter(|key| (key.show)(&self.settings) != (key.show)(&other.settings))
            .collect()
    }
}

/// Replaces a value by one that was given; whether it was.
fn set<T: Copy>(value: &mut T, given: Option<T>) -> bool {
    if let Some(given) = given {
        *value = given;
    }
    given.is_some()
}

fn set_some<T: Clone>(value: &mut Option<T>, given: Option<&T>) -> bool {
    if given.is_some() {
        *value = given.cloned();
    }
    given.is_some()
}

#[cfg(test)]
mod tests;
