//! A client and a server between which each direction takes a gateway of its own.
//!
//! ```text
//!            ┌─ lan0 │ there │ wan0 ─►┐
//!     client ┤                        ├ server
//!            └◄ lan0 │ back  │ wan0 ──┘
//! ```

use std::process::Command;

use anyhow::Context;
use lab::host::{Authority, Namespace, Process, connect};

use crate::gateway::{curl, serve};

/// The lab. Names begin with its own, so that several may stand at once.
pub struct Asymmetric {
    /// The client's namespace.
    pub client: Namespace,
    /// The gateway that packets to the server pass.
    pub there: Namespace,
    /// The gateway that packets to the client pass.
    pub back: Namespace,
    /// The server's namespace.
    pub server: Namespace,
    /// The CA of the server's certificate.
    pub origin_ca: Authority,
    folder: tempfile::TempDir,
}

/// The server's address.
pub const SERVER: &str = "10.79.2.2";

impl Asymmetric {
    /// Makes namespaces, links, routes and a CA.
    ///
    /// # Errors
    /// If this process is not root or a tool is missing.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let client = Namespace::new(&format!("tw-{name}-c")).context("needs root")?;
        let there = Namespace::new(&format!("tw-{name}-t"))?;
        let back = Namespace::new(&format!("tw-{name}-b"))?;
        let server = Namespace::new(&format!("tw-{name}-s"))?;
        // A packet comes by another interface than its answer would leave by.
        for namespace in [&client, &there, &back, &server] {
            namespace.run("sysctl -qw net.ipv4.conf.all.rp_filter=0")?;
            namespace.run("sysctl -qw net.ipv4.conf.default.rp_filter=0")?;
        }
        connect(
            (&client, "eth0", &["10.79.1.2/24"]),
            (&there, "lan0", &["10.79.1.1/24"]),
        )?;
        connect(
            (&there, "wan0", &["10.79.2.1/24"]),
            (&server, "eth0", &["10.79.2.2/24"]),
        )?;
        connect(
            (&client, "eth1", &["10.79.3.2/24"]),
            (&back, "lan0", &["10.79.3.1/24"]),
        )?;
        connect(
            (&back, "wan0", &["10.79.4.1/24"]),
            (&server, "eth1", &["10.79.4.2/24"]),
        )?;
        client.run("ip route add 10.79.2.0/24 via 10.79.1.1")?;
        server.run("ip route add 10.79.1.0/24 via 10.79.4.1")?;
        back.run("ip route add 10.79.1.0/24 via 10.79.3.2")?;
        for gateway in [&there, &back] {
            gateway.forward()?;
            // It sends no redirects, and is no end of what it forwards.
            gateway.run("sysctl -qw net.ipv4.conf.all.send_redirects=0")?;
        }
        let origin_ca = Authority::new(folder.path(), "origin-ca", "Origin CA")?;
        Ok(Self {
            client,
            there,
            back,
            server,
            origin_ca,
            folder,
        })
    }

    /// Starts a TLS server on port 443 for `www.lab.test`, with a certificate of the origin CA.
    ///
    /// # Errors
    /// If openssl fails.
    pub fn serve(&self, options: &[&str]) -> anyhow::Result<Process> {
        serve(&self.server, &self.origin_ca, options)
    }

    /// Returns the command of curl for `https://www.lab.test/`.
    pub fn curl(&self, arguments: &[&str]) -> Command {
        curl(&self.client, SERVER, arguments)
    }

    /// Returns a folder that is removed with the lab.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}
