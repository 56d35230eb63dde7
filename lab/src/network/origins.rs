//! Origins of every kind: sound ones, invalid ones, and one that behaves oddly.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::{Authority, Namespace, Process};

/// An origin: its name, and its peculiarity.
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
/// The origin whose behaviour its port chooses, see `lab/programs/origin.py`.
pub const ODD: &str = "odd.behaviour.test";
const ODD_HOST: u8 = 30;

/// Iterates over last octets and names of all origins.
pub(super) fn hosts() -> impl Iterator<Item = (u8, &'static str)> {
    ORIGINS
        .into_iter()
        .map(|origin| (origin.host, origin.name))
        .chain([(ODD_HOST, ODD)])
}

/// Returns the path of [`PINNED`]'s certificate.
pub(super) fn pinned_certificate(folder: &Path) -> PathBuf {
    folder.join("pinned.crt")
}

/// The parts that origins are started with.
pub(super) struct Servers<'a> {
    /// Their namespace.
    pub(super) namespace: &'a Namespace,
    /// Their files.
    pub(super) folder: &'a Path,
    /// Signs their certificates.
    pub(super) ca: &'a Authority,
}

impl Servers<'_> {
    /// Starts all origins.
    ///
    /// # Errors
    /// If one does not start.
    pub(super) fn start(&self) -> anyhow::Result<Vec<Process>> {
        let folder = self.folder;
        std::fs::write(folder.join("index.html"), "hello\n")?;
        std::fs::write(folder.join("large"), vec![b'x'; 400_000])?;
        let mut servers = String::new();
        let mut mutual = None;
        for Origin { name, host, kind } in ORIGINS {
            let file = name.replace('.', "-");
            let (certificate, key) = self.certificate(kind, name, &file)?;
            if name == PINNED {
                std::fs::copy(&certificate, pinned_certificate(folder))?;
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
        let nginx = Process::start(self.namespace.command("nginx").arg("-c").arg(&config))?;
        let (certificate, key) = self.ca.issue("odd", &[ODD])?;
        let program = xtask::root().join("lab/programs/origin.py");
        let mut odd = self.namespace.command("python3");
        odd.arg(program)
            .arg(format!("10.9.2.{ODD_HOST}"))
            .arg(certificate)
            .arg(key);
        let odd = Process::start(&mut odd)?;
        odd.wait_for(Duration::from_secs(60), |line| line == "ready")?;
        let mut programs = vec![nginx, odd];
        if let Some((host, certificate, key)) = mutual {
            // nginx would take any client into TLS and refuse it in HTTP.
            let mut openssl = self.namespace.command("openssl");
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
            programs.push(Process::start(&mut openssl)?);
        }
        self.namespace.wait_until_listening(443)?;
        Ok(programs)
    }

    fn certificate(
        &self,
        kind: Kind,
        name: &str,
        file: &str,
    ) -> anyhow::Result<(PathBuf, PathBuf)> {
        match kind {
            Kind::Expired => self.ca.issue_expired(file, &[name]),
            Kind::SelfSigned => {
                Authority::new(self.folder, file, name).map(|own| (own.certificate(), own.key()))
            }
            Kind::WrongName => self.ca.issue(file, &["somebody.else.test"]),
            _ => self.ca.issue(file, &[name]),
        }
    }
}
