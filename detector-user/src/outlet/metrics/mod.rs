//! Metrics about the agent, for Prometheus.
//!
//! In: a [`Snapshot`] every two seconds, and verdicts by a [`Meter`]. Out: the latest snapshot over HTTP,
//! served by a thread of its own ([`server`]), for which the agent never waits. All metrics are in one
//! table: [`FAMILIES`]. Not here: state of the network, in values or labels.

mod document;
mod families;
mod family;
mod meter;
mod process;
mod registry;
pub mod server;
mod snapshot;

pub use document::reference;
pub use families::FAMILIES;
pub use family::{Family, Kind, Unit};
pub use meter::{Meter, TapConnections, TapCounts, VerdictCounts};
pub(crate) use process::Process;
pub use registry::Metrics;
pub use snapshot::{Snapshot, TapState};

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Address that serves metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsAddress {
    /// Loopback address and port.
    Tcp(SocketAddr),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        if let Some(path) = given.strip_prefix("unix:") {
            return match path.len() {
                0 => Err("the path of the socket is empty".to_owned()),
                // unix(7)
                108.. => Err(format!(
                    "{path:?} is longer than a socket's path may be, 107 bytes"
                )),
                _ => Ok(Self::Unix(path.into())),
            };
        }
        let address: SocketAddr = given
            .parse()
            .map_err(|_| format!("{given:?} is not an address and port"))?;
        if address.ip().is_loopback() {
            Ok(Self::Tcp(address))
        } else {
            Err(format!("{address} is not a loopback address"))
        }
    }
}
