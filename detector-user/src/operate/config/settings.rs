//! Every setting of `tlswhy run`, with its default.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::defaults;
use crate::cause::knowledge::Knowledge;
use crate::fleet::FleetSettings;
use crate::host::namespace::path as namespace_path;
use crate::operate::asker::Asking;
use crate::operate::firewall_log::FirewallLogSettings;
use crate::operate::scope::{Filter, Ignored, Scope};
use crate::outlet::database::Retention;
use crate::outlet::edl::EdlSettings;
use crate::outlet::live_page::PageSettings;
use crate::outlet::metrics::MetricsAddress;
use crate::outlet::sink::{JsonShape, OtlpSettings, Output, SyslogSettings};
use crate::source::tap::selection::Wanted;

/// Every setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Interfaces to watch.
    pub interfaces: Vec<Wanted>,
    /// Networks that are clients; empty means any.
    pub clients: Vec<IpNet>,
    /// Network namespace whose interfaces are watched.
    pub netns: Option<PathBuf>,
    /// Whether the frames inside tunnels are read instead of the tunnels' own.
    pub tunnels: bool,
    /// The operator's knowledge about interception.
    pub knowledge: Knowledge,
    /// Probes that the agent makes by itself.
    pub probe: Asking,
    /// The firewall's live log.
    pub explain: FirewallLogSettings,
    /// Connections that are ignored.
    pub ignored: Ignored,
    /// Verdicts that are written.
    pub filter: Filter,
    /// Maximum tracked connections.
    pub flows: u32,
    /// Size of the ring buffer for observations, bytes.
    pub observation_ring: u32,
    /// Size of the ring buffer for handshake bytes, bytes.
    pub handshake_ring: u32,
    /// Outputs for verdicts; empty means journald as a service, text otherwise.
    pub outputs: Vec<Output>,
    /// File of JSON lines in addition to the outputs.
    pub json_file: Option<PathBuf>,
    /// Shape of its lines.
    pub json_shape: JsonShape,
    /// Syslog server in addition to the outputs.
    pub syslog: SyslogSettings,
    /// OpenTelemetry collector in addition to the outputs.
    pub otlp: OtlpSettings,
    /// Time for which repeats of a verdict are only counted, in the journal and at servers; zero writes
    /// them all.
    pub fold: Duration,
    /// Maximum verdicts queued in memory for each output.
    pub queue: usize,
    /// Maximum size of verdicts spilled to disk while an output is unavailable, bytes.
    pub spill_max: u64,
    /// Address that serves metrics.
    pub metrics: Option<MetricsAddress>,
    /// Lists of exclusions that are served.
    pub edl: EdlSettings,
    /// The page that follows the agent.
    pub page: PageSettings,
    /// The fleet of gateways that share facts.
    pub fleet: FleetSettings,
    /// Directory for state that survives a reboot.
    pub state_directory: Option<PathBuf>,
    /// Directory for state that survives a restart.
    pub runtime_directory: Option<PathBuf>,
    /// Maximum age of learned facts that are used after a restart.
    pub retention: Duration,
    /// Limits of the database of verdicts in the state directory; an age of zero: there is none.
    pub database: Retention,
    /// Directory where programs and maps are pinned, so that they keep running without the agent.
    pub pins: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interfaces: vec![Wanted::any()],
            clients: Vec::new(),
            netns: None,
            tunnels: false,
            knowledge: Knowledge::default(),
            probe: Asking::default(),
            explain: FirewallLogSettings::default(),
            ignored: Ignored::default(),
            filter: Filter::default(),
            flows: defaults::DEFAULT_FLOWS,
            observation_ring: defaults::OBSERVATION_RING,
            handshake_ring: defaults::HANDSHAKE_RING,
            outputs: Vec::new(),
            json_file: None,
            json_shape: JsonShape::Json,
            syslog: SyslogSettings::default(),
            otlp: OtlpSettings::default(),
            fold: defaults::FOLD,
            queue: defaults::QUEUE,
            spill_max: defaults::SPILL_MAX,
            metrics: None,
            edl: EdlSettings::default(),
            page: PageSettings::default(),
            fleet: FleetSettings::default(),
            state_directory: None,
            runtime_directory: None,
            retention: defaults::RETENTION,
            database: Retention {
                age: defaults::DATABASE_RETENTION,
                bytes: defaults::DATABASE_MAX,
            },
            pins: None,
        }
    }
}

impl Settings {
    /// Returns what `tlswhy run` would complain about on this machine, though each value is valid.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let has_database = self.state_directory.is_some() && !self.database.age.is_zero();
        let servers = [
            ("edl", self.edl.listen, &self.edl.access),
            ("page", self.page.listen, &self.page.access),
        ];
        for (section, listen, access) in servers {
            if listen.is_none() {
                continue;
            }
            if !has_database {
                warnings.push(format!(
                    "{section}.listen needs state.directory and a database there"
                ));
            }
            let tls = access.acceptor(section).err();
            let credentials = access.credentials(section).err();
            let errors = tls.into_iter().chain(credentials);
            warnings.extend(errors.map(|error| error.to_string()));
        }
        if let Some(error) = self.page.exposed() {
            warnings.push(error.to_string());
        }
        if self.probe.enabled && self.knowledge.inspection_cas.is_empty() {
            warnings.push("probe.enabled has no effect without inspection.ca".to_owned());
        }
        warnings.extend(self.fleet.problems());
        let netns = self.netns.as_deref().map(namespace_path);
        if let Some(path) = netns.filter(|path| !path.exists()) {
            warnings.push(format!("watch.netns: {} does not exist", path.display()));
        }
        warnings
    }

    /// Takes from another the settings that are not [`live`](super::Key::live).
    pub(super) fn keep_fixed(&mut self, other: &Self) {
        *self = Self {
            interfaces: std::mem::take(&mut self.interfaces),
            clients: std::mem::take(&mut self.clients),
            knowledge: std::mem::take(&mut self.knowledge),
            probe: std::mem::take(&mut self.probe),
            ignored: std::mem::take(&mut self.ignored),
            filter: std::mem::take(&mut self.filter),
            metrics: self.metrics.take(),
            edl: std::mem::take(&mut self.edl),
            page: std::mem::take(&mut self.page),
            ..other.clone()
        };
    }

    /// Returns the connections that are judged.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope {
            clients: self.clients.clone(),
            ignored: self.ignored.clone(),
        }
    }
}
