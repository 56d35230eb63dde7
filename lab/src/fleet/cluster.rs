//! A cluster of three NATS servers in namespaces, configured by the files that are shipped.
//!
//! ```text
//!  nats1 ── 10.78.1.0/24 ─┐
//!  nats2 ── 10.78.2.0/24 ─┤ hub ── 10.78.N.0/24 ── gateways and the machines that serve
//!  nats3 ── 10.78.3.0/24 ─┘
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;
use xtask::root;

use crate::host::{Authority, Namespace, Process, connect, run};

/// Servers of the cluster.
pub const NODES: usize = 3;
/// Port for clients.
const PORT: u16 = 4222;
/// Longest time until the cluster has elected its leaders, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Network of the first gateway.
const FIRST_GATEWAY: usize = 11;

/// A cluster and the namespaces of its clients.
pub struct Cluster {
    folder: PathBuf,
    authority: Authority,
    hub: Namespace,
    nodes: Vec<Node>,
    members: Vec<Namespace>,
}

struct Node {
    namespace: Namespace,
    config: PathBuf,
    server: Option<Process>,
}

/// A client's certificate and key.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

impl Cluster {
    /// Makes namespaces whose names begin with `name`, one of them for each of these members of the fleet, and
    /// starts the servers, with files in `folder`. Each server's store has at most `store` (`20GB`).
    ///
    /// # Errors
    /// If something needed is missing or does not start.
    pub fn start(name: &str, folder: &Path, members: &[&str], store: &str) -> anyhow::Result<Self> {
        let hub = Namespace::new(&format!("{name}-hub"))?;
        hub.forward()?;
        let authority = Authority::new(folder, "fleet-ca", "Fleet CA")?;
        write_users(folder, members)?;
        let mut nodes = Vec::new();
        for number in 1..=NODES {
            let namespace = attach(&hub, &format!("{name}-nats{number}"), number)?;
            let config = configure(folder, &authority, number, store)?;
            nodes.push(Node {
                namespace,
                config,
                server: None,
            });
        }
        let attached = members.iter().zip(FIRST_GATEWAY..);
        let members = attached
            .map(|(member, number)| attach(&hub, &format!("{name}-{member}"), number))
            .collect::<anyhow::Result<_>>()?;
        let mut cluster = Self {
            folder: folder.to_owned(),
            authority,
            hub,
            nodes,
            members,
        };
        for number in 1..=NODES {
            cluster.start_node(number)?;
        }
        Ok(cluster)
    }

    /// Returns the addresses of all servers, as `fleet.url` takes them.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        let nodes = 1..=NODES;
        nodes
            .map(|number| format!("tls://{}:{PORT}", address(number)))
            .collect()
    }

    /// Returns the namespace of a member of the fleet.
    #[must_use]
    pub fn member(&self, place: usize) -> Option<&Namespace> {
        self.members.get(place)
    }

    /// Connects another namespace with the hub.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn attach(&self, namespace: &Namespace, network: usize) -> anyhow::Result<()> {
        connect_to(&self.hub, namespace, network)
    }

    /// Returns the CA of servers and clients, PEM.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.authority.certificate()
    }

    /// Issues the certificate of a user.
    ///
    /// # Errors
    /// If openssl fails.
    pub fn identity(&self, user: &str) -> anyhow::Result<Identity> {
        let (certificate, key) = self.authority.issue(user, &[user])?;
        Ok(Identity { certificate, key })
    }

    /// Starts a server, and waits until it takes clients.
    ///
    /// # Errors
    /// If it does not.
    pub fn start_node(&mut self, number: usize) -> anyhow::Result<()> {
        let node = self.node(number)?;
        let mut command = node.namespace.command("nats-server");
        command.arg("--config").arg(&node.config);
        node.server = Some(Process::start(&mut command)?);
        node.namespace.wait_until_listening(PORT)
    }

    /// Ends a server by a signal.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop_node(&mut self, number: usize, signal: Signal) -> anyhow::Result<()> {
        if let Some(mut server) = self.node(number)?.server.take() {
            server.stop(signal)?;
        }
        Ok(())
    }

    /// Cuts a server off from the others and from all clients, or ends that.
    ///
    /// # Errors
    /// If nft fails.
    pub fn cut_off(&self, number: usize, is_cut: bool) -> anyhow::Result<()> {
        if !is_cut {
            self.hub.run("nft delete table ip cut")?;
            return Ok(());
        }
        let address = address(number);
        for line in [
            "add table ip cut".to_owned(),
            "add chain ip cut forward { type filter hook forward priority 0 ; }".to_owned(),
            format!("add rule ip cut forward ip saddr {address} drop"),
            format!("add rule ip cut forward ip daddr {address} drop"),
        ] {
            self.hub.run(&format!("nft {line}"))?;
        }
        Ok(())
    }

    /// Returns the number of the server that leads a stream, by the servers' own account.
    ///
    /// # Errors
    /// If none says so in time.
    pub fn leader(&self, stream: &str) -> anyhow::Result<usize> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            for number in 1..=NODES {
                if self.monitored(number, stream).is_ok_and(|leads| leads) {
                    return Ok(number);
                }
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        bail!("no server leads the stream {stream}")
    }

    /// Whether a server says that it leads a stream.
    fn monitored(&self, number: usize, stream: &str) -> anyhow::Result<bool> {
        let node = self.nodes.get(number - 1).context("no such server")?;
        let mut curl = node.namespace.command("curl");
        curl.args(["-sS", "--fail", "--max-time", "5"]);
        let said = run(curl.arg("http://127.0.0.1:8222/jsz?streams=true"))?;
        let said: serde_json::Value = serde_json::from_str(&said)?;
        let accounts = said["account_details"].as_array();
        let streams = accounts.into_iter().flatten();
        let mut streams =
            streams.flat_map(|it| it["stream_detail"].as_array().into_iter().flatten());
        let name = format!("nats{number}");
        Ok(streams.any(|it| it["name"] == stream && it["cluster"]["leader"] == name.as_str()))
    }

    /// Returns the folder of its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn node(&mut self, number: usize) -> anyhow::Result<&mut Node> {
        let node = number.checked_sub(1).and_then(|it| self.nodes.get_mut(it));
        node.with_context(|| format!("there is no server {number}"))
    }
}

/// Returns the folder of a server's streams.
#[must_use]
pub fn store_folder(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("store{number}"))
}

/// Returns the address of a member of the networks behind the hub.
fn address(network: usize) -> String {
    format!("10.78.{network}.2")
}

/// Makes a namespace behind the hub.
fn attach(hub: &Namespace, name: &str, network: usize) -> anyhow::Result<Namespace> {
    let namespace = Namespace::new(name)?;
    connect_to(hub, &namespace, network)?;
    Ok(namespace)
}

fn connect_to(hub: &Namespace, namespace: &Namespace, network: usize) -> anyhow::Result<()> {
    let gateway = format!("10.78.{network}.1");
    connect(
        (namespace, "fleet0", &[&format!("{}/24", address(network))]),
        (hub, &format!("hub{network}"), &[&format!("{gateway}/24")]),
    )?;
    namespace.run(&format!("ip route add 10.78.0.0/16 via {gateway}"))?;
    Ok(())
}

/// Returns a file that is shipped.
fn shipped(name: &str) -> anyhow::Result<String> {
    let path = root().join("packaging/fleet").join(name);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Replaces a text that must be there.
fn replaced(text: &str, from: &str, to: &str) -> anyhow::Result<String> {
    ensure!(
        text.contains(from),
        "the shipped configuration has no {from}"
    );
    Ok(text.replace(from, to))
}

/// Writes the shipped users, with a gateway's block for each member that has none.
fn write_users(folder: &Path, members: &[&str]) -> anyhow::Result<()> {
    let mut text = shipped("gateways.conf")?;
    let begin = text.find("        {\n            user: \"gw1\"");
    let begin = begin.context("the shipped users have no gw1")?;
    let end = text.find("        {\n            user: \"gw2\"");
    let end = end.context("the shipped users have no gw2")?;
    let block = text.get(begin..end).unwrap_or_default().to_owned();
    for member in members {
        if !text.contains(&format!("user: \"{member}\"")) {
            text.insert_str(begin, &block.replace("gw1", member));
        }
    }
    fs::write(folder.join("gateways.conf"), text).context("cannot write the users")
}

/// Writes the shipped configuration for one server of the lab.
fn configure(
    folder: &Path,
    authority: &Authority,
    number: usize,
    store: &str,
) -> anyhow::Result<PathBuf> {
    let name = format!("nats{number}");
    let (certificate, key) = authority.issue(&name, &[&name, &address(number)])?;
    let quoted = |path: &Path| format!("\"{}\"", path.display());
    let mut text = shipped("nats-server.conf")?;
    for (from, to) in [
        ("server_name: \"nats1\"", format!("server_name: \"{name}\"")),
        ("\"/etc/nats/tls/server.crt\"", quoted(&certificate)),
        ("\"/etc/nats/tls/server.key\"", quoted(&key)),
        ("\"/etc/nats/tls/ca.crt\"", quoted(&authority.certificate())),
        ("\"/var/lib/nats\"", quoted(&store_folder(folder, number))),
        ("max_file_store: 20GB", format!("max_file_store: {store}")),
        ("0.0.0.0:4222", format!("{}:4222", address(number))),
        ("0.0.0.0:6222", format!("{}:6222", address(number))),
        ("nats1.example.com", address(1)),
        ("nats2.example.com", address(2)),
        ("nats3.example.com", address(3)),
    ] {
        text = replaced(&text, from, &to)?;
    }
    // For the lab's questions alone.
    text.push_str("\nhttp: \"127.0.0.1:8222\"\n");
    let path = folder.join(format!("{name}.conf"));
    fs::write(&path, text).context("cannot write a server's configuration")?;
    Ok(path)
}
