//! Fingerprint of a client application, the same over many connections.
//!
//! JA4 changes when a client resumes a session, pads its hello or answers a HelloRetryRequest,
//! since the extensions for that are counted and hashed. Here they are left out, and so are parts
//! that depend on the destination: server name and ALPN. A client that falls back to TLS 1.2 keeps its
//! offer of that version: parts that only TLS 1.3 knows are left out where the hello offers both.

use std::cell::RefCell;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::flow::tls::client_hello::ClientHello;
use crate::flow::tls::extensions::{
    ALPN, APPLICATION_SETTINGS, COOKIE, EARLY_DATA, ENCRYPTED_CLIENT_HELLO, KEY_SHARE, PADDING,
    POST_HANDSHAKE_AUTH, PRE_SHARED_KEY, PSK_KEY_EXCHANGE_MODES, SERVER_NAME,
    SIGNATURE_ALGORITHMS_CERT, SUPPORTED_VERSIONS, is_grease,
};
use crate::flow::tls::memo::{Memo, remembered};
use crate::flow::tls::offers::Offers;

/// Extensions that come and go between connections of one application.
const CHANGING: [u16; 8] = [
    SERVER_NAME,
    ALPN,
    APPLICATION_SETTINGS[0],
    APPLICATION_SETTINGS[1],
    PADDING,
    PRE_SHARED_KEY,
    EARLY_DATA,
    COOKIE,
];
/// Extensions that only TLS 1.3 knows.
const ONLY_TLS13: [u16; 6] = [
    SUPPORTED_VERSIONS,
    KEY_SHARE,
    PSK_KEY_EXCHANGE_MODES,
    POST_HANDSHAKE_AUTH,
    SIGNATURE_ALGORITHMS_CERT,
    ENCRYPTED_CLIENT_HELLO,
];
const TLS12: u16 = 0x0303;
/// Multiplier of the FNV-1 hash of 64 bits.
const FNV_PRIME: u64 = 0x0100_0000_01b3;
/// `TLS_FALLBACK_SCSV` (RFC 7507), which a second attempt with a lower version brings.
const FALLBACK_SCSV: u16 = 0x5600;

thread_local! {
    static APPS: RefCell<Memo<Option<App>>> = RefCell::new(Memo::new(256, 1_024));
}

/// A client application, by its ClientHello's offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct App(u64);

/// The versions that a hello offers, as far as a second attempt with lower ones offers nothing else of the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// TLS 1.3 and lower, or not known.
    #[default]
    Both,
    /// TLS 1.3 alone.
    OnlyTls13 {
        /// Hash of the groups that lower versions know, in their order.
        groups: u64,
    },
    /// Lower ones alone.
    Lower {
        /// The same.
        groups: u64,
    },
}

impl Versions {
    /// Reads them from a hello.
    pub fn of(hello: &ClientHello) -> Self {
        let known = hello.app().filter(|_| hello.complete);
        known.map_or_else(
            || Self::of_offers(hello, hello.complete),
            |(_, versions)| versions,
        )
    }

    /// Reads them from the offers of a hello that is whole, or not.
    pub(super) fn of_offers(hello: &Offers, complete: bool) -> Self {
        let versions = &hello.supported_versions;
        let groups = || {
            let groups = hello
                .groups
                .iter()
                .filter(|it| !is_grease(**it) && !is_group_of_tls13(**it));
            groups.fold(0_u64, |hash, group| {
                hash.wrapping_mul(FNV_PRIME) ^ u64::from(*group)
            })
        };
        if is_only_tls13(hello) {
            Self::OnlyTls13 { groups: groups() }
        } else if complete && !versions.iter().any(|version| *version > TLS12) {
            Self::Lower { groups: groups() }
        } else {
            Self::Both
        }
    }
}

impl App {
    /// Returns the application of a number; the same everywhere.
    #[must_use]
    pub const fn of_number(number: u64) -> Self {
        Self(number)
    }

    /// Returns its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Returns the application of a ClientHello; `None` if not all of it came.
pub fn app(hello: &ClientHello) -> Option<App> {
    if !hello.complete {
        return None;
    }
    let known = hello.app();
    known.map_or_else(|| of_offers(hello), |(app, _)| app)
}

/// Returns the application of the offers of a whole hello.
pub(super) fn of_offers(hello: &Offers) -> Option<App> {
    let only_13 = is_only_tls13(hello);
    let suites = hello.cipher_suites.iter().filter(|suite| {
        let is_of_13 = is_suite_of_tls13(**suite);
        !is_grease(**suite) && **suite != FALLBACK_SCSV && (only_13 || !is_of_13)
    });
    let mut extensions = hello.extensions.clone();
    extensions.retain(|kind| {
        let is_of_13 = ONLY_TLS13.contains(kind);
        !is_grease(*kind) && !CHANGING.contains(kind) && (only_13 || !is_of_13)
    });
    // Some clients shuffle their extensions on purpose.
    extensions.sort_unstable();
    let groups = hello.groups.iter();
    let groups = groups.filter(|group| only_13 || !is_group_of_tls13(**group));
    let values = hello.cipher_suites.len()
        + hello.extensions.len()
        + hello.groups.len()
        + hello.signature_algorithms.len();
    let mut offers = Vec::with_capacity(2 + 4 * size_of::<u64>() + 2 * values);
    offers.extend(hello.legacy_version.to_be_bytes());
    push(&mut offers, suites);
    push(&mut offers, extensions.iter());
    push(&mut offers, groups);
    push(&mut offers, hello.signature_algorithms.iter());
    remembered(&APPS, &offers, app_of_offers)
}

/// Returns the first eight bytes of the hash of all: one is several times as fast as one of each value.
fn app_of_offers(offers: &[u8]) -> Option<App> {
    let digest = Sha256::digest(offers);
    let head = digest.first_chunk()?;
    Some(App(u64::from_be_bytes(*head)))
}

/// Appends the number of values, and the values.
fn push<'a>(offers: &mut Vec<u8>, values: impl Iterator<Item = &'a u16>) {
    let at = offers.len();
    offers.extend([0; size_of::<u64>()]);
    let mut count = 0_u64;
    for value in values {
        offers.extend(value.to_be_bytes());
        count += 1;
    }
    if let Some(place) = offers.get_mut(at..at + size_of::<u64>()) {
        place.copy_from_slice(&count.to_be_bytes());
    }
}

/// Whether it offers no version below TLS 1.3, so that it has no offer that such a version would keep.
fn is_only_tls13(hello: &Offers) -> bool {
    let versions = &hello.supported_versions;
    !versions.is_empty() && !versions.iter().any(|version| *version <= TLS12)
}

/// Suites of RFC 8446 §B.4.
fn is_suite_of_tls13(suite: u16) -> bool {
    suite >> 8 == 0x13
}

/// Groups with a post-quantum part, and those over finite fields (RFC 7919), which most clients offer
/// from TLS 1.3 on.
fn is_group_of_tls13(group: u16) -> bool {
    matches!(group, 0x0100..=0x01ff | 0x0200..=0x02ff | 0x11eb..=0x11ed | 0x6399 | 0x639a)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(extensions: &[u16]) -> ClientHello {
        let mut hello = ClientHello::default();
        hello.complete = true;
        hello.extensions = extensions.to_vec();
        hello.cipher_suites = vec![0x1301, 0x1302];
        hello
    }

    #[test]
    fn versions_alone_have_the_groups_that_both_know() {
        let mut only = hello(&[0, 10, 13, 43, 51]);
        only.supported_versions = vec![0x0304];
        only.groups = vec![0x11ec, 29, 23, 0x0100];
        let mut lower = hello(&[0, 10, 13]);
        lower.groups = vec![29, 23];
        let of = |versions| match versions {
            Versions::OnlyTls13 { groups } => (true, groups),
            Versions::Lower { groups } => (false, groups),
            Versions::Both => panic!("neither alone"),
        };
        let (first, groups) = of(Versions::of(&only));
        assert!(first);
        assert_eq!(of(Versions::of(&lower)), (false, groups));
        lower.groups = vec![23, 29];
        assert_ne!(of(Versions::of(&lower)).1, groups);
        only.supported_versions.push(0x0303);
        assert_eq!(Versions::of(&only), Versions::Both);
    }

    #[test]
    fn is_the_same_when_a_session_is_resumed_or_extensions_are_shuffled() {
        let first = app(&hello(&[0, 10, 13, 16, 43, 51, 0x0a0a]));
        assert!(first.is_some());
        let resumed = [0x1a1a, 51, 43, 21, 42, 0, 10, 13, 41];
        assert_eq!(first, app(&hello(&resumed)));
    }

    /// Made of one client's hellos: with TLS 1.3 and after a fallback to TLS 1.2.
    #[test]
    fn is_the_same_after_a_fallback_to_tls12() {
        let mut both = hello(&[0, 10, 11, 13, 16, 23, 43, 45, 51]);
        both.cipher_suites = vec![0x1302, 0x1301, 0xc02f, 0xc030];
        both.supported_versions = vec![0x0304, 0x0303];
        both.groups = vec![0x11ec, 29, 23, 0x0100];
        let mut fallback = hello(&[23, 10, 0, 13, 11]);
        fallback.cipher_suites = vec![0xc02f, 0xc030, 0x5600];
        fallback.groups = vec![29, 23];
        assert_eq!(app(&both), app(&fallback));
        fallback.cipher_suites.push(0x009c);
        assert_ne!(app(&both), app(&fallback));
    }

    /// Hellos of TLS 1.3 alone have nothing else by which they could be told apart.
    #[test]
    fn differs_by_what_only_tls13_knows_where_nothing_else_is_offered() {
        let mut only = hello(&[10, 13, 43, 51]);
        only.supported_versions = vec![0x0304];
        let mut other = only.clone();
        other.cipher_suites.reverse();
        assert_ne!(app(&only), app(&other));
    }

    #[test]
    fn differs_when_the_offer_does() {
        let first = app(&hello(&[10, 13, 43, 51]));
        assert_ne!(first, app(&hello(&[10, 13, 43, 51, 35])));
        let mut other = hello(&[10, 13, 43, 51]);
        other.signature_algorithms.push(0x0403);
        assert_ne!(first, app(&other));
    }

    #[test]
    fn is_unknown_of_half_a_hello() {
        let mut half = hello(&[10]);
        half.complete = false;
        assert_eq!(app(&half), None);
    }
}
