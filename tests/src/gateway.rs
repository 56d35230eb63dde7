//! A client, a gateway with the agent, and a server, each in a namespace of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context;
use lab::build::{Profile, build_agent};
use lab::host::{Authority, Namespace, Process, connect};
use serde_json::Value;

/// The longest that things in the lab may take; nothing measures it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Returns the agent's binary: built once, or where there is no compiler the one that
/// `TLSWHY_AGENT` names.
///
/// # Panics
/// If it does not build: no test can go on.
pub fn agent() -> &'static Path {
    static AGENT: OnceLock<PathBuf> = OnceLock::new();
    AGENT.get_or_init(|| match std::env::var_os("TLSWHY_AGENT") {
        Some(agent) => agent.into(),
        None => build_agent(Profile::Debug).expect("the agent builds"),
    })
}

/// The lab. Names begin with its own, so that several may stand at once.
pub struct Gateway {
    /// The client's namespace.
    pub client: Namespace,
    /// The agent's namespace; `lan0` leads to the client.
    pub gateway: Namespace,
    /// The server's namespace.
    pub server: Namespace,
    /// The CA of the server's certificate.
    pub origin_ca: Authority,
    folder: tempfile::TempDir,
}

impl Gateway {
    /// Makes namespaces, links, routes and certificates for `www.lab.test`.
    ///
    /// # Errors
    /// If this process is not root or a tool is missing.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let client = Namespace::new(&format!("tw-{name}-c")).context("needs root")?;
        let gateway = Namespace::new(&format!("tw-{name}-g"))?;
        let server = Namespace::new(&format!("tw-{name}-s"))?;
        connect(
            (&client, "eth0", &["10.78.1.2/24", "fd78:1::2/64"]),
            (&gateway, "lan0", &["10.78.1.1/24", "fd78:1::1/64"]),
        )?;
        connect(
            (&gateway, "wan0", &["10.78.2.1/24", "fd78:2::1/64"]),
            (&server, "eth0", &["10.78.2.2/24", "fd78:2::2/64"]),
        )?;
        client.default_routes(&["10.78.1.1", "fd78:1::1"])?;
        server.default_routes(&["10.78.2.1", "fd78:2::1"])?;
        gateway.forward()?;
        let origin_ca = Authority::new(folder.path(), "origin-ca", "Origin CA")?;
        Ok(Self {
            client,
            gateway,
            server,
            origin_ca,
            folder,
        })
    }

    /// Starts a TLS server on port 443 with a certificate of the origin CA.
    ///
    /// # Errors
    /// If openssl fails.
    pub fn serve(&self, options: &[&str]) -> anyhow::Result<Process> {
        serve(&self.server, &self.origin_ca, options)
    }

    /// Starts the agent on `lan0` and waits until it is ready; returns its messages until then.
    ///
    /// # Errors
    /// If it does not start.
    pub fn watch(&self, arguments: &[&str]) -> anyhow::Result<(Process, Vec<String>)> {
        let mut command = self.gateway.command(agent());
        command.args(["run", "--interface", "lan0"]).args(arguments);
        let agent = Process::start(&mut command)?;
        let said = agent.wait_for(PATIENCE, |line| line == "ready")?;
        Ok((agent, said))
    }

    /// Returns the command of curl for `https://www.lab.test/` at an address.
    pub fn curl(&self, address: &str, arguments: &[&str]) -> Command {
        curl(&self.client, address, arguments)
    }

    /// Lets the gateway's firewall end connections at their ClientHello by a statement of nftables.
    ///
    /// # Errors
    /// If nft fails.
    pub fn rejects_hellos(&self, statement: &str) -> anyhow::Result<()> {
        let table = "add table inet rejects";
        let chain = "add chain inet rejects forward { type filter hook forward priority 0; }";
        // Of all segments towards the server only the hello is as long.
        let rule =
            format!("add rule inet rejects forward tcp dport 443 meta length > 200 {statement}");
        for line in [table, chain, &rule] {
            self.gateway.run(&format!("nft {line}"))?;
        }
        Ok(())
    }

    /// Returns a folder that is removed with the lab.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Starts openssl's server on port 443, with a certificate of the CA for `www.lab.test`.
///
/// # Errors
/// If openssl fails.
pub(crate) fn serve(
    server: &Namespace,
    ca: &Authority,
    options: &[&str],
) -> anyhow::Result<Process> {
    let (certificate, key) = ca.issue("origin", &["www.lab.test"])?;
    let mut command = server.command("openssl");
    command.args(["s_server", "-accept", "443", "-www", "-cert"]);
    command.arg(certificate).arg("-key").arg(key).args(options);
    let process = Process::start(&mut command)?;
    server.wait_until_listening(443)?;
    Ok(process)
}

/// Returns the command of curl for `https://www.lab.test/` at an address.
pub(crate) fn curl(client: &Namespace, address: &str, arguments: &[&str]) -> Command {
    let mut command = client.command("curl");
    command.args(["-sS", "-o", "/dev/null", "--max-time", "60", "--resolve"]);
    command.arg(format!("www.lab.test:443:{address}"));
    command.args(arguments).arg("https://www.lab.test/");
    command
}

/// Waits for the agent's next verdict in JSON.
///
/// # Errors
/// If none comes.
pub fn next_verdict(agent: &Process) -> anyhow::Result<Value> {
    let lines = agent.wait_for(PATIENCE, |line| line.starts_with('{'))?;
    let last = lines.last().context("no line")?;
    Ok(serde_json::from_str(last)?)
}
