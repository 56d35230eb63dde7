//! The part of a host name that somebody registered.

use std::borrow::Cow;
use std::cell::RefCell;

use crate::cause::hash::hash;
use crate::flow::tls::memo::{Memo, remembered};

thread_local! {
    /// Hashes by name, some 1 MiB with names of usual length.
    static HASHES: RefCell<Memo<u64>> = RefCell::new(Memo::new(8_192, 255));
}

/// Returns the hash of a host name's registrable part.
pub(super) fn domain_hash(name: &str) -> u64 {
    let compute = |_: &[u8]| hash(&registrable_domain(name));
    remembered(&HASHES, name.as_bytes(), compute)
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
