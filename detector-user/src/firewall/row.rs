//! A row of a firewall's log, whichever firewall wrote it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::time::RowTime;

/// A row of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Number of its line, from 1.
    pub line: u64,
    /// The kind of log, such as `PAN-OS traffic`.
    pub kind: &'static str,
    /// The connection as its ends see it.
    pub ends: Ends,
    /// The same behind the firewall's address translation, if there was one.
    pub translated: Option<Ends>,
    /// Time of the connection's beginning.
    pub began: Option<RowTime>,
    /// Whether the row itself says that the firewall decrypted the connection.
    pub decrypted: Option<bool>,
    /// Its fields by the names that filters use.
    pub fields: HashMap<&'static str, String>,
}

/// Client and server of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The source.
    pub client: SocketAddr,
    /// The destination.
    pub server: SocketAddr,
}

/// The reason why a line is no row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// A field is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field has a wrong value.
    #[error("{field} is {value:?}")]
    Wrong {
        /// Its name.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// It is none of the known kinds.
    #[error("neither a row of a known log nor a header")]
    Unknown,
}

impl Row {
    /// Returns a field by the name that filters use; empty if it is not there.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// Returns the firewall's serial number or name; empty if the row has neither.
    #[must_use]
    pub fn firewall(&self) -> &str {
        match self.field("serial") {
            "" => self.field("device_name"),
            serial => serial,
        }
    }

    /// Whether the row may be about a TCP connection.
    #[must_use]
    pub fn is_tcp(&self) -> bool {
        let protocol = self.field("proto").trim();
        matches!(protocol, "" | "6") || protocol.eq_ignore_ascii_case("tcp")
    }

    /// Returns the firewall's words: action, type and reason, as far as the row has them.
    #[must_use]
    pub fn words(&self) -> String {
        let words = ["action", "subtype", "session_end_reason", "error"];
        let words = words.map(|name| self.field(name));
        let given: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
        given.join(" / ")
    }
}

/// Takes the ends of a connection from four fields.
pub(super) fn ends(
    fields: &HashMap<&'static str, String>,
    [client, client_port, server, server_port]: [&'static str; 4],
) -> Result<Ends, RowError> {
    Ok(Ends {
        client: SocketAddr::new(parsed(fields, client)?, parsed(fields, client_port)?),
        server: SocketAddr::new(parsed(fields, server)?, parsed(fields, server_port)?),
    })
}

fn parsed<T: std::str::FromStr>(
    fields: &HashMap<&'static str, String>,
    field: &'static str,
) -> Result<T, RowError> {
    let value = fields.get(field).ok_or(RowError::Missing(field))?;
    value.trim().parse().map_err(|_| RowError::Wrong {
        field,
        value: value.chars().take(40).collect(),
    })
}

/// Whether an address is one: firewalls write zeros for none.
pub(super) fn is_given(address: IpAddr) -> bool {
    !address.is_unspecified()
}
