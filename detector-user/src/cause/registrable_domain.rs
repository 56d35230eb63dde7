//! The part of a host name that somebody registered.

use std::borrow::Cow;
use std::cell::RefCell;

use crate::cause::hash::hash;
use crate::flow::tls::memo::{Memo, remembered};

thread_local! {
    /// Hashes by name, some 1 MiB with names of usual length.
    static HASHES: RefCell<Memo<NameHashes>> = RefCell::new(Memo::new(8_192, 255));
}

/// Hashes of a host name.
#[derive(Clone, Copy)]
pub(super) struct NameHashes {
    /// Of the name as it is.
    pub(super) host: u64,
    /// Of its registrable part.
    pub(super) domain: u64,
}

/// Returns the hashes of a host name.
pub(super) fn name_hashes(name: &str) -> NameHashes {
    remembered(&HASHES, name.as_bytes(), |_| NameHashes {
        host: hash(name),
        domain: hash(&registrable_domain(name)),
    })
}

/// Returns the hash of a host name's registrable part.
pub(super) fn domain_hash(name: &str) -> u64 {
    name_hashes(name).domain
}

/// Returns the registrable part of a host name by the public suffix list, in lower case; the name
/// itself where the list has nothing to say.
fn registrable_domain(name: &str) -> Cow<'_, str> {
    let name = name.trim_end_matches('.');
    let domain = psl::domain_str(name).unwrap_or(name);
    if domain.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(domain.to_ascii_lowercase())
    } else {
        Cow::Borrowed(domain)
    }
}

#[cfg(test)]
mod tests {
    use super::registrable_domain;

    #[test]
    fn the_part_that_somebody_registered() {
        for (name, domain) in [
            ("www.Example.COM.", "example.com"),
            ("a.b.example.co.uk", "example.co.uk"),
            ("localhost", "localhost"),
            ("com", "com"),
        ] {
            assert_eq!(registrable_domain(name), domain);
        }
    }
}
