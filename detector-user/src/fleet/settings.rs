//! The settings of the fleet, and their files.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use hyper::Uri;

use crate::cause::client_identity::ClientIdentity;
use crate::host::name::machine_name;
use crate::outlet::client_tls::ClientTlsFiles;
use crate::verdict::named::named;

/// Least length of the key of hashed clients, bytes.
const KEY_MIN: usize = 16;
/// Maximum length of a gateway's name.
const GATEWAY_MAX: usize = 64;

named! {
    /// The form of clients' addresses in messages; the same in the whole fleet.
    pub enum Clients {
        /// As they are.
        Clear = "clear",
        /// As keyed hashes.
        Hashed = "hashed",
    }
}

/// Settings of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetSettings {
    /// Servers, of which any may answer; none: there is no fleet.
    pub urls: Vec<ServerUrl>,
    /// This gateway's name; `None`: the machine's.
    pub gateway: Option<String>,
    /// Files of TLS.
    pub tls: ClientTlsFiles,
    /// User at the server.
    pub user: Option<String>,
    /// File with the user's password.
    pub password_file: Option<PathBuf>,
    /// The form of clients' addresses.
    pub clients: Clients,
    /// File with the key of hashed ones.
    pub clients_key_file: Option<PathBuf>,
    /// Whether verdicts are published, too.
    pub verdicts: bool,
    /// Whether halves of connections are joined.
    pub halves: bool,
    /// Maximum facts that are kept, of this gateway and of the others each.
    pub max_facts: usize,
    /// Maximum age of messages in the streams that this agent creates.
    pub retention: Duration,
    /// Copies of those streams in a cluster.
    pub replicas: usize,
}

impl Default for FleetSettings {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            gateway: None,
            tls: ClientTlsFiles::default(),
            user: None,
            password_file: None,
            clients: Clients::Clear,
            clients_key_file: None,
            verdicts: true,
            halves: false,
            max_facts: 100_000,
            retention: Duration::from_secs(7 * 86_400),
            replicas: 1,
        }
    }
}

/// Failure to use the settings.
#[derive(Debug, thiserror::Error)]
pub enum FleetSettingsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file holds nothing of use.
    #[error("cannot use {}: {reason}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A key needs another.
    #[error("fleet.{key} needs fleet.{needed}")]
    Needs {
        /// The key.
        key: &'static str,
        /// The other.
        needed: &'static str,
    },
    /// Halves hold clients' addresses.
    #[error(
        "fleet.halves needs fleet.clients = \"clear\": a connection's halves meet by its addresses"
    )]
    HalvesInClear,
    /// The machine has no name that a gateway could have.
    #[error("this machine has no name; set fleet.gateway")]
    NoName,
}

impl FleetSettings {
    /// Whether there is a fleet.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        !self.urls.is_empty()
    }

    /// Returns this gateway's name.
    ///
    /// # Errors
    /// [`FleetSettingsError::NoName`].
    pub fn name(&self) -> Result<String, FleetSettingsError> {
        let of_machine = || gateway_name(&machine_name().unwrap_or_default());
        let name = self.gateway.clone().or_else(of_machine);
        name.ok_or(FleetSettingsError::NoName)
    }

    /// Returns the identities of clients.
    ///
    /// # Errors
    /// [`FleetSettingsError`].
    pub fn identity(&self) -> Result<ClientIdentity, FleetSettingsError> {
        match (self.clients, &self.clients_key_file) {
            (Clients::Clear, _) => Ok(ClientIdentity::Clear),
            (Clients::Hashed, None) => Err(FleetSettingsError::Needs {
                key: "clients",
                needed: "clients_key_file",
            }),
            (Clients::Hashed, Some(path)) => {
                let key = read_line(path)?;
                if key.len() < KEY_MIN {
                    return Err(FleetSettingsError::Unusable {
                        path: path.clone(),
                        reason: format!("its first line has less than {KEY_MIN} bytes"),
                    });
                }
                Ok(ClientIdentity::hashed(key.as_bytes()))
            }
        }
    }

    /// Whether halves are joined: in a fleet that wants it.
    #[must_use]
    pub fn joins_halves(&self) -> bool {
        self.is_wanted() && self.halves
    }

    /// Returns user and password; `None`: neither.
    ///
    /// # Errors
    /// [`FleetSettingsError`].
    pub fn credentials(&self) -> Result<Option<(String, String)>, FleetSettingsError> {
        let needs = |key, needed| FleetSettingsError::Needs { key, needed };
        match (&self.user, &self.password_file) {
            (Some(user), Some(path)) => Ok(Some((user.clone(), read_line(path)?))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(needs("user", "password_file")),
            (None, Some(_)) => Err(needs("password_file", "user")),
        }
    }

    /// Returns all that is wrong with the files that it names.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        if !self.is_wanted() {
            return Vec::new();
        }
        let mut problems = Vec::new();
        problems.extend(self.name().err().map(|error| error.to_string()));
        if self.halves && self.clients == Clients::Hashed {
            problems.push(FleetSettingsError::HalvesInClear.to_string());
        }
        problems.extend(self.identity().err().map(|error| error.to_string()));
        problems.extend(self.credentials().err().map(|error| error.to_string()));
        problems.extend(self.tls.config().err().map(|error| error.to_string()));
        problems
    }
}

/// Returns the first line of a file, which is not empty.
fn read_line(path: &Path) -> Result<String, FleetSettingsError> {
    let text = fs::read_to_string(path).map_err(|source| FleetSettingsError::File {
        path: path.to_owned(),
        source,
    })?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(FleetSettingsError::Unusable {
            path: path.to_owned(),
            reason: "its first line is empty".to_owned(),
        }),
    }
}

/// Whether a gateway may have this name: it is a token of subjects and a key.
#[must_use]
pub fn is_gateway(name: &str) -> bool {
    let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=GATEWAY_MAX).contains(&name.len()) && name.bytes().all(is_of_names)
}

/// Returns the gateway's name of a machine's: hyphens stand for dots and the like.
#[must_use]
pub fn gateway_name(machine: &str) -> Option<String> {
    let of_names = |letter: char| {
        let is_of_names = letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
        if is_of_names { letter } else { '-' }
    };
    let name: String = machine.chars().take(GATEWAY_MAX).map(of_names).collect();
    is_gateway(&name).then_some(name)
}

/// A server's address: `nats://` or, with TLS, `tls://`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// Returns it as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the connection must be encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.starts_with("tls://")
    }
}

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{given:?} is no address of a NATS server: {why}");
        let uri: Uri = given.parse().map_err(|error| wrong(&format!("{error}")))?;
        if !matches!(uri.scheme_str(), Some("nats" | "tls")) {
            return Err(wrong("it begins with nats:// or tls://"));
        }
        if given.contains('@') {
            return Err(wrong(
                "credentials belong into fleet.user and fleet.password_file",
            ));
        }
        let has_path = !matches!(uri.path(), "" | "/") || uri.query().is_some();
        if has_path || uri.host().is_none_or(str::is_empty) || uri.port_u16() == Some(0) {
            return Err(wrong(
                "it has a host and, if need be, a port, and nothing else",
            ));
        }
        Ok(Self(given.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_scheme_and_no_credentials() {
        for right in [
            "nats://127.0.0.1",
            "tls://nats.example.com:4222",
            "nats://[::1]:4222",
        ] {
            assert_eq!(right.parse::<ServerUrl>().unwrap().as_str(), right);
        }
        for wrong in [
            "127.0.0.1",
            "http://a",
            "nats://u:p@a",
            "nats://a/b",
            "nats://a:0",
            "nats://",
        ] {
            assert!(wrong.parse::<ServerUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_machine_names_its_gateway() {
        assert_eq!(
            gateway_name("gw.example.com").as_deref(),
            Some("gw-example-com")
        );
        assert_eq!(gateway_name(""), None);
        assert!(is_gateway("gw-1_a") && !is_gateway("a.b") && !is_gateway("*") && !is_gateway(">"));
    }

    #[test]
    fn files_are_checked_before_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let mut settings = FleetSettings {
            clients: Clients::Hashed,
            user: Some("gw".to_owned()),
            ..FleetSettings::default()
        };
        assert!(settings.problems().is_empty(), "there is no fleet");
        settings.urls = vec!["nats://127.0.0.1".parse().unwrap()];
        let problems = settings.problems();
        assert_eq!(
            problems,
            [
                "fleet.clients needs fleet.clients_key_file",
                "fleet.user needs fleet.password_file"
            ]
        );
        settings.clients_key_file = Some(file("short", "0123\n"));
        settings.password_file = Some(file("empty", "\n"));
        assert_eq!(settings.problems().len(), 2);
        settings.clients_key_file = Some(file("long", "0123456789abcdef\n"));
        settings.password_file = Some(file("password", "secret\n"));
        assert_eq!(settings.problems(), [""; 0]);
        assert_eq!(
            settings.credentials().unwrap(),
            Some(("gw".to_owned(), "secret".to_owned()))
        );
    }
}
