//! The probes' own connections.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Addresses of the probes' own connections, which the taps see, too.
#[derive(Clone, Debug, Default)]
pub struct OwnConnections(Arc<Mutex<Vec<SocketAddr>>>);

impl OwnConnections {
    /// Maximum that are remembered: far more than end before they are judged.
    const MAX: usize = 128;

    pub(super) fn insert(&self, address: SocketAddr) {
        let mut own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if own.len() >= Self::MAX {
            own.remove(0);
        }
        own.push(address);
    }

    /// Whether a connection from this address is a probe's.
    #[must_use]
    pub fn contains(&self, address: SocketAddr) -> bool {
        let own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        own.contains(&address)
    }
}
