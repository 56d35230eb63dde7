//! The operator's own statements about interception.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::cause::inspection_ca::InspectionCa;

/// Facts that the operator knows and the wire does not show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Knowledge {
    /// The CAs that sign intercepted certificates.
    pub inspection_cas: Vec<InspectionCa>,
    /// Whether connections are intercepted.
    pub intercepted: InterceptedWhen,
    /// Addresses from which interceptors open connections of their own.
    pub interceptors: Vec<IpAddr>,
}

/// Whether connections are intercepted, as far as the operator knows.
///
/// ```
/// use detector_user::cause::knowledge::InterceptedWhen;
///
/// assert_eq!("always".parse(), Ok(InterceptedWhen::Always));
/// assert_eq!(InterceptedWhen::default().to_string(), "auto");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InterceptedWhen {
    /// Evidence decides.
    #[default]
    Auto,
    /// All of them are.
    Always,
    /// None of them is.
    Never,
}

/// A word that is no [`InterceptedWhen`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not auto, always or never")]
pub struct UnknownWhen;

impl InterceptedWhen {
    /// All values, the default first.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Always, Self::Never];

    /// Returns the word for it on the command line and in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

impl fmt::Display for InterceptedWhen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for InterceptedWhen {
    type Err = UnknownWhen;

    fn from_str(word: &str) -> Result<Self, UnknownWhen> {
        let known = Self::ALL.into_iter().find(|when| when.name() == word);
        known.ok_or(UnknownWhen)
    }
}
