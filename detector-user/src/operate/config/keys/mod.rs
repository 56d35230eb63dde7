//! The table of configuration keys, from which the file is read, checked, printed and documented.

use toml::de::DeValue;
use toml::{Spanned, Value};

use super::settings::Settings;
use super::values::Complaints;

/// One key.
pub struct Key {
    /// `section.name`.
    pub path: &'static str,
    /// The values it accepts, a noun phrase.
    pub expected: &'static str,
    /// Its meaning, a noun phrase.
    pub about: &'static str,
    /// Whether a reload applies a new value.
    pub live: bool,
    pub(super) read: fn(&mut Settings, &Spanned<DeValue<'_>>) -> Result<(), Complaints>,
    pub(super) show: fn(&Settings) -> Option<Value>,
}

impl Key {
    /// Returns the default value in TOML; `None` if there is none.
    #[must_use]
    pub fn default(&self) -> Option<String> {
        self.value(&Settings::default())
    }

    /// Returns the value in TOML; `None` if it is not set.
    #[must_use]
    pub fn value(&self, settings: &Settings) -> Option<String> {
        (self.show)(settings).map(|value| value.to_string())
    }

    /// Returns the table that it belongs to.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(section, _)| section)
    }

    /// Returns its name in that table.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(_, name)| name)
    }
}

const NETWORKS: &str = "a list of networks, such as [\"10.0.0.0/8\", \"2001:db8::/32\"]";
const PORTS: &str = "a list of ports, such as [22, 3389]";
const NAMES: &str = "a list of names or globs, such as [\"*.example.com\"]";
const PATH: &str = "an absolute path, such as \"/var/lib/tlswhy\"";
const FILE: &str = "the absolute path of a file, such as \"/var/log/tlswhy/verdicts.json\"";

const FILE_OF_ETC: &str = "the absolute path of a file, such as \"/etc/tlswhy/edl.pem\"";
const HOSTS: &str =
    "a list of hosts, such as [\"pay.example.com\", \".bank.example\", \"192.0.2.7\"]";

/// A key that names a file of a server's [`AccessSettings`](crate::outlet::http::access::AccessSettings).
macro_rules! file_of_access {
    ($path:literal, $($field:ident).+, $about:expr) => {
        Key {
            path: $path,
            expected: FILE_OF_ETC,
            about: $about,
            live: true,
            read: |settings, value| {
                settings.$($field).+ = Some(path(value)?);
                Ok(())
            },
            show: |settings| settings.$($field).+.as_deref().map(path_value),
        }
    };
}

/// A key that names a file of the fleet's settings.
macro_rules! file_of_fleet {
    ($path:literal, $($field:ident).+, $about:expr) => {
        Key {
            path: $path,
            expected: FILE_OF_ETC,
            about: $about,
            live: false,
            read: |settings, value| {
                settings.fleet.$($field).+ = Some(path(value)?);
                Ok(())
            },
            show: |settings| settings.fleet.$($field).+.as_deref().map(path_value),
        }
    };
}

/// The key of the user of basic authentication.
macro_rules! user_of_access {
    ($path:literal, $($field:ident).+) => {
        Key {
            path: $path,
            expected: "a name without colon",
            about: "User that clients of that server must be, by basic authentication; if not set, anybody may read",
            live: true,
            read: |settings, value| {
                settings.$($field).+ = Some(user(value)?);
                Ok(())
            },
            show: |settings| settings.$($field).+.clone().map(Into::into),
        }
    };
}

// Behind the macros, which they use.
mod edl;
mod explain;
mod filter;
mod fleet;
mod ignore;
mod inspection;
mod metrics;
mod otlp;
mod output;
mod page;
mod probe;
mod state;
mod syslog;
mod tables;
mod watch;

/// The keys of all sections, in the order in which they are shown.
const SECTIONS: [&[Key]; 15] = [
    watch::KEYS,
    inspection::KEYS,
    probe::KEYS,
    explain::KEYS,
    ignore::KEYS,
    filter::KEYS,
    tables::KEYS,
    output::KEYS,
    syslog::KEYS,
    otlp::KEYS,
    metrics::KEYS,
    edl::KEYS,
    page::KEYS,
    fleet::KEYS,
    state::KEYS,
];

/// Returns all keys, in the order in which they are shown.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.into_iter().flatten()
}
