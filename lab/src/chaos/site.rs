//! The network: clients behind an interceptor, an attacker beside them, and origins.
//!
//! ```text
//!  clients  ── lan0 │ gateway  │ wan0 ── origins
//!  attacker ── lan1 │ sslsplit │
//! ```

use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicU16;

use anyhow::Context as _;

use crate::host::{Authority, Namespace, Process, connect};
use crate::network::sslsplit;

/// The name of the server that clients ask for.
pub(super) const NAME: &str = "www.refused.test";
/// The server's address.
pub(super) const SERVER: &str = "10.79.3.2";
/// The address that floods go to: packets pass the gateway, and the origins' host drops them.
pub(super) const SINK: [u8; 4] = [10, 79, 3, 9];
/// The address that the attacker has.
pub(super) const ATTACKER: [u8; 4] = [10, 79, 2, 2];

/// The first failing client's port.
const FIRST_PORT: u16 = 20_000;

/// Namespaces and programs.
pub struct Site {
    /// The failing connections' clients, on `lan0`.
    pub clients: Namespace,
    /// The floods' sender, on `lan1`.
    pub attacker: Namespace,
    /// The agent's namespace.
    pub gateway: Namespace,
    /// Servers.
    pub origins: Namespace,
    /// The next client's port: one that is used again looks like a connection that goes on.
    pub(super) next_port: AtomicU16,
    inspection_ca: Authority,
    _programs: Vec<Process>,
}

impl Site {
    /// Makes namespaces whose names begin with `name`, and starts the server and the interceptor.
    ///
    /// # Errors
    /// If this process is not root, or a program is missing.
    pub fn new(name: &str, folder: &Path) -> anyhow::Result<Self> {
        let namespace = |part: &str| Namespace::new(&format!("{name}-{part}"));
        let clients = namespace("c").context("needs root")?;
        let (attacker, gateway, origins) = (namespace("a")?, namespace("g")?, namespace("o")?);
        connect(
            (&clients, "eth0", &["10.79.1.2/24"]),
            (&gateway, "lan0", &["10.79.1.1/24"]),
        )?;
        connect(
            (&attacker, "eth0", &["10.79.2.2/24"]),
            (&gateway, "lan1", &["10.79.2.1/24"]),
        )?;
        connect(
            (&gateway, "wan0", &["10.79.3.1/24"]),
            (&origins, "eth0", &["10.79.3.2/24", "10.79.3.9/24"]),
        )?;
        clients.default_routes(&["10.79.1.1"])?;
        attacker.default_routes(&["10.79.2.1"])?;
        origins.default_routes(&["10.79.3.1"])?;
        gateway.forward()?;
        for line in [
            "add table inet chaos",
            "add chain inet chaos in { type filter hook input priority 0 ; }",
            "add rule inet chaos in ip daddr 10.79.3.9 tcp dport 443 drop",
        ] {
            origins.run(&format!("nft {line}"))?;
        }
        for line in [
            "add table inet chaos",
            "add chain inet chaos in { type nat hook prerouting priority -100 ; }",
            "add rule inet chaos in iifname lan0 tcp dport 443 redirect to :8443",
        ] {
            gateway.run(&format!("nft {line}"))?;
        }
        let origin_ca = Authority::new(folder, "origin-ca", "Origins Root")?;
        let inspection_ca = Authority::new(folder, "inspection-ca", "Chaos Inspection CA")?;
        let (certificate, key) = origin_ca.issue("origin", &[NAME])?;
        let mut server = origins.command("openssl");
        server.args(["s_server", "-quiet", "-www", "-accept"]);
        server.arg(format!("{SERVER}:443")).arg("-cert");
        server.arg(certificate).arg("-key").arg(key);
        let server = Process::start(&mut server)?;
        let interceptor = Process::start(&mut sslsplit(&gateway, &inspection_ca))?;
        origins.wait_until_listening(443)?;
        gateway.wait_until_listening(8443)?;
        Ok(Self {
            clients,
            attacker,
            gateway,
            origins,
            next_port: AtomicU16::new(FIRST_PORT),
            inspection_ca,
            _programs: vec![server, interceptor],
        })
    }

    /// Returns the agent's command on both interfaces of the clients' side.
    pub(super) fn agent(&self, agent: &Path) -> Command {
        let mut command = self.gateway.command(agent);
        command.args(["run", "--interface", "lan0", "--interface", "lan1"]);
        command.args(["--output", "json", "--inspection-ca"]);
        command.arg(self.inspection_ca.certificate());
        command
    }
}

/// Returns the command of a client that does not trust the interceptor, from a port of its own.
pub(super) fn refusal(clients: &Namespace, port: u16) -> Command {
    let mut command = clients.command("curl");
    command.args(["-sS", "-o", "/dev/null", "--max-time", "20", "--local-port"]);
    command.arg(port.to_string()).arg("--resolve");
    command.arg(format!("{NAME}:443:{SERVER}"));
    command.arg(format!("https://{NAME}/"));
    command
}
