//! The corpus' network: clients, a gateway with interceptors, origins of every kind.
//!
//! ```text
//!  clients ── lan0 │ gateway            │ wan0 ── origins
//!  10.9.1.0/24     │ sslsplit squid     │         10.9.2.0/24
//!                  │ mitmproxy          │
//! ```

//!
//! In: a folder, and which interceptors to start. Out: namespaces in which clients run, recordings
//! of the gateway's interfaces, and interceptors' logs. Not here: clients and their requests.

mod interceptors;
mod origins;
mod recording;

pub use interceptors::Interceptor;
pub(crate) use interceptors::sslsplit;
pub use origins::{
    EXPIRED, MUTUAL, ODD, ONLY_CHACHA, ONLY_P384, ONLY_TLS12, ONLY_TLS13, ORIGINS, OTHERS, Origin,
    PINNED, SELF_SIGNED, WRONG_NAME,
};
pub use recording::Recording;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::host::{Authority, Namespace, Process, connect};
use interceptors::Proxies;
use origins::{Servers, hosts, pinned_certificate};

/// Everything that runs.
pub struct Network {
    /// The clients' namespace.
    pub clients: Namespace,
    /// The namespace of interceptors and recordings.
    pub gateway: Namespace,
    /// The origins' namespace.
    pub origins: Namespace,
    /// Certificates, programs, recordings.
    pub folder: PathBuf,
    /// Signs the interceptors' certificates.
    pub inspection_ca: Authority,
    /// Signs the origins' certificates.
    pub origin_ca: Authority,
    /// A client certificate that [`MUTUAL`] takes.
    pub client_certificate: (PathBuf, PathBuf),
    /// The certificate of [`PINNED`].
    pub pinned_certificate: PathBuf,
    programs: Vec<Process>,
    interceptors: Vec<(Interceptor, Process)>,
}

impl Network {
    /// Makes it all and starts it, with these interceptors.
    ///
    /// # Errors
    /// If a part is missing or does not start.
    pub fn new(folder: &Path, interceptors: &[Interceptor]) -> anyhow::Result<Self> {
        let clients = Namespace::new("played-clients")?;
        let gateway = Namespace::new("played-gateway")?;
        let origins = Namespace::new("played-origins")?;
        let addresses: Vec<String> = hosts()
            .flat_map(|(host, _)| [format!("10.9.2.{host}/24"), format!("fd09:2::{host}/64")])
            .collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        connect(
            (&clients, "eth0", &["10.9.1.2/24", "fd09:1::2/64"]),
            (&gateway, "lan0", &["10.9.1.1/24", "fd09:1::1/64"]),
        )?;
        connect(
            (&gateway, "wan0", &["10.9.2.1/24", "fd09:2::1/64"]),
            (&origins, "eth0", &addresses),
        )?;
        clients.default_routes(&["10.9.1.1", "fd09:1::1"])?;
        origins.default_routes(&["10.9.2.1", "fd09:2::1"])?;
        gateway.forward()?;
        // Segments as they would be on a wire, not as offloads join them.
        for (namespace, interface) in [
            (&clients, "eth0"),
            (&gateway, "lan0"),
            (&gateway, "wan0"),
            (&origins, "eth0"),
        ] {
            namespace.run(&format!("ethtool -K {interface} tso off gso off gro off"))?;
        }
        let origin_ca = Authority::new(folder, "origin-ca", "Origins Root")?;
        let inspection_ca = Authority::new(folder, "inspection-ca", "Example Corp Inspection CA")?;
        let client_ca = Authority::new(folder, "client-ca", "Partner CA")?;
        let client_certificate = client_ca.issue("partner", &["partner"])?;
        let mut network = Self {
            pinned_certificate: pinned_certificate(folder),
            clients,
            gateway,
            origins,
            folder: folder.to_owned(),
            inspection_ca,
            origin_ca,
            client_certificate,
            programs: Vec::new(),
            interceptors: Vec::new(),
        };
        network.name_hosts()?;
        let servers = Servers {
            namespace: &network.origins,
            folder,
            ca: &network.origin_ca,
        };
        network.programs = servers.start()?;
        let proxies = Proxies {
            namespace: &network.gateway,
            folder,
            inspection_ca: &network.inspection_ca,
            origin_ca: &network.origin_ca,
        };
        network.interceptors = proxies.start(interceptors)?;
        Ok(network)
    }

    /// Routes clients' connections to port 443 through an interceptor, or straight on.
    ///
    /// # Errors
    /// If nft fails.
    pub fn route_through(&self, interceptor: Interceptor) -> anyhow::Result<()> {
        let _ = self.gateway.run("nft delete table inet corpus");
        if interceptor == Interceptor::None {
            return Ok(());
        }
        self.gateway.run("nft add table inet corpus")?;
        self.gateway
            .run("nft add chain inet corpus in { type nat hook prerouting priority -100 ; }")?;
        self.gateway.run(&format!(
            "nft add rule inet corpus in iifname lan0 tcp dport 443 redirect to :{}",
            interceptor.port()
        ))?;
        Ok(())
    }

    /// Gives clients another address, so that one scenario's client is not the other's.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn move_clients(&self, host: u8) -> anyhow::Result<()> {
        self.clients.run("ip -4 address flush dev eth0")?;
        self.clients
            .run(&format!("ip address add 10.9.1.{host}/24 dev eth0"))?;
        self.clients.run("ip route add default via 10.9.1.1")?;
        Ok(())
    }

    /// Returns an interceptor's log lines since the last call.
    ///
    /// # Errors
    /// If squid's log cannot be read.
    pub fn log(&self, interceptor: Interceptor) -> anyhow::Result<Vec<String>> {
        let asked = self
            .interceptors
            .iter()
            .find(|(one, _)| *one == interceptor);
        let mut lines: Vec<String> = asked
            .iter()
            .flat_map(|(_, program)| program.lines())
            .collect();
        if interceptor == Interceptor::Squid {
            let file = self.folder.join("squid/cache.log");
            let log = std::fs::read_to_string(&file).context("cannot read squid's log")?;
            lines.extend(log.lines().map(str::to_owned));
            std::fs::File::create(&file).context("cannot empty squid's log")?;
        }
        Ok(lines)
    }

    /// Records an interface of the gateway until the recording is dropped or finished.
    ///
    /// # Errors
    /// If tcpdump does not start.
    pub fn record(&self, interface: &str) -> anyhow::Result<Recording> {
        Recording::start(&self.gateway, interface, &self.folder)
    }

    fn name_hosts(&self) -> anyhow::Result<()> {
        let mut table = "127.0.0.1 localhost\n".to_owned();
        for (host, name) in hosts() {
            let _ = writeln!(table, "10.9.2.{host} {name}");
        }
        // `ip netns exec` puts these files in place of those in /etc.
        for namespace in [&self.clients, &self.gateway, &self.origins] {
            let folder = Path::new("/etc/netns").join(namespace.name());
            std::fs::create_dir_all(&folder).context("cannot make /etc/netns")?;
            std::fs::write(folder.join("hosts"), &table).context("cannot write hosts")?;
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.programs.clear();
        self.interceptors.clear();
        for namespace in [&self.clients, &self.gateway, &self.origins] {
            let _ = std::fs::remove_dir_all(Path::new("/etc/netns").join(namespace.name()));
        }
    }
}
