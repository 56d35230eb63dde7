//! The corpus' network: clients, a gateway with interceptors, origins of every kind.
//!
//! ```text
//!  clients ── lan0 │ gateway            │ wan0 ── origins
//!  10.9.1.0/24     │ sslsplit squid     │         10.9.2.0/24
//!                  │ mitmproxy          │
//! ```

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::Signal;

use super::rewrite::capture::{Capture, Frame};
use crate::lab::{Authority, Namespace, Process, connect, run, words};

/// An origin: its name, and what is special about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Host name.
    pub name: &'static str,
    /// Last octet of its address, and group of its IPv6 address.
    pub host: u8,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sound,
    Expired,
    SelfSigned,
    WrongName,
    WantsClientCertificate,
    OnlyTls13,
    OnlyTls12,
    OnlyP384,
    OnlyChacha,
}

const fn origin(name: &'static str, host: u8, kind: Kind) -> Origin {
    Origin { name, host, kind }
}

/// The service that apps pin.
pub const PINNED: &str = "api.pinned.example";
/// Sound origins that nobody pins, unrelated to each other.
pub const OTHERS: [&str; 3] = [
    "www.shop.test",
    "media.cdnhost.invalid",
    "mail.office.example",
];
/// Its certificate has expired.
pub const EXPIRED: &str = "old.expired.test";
/// Its certificate is self-signed.
pub const SELF_SIGNED: &str = "box.selfsigned.test";
/// Its certificate is another's.
pub const WRONG_NAME: &str = "www.wrongname.test";
/// It wants a client certificate.
pub const MUTUAL: &str = "b2b.partner.test";
/// It speaks nothing below TLS 1.3.
pub const ONLY_TLS13: &str = "only13.modern.test";
/// It speaks nothing above TLS 1.2.
pub const ONLY_TLS12: &str = "only12.legacy.test";
/// It knows no group but P-384, so that most clients are asked to try again.
pub const ONLY_P384: &str = "p384.groups.test";
/// Up to TLS 1.2 it knows no cipher suite but ChaCha20-Poly1305's.
pub const ONLY_CHACHA: &str = "chacha.suites.test";

/// All origins that nginx serves.
pub const ORIGINS: [Origin; 12] = [
    origin(PINNED, 11, Kind::Sound),
    origin(OTHERS[0], 12, Kind::Sound),
    origin(OTHERS[1], 13, Kind::Sound),
    origin(OTHERS[2], 14, Kind::Sound),
    origin(EXPIRED, 15, Kind::Expired),
    origin(SELF_SIGNED, 16, Kind::SelfSigned),
    origin(WRONG_NAME, 17, Kind::WrongName),
    origin(MUTUAL, 18, Kind::WantsClientCertificate),
    origin(ONLY_TLS13, 19, Kind::OnlyTls13),
    origin(ONLY_TLS12, 20, Kind::OnlyTls12),
    origin(ONLY_P384, 21, Kind::OnlyP384),
    origin(ONLY_CHACHA, 22, Kind::OnlyChacha),
];
/// The origin whose behaviour its port chooses, see `lab/origin.py`.
pub const ODD: &str = "odd.behaviour.test";
const ODD_HOST: u8 = 30;

const SQUID_SERVICE: &str = "tlswhycorpus";

/// What connections pass on the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interceptor {
    /// Nothing: they are forwarded.
    None,
    /// sslsplit 0.5.
    Sslsplit,
    /// squid-openssl, ssl-bump.
    Squid,
    /// mitmproxy, transparent.
    Mitmproxy,
}

impl Interceptor {
    /// Those that intercept.
    pub const ALL: [Self; 3] = [Self::Sslsplit, Self::Squid, Self::Mitmproxy];

    /// As labels say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Sslsplit => "sslsplit",
            Self::Squid => "squid",
            Self::Mitmproxy => "mitmproxy",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Sslsplit => 8443,
            Self::Squid => 8444,
            Self::Mitmproxy => 8445,
        }
    }
}

/// Everything that runs.
pub struct World {
    /// Where clients run.
    pub clients: Namespace,
    /// Where interceptors run and packets are recorded.
    pub gateway: Namespace,
    /// Where origins run.
    pub origins: Namespace,
    /// Certificates, programs, recordings.
    pub folder: PathBuf,
    /// Signs what interceptors make.
    pub inspection_ca: Authority,
    /// Signs what origins have.
    pub origin_ca: Authority,
    /// A client certificate that [`MUTUAL`] takes.
    pub client_certificate: (PathBuf, PathBuf),
    /// The certificate of [`PINNED`].
    pub pinned_certificate: PathBuf,
    programs: Vec<Process>,
    interceptors: Vec<(Interceptor, Process)>,
}

impl World {
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
        for line in [
            "ip route add default via 10.9.1.1",
            "ip -6 route add default via fd09:1::1",
        ] {
            clients.run(line)?;
        }
        for line in [
            "ip route add default via 10.9.2.1",
            "ip -6 route add default via fd09:2::1",
        ] {
            origins.run(line)?;
        }
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
        let mut world = Self {
            pinned_certificate: folder.join("pinned.crt"),
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
        world.name_hosts()?;
        world.start_origins()?;
        world.start_interceptors(interceptors)?;
        Ok(world)
    }

    /// Sends what clients begin on port 443 through an interceptor, or straight on.
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

    /// What an interceptor has logged since it was last asked.
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

    /// Records an interface of the gateway until the recording is dropped or taken.
    ///
    /// # Errors
    /// If tcpdump does not start.
    pub fn record(&self, interface: &str) -> anyhow::Result<Recording> {
        let file = self.folder.join(format!("{interface}.pcap"));
        let mut tcpdump = self.gateway.command("tcpdump");
        tcpdump.args(["-n", "-U", "--immediate-mode", "-B", "65536", "-s", "0"]);
        tcpdump.args([
            "--time-stamp-precision=nano",
            "-Z",
            "root",
            "-i",
            interface,
            "-w",
        ]);
        let tcpdump = Process::start(tcpdump.arg(&file).arg("tcp"))?;
        tcpdump.wait_for(Duration::from_secs(10), |line| {
            line.contains("listening on")
        })?;
        Ok(Recording { file, tcpdump })
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

    fn start_origins(&mut self) -> anyhow::Result<()> {
        let folder = &self.folder;
        std::fs::write(folder.join("index.html"), "hello\n")?;
        std::fs::write(folder.join("large"), vec![b'x'; 400_000])?;
        let mut servers = String::new();
        let mut mutual = None;
        for Origin { name, host, kind } in ORIGINS {
            let file = name.replace('.', "-");
            let (certificate, key) = self.certificate(kind, name, &file)?;
            if name == PINNED {
                std::fs::copy(&certificate, &self.pinned_certificate)?;
            }
            let special = match kind {
                Kind::WantsClientCertificate => {
                    mutual = Some((host, certificate, key));
                    continue;
                }
                Kind::OnlyTls13 => "ssl_protocols TLSv1.3;".to_owned(),
                Kind::OnlyTls12 => "ssl_protocols TLSv1.2;".to_owned(),
                Kind::OnlyP384 => "ssl_ecdh_curve secp384r1;".to_owned(),
                Kind::OnlyChacha => {
                    "ssl_protocols TLSv1.2; ssl_ciphers ECDHE-RSA-CHACHA20-POLY1305;".to_owned()
                }
                _ => String::new(),
            };
            let _ = writeln!(
                servers,
                "server {{ listen 10.9.2.{host}:443 ssl http2; listen [fd09:2::{host}]:443 ssl http2; \
                 server_name {name}; ssl_certificate {}; ssl_certificate_key {}; {special} \
                 root {}; }}",
                certificate.display(),
                key.display(),
                folder.display()
            );
        }
        let config = folder.join("nginx.conf");
        std::fs::write(
            &config,
            format!(
                "user root; daemon off; master_process off; pid {0}/nginx.pid; error_log {0}/nginx.log;\n\
                 events {{ worker_connections 256; }}\n\
                 http {{ access_log off; keepalive_timeout 5; ssl_protocols TLSv1.2 TLSv1.3; \
                 ssl_session_cache shared:s:1m;\n{servers} }}\n",
                folder.display()
            ),
        )?;
        let nginx = Process::start(self.origins.command("nginx").arg("-c").arg(&config))?;
        let (certificate, key) = self.origin_ca.issue("odd", &[ODD])?;
        let program = crate::root().join("xtask/lab/origin.py");
        let mut odd = self.origins.command("python3");
        odd.arg(program)
            .arg(format!("10.9.2.{ODD_HOST}"))
            .arg(certificate)
            .arg(key);
        let odd = Process::start(&mut odd)?;
        odd.wait_for(Duration::from_secs(10), |line| line == "ready")?;
        self.programs.extend([nginx, odd]);
        if let Some((host, certificate, key)) = mutual {
            // nginx would take any client into TLS and refuse it in HTTP.
            let mut openssl = self.origins.command("openssl");
            openssl.args([
                "s_server",
                "-www",
                "-quiet",
                "-Verify",
                "2",
                "-verify_return_error",
            ]);
            openssl.arg("-accept").arg(format!("10.9.2.{host}:443"));
            openssl.arg("-CAfile").arg(folder.join("client-ca.crt"));
            openssl.arg("-cert").arg(certificate).arg("-key").arg(key);
            self.programs.push(Process::start(&mut openssl)?);
        }
        self.origins.wait_until_listening(443)
    }

    fn certificate(
        &self,
        kind: Kind,
        name: &str,
        file: &str,
    ) -> anyhow::Result<(PathBuf, PathBuf)> {
        match kind {
            Kind::Expired => self.origin_ca.issue_expired(file, &[name]),
            Kind::SelfSigned => {
                Authority::new(&self.folder, file, name).map(|own| (own.certificate(), own.key()))
            }
            Kind::WrongName => self.origin_ca.issue(file, &["somebody.else.test"]),
            _ => self.origin_ca.issue(file, &[name]),
        }
    }

    fn start_interceptors(&mut self, wanted: &[Interceptor]) -> anyhow::Result<()> {
        let (certificate, key) = (self.inspection_ca.certificate(), self.inspection_ca.key());
        let both = self.folder.join("inspection.pem");
        let pem = [std::fs::read(key)?, std::fs::read(certificate)?].concat();
        std::fs::write(&both, &pem)?;
        for interceptor in wanted.iter().copied() {
            let mut command = match interceptor {
                Interceptor::None => continue,
                Interceptor::Sslsplit => self.sslsplit(),
                Interceptor::Squid => self.squid(&both)?,
                Interceptor::Mitmproxy => self.mitmproxy(&pem)?,
            };
            self.interceptors
                .push((interceptor, Process::start(&mut command)?));
        }
        for (interceptor, _) in &self.interceptors {
            self.gateway
                .wait_until_listening(interceptor.port())
                .with_context(|| format!("{} does not run", interceptor.name()))?;
        }
        Ok(())
    }

    fn sslsplit(&self) -> Command {
        let mut sslsplit = self.gateway.command("sslsplit");
        sslsplit.arg("-D").arg("-k").arg(self.inspection_ca.key());
        sslsplit.arg("-c").arg(self.inspection_ca.certificate());
        sslsplit.args(["ssl", "0.0.0.0", "8443"]);
        sslsplit
    }

    fn mitmproxy(&self, pem: &[u8]) -> anyhow::Result<Command> {
        let folder = self.folder.join("mitmproxy");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("mitmproxy-ca.pem"), pem)?;
        let mut mitmproxy = self.gateway.command("mitmdump");
        mitmproxy.env("PYTHONUNBUFFERED", "1");
        mitmproxy.args(["--mode", "transparent", "--listen-port", "8445", "--set"]);
        mitmproxy.arg(format!("confdir={}", folder.display()));
        mitmproxy.arg("--set").arg(format!(
            "ssl_verify_upstream_trusted_ca={}",
            self.origin_ca.certificate().display()
        ));
        Ok(mitmproxy)
    }

    fn squid(&self, both: &Path) -> anyhow::Result<Command> {
        // One that was killed leaves its shared memory behind, and the next one refuses it.
        for entry in std::fs::read_dir("/dev/shm")
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry
                .file_name()
                .to_string_lossy()
                .starts_with(SQUID_SERVICE)
            {
                std::fs::remove_file(entry.path()).context("cannot take away old shared memory")?;
            }
        }
        let folder = self.folder.join("squid");
        std::fs::create_dir_all(&folder)?;
        let certificates = folder.join("certificates");
        let generator = "/usr/lib/squid/security_file_certgen";
        run(Command::new(generator)
            .arg("-c")
            .arg("-s")
            .arg(&certificates)
            .args(["-M", "4MB"]))?;
        let config = folder.join("squid.conf");
        std::fs::write(
            &config,
            format!(
                "http_port 3128\n\
                 https_port 8444 intercept ssl-bump generate-host-certificates=on \
                 dynamic_cert_mem_cache_size=4MB tls-cert={both}\n\
                 sslcrtd_program {generator} -s {certificates} -M 4MB\n\
                 acl step1 at_step SslBump1\nssl_bump peek step1\nssl_bump bump all\n\
                 tls_outgoing_options cafile={ca}\n\
                 http_access allow all\nhost_verify_strict off\ncache deny all\n\
                 pid_filename {folder}/squid.pid\n\
                 access_log stdio:{folder}/access.log\ncache_log {folder}/cache.log\n\
                 logfile_rotate 0\ncoredump_dir {folder}\npinger_enable off\n\
                 shutdown_lifetime 1 seconds\n",
                both = both.display(),
                certificates = certificates.display(),
                ca = self.origin_ca.certificate().display(),
                folder = folder.display(),
            ),
        )?;
        let everybody = "chmod -R a+rwX";
        run(words(everybody).arg(&self.folder))?;
        let mut squid = self.gateway.command("squid");
        squid.args(["-N", "-n", SQUID_SERVICE, "-f"]).arg(&config);
        Ok(squid)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.programs.clear();
        self.interceptors.clear();
        for namespace in [&self.clients, &self.gateway, &self.origins] {
            let _ = std::fs::remove_dir_all(Path::new("/etc/netns").join(namespace.name()));
        }
    }
}

/// Last octets and names of all origins.
fn hosts() -> impl Iterator<Item = (u8, &'static str)> {
    ORIGINS
        .into_iter()
        .map(|origin| (origin.host, origin.name))
        .chain([(ODD_HOST, ODD)])
}

/// A running tcpdump.
pub struct Recording {
    file: PathBuf,
    tcpdump: Process,
}

impl Recording {
    /// Ends it and returns what was recorded.
    ///
    /// # Errors
    /// If tcpdump does not end, or lost packets.
    pub fn take(mut self) -> anyhow::Result<Vec<Frame>> {
        let (_, said) = self.tcpdump.stop(Signal::SIGINT)?;
        let lost = said
            .iter()
            .any(|line| line.contains("dropped by kernel") && !line.trim_start().starts_with("0 "));
        if lost {
            bail!("tcpdump lost packets: {}", said.join("; "));
        }
        Ok(Capture::read(&self.file)?.frames)
    }
}
