//! Causes, and everything that depends on a cause alone: one table, [`table`].
//!
//! The names in every output, the journal's `MESSAGE_ID`s and priorities, the words of PAN-OS, the
//! advice, the journal's catalog (`packaging/tlswhy.catalog`) and the tables of `docs/verdicts.md` and
//! `docs/journal-fields.md` are made of it, the documents by the tests of `document`.

#[cfg(test)]
mod document;
mod table;

pub use table::Cause;

/// One cause's row of the table.
#[derive(Debug)]
pub struct CauseRow {
    /// How much it asks of an operator.
    pub severity: Severity,
    /// `MESSAGE_ID` by which the journal and its catalog know it, 32 hexadecimal digits. Never changes.
    pub message_id: &'static str,
    /// Session end reason that a PAN-OS firewall would log: the first that applies.
    pub pan_os: &'static [Wording],
    /// Advice: the first that applies; none where the cause alone suggests none.
    pub advice: &'static [Wording],
    /// Entry of the journal's catalog; `None` of a cause that is not written.
    pub catalog: Option<Catalog>,
    /// Row of the reference in `docs/verdicts.md`.
    pub reference: Reference,
}

/// Severity of a verdict in syslog's terms (RFC 5424 §6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// 4: an operator has to act.
    Warning,
    /// 5: a connection failed.
    Notice,
    /// 6: it may well have been meant.
    Informational,
}

impl Severity {
    /// Its number, as a digit.
    #[must_use]
    pub const fn digit(self) -> &'static str {
        match self {
            Self::Warning => "4",
            Self::Notice => "5",
            Self::Informational => "6",
        }
    }
}

/// A wording, and the circumstance that selects it.
#[derive(Debug)]
pub struct Wording {
    /// The circumstance.
    pub when: When,
    /// The text; `{name}` stands for the server's name or address.
    pub text: &'static str,
}

/// A circumstance, beside the cause, on which a wording depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum When {
    /// In any case.
    Always,
    /// The connection is known not to be intercepted.
    NotIntercepted,
    /// Only apps behind the interceptor refuse the certificate: it is one of its making.
    RefusedFromInterceptorOnly,
    /// Other apps on this client accept the interceptor.
    OtherAppsAccept,
    /// The reset is all that was seen of its sender.
    ResetIsAllOfItsSender,
    /// The reset was sent in the client's name.
    ResetInClientsName,
    /// The client had finished its handshake.
    HandshakeFinished,
}

/// An entry of the journal's catalog.
#[derive(Debug)]
pub struct Catalog {
    /// The entry's `Subject`.
    pub subject: &'static str,
    /// Its text, in paragraphs; `@FIELD@` stands for a field of the journal's entry.
    pub text: &'static str,
}

/// A row of the reference.
#[derive(Debug)]
pub struct Reference {
    /// The table it stands in.
    pub scope: Scope,
    /// Its signs: on the wire, or over many connections.
    pub signs: &'static str,
    /// Usual confidence.
    pub confidence: &'static str,
    /// Advice at length; empty where there is none.
    pub advice: &'static str,
}

/// How many connections it takes to find a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One shows it.
    OneConnection,
    /// Only several do, beside each other.
    ManyConnections,
}

impl Cause {
    /// Severity of its verdicts.
    #[must_use]
    pub const fn severity(self) -> Severity {
        self.row().severity
    }

    /// `MESSAGE_ID` of its verdicts in the journal.
    #[must_use]
    pub const fn message_id(self) -> &'static str {
        self.row().message_id
    }

    /// Session end reason that a PAN-OS firewall would log in the circumstances that `holds` accepts.
    pub fn pan_os(self, holds: impl Fn(When) -> bool) -> Option<&'static str> {
        first(self.row().pan_os, holds)
    }

    /// Advice for a connection to `name` in the circumstances that `holds` accepts, in one sentence.
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
    fn each_cause_has_a_word_of_pan_os_in_any_case() {
        for cause in Cause::ALL {
            assert!(cause.pan_os(|_| false).is_some(), "{cause}");
        }
        let by_client = |when| when == When::ResetInClientsName;
        let reset = Cause::EndpointReset;
        assert_eq!(reset.pan_os(by_client), Some("tcp-rst-from-client"));
        assert_eq!(reset.pan_os(|_| false), Some("tcp-rst-from-server"));
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
