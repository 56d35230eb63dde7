//! A connection to the fleet's servers.

use async_nats::{Client, ConnectOptions, ServerAddr};

use crate::fleet::connection::explained;
use crate::fleet::settings::{FleetSettings, FleetSettingsError};
use crate::outlet::http::tls::TlsError;

/// Failure to begin a connection. Servers that are away are none: they are tried again and again.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// A setting cannot be used.
    #[error(transparent)]
    Settings(#[from] FleetSettingsError),
    /// A file of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The library refuses the address or the options, or no server takes this user.
    #[error("cannot connect to {servers}: {reason}")]
    Connect {
        /// The addresses.
        servers: String,
        /// The library's error, with its fix.
        reason: String,
    },
    /// An address is none of a server.
    #[error("cannot use the address {0}")]
    Address(String),
}

/// Connects by these settings, now or later: a server that is away is tried again until it answers.
pub(in crate::fleet) async fn connect(
    settings: &FleetSettings,
    name: &str,
    waits: bool,
) -> Result<Client, ConnectionError> {
    let member = settings.name()?;
    let mut options = ConnectOptions::new()
        .name(name)
        // A server can keep others from reading the answers.
        .custom_inbox_prefix(format!("_INBOX_{member}"));
    if waits {
        options = options.retry_on_initial_connect();
    }
    let is_tls = settings.urls.iter().any(|url| url.is_tls());
    if is_tls {
        let tls = settings.tls.config()?;
        options = options.require_tls(true).tls_client_config((*tls).clone());
    }
    if let Some((user, password)) = settings.credentials()? {
        options = options.user_and_password(user, password);
    }
    let addresses = settings.urls.iter().map(|url| {
        let address = url.as_str().parse::<ServerAddr>();
        address.map_err(|_| ConnectionError::Address(url.to_string()))
    });
    let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
    let connected = options.connect(addresses).await;
    connected.map_err(|error| {
        let servers: Vec<&str> = settings.urls.iter().map(|url| url.as_str()).collect();
        ConnectionError::Connect {
            servers: servers.join(", "),
            reason: if is_tls {
                explained(&error.to_string(), &member)
            } else {
                format!("{error}; a server that asks for TLS has an address with tls://")
            },
        }
    })
}
