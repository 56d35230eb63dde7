//! The part of a host name that somebody registered.

use std::borrow::Cow;

/// Returns the registrable part of a host name by the public suffix list, in lower case; the name
/// itself where the list has nothing to say.
pub(super) fn registrable_domain(name: &str) -> Cow<'_, str> {
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
