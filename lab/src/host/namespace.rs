//! Network namespaces by `ip netns`, so that a person can look into them while they are there.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::command::{run, words};

/// The longest that a server may take to start, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A network namespace; dropped, it is deleted with all that is in it.
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace with its loopback interface up; one left of the same name goes first.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        // Left over only by a run that was killed.
        let _ = run(&mut words(&format!("ip netns delete {name}")));
        run(&mut words(&format!("ip netns add {name}")))?;
        let namespace = Self {
            name: name.to_owned(),
        };
        namespace.run("ip link set lo up")?;
        Ok(namespace)
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns a command that will run in it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = words(&format!("ip netns exec {}", self.name));
        command.arg(program);
        command
    }

    /// Runs a command line in it to its end; no argument may have white space.
    ///
    /// # Errors
    /// If it fails.
    pub fn run(&self, line: &str) -> anyhow::Result<String> {
        let mut parts = line.split_whitespace();
        run(self.command(parts.next().unwrap_or("true")).args(parts))
    }

    /// Adds a default route by each gateway's address, IPv4 or IPv6.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn default_routes(&self, gateways: &[&str]) -> anyhow::Result<()> {
        for gateway in gateways {
            let family = if gateway.contains(':') { "-6" } else { "-4" };
            self.run(&format!("ip {family} route add default via {gateway}"))?;
        }
        Ok(())
    }

    /// Lets it forward packets.
    ///
    /// # Errors
    /// If the kernel does not.
    pub fn forward(&self) -> anyhow::Result<()> {
        self.run("sysctl -qw net.ipv4.ip_forward=1")?;
        self.run("sysctl -qw net.ipv6.conf.all.forwarding=1")?;
        Ok(())
    }

    /// Waits until something listens on a TCP port.
    ///
    /// # Errors
    /// If nothing does in a minute.
    pub fn wait_until_listening(&self, port: u16) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if self
                .run(&format!("ss -Hltn sport = :{port}"))?
                .contains("LISTEN")
            {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("nothing listens on port {port} in {}", self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Gone already if somebody deleted it by hand.
        let _ = run(&mut words(&format!("ip netns delete {}", self.name)));
    }
}

/// One end of a link: namespace, name, and addresses with prefix lengths.
pub type End<'a> = (&'a Namespace, &'a str, &'a [&'a str]);

/// Connects two namespaces by a veth pair.
///
/// # Errors
/// If `ip` fails.
pub fn connect(one: End<'_>, other: End<'_>) -> anyhow::Result<()> {
    run(&mut words(&format!(
        "ip link add {} netns {} type veth peer name {} netns {}",
        one.1,
        one.0.name(),
        other.1,
        other.0.name()
    )))?;
    for (namespace, interface, addresses) in [one, other] {
        for address in addresses {
            let no_dad = if address.contains(':') { " nodad" } else { "" };
            namespace.run(&format!("ip address add {address} dev {interface}{no_dad}"))?;
        }
        namespace.run(&format!("ip link set {interface} up"))?;
    }
    Ok(())
}
