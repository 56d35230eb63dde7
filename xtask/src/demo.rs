//! `cargo xtask demo`: the story, replayed with real parts.
//!
//! ```text
//!  client ── lan0 │ gateway │ wan0 ── middlebox ── server
//!                 │ sslsplit│         resets "blocked.test"
//!                 │ tlswhy  │
//! ```

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;

use crate::lab::certificates::pin;
use crate::lab::{Authority, Namespace, Process, connect, output, run as run_command, words};
use crate::{build_agent, need_root, root, setup};

/// The server whose connections the gateway intercepts, and one it lets through.
const INTERCEPTED: &str = "10.77.3.2";
const LET_THROUGH: &str = "10.77.3.3";
const PINNED: &str = "api.pinned.test";
const BLOCKED: &str = "blocked.test";
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";
/// Verdicts come half a second after a reset at the latest.
const VERDICT_PATIENCE: Duration = Duration::from_secs(4);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Builds the agent, makes the lab, tells the story, and takes everything away again.
///
/// # Errors
/// If something needed is missing or does not work.
pub fn run() -> anyhow::Result<()> {
    need_root("demo")?;
    // Ctrl-C also reaches the programs of the lab; what is left is taken away on the way out.
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))
        .context("cannot wait for Ctrl-C")?;
    setup::ensure(setup::ALL)?;
    let agent = build_agent()?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let lab = Lab::new(folder.path())?;
    let _journal = journal()?;
    let began = run_command(&mut words("date +%s"))?;
    let mut tlswhy = lab.start_agent(&agent)?;
    for scene in lab.scenes()? {
        ensure!(!INTERRUPTED.load(Ordering::Relaxed), "interrupted");
        println!("\n── {}", scene.title);
        scene.play(&tlswhy)?;
    }
    let (_, rest) = tlswhy.stop(Signal::SIGINT)?;
    println!("\n── tlswhy ends");
    rest.iter().for_each(|line| println!("{line}"));
    show_journal(began.trim())
}

struct Lab {
    client: Namespace,
    gateway: Namespace,
    folder: PathBuf,
    inspection_ca: Authority,
    pin: String,
    // Kept for their guards: the programs end before their namespaces go.
    _programs: Vec<Process>,
    _others: [Namespace; 2],
}

impl Lab {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        let client = Namespace::new("tlswhy-client")?;
        let gateway = Namespace::new("tlswhy-gateway")?;
        let middlebox = Namespace::new("tlswhy-middlebox")?;
        let server = Namespace::new("tlswhy-server")?;
        connect(
            (&client, "eth0", &["10.77.1.2/24"]),
            (&gateway, "lan0", &["10.77.1.1/24"]),
        )?;
        connect(
            (&gateway, "wan0", &["10.77.2.1/24"]),
            (&middlebox, "in0", &["10.77.2.2/24"]),
        )?;
        let servers = ["10.77.3.2/24", "10.77.3.3/24"];
        connect(
            (&middlebox, "out0", &["10.77.3.1/24"]),
            (&server, "eth0", &servers),
        )?;
        client.run("ip route add default via 10.77.1.1")?;
        gateway.run("ip route add 10.77.3.0/24 via 10.77.2.2")?;
        middlebox.run("ip route add 10.77.1.0/24 via 10.77.2.1")?;
        server.run("ip route add default via 10.77.3.1")?;
        gateway.forward()?;
        middlebox.forward()?;
        gateway.run("nft add table ip story")?;
        gateway.run("nft add chain ip story in { type nat hook prerouting priority -100 ; }")?;
        gateway.run(&format!(
            "nft add rule ip story in iifname lan0 ip daddr {INTERCEPTED} tcp dport 443 redirect to :8443"
        ))?;

        let origin_ca = Authority::new(folder, "origin-ca", "Origin CA")?;
        let inspection_ca = Authority::new(folder, "inspection-ca", "Inspection CA")?;
        let (certificate, key) = origin_ca.issue("origin", &[PINNED, "www.works.test", BLOCKED])?;
        let mut openssl = server.command("openssl");
        openssl.args(["s_server", "-accept", "443", "-www", "-quiet", "-cert"]);
        openssl.arg(&certificate).arg("-key").arg(&key);
        let mut sslsplit = gateway.command("sslsplit");
        sslsplit.arg("-D").arg("-k").arg(inspection_ca.key());
        sslsplit.arg("-c").arg(inspection_ca.certificate());
        sslsplit.args(["ssl", "0.0.0.0", "8443"]);
        let mut injector = middlebox.command(std::env::current_exe()?);
        injector.args(["inject-reset", "--sni", BLOCKED]);
        let programs = [&mut openssl, &mut sslsplit, &mut injector];
        let programs = programs
            .into_iter()
            .map(Process::start)
            .collect::<anyhow::Result<_>>()?;

        let java = root().join("xtask/src/lab/java/App.java");
        run_command(Command::new("javac").arg("-d").arg(folder).arg(java))?;
        wait_until_listening(&gateway, 8443)?;
        wait_until_listening(&server, 443)?;
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

    fn start_agent(&self, agent: &Path) -> anyhow::Result<Process> {
        let mut command = self.gateway.command(agent);
        command.args([
            "run",
            "--interface",
            "lan0",
            "--output",
            "text",
            "--output",
            "journald",
        ]);
        command
            .arg("--inspection-ca")
            .arg(self.inspection_ca.certificate());
        println!("── tlswhy starts on the gateway");
        println!(
            "$ tlswhy run --interface lan0 --inspection-ca inspection-ca.crt --output text --output journald"
        );
        let agent = Process::start(&mut command)?;
        let said = agent.wait_for(Duration::from_secs(20), |line| line == "ready")?;
        said.iter().for_each(|line| println!("{line}"));
        Ok(agent)
    }

    fn java(&self, protocol: &str, ca: Option<&Path>, pin: &str) -> Command {
        let mut command = self.client.command("java");
        command
            .arg("-cp")
            .arg(&self.folder)
            .args(["App", INTERCEPTED, PINNED, protocol]);
        command.arg(ca.unwrap_or(Path::new("-"))).arg(pin);
        command
    }

    fn curl(&self, name: &str, address: &str, ca: Option<&Path>) -> Command {
        let mut command = self.client.command("curl");
        command.args([
            "-sS",
            "-o",
            "/dev/null",
            "-w",
            "works: HTTP %{http_code}\\n",
            "--max-time",
            "10",
        ]);
        command
            .arg("--resolve")
            .arg(format!("{name}:443:{address}"));
        command.arg(format!("https://{name}/"));
        if let Some(ca) = ca {
            command.arg("--cacert").arg(ca);
        }
        command
    }

    fn scenes(&self) -> anyhow::Result<Vec<Scene>> {
        let ca = self.inspection_ca.certificate();
        let origin_ca = self.folder.join("origin-ca.crt");
        let scene = |title: &str, command: Command, fails: bool| Scene {
            title: title.to_owned(),
            command,
            fails,
        };
        Ok(vec![
            scene(
                "a Java app trusts the inspection CA and works",
                self.java("TLSv1.3", Some(&ca), "-"),
                false,
            ),
            scene(
                "curl trusts the inspection CA and works",
                self.curl("www.works.test", INTERCEPTED, Some(&ca)),
                false,
            ),
            scene(
                "a Java app pins its server's key, TLS 1.2",
                self.java("TLSv1.2", Some(&ca), &self.pin),
                true,
            ),
            scene(
                "the same app, TLS 1.3: its alert is encrypted",
                self.java("TLSv1.3", Some(&ca), &self.pin),
                true,
            ),
            scene(
                "curl does not have the inspection CA",
                self.curl(PINNED, INTERCEPTED, None),
                true,
            ),
            scene(
                "a device upstream resets a connection in the server's name",
                self.curl(BLOCKED, LET_THROUGH, Some(&origin_ca)),
                true,
            ),
        ])
    }
}

struct Scene {
    title: String,
    command: Command,
    fails: bool,
}

impl Scene {
    /// Runs the client and shows what it and tlswhy say.
    fn play(mut self, tlswhy: &Process) -> anyhow::Result<()> {
        let result = output(&mut self.command)?;
        for text in [result.stdout, result.stderr] {
            for line in String::from_utf8_lossy(&text)
                .lines()
                .filter(|line| !line.is_empty())
            {
                println!("client: {line}");
            }
        }
        if self.fails {
            // A verdict ends with its advice.
            let lines = tlswhy.wait_for(VERDICT_PATIENCE, |line| {
                line.trim_start().starts_with("advice")
            });
            lines?.iter().for_each(|line| println!("{line}"));
        } else {
            std::thread::sleep(Duration::from_secs(1));
            let said: Vec<String> = tlswhy.lines().collect();
            let nothing = "tlswhy: nothing to say, as it should be".to_owned();
            let said = if said.is_empty() { vec![nothing] } else { said };
            said.iter().for_each(|line| println!("{line}"));
        }
        Ok(())
    }
}

fn wait_until_listening(namespace: &Namespace, port: u16) -> anyhow::Result<()> {
    for _ in 0..100 {
        if namespace
            .run(&format!("ss -Hltn sport = :{port}"))?
            .contains("LISTEN")
        {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("nothing listens on port {port} in {}", namespace.name())
}

/// A journald of our own, where the machine runs none.
fn journal() -> anyhow::Result<Option<Process>> {
    if journald_listens() {
        return Ok(None);
    }
    std::fs::create_dir_all("/run/systemd/journal").context("cannot make journald's folder")?;
    let journald = Process::start(&mut Command::new("/lib/systemd/systemd-journald"))?;
    for _ in 0..100 {
        if journald_listens() {
            return Ok(Some(journald));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("systemd-journald did not start")
}

/// A socket alone says nothing: one that was killed leaves its own behind.
fn journald_listens() -> bool {
    UnixDatagram::unbound()
        .and_then(|socket| socket.connect(JOURNAL_SOCKET))
        .is_ok()
}

/// What stands in the journal of the app that pins.
fn show_journal(since: &str) -> anyhow::Result<()> {
    println!("\n── in the journal: the app that pins, TLS 1.2");
    println!(
        "$ journalctl SYSLOG_IDENTIFIER=tlswhy TLSWHY_ALERT_DESCRIPTION=certificate_unknown -o verbose"
    );
    // journald writes what it received when asked to.
    let _ = run_command(&mut words("journalctl --sync"));
    let shown = run_command(&mut words(&format!(
        "journalctl -q --no-pager --utc -o verbose --since @{since} SYSLOG_IDENTIFIER=tlswhy \
         TLSWHY_ALERT_DESCRIPTION=certificate_unknown"
    )))?;
    let fields = shown.lines().filter(|line| {
        let line = line.trim_start();
        line.starts_with("TLSWHY_") || line.starts_with("MESSAGE") || line.starts_with("PRIORITY")
    });
    let fields: Vec<&str> = fields.collect();
    ensure!(
        !fields.is_empty(),
        "the journal has no verdict for the app that pins"
    );
    fields.iter().for_each(|line| println!("{line}"));
    Ok(())
}
