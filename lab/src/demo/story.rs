//! The story: an app that pins its server's key, behind an interceptor, and others.
//!
//! ```text
//!  client ── lan0 │ gateway │ wan0 ── middlebox ── server
//!                 │ sslsplit│         resets "blocked.test"
//!                 │ tlswhy  │
//! ```

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::host::certificate::pin;
use crate::host::{Authority, Namespace, Process, connect, run};
use crate::network::sslsplit;
use xtask::root;

/// The servers whose connections the gateway intercepts, and one it lets through.
const INTERCEPTED: &str = "10.77.3.2";
const ALSO_INTERCEPTED: &str = "10.77.3.4";
const LET_THROUGH: &str = "10.77.3.3";
const CLIENT: &str = "10.77.1.2";
const OTHER_CLIENT: &str = "10.77.1.3";
const WORKS: &str = "www.works.test";
const PINNED: &str = "api.pinned.test";
const BLOCKED: &str = "blocked.test";

/// File of the CAs that the Java app trusts: the inspection CA, and its server's own.
const BOTH_CAS: &str = "both-cas.crt";

/// Everything but tlswhy.
pub struct Story {
    client: Namespace,
    gateway: Namespace,
    folder: PathBuf,
    inspection_ca: Authority,
    pin: String,
    // Kept for their guards: the programs end before their namespaces go.
    _programs: Vec<Process>,
    _others: [Namespace; 2],
}

/// One connection.
pub struct Scene {
    /// Its title.
    pub title: &'static str,
    /// The client.
    pub command: Command,
    /// The cause that tlswhy is to name; none for a success.
    pub cause: Option<&'static str>,
}

impl Story {
    /// Makes namespaces whose names begin with `name`, certificates in `folder`, and starts the
    /// programs that run in them; `tools` is the binary of this package.
    ///
    /// # Errors
    /// If something needed is missing or does not work.
    pub fn new(name: &str, folder: &Path, tools: &Path) -> anyhow::Result<Self> {
        let client = Namespace::new(&format!("{name}-client"))?;
        let gateway = Namespace::new(&format!("{name}-gateway"))?;
        let middlebox = Namespace::new(&format!("{name}-middlebox"))?;
        let server = Namespace::new(&format!("{name}-server"))?;
        connect(
            (&client, "eth0", &["10.77.1.2/24", "10.77.1.3/24"]),
            (&gateway, "lan0", &["10.77.1.1/24"]),
        )?;
        connect(
            (&gateway, "wan0", &["10.77.2.1/24"]),
            (&middlebox, "in0", &["10.77.2.2/24"]),
        )?;
        let servers = ["10.77.3.2/24", "10.77.3.3/24", "10.77.3.4/24"];
        connect(
            (&middlebox, "out0", &["10.77.3.1/24"]),
            (&server, "eth0", &servers),
        )?;
        client.default_routes(&["10.77.1.1"])?;
        gateway.run("ip route add 10.77.3.0/24 via 10.77.2.2")?;
        middlebox.run("ip route add 10.77.1.0/24 via 10.77.2.1")?;
        server.default_routes(&["10.77.3.1"])?;
        gateway.forward()?;
        middlebox.forward()?;
        intercept(&gateway)?;

        let origin_ca = Authority::new(folder, "origin-ca", "Origin CA")?;
        let inspection_ca = Authority::new(folder, "inspection-ca", "Inspection CA")?;
        let (certificate, key) = origin_ca.issue("origin", &[PINNED, WORKS, BLOCKED])?;
        let mut openssl = server.command("openssl");
        openssl.args(["s_server", "-accept", "443", "-www", "-quiet", "-cert"]);
        openssl.arg(&certificate).arg("-key").arg(&key);
        let mut sslsplit = sslsplit(&gateway, &inspection_ca);
        let mut injector = middlebox.command(tools);
        injector.args(["inject-reset", "--sni", BLOCKED]);
        let programs = [&mut openssl, &mut sslsplit, &mut injector];
        let programs = programs
            .into_iter()
            .map(Process::start)
            .collect::<anyhow::Result<_>>()?;

        let java = root().join("lab/programs/App.java");
        run(Command::new("javac").arg("-d").arg(folder).arg(java))?;
        let both = [&inspection_ca, &origin_ca].map(|ca| std::fs::read(ca.certificate()));
        let [one, other] = both;
        std::fs::write(folder.join(BOTH_CAS), [one?, other?].concat())?;
        gateway.wait_until_listening(8443)?;
        server.wait_until_listening(443)?;
        Ok(Self {
            client,
            gateway,
            folder: folder.to_owned(),
            pin: pin(&certificate)?,
            inspection_ca,
            _programs: programs,
            _others: [middlebox, server],
        })
    }

    /// Returns the command by which a Java app on the client asks `name`; `pin` is its pin or `-`.
    fn java(&self, protocol: &str, name: &str, pin: &str) -> Command {
        let address = if name == PINNED {
            INTERCEPTED
        } else {
            ALSO_INTERCEPTED
        };
        let mut command = self.client.command("java");
        command.arg("-cp").arg(&self.folder);
        command.args(["App", address, name, protocol]);
        command.arg(self.folder.join(BOTH_CAS)).arg(pin);
        command
    }

    /// Returns the command by which curl on one of the client's addresses asks `name` at `server`.
    fn curl(&self, client: &str, name: &str, server: &str, ca: Option<&Path>) -> Command {
        let mut command = self.client.command("curl");
        command.args(["-sS", "-D", "-", "-o", "/dev/null", "--max-time", "10"]);
        command.args(["--interface", client]);
        command.arg("--resolve").arg(format!("{name}:443:{server}"));
        command.arg(format!("https://{name}/"));
        if let Some(ca) = ca {
            command.arg("--cacert").arg(ca);
        }
        command
    }

    /// Returns the gateway.
    pub const fn gateway(&self) -> &Namespace {
        &self.gateway
    }

    /// Returns the CA whose certificates the interceptor shows.
    pub const fn inspection_ca(&self) -> &Authority {
        &self.inspection_ca
    }

    /// Lets the connections of a list for sslsplit pass the interceptor.
    ///
    /// # Errors
    /// If nft does not take it.
    pub fn load(&self, list: &str) -> anyhow::Result<()> {
        let file = self.folder.join("list.nft");
        std::fs::write(&file, list)?;
        run(self.gateway.command("nft").arg("-f").arg(file))?;
        Ok(())
    }

    /// Returns the scene after the list is loaded: the app that pins works.
    pub fn scene_of_list(&self, protocol: &str) -> Scene {
        Scene {
            title: "the Java app that pins, once its server is excluded",
            command: self.java(protocol, PINNED, &self.pin),
            cause: None,
        }
    }

    /// Returns the scenes, in order.
    pub fn scenes(&self) -> Vec<Scene> {
        let ca = self.inspection_ca.certificate();
        let origin_ca = self.folder.join("origin-ca.crt");
        let scene = |title, command, cause| Scene {
            title,
            command,
            cause,
        };
        vec![
            scene(
                "a Java app trusts the inspection CA and works, TLS 1.2",
                self.java("TLSv1.2", WORKS, "-"),
                None,
            ),
            scene("the same, TLS 1.3", self.java("TLSv1.3", WORKS, "-"), None),
            scene(
                "curl trusts the inspection CA and works, also for the app's server",
                self.curl(CLIENT, PINNED, INTERCEPTED, Some(&ca)),
                None,
            ),
            scene(
                "the Java app pins its own server's key, TLS 1.2",
                self.java("TLSv1.2", PINNED, &self.pin),
                Some("pinning"),
            ),
            scene(
                "the same, TLS 1.3: its alert is encrypted",
                self.java("TLSv1.3", PINNED, &self.pin),
                Some("pinning"),
            ),
            scene(
                "curl on another client does not have the inspection CA",
                self.curl(OTHER_CLIENT, PINNED, INTERCEPTED, None),
                Some("ca-not-trusted"),
            ),
            scene(
                "a device upstream resets a connection in the server's name",
                self.curl(CLIENT, BLOCKED, LET_THROUGH, Some(&origin_ca)),
                Some("injected-reset"),
            ),
        ]
    }
}

/// Sends connections to the servers through sslsplit, but for those that a list of tlswhy has.
fn intercept(gateway: &Namespace) -> anyhow::Result<()> {
    for line in [
        "add table inet tlswhy",
        "add set inet tlswhy tlswhy_excluded4 { type ipv4_addr . inet_service ; }",
        "add chain inet tlswhy in { type nat hook prerouting priority -100 ; }",
        "add rule inet tlswhy in ip daddr . tcp dport @tlswhy_excluded4 return",
    ] {
        gateway.run(&format!("nft {line}"))?;
    }
    for server in [INTERCEPTED, ALSO_INTERCEPTED] {
        gateway.run(&format!(
            "nft add rule inet tlswhy in iifname lan0 ip daddr {server} tcp dport 443 redirect to :8443"
        ))?;
    }
    Ok(())
}

impl Scene {
    /// Whether the client's request succeeded, by its output.
    pub fn worked(&self, printed: &Output) -> bool {
        let printed = String::from_utf8_lossy(&printed.stdout);
        printed.starts_with("works: ") || printed.starts_with("HTTP/")
    }
}
