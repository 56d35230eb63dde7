//! Causes, and everything that depends on a cause alone: one table, [`table`].
//!
//! The names in every output, the journal's `MESSAGE_ID`s and priorities, the words of PAN-OS, the
//! advice, the journal's catalog (`packaging/tlswhy.catalog`) and the tables of `docs/verdicts.md` and
//! `docs/journal-fields.md` are made of it, the documents by the tests of `document`.

#[cfg(test)]
mod document;
mod row;
mod table;

pub use row::{Catalog, CauseRow, Reference, Scope, Severity, When, Wording};
pub use table::Cause;

impl Cause {
    /// Returns the severity of its verdicts.
    #[must_use]
    pub const fn severity(self) -> Severity {
        self.row().severity
    }

    /// Returns the `MESSAGE_ID` of its verdicts in the journal.
    #[must_use]
    pub const fn message_id(self) -> &'static str {
        self.row().message_id
    }

    /// Returns the session end reason that a PAN-OS firewall would log in the circumstances that
    /// `holds` accepts.
    pub fn pan_os(self, holds: impl Fn(When) -> bool) -> Option<&'static str> {
        first(self.row().pan_os, holds)
    }

    /// Returns the advice for a connection to `name` in the circumstances that `holds` accepts, in
    /// one sentence.
    pub fn advice(self, name: &str, holds: impl Fn(When) -> bool) -> Option<String> {
        first(self.row().advice, holds).map(|text| text.replace("{name}", name))
    }
}

fn first(wordings: &[Wording], holds: impl Fn(When) -> bool) -> Option<&'static str> {
    wordings
        .iter()
        .find(|wording| wording.when == When::Always || holds(wording.when))
        .map(|wording| wording.text)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::verdict::Intercepted;

    #[test]
    fn each_cause_has_a_message_id_of_its_own() {
        let ids: HashSet<_> = Cause::ALL.map(Cause::message_id).into();
        assert_eq!(ids.len(), Cause::ALL.len());
        let hexadecimal = |id: &str| id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        for id in ids {
            assert!(id.len() == 32 && hexadecimal(id), "{id}");
        }
    }

    #[test]
    fn each_cause_that_pan_os_logs_has_a_word_in_any_case() {
        for cause in Cause::ALL {
            if cause.row().pan_os.is_empty() {
                continue;
            }
            assert!(cause.pan_os(|_| false).is_some(), "{cause}");
        }
        let by_client = |when| when == When::ResetInClientsName;
        let reset = Cause::EndpointReset;
        assert_eq!(reset.pan_os(by_client), Some("tcp-rst-from-client"));
        assert_eq!(reset.pan_os(|_| false), Some("tcp-rst-from-server"));
    }

    /// Pins and missing inspection CAs are told of intercepted connections alone.
    #[test]
    fn advice_on_direct_connections_speaks_of_no_interceptor() {
        let direct = |when: When| when == When::Always || when.is_of(Intercepted::No);
        for cause in Cause::ALL {
            let is_of_interception = matches!(cause, Cause::Pinning | Cause::CaNotTrusted);
            let advice = cause.advice("a.test", direct).unwrap_or_default();
            let advice = advice.replace("was not intercepted", "");
            let speaks = ["decrypt", "ntercept", "exclude", "inspection CA"];
            assert!(
                is_of_interception
                    || !speaks
                        .iter()
                        .any(|it| advice.replace("decrypted or", "").contains(it)),
                "{cause}: {advice}"
            );
        }
    }

    /// A name may look like the placeholder, or come twice.
    #[test]
    fn advice_names_the_server() {
        let advice = Cause::CertificateRejected.advice("{name}.test", |_| false);
        assert_eq!(advice.unwrap().matches("{name}.test").count(), 2);
        let direct = |when| when == When::NotIntercepted;
        let advice = Cause::CertificateRejected.advice("a.test", direct).unwrap();
        assert!(advice.ends_with("a.test was not intercepted"), "{advice}");
        assert_eq!(Cause::Abandoned.advice("a.test", |_| false), None);
    }
}
