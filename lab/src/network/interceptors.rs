//! The interceptors on the gateway.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::host::{Authority, Namespace, Process, run, words};

const SQUID_SERVICE: &str = "tlswhycorpus";

/// The interceptor that connections pass on the gateway.
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

    /// Returns it as labels write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Sslsplit => "sslsplit",
            Self::Squid => "squid",
            Self::Mitmproxy => "mitmproxy",
        }
    }

    /// Returns the port that it listens on.
    pub(super) const fn port(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Sslsplit => 8443,
            Self::Squid => 8444,
            Self::Mitmproxy => 8445,
        }
    }
}

/// Returns sslsplit on port 8443 of a namespace, which signs with a CA.
pub(crate) fn sslsplit(namespace: &Namespace, ca: &Authority) -> Command {
    let mut sslsplit = namespace.command("sslsplit");
    sslsplit.arg("-D").arg("-k").arg(ca.key());
    sslsplit.arg("-c").arg(ca.certificate());
    sslsplit.args(["ssl", "0.0.0.0", "8443"]);
    sslsplit
}

/// The parts that interceptors are started with.
pub(super) struct Proxies<'a> {
    /// Their namespace.
    pub(super) namespace: &'a Namespace,
    /// Their files.
    pub(super) folder: &'a Path,
    /// Signs the certificates that they make.
    pub(super) inspection_ca: &'a Authority,
    /// Signs the certificates of origins that they accept.
    pub(super) origin_ca: &'a Authority,
}

impl Proxies<'_> {
    /// Starts interceptors and waits until they listen.
    ///
    /// # Errors
    /// If one does not start.
    pub(super) fn start(
        &self,
        wanted: &[Interceptor],
    ) -> anyhow::Result<Vec<(Interceptor, Process)>> {
        let mut started = Vec::new();
        let (certificate, key) = (self.inspection_ca.certificate(), self.inspection_ca.key());
        let both = self.folder.join("inspection.pem");
        let pem = [std::fs::read(key)?, std::fs::read(certificate)?].concat();
        std::fs::write(&both, &pem)?;
        for interceptor in wanted.iter().copied() {
            let mut command = match interceptor {
                Interceptor::None => continue,
                Interceptor::Sslsplit => sslsplit(self.namespace, self.inspection_ca),
                Interceptor::Squid => self.squid(&both)?,
                Interceptor::Mitmproxy => self.mitmproxy(&pem)?,
            };
            started.push((interceptor, Process::start(&mut command)?));
        }
        for (interceptor, _) in &started {
            self.namespace
                .wait_until_listening(interceptor.port())
                .with_context(|| format!("{} does not run", interceptor.name()))?;
        }
        Ok(started)
    }

    fn mitmproxy(&self, pem: &[u8]) -> anyhow::Result<Command> {
        let folder = self.folder.join("mitmproxy");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("mitmproxy-ca.pem"), pem)?;
        let mut mitmproxy = self.namespace.command("mitmdump");
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
        run(words(everybody).arg(self.folder))?;
        let mut squid = self.namespace.command("squid");
        squid.args(["-N", "-n", SQUID_SERVICE, "-f"]).arg(&config);
        Ok(squid)
    }
}
