//! Fingerprint of a client application, the same over many connections.
//!
//! JA4 changes when a client resumes a session, pads its hello or answers a HelloRetryRequest,
//! since the extensions for that are counted and hashed. Here they are left out, and so are parts
//! that depend on the destination: server name and ALPN.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::flow::tls::client_hello::ClientHello;
use crate::flow::tls::extensions::{
    ALPN, COOKIE, EARLY_DATA, PADDING, PRE_SHARED_KEY, SERVER_NAME, is_grease,
};

/// Extensions that come and go between connections of one application.
const CHANGING: [u16; 6] = [
    SERVER_NAME,
    ALPN,
    PADDING,
    PRE_SHARED_KEY,
    EARLY_DATA,
    COOKIE,
];

/// A client application, by its ClientHello's offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct App(u64);

#[cfg(test)]
impl App {
    pub(crate) const fn of_number(number: u64) -> Self {
        Self(number)
    }
}

/// Returns the application of a ClientHello; `None` if not all of it came.
pub fn app(hello: &ClientHello) -> Option<App> {
    if !hello.complete {
        return None;
    }
    let mut suites = hello.cipher_suites.clone();
    let mut extensions = hello.extensions.clone();
    suites.retain(|suite| !is_grease(*suite));
    extensions.retain(|kind| !is_grease(*kind) && !CHANGING.contains(kind));
    // Some clients shuffle their extensions on purpose.
    extensions.sort_unstable();
    let lists = [
        &suites,
        &extensions,
        &hello.supported_versions,
        &hello.groups,
        &hello.signature_algorithms,
    ];
    let mut hash = Sha256::new();
    hash.update(hello.legacy_version.to_be_bytes());
    for list in lists {
        hash.update((list.len() as u64).to_be_bytes());
        for value in list {
            hash.update(value.to_be_bytes());
        }
    }
    let digest = hash.finalize();
    let head = digest.first_chunk()?;
    Some(App(u64::from_be_bytes(*head)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(extensions: &[u16]) -> ClientHello {
        ClientHello {
            complete: true,
            cipher_suites: vec![0x1301, 0x1302],
            extensions: extensions.to_vec(),
            ..ClientHello::default()
        }
    }

    #[test]
    fn is_the_same_when_a_session_is_resumed_or_extensions_are_shuffled() {
        let first = app(&hello(&[0, 10, 13, 16, 43, 51, 0x0a0a]));
        assert!(first.is_some());
        let resumed = [0x1a1a, 51, 43, 21, 42, 0, 10, 13, 41];
        assert_eq!(first, app(&hello(&resumed)));
    }

    #[test]
    fn differs_when_the_offer_does() {
        let first = app(&hello(&[10, 13, 43, 51]));
        assert_ne!(first, app(&hello(&[10, 13, 43, 51, 35])));
        let mut other = hello(&[10, 13, 43, 51]);
        other.cipher_suites.reverse();
        assert_ne!(first, app(&other));
    }

    #[test]
    fn is_unknown_of_half_a_hello() {
        let mut half = hello(&[10]);
        half.complete = false;
        assert_eq!(app(&half), None);
    }
}
