//! A check of the operator's word: an inspection CA that was named and issued no certificate that came.
//!
//! A wrong name would otherwise make every connection look as if nobody intercepted it.

use std::collections::{HashMap, HashSet};

use crate::cause::knowledge::Knowledge;
use crate::verdict::counted;

/// Certificates after which a CA that issued none of them is reported.
pub const CERTIFICATES_MIN: u64 = 20;
/// The same at the end of a capture, however short.
pub const CERTIFICATES_MIN_AT_END: u64 = 1;
/// Issuers, and names of each, that are counted.
const COUNTED_MAX: usize = 256;

/// Issuers of the certificates that came, until one is a named inspection CA.
#[derive(Debug, Default)]
pub struct UnseenCa {
    /// Names of the CAs that are missed; empty once one was seen, or all was said.
    missed: Vec<String>,
    certificates: u64,
    /// Server names by issuer.
    issuers: HashMap<String, HashSet<String>>,
}

impl UnseenCa {
    /// Misses the CAs in this knowledge from now on, unless it misses them already.
    pub fn set_knowledge(&mut self, before: &Knowledge, now: &Knowledge) {
        if before.inspection_cas != now.inspection_cas {
            *self = Self::new(now);
        }
    }

    /// Misses the CAs in this knowledge.
    #[must_use]
    pub fn new(knowledge: &Knowledge) -> Self {
        let cas = knowledge.inspection_cas.iter();
        Self {
            missed: cas.map(ToString::to_string).collect(),
            ..Self::default()
        }
    }

    /// Records the issuer of a certificate that came for a server name.
    pub fn record(&mut self, issuer: &str, name: &str, knowledge: &Knowledge) {
        if self.missed.is_empty() {
            return;
        }
        if knowledge.inspection_cas.iter().any(|ca| ca.matches(issuer)) {
            *self = Self::default();
            return;
        }
        self.certificates += 1;
        if self.issuers.len() >= COUNTED_MAX && !self.issuers.contains_key(issuer) {
            return;
        }
        let names = self.issuers.entry(issuer.to_owned()).or_default();
        if names.len() < COUNTED_MAX {
            names.insert(name.to_owned());
        }
    }

    /// Returns the message about CAs that issued none of at least so many certificates, once.
    pub fn take_message(&mut self, certificates_min: u64) -> Option<String> {
        if self.missed.is_empty() || self.certificates < certificates_min {
            return None;
        }
        let issuers = self
            .issuers
            .iter()
            .map(|(issuer, names)| (names.len(), issuer));
        // Of several with as many names, the first in the alphabet.
        let most = issuers.max_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.cmp(a.1)));
        let message = most.map(|(names, issuer)| {
            let names = counted(names, "name", "names");
            format!(
                "no certificate was issued by the inspection CA \"{}\": of {} seen, most are by \"{issuer}\", for \
                 {names}; if that is the interceptor's CA, name it in its place (--inspection-ca, \
                 inspection.ca)",
                self.missed.join("\" or \""),
                self.certificates
            )
        });
        *self = Self::default();
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knowledge(names: &[&str]) -> Knowledge {
        Knowledge {
            inspection_cas: names.iter().map(|name| name.parse().unwrap()).collect(),
            ..Knowledge::default()
        }
    }

    #[test]
    fn a_ca_that_never_appears_is_reported_once_with_the_issuer_seen() {
        let knowledge = knowledge(&["CN=Wrong"]);
        let mut unseen = UnseenCa::new(&knowledge);
        for name in ["a.test", "b.test", "b.test"] {
            unseen.record("CN=Proxy", name, &knowledge);
        }
        unseen.record("CN=Another", "c.test", &knowledge);
        assert_eq!(unseen.take_message(5), None, "too few");
        let message = unseen.take_message(4).unwrap();
        assert!(
            message.starts_with(
                "no certificate was issued by the inspection CA \"CN=Wrong\": of 4 seen, most are by \
                 \"CN=Proxy\", for 2 names;"
            ),
            "{message}"
        );
        unseen.record("CN=Proxy", "d.test", &knowledge);
        assert_eq!(unseen.take_message(1), None, "it was said");
    }

    #[test]
    fn a_ca_that_appears_is_not_reported() {
        let knowledge = knowledge(&["CN=Never", "CN=Proxy"]);
        let mut unseen = UnseenCa::new(&knowledge);
        unseen.record("CN=Public", "a.test", &knowledge);
        unseen.record("CN=Proxy", "a.test", &knowledge);
        unseen.record("CN=Public", "b.test", &knowledge);
        assert_eq!(unseen.take_message(1), None);
    }

    #[test]
    fn other_knowledge_begins_again_and_none_is_silent() {
        let (none, wrong) = (knowledge(&[]), knowledge(&["CN=Wrong"]));
        let mut unseen = UnseenCa::new(&none);
        unseen.record("CN=Proxy", "a.test", &none);
        assert_eq!(unseen.take_message(1), None);
        unseen.set_knowledge(&none, &wrong);
        unseen.record("CN=Proxy", "a.test", &wrong);
        unseen.set_knowledge(&wrong, &wrong.clone());
        assert!(unseen.take_message(1).is_some());
    }
}
