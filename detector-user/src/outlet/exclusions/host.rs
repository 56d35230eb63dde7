//! Hosts that may stand in a list.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Maximum length of a host name (RFC 1035 §2.3.4), without a trailing dot.
const NAME_MAX: usize = 253;
/// Maximum length of a label.
const LABEL_MAX: usize = 63;
/// Names that clients show in the clear for all servers of a provider (RFC 9849 §6.1): excluding one would
/// exclude them all.
const ECH_PUBLIC_NAMES: &[&str] = &["cloudflare-ech.com", "encryptedsni.com"];

/// A host name in lower case (letters, digits, hyphens: RFC 1123 §2.1) or an address.
///
/// ```
/// use detector_user::outlet::exclusions::{Host, HostError};
///
/// assert_eq!("API.Pinned.Test.".parse::<Host>()?.to_string(), "api.pinned.test");
/// assert_eq!("a.test\nb.test".parse::<Host>(), Err(HostError::NoHostName));
/// assert_eq!("co.uk".parse::<Host>(), Err(HostError::PublicSuffix));
/// # Ok::<(), HostError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Host {
    /// A name.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// The reason why a host may not stand in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// It has other characters, or too many.
    #[error("no host name: letters, digits and hyphens, 63 to a label, 253 in all")]
    NoHostName,
    /// Everybody may register names below it (publicsuffix.org).
    #[error("a public suffix, under which unrelated hosts are")]
    PublicSuffix,
    /// It stands for all names that a provider serves.
    #[error("the public name of Encrypted ClientHello, which stands for all of a provider's names")]
    EchPublicName,
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let labels = || name.split('.');
        // A name whose last label is a number is an address to many parsers (WHATWG URL §3.5).
        let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
        if name.len() > NAME_MAX
            || !labels().all(is_label)
            || labels().next_back().is_some_and(is_number)
        {
            return Err(HostError::NoHostName);
        }
        let name = name.to_ascii_lowercase();
        if psl::domain_str(&name).is_none() {
            return Err(HostError::PublicSuffix);
        }
        if ECH_PUBLIC_NAMES.contains(&name.as_str()) {
            return Err(HostError::EchPublicName);
        }
        Ok(Self::Name(name))
    }
}

fn is_label(label: &str) -> bool {
    let is_ldh = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=LABEL_MAX).contains(&label.len())
        && label.bytes().all(is_ldh)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl TryFrom<String> for Host {
    type Error = HostError;

    fn try_from(text: String) -> Result<Self, HostError> {
        text.parse()
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        host.to_string()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("api.pinned.test", Ok("api.pinned.test"))]
    #[case("xn--bcher-kva.example", Ok("xn--bcher-kva.example"))]
    #[case("D111111abcdef8.CloudFront.net.", Ok("d111111abcdef8.cloudfront.net"))]
    #[case("::ffff:192.0.2.1", Ok("192.0.2.1"))]
    #[case("2001:DB8::1", Ok("2001:db8::1"))]
    #[case("cloudfront.net", Err(HostError::PublicSuffix))]
    #[case("co.uk", Err(HostError::PublicSuffix))]
    #[case("localhost", Err(HostError::PublicSuffix))]
    #[case("cloudflare-ech.com", Err(HostError::EchPublicName))]
    #[case("", Err(HostError::NoHostName))]
    #[case("*.example.com", Err(HostError::NoHostName))]
    #[case(".example.com", Err(HostError::NoHostName))]
    #[case("a..example.com", Err(HostError::NoHostName))]
    #[case("a_b.example.com", Err(HostError::NoHostName))]
    #[case("-a.example.com", Err(HostError::NoHostName))]
    #[case("bücher.example", Err(HostError::NoHostName))]
    #[case("example.com/", Err(HostError::NoHostName))]
    #[case("example.com:443", Err(HostError::NoHostName))]
    #[case("10.0.0.256", Err(HostError::NoHostName))]
    #[case("0x7f.1", Err(HostError::NoHostName))]
    #[case("fe80::1%eth0", Err(HostError::NoHostName))]
    #[case("a.example.com\n.com", Err(HostError::NoHostName))]
    #[case("a.example.com # x", Err(HostError::NoHostName))]
    fn only_hosts(#[case] text: &str, #[case] expected: Result<&str, HostError>) {
        let host = text.parse::<Host>().map(|host| host.to_string());
        assert_eq!(host, expected.map(str::to_owned));
    }

    proptest! {
        #[test]
        fn a_host_is_one_word(text in "\\PC{0,40}|[a-z0-9.\\-\n\r'\" {}/*^]{0,40}") {
            if let Ok(host) = text.parse::<Host>() {
                let safe = |byte: u8| byte.is_ascii_alphanumeric() || b".-:".contains(&byte);
                prop_assert!(host.to_string().bytes().all(safe));
            }
        }
    }
}
