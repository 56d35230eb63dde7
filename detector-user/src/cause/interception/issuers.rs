//! Private CAs. One that signs unrelated names with one key, each by a certificate of its own, is an
//! interceptor's.

use hashlink::LruCache;

use super::mark::Mark;
use super::mark::REMEMBERED;
use super::small_set::SmallSet;
use crate::cause::registrable_domain::domain_hash;
use crate::flow::tls::certificate::Leaf;

/// Unrelated names that one key of a private CA must serve.
const NAMES_OF_ONE_KEY: usize = 3;
/// Keys remembered of one CA.
const KEYS_MAX: usize = 8;

/// Issuers of certificates without timestamps of public logs.
pub(super) struct Issuers(LruCache<Mark, Issuer>);

#[derive(Default)]
struct Issuer {
    keys: Vec<Key>,
    recognized: bool,
}

/// One public key, and the unrelated names of certificates that have it.
struct Key {
    fingerprint: u64,
    certificates: SmallSet,
    domains: SmallSet,
}

impl Default for Issuers {
    fn default() -> Self {
        Self(LruCache::new(REMEMBERED))
    }
}

impl Issuers {
    /// Whether an issuer is an interceptor's.
    pub(super) fn is_recognized(&self, mark: Mark) -> bool {
        self.0.peek(&mark).is_some_and(|issuer| issuer.recognized)
    }

    /// Marks an issuer as an interceptor's.
    pub(super) fn recognize(&mut self, mark: Mark) {
        self.0
            .entry(mark)
            .or_insert_with(Issuer::default)
            .recognized = true;
    }

    /// Records a certificate shown for `server_name`. Returns true if its issuer is recognized by it.
    pub(super) fn record(&mut self, mark: Mark, leaf: &Leaf, server_name: &str) -> bool {
        if leaf.has_timestamps || leaf.is_self_signed() {
            return false;
        }
        let issuer = self.0.entry(mark).or_insert_with(Issuer::default);
        if issuer.recognized {
            return false;
        }
        let Some(key) = issuer.key(leaf.key_fingerprint) else {
            return false;
        };
        let domain = domain_hash(server_name);
        // A certificate for several names relates them.
        if key.certificates.contains(leaf.fingerprint) || key.domains.contains(domain) {
            return false;
        }
        key.certificates.insert(leaf.fingerprint);
        key.domains.insert(domain);
        let recognized = key.domains.len() >= NAMES_OF_ONE_KEY;
        issuer.recognized = recognized;
        recognized
    }
}

impl Issuer {
    /// Returns the key of a fingerprint, new if need be; `None` where there are too many.
    fn key(&mut self, fingerprint: u64) -> Option<&mut Key> {
        let known = self
            .keys
            .iter()
            .position(|key| key.fingerprint == fingerprint);
        let index = match known {
            Some(index) => index,
            None if self.keys.len() < KEYS_MAX => {
                self.keys.push(Key {
                    fingerprint,
                    certificates: SmallSet::default(),
                    domains: SmallSet::default(),
                });
                self.keys.len() - 1
            }
            None => return None,
        };
        self.keys.get_mut(index)
    }
}
