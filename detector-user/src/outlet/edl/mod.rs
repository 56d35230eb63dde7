//! Lists of exclusions served over HTTP: for external dynamic lists of PAN-OS, and whatever polls.
//!
//! In: the database. Out: lists in each format, and the reasons at `/why`. A thread of its own asks the
//! database and keeps the lists (`keeper`), another answers requests (`answer`): neither makes the agent
//! wait, and each goes on without the other.

mod answer;
mod keeper;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::outlet::exclusions::{Entry, HostPattern, RefusingClient, Standing};
use crate::outlet::http::access::{AccessError, AccessSettings};
use crate::outlet::http::{CONNECTION_MAX, Listener, ServeError, Server};
use crate::outlet::worker::Worker;

/// Content of the address, for messages, and name of the thread.
const WHAT: &str = "lists";
/// Table of the configuration.
const SECTION: &str = "edl";
/// Any free port of loopback.
#[cfg(test)]
const ANY_PORT: &str = "127.0.0.1:0";

/// Settings of the lists that are served.
#[derive(Debug, Clone, PartialEq)]
pub struct EdlSettings {
    /// Address that serves them; `None`: they are not served.
    pub listen: Option<SocketAddr>,
    /// The clients that may read them.
    pub access: AccessSettings,
    /// Maximum age of a destination's last failure.
    pub age: Duration,
    /// Minimum confidence of a verdict that counts.
    pub min_confidence: f64,
    /// Minimum failed connections of a destination.
    pub min_connections: usize,
    /// Minimum clients whose connections to a destination failed.
    pub min_clients: usize,
    /// Minimum gateways behind which a destination failed; of a fleet alone.
    pub min_gateways: usize,
    /// Maximum entries.
    pub max: usize,
    /// Hosts that are listed in any case.
    pub always: Vec<HostPattern>,
    /// Hosts that are never listed.
    pub never: Vec<HostPattern>,
}

impl Default for EdlSettings {
    fn default() -> Self {
        Self {
            listen: None,
            access: AccessSettings::default(),
            age: Duration::from_secs(30 * 86_400),
            min_confidence: 0.9,
            // One client alone may have its reasons to be excluded.
            min_connections: 3,
            min_clients: 2,
            min_gateways: 2,
            max: 1_000,
            always: Vec::new(),
            never: Vec::new(),
        }
    }
}

/// Failure to serve lists.
#[derive(Debug, thiserror::Error)]
pub enum EdlError {
    /// The address cannot be used.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The permission to read them cannot be checked.
    #[error("cannot serve lists: {0}")]
    Access(#[from] AccessError),
}

/// Lists as they are served.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// For destinations of apps that pin.
    pub(super) pinning: PublishedList,
    /// For servers that want a client certificate.
    pub(super) client_auth: PublishedList,
    /// Clients that refuse the interceptor everywhere.
    pub(super) clients: Vec<RefusingClient>,
    /// Maximum age of an entry.
    pub(super) age: Duration,
}

#[derive(Debug, Default)]
pub(super) struct PublishedList {
    /// The entries, with those of the operator's own.
    pub(super) entries: Vec<Entry>,
    /// Their ages, and the hosts that left.
    pub(super) standing: Standing,
}

/// The place where the keeper puts the lists and the server finds them; `None` until the first are there.
#[derive(Debug, Clone, Default)]
pub(super) struct Shelf(Arc<Mutex<Option<Arc<Published>>>>);

impl Shelf {
    pub(super) fn put(&self, published: Published) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(published));
    }

    pub(super) fn get(&self) -> Option<Arc<Published>> {
        let published = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        published.clone()
    }
}

/// Lists that are served until it is dropped.
#[derive(Debug)]
pub struct ServedLists {
    server: Server,
    keeper: Worker,
}

impl ServedLists {
    /// Serves lists made of `database`, kept in the `state` directory; `None` if no address is set.
    ///
    /// # Errors
    /// [`EdlError`].
    pub fn start(
        settings: &EdlSettings,
        database: &Path,
        state: &Path,
    ) -> Result<Option<Self>, EdlError> {
        let Some(address) = settings.listen else {
            return Ok(None);
        };
        let tls = settings.access.acceptor(SECTION)?;
        let credentials = settings.access.credentials(SECTION)?;
        let listener = Listener::on_port(WHAT, address)?;
        let shelf = Shelf::default();
        let lists = shelf.clone();
        let answer = Arc::new(move |request: &hyper::Request<_>| {
            answer::answer(request, credentials.as_ref(), lists.get().as_deref())
        });
        let server = Server::start(WHAT, listener, tls, CONNECTION_MAX, answer)?;
        let keeper = keeper::start(settings.clone(), database, state, shelf)
            .map_err(|source| ServeError::Thread { what: WHAT, source })?;
        Ok(Some(Self { server, keeper }))
    }

    /// Whether both threads are running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.server.is_running() && self.keeper.is_running()
    }

    /// Returns the address that it listens on.
    #[must_use]
    pub const fn port(&self) -> Option<SocketAddr> {
        self.server.port()
    }
}

#[cfg(test)]
mod tests;
