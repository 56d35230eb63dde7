//! What the agent tells Prometheus about itself.
//!
//! Data flows one way. Every few seconds the agent puts a [`Snapshot`] here and counts verdicts with a
//! [`Meter`]; a thread of its own ([`server`]) shows what was put last to whoever asks. However slow
//! that is, the agent never waits for it. What there is to show is one table: [`FAMILIES`].

mod document;
mod families;
mod family;
mod meter;
mod process;
mod registry;
pub mod server;
mod snapshot;
mod socket;

pub use document::reference;
pub use families::FAMILIES;
pub use family::{Family, Kind, Unit};
pub use meter::{Meter, VerdictCounts};
pub use registry::Metrics;
pub use snapshot::{Snapshot, TapState};

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where metrics are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsAddress {
    /// A loopback address.
    Tcp(SocketAddr),
    /// A socket's path.
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
            return Ok(Self::Unix(path.into()));
        }
        let address: SocketAddr = given
            .parse()
            .map_err(|_| format!("{given:?} is no address"))?;
        if address.ip().is_loopback() {
            Ok(Self::Tcp(address))
        } else {
            Err(format!("{address} is no loopback address"))
        }
    }
}
