//! The client programs whose connections are recorded: real TLS stacks, each asked for one thing.
//!
//! A program gets its request as ten arguments (`xtask/lab/clients/request.sh` names them), ends
//! with 0 if and only if the request was answered well, and else says why in one line.

mod prepare;
mod table;
mod version;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

use crate::setup::{self, is_there};

pub use table::all;

/// The TLS versions that a client may offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.2 and nothing else.
    Tls12,
    /// TLS 1.3 and nothing else.
    Tls13,
    /// What the client offers of itself.
    Any,
}

/// Whom a client trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The CAs of a PEM file and, where the client lets its own be replaced, no others.
    Only(PathBuf),
    /// The client's own store.
    Default,
}

/// What a client accepts beyond a chain that it trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Anything.
    None,
    /// One key. A client uses whichever of the two forms it knows.
    Key {
        /// SHA-256 of the SubjectPublicKeyInfo, base64 (RFC 7469 §2.4).
        spki_sha256_base64: String,
        /// SHA-256 of the certificate, hexadecimal without separators.
        certificate_sha256_hex: String,
    },
}

/// What a client is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// A name that the system's resolver knows where the client runs.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path with its leading slash.
    pub path: String,
    /// Whom to trust.
    pub trust: Trust,
    /// Which key to accept.
    pub pin: Pin,
    /// Which versions to offer.
    pub version: Version,
    /// Certificate and key, PEM (PKCS #8), to show if the server asks.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Connections in a row, at least 1. Above 1, the later ones may resume the first's session.
    pub times: u32,
}

/// A client program.
pub trait Client: Send + Sync {
    /// Its name: lower case, stable, good in a file's name.
    fn name(&self) -> &str;

    /// The version of the TLS stack or library that makes its handshakes.
    ///
    /// # Errors
    /// If it is not on this machine; the error says which package brings it.
    fn version(&self) -> anyhow::Result<String>;

    /// Whether it can do what is asked.
    fn can(&self, request: &Request) -> bool;

    /// Whether connections after the first resume its session where the server lets them.
    fn resumes(&self) -> bool;

    /// The command line of one run. It needs no variables of the environment but PATH.
    fn command(&self, request: &Request) -> Command;

    /// Compiles what must be compiled, in `work`. Nothing runs before that.
    ///
    /// # Errors
    /// If a tool is missing or its source does not compile.
    fn prepare(&mut self, work: &Path) -> anyhow::Result<()>;
}

/// What a program is made from: gets the folder to work in, returns its command line's beginning.
type Prepare = fn(&Path) -> anyhow::Result<Vec<OsString>>;

/// A client whose program takes the ten arguments.
struct Program {
    name: &'static str,
    /// Probes of [`setup::ALL`] and [`setup::CLIENTS`] that must be there.
    needs: &'static [&'static str],
    version: fn() -> anyhow::Result<String>,
    prepare: Prepare,
    /// Before the ten arguments, behind what `prepare` returned.
    arguments: &'static [&'static str],
    pins: bool,
    client_certificates: bool,
    resumes: bool,
    most_times: u32,
    /// What `prepare` returned.
    prepared: Vec<OsString>,
}

impl Client for Program {
    fn name(&self) -> &str {
        self.name
    }

    fn version(&self) -> anyhow::Result<String> {
        self.need_tools()?;
        (self.version)()
    }

    fn can(&self, request: &Request) -> bool {
        (self.pins || request.pin == Pin::None)
            && (self.client_certificates || request.client_certificate.is_none())
            && (1..=self.most_times).contains(&request.times)
    }

    fn resumes(&self) -> bool {
        self.resumes
    }

    fn command(&self, request: &Request) -> Command {
        let mut words = self.prepared.iter();
        // Says what is wrong to whoever runs a client that was not prepared.
        let unprepared = OsString::from(format!("{}-is-not-prepared", self.name));
        let mut command = Command::new(words.next().unwrap_or(&unprepared));
        command
            .args(words)
            .args(self.arguments)
            .args(arguments(request));
        command
    }

    fn prepare(&mut self, work: &Path) -> anyhow::Result<()> {
        self.need_tools()?;
        self.prepared = (self.prepare)(work)?;
        Ok(())
    }
}

impl Program {
    fn need_tools(&self) -> anyhow::Result<()> {
        for probe in self.needs {
            if is_there(probe) {
                continue;
            }
            let package = setup::package_of(probe).unwrap_or("what brings it");
            bail!(
                "client {} needs {probe}: run `apt-get install {package}`",
                self.name
            );
        }
        Ok(())
    }
}

/// The ten arguments that every program takes.
fn arguments(request: &Request) -> Vec<OsString> {
    let none = || OsString::from("-");
    let version = match request.version {
        Version::Tls12 => "tls12",
        Version::Tls13 => "tls13",
        Version::Any => "any",
    };
    let authorities = match &request.trust {
        Trust::Only(file) => file.into(),
        Trust::Default => none(),
    };
    let (key, fingerprint) = match &request.pin {
        Pin::None => (none(), none()),
        Pin::Key {
            spki_sha256_base64,
            certificate_sha256_hex,
        } => (spki_sha256_base64.into(), certificate_sha256_hex.into()),
    };
    let (certificate, private_key) = match &request.client_certificate {
        Some((certificate, key)) => (certificate.into(), key.into()),
        None => (none(), none()),
    };
    vec![
        (&request.host).into(),
        request.port.to_string().into(),
        (&request.path).into(),
        version.into(),
        authorities,
        key,
        fingerprint,
        certificate,
        private_key,
        request.times.to_string().into(),
    ]
}
