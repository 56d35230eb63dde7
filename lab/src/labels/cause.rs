//! Causes as labels and verdicts name them: those of the agent, one by one.

use std::collections::HashMap;

use serde::ser::{Serialize, SerializeMap, Serializer};

pub use detector_user::verdict::Cause;

/// The label of a capture without a TLS connection: nothing failed there.
const NO_TLS: &str = "none";

/// A word that is no cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownCause(String);

impl std::fmt::Display for UnknownCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = Cause::ALL.map(Cause::name).join(", ");
        write!(f, "`{}` is no cause; known are {names}, {NO_TLS}", self.0)
    }
}

impl std::error::Error for UnknownCause {}

/// Parses a cause's name; `none` counts as [`Cause::Established`].
///
/// # Errors
/// If it is no name of a cause.
pub fn parse_cause(word: &str) -> Result<Cause, UnknownCause> {
    if word == NO_TLS {
        return Ok(Cause::Established);
    }
    let mut all = Cause::ALL.into_iter();
    all.find(|cause| cause.name() == word)
        .ok_or_else(|| UnknownCause(word.to_owned()))
}

/// Values by cause, in the order of the documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerCause<T>(HashMap<Cause, T>);

impl<T> Default for PerCause<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> PerCause<T> {
    /// Returns a cause's value.
    #[must_use]
    pub fn get(&self, cause: Cause) -> Option<&T> {
        self.0.get(&cause)
    }

    /// Returns a cause's value, the default one if there was none.
    pub fn entry(&mut self, cause: Cause) -> &mut T
    where
        T: Default,
    {
        self.0.entry(cause).or_default()
    }

    /// Iterates over the causes that have a value.
    pub fn iter(&self) -> impl Iterator<Item = (Cause, &T)> {
        Cause::ALL
            .into_iter()
            .filter_map(|cause| Some((cause, self.get(cause)?)))
    }
}

impl<T: Serialize> Serialize for PerCause<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (cause, value) in self.iter() {
            map.serialize_entry(cause.name(), value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for cause in Cause::ALL {
            assert_eq!(parse_cause(cause.name()), Ok(cause));
        }
        assert_eq!(parse_cause("none"), Ok(Cause::Established));
        let error = parse_cause("pining").unwrap_err().to_string();
        assert!(error.starts_with("`pining` is no cause; known are pinning, ca-not-trusted"));
    }

    #[test]
    fn values_are_written_in_the_order_of_the_documentation() {
        let mut values = PerCause::<u8>::default();
        *values.entry(Cause::Established) += 1;
        *values.entry(Cause::Pinning) += 2;
        let written = serde_json::to_string(&values).unwrap();
        assert_eq!(written, r#"{"pinning":2,"established":1}"#);
    }
}
