//! Connections that worked, as the database counts them.

use hashlink::LruCache;

use crate::cause::judge::subject::Subject;
use crate::flow::legs::Connection;
use crate::flow::tls::app::App;
use crate::flow::tls::client_hello::ClientHello;
use crate::flow::tls::extensions::PRE_SHARED_KEY;
use crate::flow::tls::ja4::ja4;
use crate::outlet::database::{Acceptance, Acceptances};

/// Maximum apps whose fingerprint is known.
const APPS_MAX: usize = 4_096;

/// Counts connections that worked for the database.
pub(super) struct AcceptanceCounter {
    /// Where they are counted for the database, if there is one.
    acceptances: Option<Acceptances>,
    /// JA4 of each app when it resumes no session, which changes a fingerprint.
    fingerprints: LruCache<App, String>,
}

impl AcceptanceCounter {
    pub(super) fn new() -> Self {
        Self {
            acceptances: None,
            fingerprints: LruCache::new(APPS_MAX),
        }
    }

    /// Counts for the database from now on.
    pub(super) fn count_for(&mut self, acceptances: Acceptances) {
        self.acceptances = Some(acceptances);
    }

    /// Counts a connection that worked for the database.
    pub(super) fn count(&self, acceptance: &Acceptance) {
        if let Some(acceptances) = &self.acceptances {
            acceptances.record(acceptance.clone());
        }
    }

    /// Returns a connection that worked, with its app's fingerprint.
    pub(super) fn acceptance(&mut self, connection: &Connection, subject: &Subject) -> Acceptance {
        let leg = &connection.client_leg;
        let hello = leg.handshake.client_hello.as_ref();
        let leaf = leg.handshake.certificate.as_ref();
        let leaf = leaf.and_then(|leaf| leaf.as_ref().ok());
        let app = hello.and_then(|hello| self.fingerprint(hello, subject.app));
        Acceptance {
            client: subject.client,
            app,
            name: subject.name.to_string(),
            intercepted: subject.interception.status,
            issuer: leaf.map(|leaf| leaf.issuer.to_string()),
            tap: leg.tap.to_string(),
            time_ns: leg.last_ns,
        }
    }

    fn fingerprint(&mut self, hello: &ClientHello, app: Option<App>) -> Option<String> {
        let app = app?;
        let resumes = hello.extensions.contains(&PRE_SHARED_KEY);
        if let Some(known) = self.fingerprints.get(&app).filter(|_| resumes) {
            return Some(known.clone());
        }
        let own = ja4(hello)?;
        if !resumes {
            self.fingerprints.insert(app, own.clone());
        }
        Some(own)
    }
}
