//! A row of the table of causes.

use crate::verdict::Intercepted;

/// One cause's row of the table.
#[derive(Debug)]
pub struct CauseRow {
    /// Urgency for an operator.
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
    /// Returns its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Warning => 4,
            Self::Notice => 5,
            Self::Informational => 6,
        }
    }

    /// Returns its number, as a digit.
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
    /// The client is an interceptor or a proxy, which opened the connection for another.
    ClientIsInterceptor,
    /// The connection is known not to be intercepted.
    NotIntercepted,
    /// Nothing shows whether it is.
    InterceptionUnknown,
    /// Only apps behind the interceptor refuse the certificate: it is one of its making.
    RefusedFromInterceptorOnly,
    /// Other apps on this client accept the interceptor.
    OtherAppsAccept,
    /// The reset is all that was seen of its sender.
    ResetIsAllOfItsSender,
    /// The reset was sent in the client's name.
    ResetInClientsName,
    /// An ICMP error ended it.
    RejectedByIcmp,
    /// The client had finished its handshake.
    HandshakeFinished,
}

impl When {
    /// Whether it is a circumstance of connections that were intercepted, or not, or perhaps.
    pub(crate) const fn is_of(self, intercepted: Intercepted) -> bool {
        matches!(
            (self, intercepted),
            (Self::NotIntercepted, Intercepted::No)
                | (Self::InterceptionUnknown, Intercepted::Unknown)
        )
    }
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

/// Number of connections that a cause takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One shows it.
    OneConnection,
    /// Only several do, beside each other.
    ManyConnections,
}
