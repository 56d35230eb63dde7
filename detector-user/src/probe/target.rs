//! The origin that is asked.

use std::net::IpAddr;
use std::str::FromStr;

/// A name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// A host name or an address.
    pub name: String,
    /// The port; 443 unless given.
    pub port: u16,
}

/// Text that is not a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not of the form NAME[:PORT], such as www.example.com, 192.0.2.1:8443 or [2001:db8::1]:443"
)]
pub struct TargetError;

const HTTPS: u16 = 443;

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(given: &str) -> Result<Self, TargetError> {
        // An IPv6 address alone has colons of its own.
        if let Ok(address) = given.parse::<IpAddr>() {
            return Ok(Self {
                name: address.to_string(),
                port: HTTPS,
            });
        }
        let port = given.rsplit_once(':').filter(|_| !given.ends_with(']'));
        let (name, port) = match port {
            Some((name, port)) => (name, port.parse().map_err(|_| TargetError)?),
            None => (given, HTTPS),
        };
        let name = match name.strip_prefix('[').map(|name| name.strip_suffix(']')) {
            Some(Some(address)) if address.parse::<IpAddr>().is_ok() => address,
            Some(_) => return Err(TargetError),
            None => name,
        };
        let is_name = !name.is_empty()
            && !name.contains([':', '/', '@'])
            && !name.contains(char::is_whitespace);
        let is_target = (is_name || name.parse::<IpAddr>().is_ok()) && port != 0;
        is_target
            .then(|| Self {
                name: name.trim_end_matches('.').to_lowercase(),
                port,
            })
            .ok_or(TargetError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("www.Example.com", "www.example.com", 443)]
    #[case("www.example.com.:8443", "www.example.com", 8443)]
    #[case("192.0.2.1", "192.0.2.1", 443)]
    #[case("192.0.2.1:8443", "192.0.2.1", 8443)]
    #[case("2001:db8::1", "2001:db8::1", 443)]
    #[case("[2001:db8::1]:8443", "2001:db8::1", 8443)]
    #[case("[2001:db8::1]", "2001:db8::1", 443)]
    fn names_and_addresses_are_read(#[case] given: &str, #[case] name: &str, #[case] port: u16) {
        let expected = Target {
            name: name.to_owned(),
            port,
        };
        assert_eq!(given.parse(), Ok(expected));
    }

    #[rstest::rstest]
    #[case("")]
    #[case(":443")]
    #[case("www.example.com:https")]
    #[case("www.example.com:0")]
    #[case("https://www.example.com")]
    #[case("[www.example.com]:443")]
    fn others_are_refused(#[case] given: &str) {
        assert_eq!(given.parse::<Target>(), Err(TargetError));
    }
}
