//! The report as a page that follows the agent, for browsers: server-sent events say when there is something new.
//!
//! In: the database, and the status at this moment. Out: the page, a part of it, or events. A thread of its own asks
//! the database while somebody looks (`maker`), another answers requests (`answer`, `events`): neither makes the
//! agent wait, and each goes on without the other. The only script is the page's own; all text from the network
//! arrives as escaped HTML.

mod answer;
mod events;
mod maker;
mod moment;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::answer::Site;
use self::events::STREAM_MAX;
use crate::outlet::http::access::{AccessError, AccessSettings};
use crate::outlet::http::{Listener, ServeError, Server};
use crate::outlet::status::server::Latest;
use crate::outlet::worker::Worker;

/// Content of the address, for messages, and name of the thread.
const WHAT: &str = "the page";
/// Table of the configuration.
const SECTION: &str = "page";

/// Settings of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageSettings {
    /// Address that serves it; `None`: it is not served.
    pub listen: Option<SocketAddr>,
    /// The clients that may read it.
    pub access: AccessSettings,
    /// Maximum age of connections on it.
    pub age: Duration,
}

impl Default for PageSettings {
    fn default() -> Self {
        Self {
            listen: None,
            access: AccessSettings::default(),
            age: Duration::from_secs(86_400),
        }
    }
}

impl PageSettings {
    /// Returns the error if strangers could read the page.
    #[must_use]
    pub fn exposed(&self) -> Option<PageError> {
        let address = self.listen?;
        let is_exposed = !address.ip().is_loopback() && !self.access.is_restricted();
        is_exposed.then_some(PageError::Open(address))
    }
}

/// Failure to serve the page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The address cannot be used.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The permission to read it cannot be checked.
    #[error("cannot serve the page: {0}")]
    Access(#[from] AccessError),
    /// Strangers could read it.
    #[error(
        "cannot serve the page on {0}: it shows who visits what; beyond loopback set page.user and \
         page.password_file, or page.client_ca"
    )]
    Open(SocketAddr),
}

/// The page that is served until it is dropped.
#[derive(Debug)]
pub struct LivePage {
    server: Server,
    maker: Worker,
}

impl LivePage {
    /// Serves the page on `database` and the `latest` status; `None` if no address is set.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn start(
        settings: &PageSettings,
        database: &Path,
        latest: Latest,
    ) -> Result<Option<Self>, PageError> {
        let Some(address) = settings.listen else {
            return Ok(None);
        };
        if let Some(error) = settings.exposed() {
            return Err(error);
        }
        let tls = settings.access.acceptor(SECTION)?;
        let credentials = settings.access.credentials(SECTION)?;
        let listener = Listener::on_port(WHAT, address)?;
        let shelf = Shelf::default();
        let site = Site {
            credentials,
            is_restricted: settings.access.is_restricted(),
            shelf: shelf.clone(),
            latest,
        };
        let answer = Arc::new(move |request: &hyper::Request<_>| site.answer(request));
        let server = Server::start(WHAT, listener, tls, STREAM_MAX, answer)?;
        let maker = maker::start(settings.age, database, shelf)
            .map_err(|source| ServeError::Thread { what: WHAT, source })?;
        Ok(Some(Self { server, maker }))
    }

    /// Whether both threads are running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.server.is_running() && self.maker.is_running()
    }

    /// Returns the address that it listens on.
    #[must_use]
    pub const fn port(&self) -> Option<SocketAddr> {
        self.server.port()
    }
}

/// The report's content, as the database had it.
#[derive(Debug)]
struct Made {
    /// HTML of the report's header and sections.
    content: String,
    /// The same for the same content.
    version: String,
}

/// The place where the maker puts the content and the server finds it, and where the server records visits.
#[derive(Debug, Clone)]
struct Shelf(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    made: Mutex<Option<Arc<Made>>>,
    began: Instant,
    /// Time of the last visit, milliseconds since it began, plus one; 0: never.
    visited_ms: AtomicU64,
}

impl Default for Shelf {
    fn default() -> Self {
        Self(Arc::new(Shared {
            made: Mutex::default(),
            began: Instant::now(),
            visited_ms: AtomicU64::new(0),
        }))
    }
}

impl Shelf {
    fn put(&self, made: Made) {
        *self.0.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(made));
    }

    /// Records a visit, and returns the content.
    fn visit(&self) -> Option<Arc<Made>> {
        self.0.visited_ms.store(self.now_ms(), Ordering::Relaxed);
        self.0
            .made
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether there was a visit within that time.
    fn is_visited(&self, within: Duration) -> bool {
        let visited_ms = self.0.visited_ms.load(Ordering::Relaxed);
        let ago = self.now_ms().saturating_sub(visited_ms);
        visited_ms > 0 && u128::from(ago) <= within.as_millis()
    }

    fn now_ms(&self) -> u64 {
        let passed = self.0.began.elapsed().as_millis();
        u64::try_from(passed).unwrap_or(u64::MAX).saturating_add(1)
    }
}

#[cfg(test)]
mod tests;
