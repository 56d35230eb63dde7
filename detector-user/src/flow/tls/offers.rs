//! The offers of a ClientHello: the part that a program repeats in each of its hellos.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::OnceLock;

use smallvec::SmallVec;

use crate::flow::tls::app::{self, App, Versions};
use crate::flow::tls::extensions::{
    self, Extensions, GREASE, is_grease, text, with_one_grease, without_grease,
};
use crate::flow::tls::reader::Reader;

/// The offers of a client. Lists are in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// `legacy_version`.
    pub legacy_version: u16,
    /// Cipher suites, signalling values included; any GREASE (RFC 8701) is 0x0a0a.
    pub cipher_suites: Vec<u16>,
    /// Extension types, likewise; those of hellos that differ in their order alone are as they came first.
    pub extensions: Vec<u16>,
    /// `legacy_compression_methods`.
    pub compression_methods: Vec<u8>,
    /// Protocols of ALPN (RFC 7301); other characters than printable ones are escaped.
    pub alpn: Vec<String>,
    /// First and last byte of the first ALPN protocol.
    pub(super) first_alpn: Option<[u8; 2]>,
    /// `supported_versions` without GREASE.
    pub supported_versions: Vec<u16>,
    /// `supported_groups` without GREASE.
    pub groups: Vec<u16>,
    /// Groups that a key share was sent for, without GREASE.
    pub key_share_groups: Vec<u16>,
    /// `signature_algorithms` without GREASE.
    pub signature_algorithms: Vec<u16>,
    /// Whether it offers a pre-shared key: it would resume a session.
    pub pre_shared_key: bool,
    /// Whether it sends early data.
    pub early_data: bool,
    /// Whether it has an encrypted_client_hello extension, real or GREASE: then the server name
    /// may be only the outer one.
    pub encrypted_client_hello: bool,
    /// Whether it asks for OCSP stapling.
    pub status_request: bool,
    derived: Derived,
}

/// Conclusions from the offers of a whole hello; no part of what is compared.
#[derive(Clone, Debug, Default)]
struct Derived {
    app: Option<(Option<App>, Versions)>,
    ja4: OnceLock<String>,
    likeness: OnceLock<u64>,
}

impl PartialEq for Derived {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Derived {}

impl Offers {
    pub(super) fn new(legacy_version: u16) -> Self {
        Self {
            legacy_version,
            ..Self::default()
        }
    }

    /// Returns the highest version offered.
    pub fn highest_version(&self) -> u16 {
        let offered = self.supported_versions.iter().copied().max();
        offered.unwrap_or(self.legacy_version)
    }

    /// Reads an extension that a program repeats.
    pub(super) fn read_extension(&mut self, kind: u16, mut data: Reader<'_>) -> Option<()> {
        match kind {
            extensions::ALPN => self.read_alpn(data.vector16()?),
            extensions::SUPPORTED_GROUPS => self.groups = without_grease(data.vector16()?),
            extensions::SIGNATURE_ALGORITHMS => {
                self.signature_algorithms = without_grease(data.vector16()?);
            }
            extensions::SUPPORTED_VERSIONS => {
                self.supported_versions = without_grease(data.vector8()?);
            }
            extensions::KEY_SHARE => self.key_share_groups.extend(share_groups(data)),
            extensions::PRE_SHARED_KEY => self.pre_shared_key = true,
            extensions::EARLY_DATA => self.early_data = true,
            extensions::ENCRYPTED_CLIENT_HELLO => self.encrypted_client_hello = true,
            extensions::STATUS_REQUEST => self.status_request = true,
            _ => {}
        }
        Some(())
    }

    fn read_alpn(&mut self, mut list: Reader<'_>) {
        while let Some(protocol) = list.vector8() {
            if self.alpn.is_empty()
                && let (Some(first), Some(last)) = (protocol.0.first(), protocol.0.last())
            {
                self.first_alpn = Some([*first, *last]);
            }
            self.alpn.push(text(protocol.0));
        }
    }

    /// Returns application and versions, if they are known for all hellos with these offers.
    pub(super) const fn app(&self) -> Option<(Option<App>, Versions)> {
        self.derived.app
    }

    /// Returns the JA4 of all hellos with these offers, computed once; `None` where it is not known to be one.
    pub(super) fn ja4(&self, compute: impl FnOnce() -> String) -> Option<&str> {
        self.derived.app?;
        Some(self.derived.ja4.get_or_init(compute))
    }

    /// Whether highest version, cipher suites, groups and ALPN are the same, but for GREASE.
    #[must_use]
    pub fn are_like(&self, other: &Self) -> bool {
        let suites = |it: &Self| without_grease_in(&it.cipher_suites);
        std::ptr::eq(self, other)
            || self.likeness() == other.likeness()
                && self.highest_version() == other.highest_version()
                && suites(self) == suites(other)
                && self.groups == other.groups
                && self.alpn == other.alpn
    }

    /// Returns a hash of what [`are_like`](Self::are_like) compares.
    fn likeness(&self) -> u64 {
        *self.derived.likeness.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            let suites = without_grease_in(&self.cipher_suites);
            (self.highest_version(), suites, &self.groups, &self.alpn).hash(&mut hasher);
            hasher.finish()
        })
    }

    /// Forgets conclusions: the offers change.
    pub(super) fn forget_derived(&mut self) {
        self.derived = Derived::default();
    }
}

/// The parts of a whole hello that decide its offers.
#[derive(Default)]
pub(super) struct Parts<'a> {
    legacy_version: u16,
    pub(super) cipher_suites: Reader<'a>,
    pub(super) compression_methods: &'a [u8],
    alpn: Option<Reader<'a>>,
    groups: Option<Reader<'a>>,
    algorithms: Option<Reader<'a>>,
    versions: Option<Reader<'a>>,
    shares: Option<Reader<'a>>,
}

impl<'a> Parts<'a> {
    pub(super) fn new(legacy_version: u16) -> Self {
        Self {
            legacy_version,
            ..Self::default()
        }
    }

    /// Records an extension, if its contents are a part.
    pub(super) fn record(&mut self, kind: u16, data: Reader<'a>) {
        let part = match kind {
            extensions::ALPN => &mut self.alpn,
            extensions::SUPPORTED_GROUPS => &mut self.groups,
            extensions::SIGNATURE_ALGORITHMS => &mut self.algorithms,
            extensions::SUPPORTED_VERSIONS => &mut self.versions,
            extensions::KEY_SHARE => &mut self.shares,
            _ => return,
        };
        *part = Some(data);
    }

    /// Writes all that decides the offers of a hello with these extensions; `None` if one comes twice.
    pub(super) fn write_key(&self, extensions: &[u16], key: &mut Vec<u8>) -> Option<()> {
        let mut low = 0_u64;
        let mut high: SmallVec<[u16; 8]> = SmallVec::new();
        for kind in extensions {
            let Some(bit) = 1_u64.checked_shl(u32::from(*kind)) else {
                high.push(*kind);
                continue;
            };
            if low & bit != 0 {
                return None;
            }
            low |= bit;
        }
        high.sort_unstable();
        let twice = |pair: &[u16]| matches!(pair, [a, b] if a == b && *a != GREASE);
        if high.windows(2).any(twice) {
            return None;
        }
        key.clear();
        key.extend_from_slice(&low.to_ne_bytes());
        key.extend_from_slice(&self.legacy_version.to_ne_bytes());
        push(key, high);
        push_list(key, self.cipher_suites);
        push_bytes(key, self.compression_methods);
        let list = |part: Option<Reader<'a>>| part?.vector16();
        push_bytes(key, list(self.alpn).unwrap_or_default().0);
        for part in [self.groups, self.algorithms] {
            push_list(key, list(part).unwrap_or_default());
        }
        let versions = self.versions.and_then(|mut it| it.vector8());
        push_list(key, versions.unwrap_or_default());
        push(key, self.shares.into_iter().flat_map(share_groups));
        Some(())
    }

    /// Returns the offers of a hello with these extensions.
    pub(super) fn offers(&self, extensions: &[u16]) -> Offers {
        let mut offers = Offers {
            legacy_version: self.legacy_version,
            cipher_suites: self.cipher_suites.numbers().map(with_one_grease).collect(),
            extensions: extensions.to_vec(),
            compression_methods: self.compression_methods.to_vec(),
            ..Offers::default()
        };
        let nothing = Reader(&[]);
        for kind in extensions {
            let data = match *kind {
                extensions::ALPN => self.alpn,
                extensions::SUPPORTED_GROUPS => self.groups,
                extensions::SIGNATURE_ALGORITHMS => self.algorithms,
                extensions::SUPPORTED_VERSIONS => self.versions,
                extensions::KEY_SHARE => self.shares,
                _ => None,
            };
            // An extension whose inside is damaged is as good as one that is not there.
            let _ = offers.read_extension(*kind, data.unwrap_or(nothing));
        }
        let app = app::of_offers(&offers);
        offers.derived.app = Some((app, Versions::of_offers(&offers, true)));
        offers
    }
}

fn without_grease_in(values: &[u16]) -> SmallVec<[u16; 32]> {
    let values = values.iter().copied();
    values.filter(|value| !is_grease(*value)).collect()
}

/// Returns the groups of key shares, without GREASE.
fn share_groups(mut data: Reader<'_>) -> impl Iterator<Item = u16> {
    let shares = Extensions::new(data.vector16().unwrap_or_default());
    let groups = shares.map(|(group, _)| group);
    groups.filter(|group| !is_grease(*group))
}

/// Appends the number of values behind them.
fn push(key: &mut Vec<u8>, values: impl IntoIterator<Item = u16>) {
    let before = key.len();
    for value in values {
        key.extend_from_slice(&value.to_ne_bytes());
    }
    push_len(key, before);
}

/// Appends a list of numbers, with one GREASE value for all.
fn push_list(key: &mut Vec<u8>, list: Reader<'_>) {
    let before = key.len();
    push_bytes(key, list.0);
    let numbers = key.get_mut(before..before + list.0.len());
    let (numbers, _) = numbers.unwrap_or_default().as_chunks_mut();
    for number in numbers {
        *number = with_one_grease(u16::from_be_bytes(*number)).to_be_bytes();
    }
}

fn push_bytes(key: &mut Vec<u8>, bytes: &[u8]) {
    let before = key.len();
    key.extend_from_slice(bytes);
    push_len(key, before);
}

fn push_len(key: &mut Vec<u8>, before: usize) {
    let len = key.len() - before;
    key.extend_from_slice(&len.to_ne_bytes());
}
