//! Certificate authorities and certificates, made with openssl.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::command::{run, words};

/// A certificate authority and the folder of its files.
pub struct Authority {
    folder: PathBuf,
    name: String,
}

impl Authority {
    /// Makes a CA whose subject is `CN=name`; its files begin with `file`.
    ///
    /// # Errors
    /// If openssl fails.
    pub fn new(folder: &Path, file: &str, name: &str) -> anyhow::Result<Self> {
        let authority = Self {
            folder: folder.to_owned(),
            name: file.to_owned(),
        };
        let mut command = words("openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj");
        run(command
            .arg(format!("/CN={name}"))
            .arg("-keyout")
            .arg(authority.key())
            .arg("-out")
            .arg(authority.certificate()))?;
        Ok(authority)
    }

    /// Returns its certificate, PEM.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join(format!("{}.crt", self.name))
    }

    /// Returns its private key, PEM.
    pub fn key(&self) -> PathBuf {
        self.folder.join(format!("{}.key", self.name))
    }

    /// Issues a certificate for DNS names and addresses; returns certificate and key, PEM.
    ///
    /// # Errors
    /// If openssl fails.
    pub fn issue(&self, file: &str, names: &[&str]) -> anyhow::Result<(PathBuf, PathBuf)> {
        self.issue_for(file, names, "20")
    }

    /// Does the same with a certificate that ended yesterday.
    ///
    /// # Errors
    /// If openssl fails.
    pub fn issue_expired(&self, file: &str, names: &[&str]) -> anyhow::Result<(PathBuf, PathBuf)> {
        self.issue_for(file, names, "-1")
    }

    fn issue_for(
        &self,
        file: &str,
        names: &[&str],
        days: &str,
    ) -> anyhow::Result<(PathBuf, PathBuf)> {
        let path = |ending: &str| self.folder.join(format!("{file}.{ending}"));
        let (request, key, certificate) = (path("csr"), path("key"), path("crt"));
        let subject = format!("/CN={}", names.first().copied().unwrap_or("origin"));
        let names = names.iter().map(|name| match name.parse::<IpAddr>() {
            Ok(address) => format!("IP:{address}"),
            Err(_) => format!("DNS:{name}"),
        });
        let names: Vec<String> = names.collect();
        let extensions = path("ext");
        std::fs::write(&extensions, format!("subjectAltName={}\n", names.join(",")))?;
        run(words("openssl req -newkey rsa:2048 -nodes -subj")
            .arg(subject)
            .args(["-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&request))?;
        run(words("openssl x509 -req -CAcreateserial -days")
            .arg(days)
            .arg("-in")
            .arg(&request)
            .arg("-CA")
            .arg(self.certificate())
            .arg("-CAkey")
            .arg(self.key())
            .arg("-extfile")
            .arg(&extensions)
            .arg("-out")
            .arg(&certificate))?;
        Ok((certificate, key))
    }
}

/// Returns the SHA-256 of a certificate's public key, base64: the contents of a pin (RFC 7469
/// §2.4).
///
/// # Errors
/// If openssl fails.
pub fn pin(certificate: &Path) -> anyhow::Result<String> {
    let script = "openssl x509 -in \"$0\" -noout -pubkey | openssl pkey -pubin -outform der \
                  | openssl dgst -sha256 -binary | openssl base64";
    let pin = run(std::process::Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg(certificate))?;
    Ok(pin.trim().to_owned())
}

/// Returns the SHA-256 of a certificate, hexadecimal.
///
/// # Errors
/// If openssl fails.
pub fn fingerprint(certificate: &Path) -> anyhow::Result<String> {
    let said = run(words("openssl x509 -noout -fingerprint -sha256 -in").arg(certificate))?;
    let hex = said.trim().rsplit('=').next().unwrap_or_default();
    Ok(hex.replace(':', "").to_lowercase())
}
