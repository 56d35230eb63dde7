//! Hosts that the operator lists by hand, always or never.

use std::fmt;
use std::str::FromStr;

use super::host::{Host, HostError};

/// A host, or a name with its subdomains.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPattern {
    /// The host.
    pub host: Host,
    /// Whether the names below it are meant too.
    pub with_subdomains: bool,
}

/// Patterns of a file: one a line, `#` begins a comment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns(pub Vec<HostPattern>);

impl FromStr for HostPattern {
    type Err = HostError;

    /// Reads `NAME`, `.NAME` or `*.NAME` (with its subdomains), or an address.
    fn from_str(text: &str) -> Result<Self, HostError> {
        let below = text.strip_prefix("*.").or_else(|| text.strip_prefix('.'));
        let host = below.unwrap_or(text).parse()?;
        let with_subdomains = below.is_some();
        if with_subdomains && matches!(host, Host::Address(_)) {
            return Err(HostError::NoHostName);
        }
        Ok(Self {
            host,
            with_subdomains,
        })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.with_subdomains { "." } else { "" };
        write!(f, "{dot}{}", self.host)
    }
}

impl HostPattern {
    /// Whether it means this host.
    pub fn matches(&self, host: &Host) -> bool {
        let is_below = || match (&self.host, host) {
            (Host::Name(above), Host::Name(name)) => name
                .strip_suffix(above.as_str())
                .is_some_and(|rest| rest.ends_with('.')),
            _ => false,
        };
        self.host == *host || self.with_subdomains && is_below()
    }
}

impl Patterns {
    /// Reads a file's text.
    ///
    /// # Errors
    /// The number of the first line that is no pattern, and the reason.
    pub fn parse(text: &str) -> Result<Self, (usize, HostError)> {
        let lines = (1..).zip(text.lines());
        let patterns = lines.filter_map(|(number, line)| {
            let pattern = line.split('#').next().unwrap_or_default().trim();
            let read = || pattern.parse().map_err(|error| (number, error));
            (!pattern.is_empty()).then(read)
        });
        patterns.collect::<Result<_, _>>().map(Self)
    }

    /// Whether one of them means this host.
    pub fn contain(&self, host: &Host) -> bool {
        self.0.iter().any(|pattern| pattern.matches(host))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("example.com", "example.com", true)]
    #[case("example.com", "www.example.com", false)]
    #[case(".example.com", "example.com", true)]
    #[case("*.example.com", "a.b.example.com", true)]
    #[case("*.example.com", "badexample.com", false)]
    #[case("192.0.2.1", "192.0.2.1", true)]
    fn matches(#[case] pattern: &str, #[case] host: &str, #[case] expected: bool) {
        let pattern: HostPattern = pattern.parse().unwrap();
        assert_eq!(pattern.matches(&host.parse().unwrap()), expected);
    }

    #[test]
    fn files_have_comments_and_errors_a_line() {
        let patterns = Patterns::parse("# bank\nbank.example # all\n\n*.pay.example\n").unwrap();
        assert_eq!(patterns.0.len(), 2);
        let wrong = Patterns::parse("a.example\n*.com\n");
        assert_eq!(wrong, Err((2, HostError::PublicSuffix)));
        assert_eq!(
            "*.192.0.2.1".parse::<HostPattern>(),
            Err(HostError::NoHostName)
        );
    }
}
