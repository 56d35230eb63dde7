//! Every setting of `tlswhy run`, with its default.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::defaults;
use crate::cause::knowledge::Knowledge;
use crate::host::interfaces::Wanted;
use crate::operate::scope::Scope;
use crate::outlet::metrics::MetricsAddress;
use crate::outlet::sink::Output;

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
            flows: defaults::DEFAULT_FLOWS,
            observation_ring: defaults::OBSERVATION_RING,
            handshake_ring: defaults::HANDSHAKE_RING,
            outputs: Vec::new(),
            json_file: None,
            fold: defaults::FOLD,
            queue: defaults::QUEUE,
            spill_max: defaults::SPILL_MAX,
            metrics: None,
            state_directory: None,
            runtime_directory: None,
            retention: defaults::RETENTION,
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
