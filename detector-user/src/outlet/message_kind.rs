//! Kinds of messages about the agent: the target of a tracing event, and its stable `MESSAGE_ID` in the
//! journal and its catalog.

/// Observations or verdicts were lost.
pub(crate) const LOST: &str = "lost";
/// A tapped interface is gone.
pub(crate) const TAP_GONE: &str = "tap-gone";
/// An interface cannot be tapped.
pub(crate) const TAP_REFUSED: &str = "tap-refused";
/// A changed configuration was not applied.
pub(crate) const CONFIGURATION_REFUSED: &str = "configuration-refused";
/// Programs of an earlier agent were replaced.
pub(crate) const PROGRAMS_REPLACED: &str = "programs-replaced";
/// State does not survive a restart or a reboot.
pub(crate) const STATE_UNUSABLE: &str = "state-unusable";
/// Configured metrics are not served.
pub(crate) const METRICS_UNAVAILABLE: &str = "metrics-unavailable";
/// Lists of exclusions are not served, or not renewed.
pub(crate) const LISTS_UNAVAILABLE: &str = "lists-unavailable";
/// The page is not served, or not renewed.
pub(crate) const PAGE_UNAVAILABLE: &str = "page-unavailable";
/// A gateway's facts are doubtful.
pub(crate) const FLEET_DOUBT: &str = "fleet-doubt";
/// A probe shows nothing about its origin.
pub(crate) const PROBE_FAILED: &str = "probe-failed";

/// The fleet's servers cannot be reached, or refuse something.
pub(crate) const FLEET_UNAVAILABLE: &str = "fleet-unavailable";

/// A row of the firewall's live log has its verdict.
pub(crate) const EXPLAINED: &str = "explained";

/// `MESSAGE_ID` by kind. They never change.
pub(crate) const MESSAGE_IDS: [(&str, &str); 13] = [
    (LOST, "1b3204477ca14660b266f72f525f7176"),
    (TAP_GONE, "3eeee3e4a8c945be9d4cfceae2ad6af7"),
    (TAP_REFUSED, "d57b6e561cd3475c9b74178f3616f3a9"),
    (CONFIGURATION_REFUSED, "003d0c30ecaa41fa9da0aaefa3726b29"),
    (PROGRAMS_REPLACED, "9c2260cc3930400dad3b1e7100e5c590"),
    (STATE_UNUSABLE, "84539da3cc6b4fa6932bfc94f8007b43"),
    (METRICS_UNAVAILABLE, "63db66b48fa84cb8853dafecf8a56531"),
    (LISTS_UNAVAILABLE, "5d0d0c7be3a74c0f9a6c1f6a0e2b9c44"),
    (PAGE_UNAVAILABLE, "b0d4a2c86f7e4f0f9d5be13a6a7c52e8"),
    (FLEET_DOUBT, "a94c3de1705b4f6c8e2b7d19f3c05e64"),
    (PROBE_FAILED, "cb332dea53f8449295133de9ebf9c11d"),
    (FLEET_UNAVAILABLE, "e4a7c1d95b2f4f6c8a30d7be61f09c58"),
    (EXPLAINED, "8f3f0c5d2a714c1b9c2e6d0b7a45e913"),
];

/// `MESSAGE_ID` of an entry that counts repeats of a verdict. It never changes.
pub(crate) const REPEATS_ID: &str = "3c5f6b0a1f5c4b6e9d0e6a4c2f7b81d5";

/// Returns the `MESSAGE_ID` of a kind; most messages have none.
pub(crate) fn message_id(kind: &str) -> Option<&'static str> {
    let known = MESSAGE_IDS.iter().find(|(name, _)| *name == kind);
    known.map(|(_, id)| *id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::verdict::Cause;

    /// The catalog explains every message, and no other.
    #[test]
    fn every_message_is_in_the_catalog() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/tlswhy.catalog");
        let catalog = std::fs::read_to_string(path).unwrap();
        let there: BTreeSet<&str> = catalog
            .lines()
            .filter_map(|line| line.strip_prefix("-- "))
            .collect();
        let causes = Cause::ALL
            .iter()
            .filter(|cause| **cause != Cause::Established);
        let ours: BTreeSet<&str> = causes
            .map(|cause| cause.message_id())
            .chain([REPEATS_ID])
            .chain(MESSAGE_IDS.iter().map(|(_, id)| *id))
            .collect();
        assert_eq!(there, ours);
    }
}
