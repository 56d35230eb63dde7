//! Evidence as rules find it: typed facts, put into words only when a verdict is made.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use detector_common::flow::Sender;

use crate::cause::interception::InterceptionEvidence;
use crate::cause::judge::facts::{AlertAmidData, AlertFact, CutShort, Flaw, Sign};
use crate::cause::judge::resets::{Distance, Stage, Tell};
use crate::flow::preamble::{Refusal, Target};
use crate::flow::timeline::CloseKind;
use crate::flow::tls::plain_answer::PlainAnswer;
use crate::flow::unreachable::Unreachable;
use crate::verdict;
use crate::verdict::counted;

/// One fact that a cause rests on, or that stands beside it. It is `Copy`: it borrows names from the
/// timeline and owns no string, so that a connection that worked costs none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Evidence<'f> {
    /// The client refused the certificate by an alert.
    CertificateAlert {
        /// The alert.
        alert: AlertFact,
        /// Whether it followed an encrypted flight rather than a Certificate in the clear.
        after_flight: bool,
    },
    /// The client's alert says that the certificate is outdated or revoked.
    ValidityAlert(AlertFact),
    /// An alert stands where the client's Finished should be.
    AlertForFinished,
    /// The client closed without a word once it had the certificate.
    SilentRefusal {
        /// Milliseconds since the server's last record.
        after_ms: Option<u64>,
    },
    /// The client was silent once it had the certificate, and then took leave in the clear.
    Blinded,
    /// An alert whose code is not registered.
    UnassignedAlert(AlertFact),
    /// The client finished the handshake and closed at once, as a late pin check does.
    UnusedAfterHandshake,
    /// The client went on in the clear after the server's certificate, and closed.
    LeftTls,
    /// The client finished the handshake and closed.
    ClosedUnused,
    /// The client offered ECH, ended the handshake with the public name, and sent an alert at once.
    EchRefused,
    /// No host acknowledged the ClientHello.
    Unacknowledged,
    /// A side closed within the handshake.
    ClosedEarly {
        /// The side.
        by: Sender,
        /// Whether the server had answered the ClientHello.
        answered: bool,
    },
    /// The server answered the ClientHello in another protocol than TLS.
    PlainAnswer(&'f PlainAnswer),
    /// A ClientHello of several segments got no answer.
    HelloTooLarge {
        /// Its bytes.
        size: u32,
        /// Those that the server acknowledged, if not all.
        acknowledged: Option<u32>,
        /// The largest one that this server answered.
        smaller: Option<u32>,
    },
    /// An explicit proxy refused.
    ProxyAnswer(Refusal),
    /// An explicit proxy consented and closed before the ClientHello.
    ProxyClosed,
    /// The destination that the client asked an explicit proxy for.
    Target(&'f Target),
    /// The client's address, as a PROXY protocol header tells it.
    ToldClient(SocketAddr),
    /// The certificate has a visible flaw.
    Certificate(Flaw<'f>),
    /// An alert about the parameters.
    ParameterAlert(AlertFact),
    /// An alert about a record that could not be decrypted or decoded.
    DecryptAlert(AlertFact),
    /// The client refused the signed key exchange.
    KeyExchangeRefused(AlertFact),
    /// The server answered the client's data with nothing but an alert, by its length.
    ServerAlertForData,
    /// An encrypted alert amid data that is hardly a close_notify.
    AlertAmidData(AlertAmidData),
    /// The client sent an encrypted alert while the server sent this record.
    AlertAmidRecord(CutShort),
    /// The client's alert came before it had received the certificate.
    AlertBeforeCertificate(AlertFact),
    /// The server refused the client's certificate by an alert.
    ServerRefusesClient(AlertFact),
    /// The server answered the client's certificate with nothing but an alert, by its length.
    ServerAlertAfterFlight,
    /// The server refused the client's pre-shared key.
    PreSharedKey(AlertFact),
    /// The client asked for small fragments and closed upon a Certificate in several of them.
    FragmentedCertificate,
    /// The server asks for a client certificate.
    CertificateRequested {
        /// Whether the client has one.
        client_has_one: bool,
    },
    /// The leg behind the interceptor failed first, for this reason.
    ServerLeg(&'f Self),
    /// The interceptor left the origin before it had asked for anything.
    LeftUnasked,
    /// The origin's certificate behind the interceptor has a visible flaw.
    ServerLegCertificate(Flaw<'f>),
    /// The tells of a reset that is not its alleged sender's.
    ResetTells(&'f [Tell<'f>]),
    /// A side's own reset.
    Reset {
        /// The side.
        by: Sender,
        /// Whether other segments of that side were seen.
        comparable: bool,
    },
    /// A side's segments were answered with ICMP errors, and none of them arrived.
    Unreachable(&'f Unreachable),
    /// A side ended its stream amid a record.
    CutShort(CutShort),
    /// A side reset the connection while the other sent this record.
    HungUp(CutShort),
    /// One tell of a reset.
    ResetTell(Tell<'f>),
    /// Distance of a reset's maker.
    ResetDistance(Distance),
    /// Progress of the connection when the reset came.
    ResetStage(Stage),
    /// An encrypted alert.
    EncryptedAlert(AlertFact),
    /// So many resets came before, and the side that they were sent to went on.
    ResetsOutlived(u8),
    /// Segments are missing.
    Gap,
    /// Only one side's segments were seen.
    OneDirection,
    /// Each direction was seen by another gateway, at these taps.
    Halves(&'f str),
    /// The ClientHello was not seen.
    HelloMissed,
    /// Whether the connection was intercepted, and by which sign.
    Interception(&'f InterceptionEvidence),
}

impl Evidence<'_> {
    /// Returns its stable name, as in `docs/verdicts.md`.
    pub fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::CertificateAlert { .. } | Self::ValidityAlert(_) => "client-alert",
            Self::AlertForFinished => "alert-for-finished",
            Self::SilentRefusal { .. } => "silent-refusal",
            Self::Blinded => "blinded-refusal",
            Self::UnassignedAlert(_) => "unassigned-alert",
            Self::UnusedAfterHandshake => "unused-after-handshake",
            Self::LeftTls => "left-tls",
            Self::ClosedUnused => "closed-unused",
            Self::EchRefused => "ech-refused",
            Self::Unacknowledged | Self::ClosedEarly { .. } => "closed-early",
            Self::PlainAnswer(_) => "plaintext-answer",
            Self::HelloTooLarge { .. } => "hello-size",
            Self::ProxyAnswer(_) => "proxy-answer",
            Self::ProxyClosed => "proxy-closed",
            Self::Target(_) => "proxy-target",
            Self::ToldClient(_) => "proxy-protocol",
            Self::Certificate(Flaw::Expired | Flaw::NotYetValid) => "certificate-outdated",
            Self::Certificate(Flaw::OtherName { .. }) => "certificate-for-another-name",
            Self::Certificate(Flaw::SelfSigned { .. }) => "certificate-self-signed",
            Self::ParameterAlert(_) => "parameter-alert",
            Self::DecryptAlert(_) => "decrypt-alert",
            Self::KeyExchangeRefused(_) => "key-exchange-refused",
            Self::ServerAlertForData => "server-alert-for-data",
            Self::AlertAmidData(_) | Self::AlertAmidRecord(_) => "alert-amid-data",
            Self::AlertBeforeCertificate(_) => "alert-before-certificate",
            Self::ServerRefusesClient(_) => "server-refuses-client",
            Self::ServerAlertAfterFlight => "server-alert-after-flight",
            Self::PreSharedKey(_) => "pre-shared-key",
            Self::FragmentedCertificate => "fragmented-certificate",
            Self::CertificateRequested { .. } => "certificate-requested",
            Self::ServerLeg(_) => "server-leg",
            Self::LeftUnasked => "left-unasked",
            Self::ServerLegCertificate(_) => "server-leg-certificate",
            Self::ResetTells(_) => "reset-tells",
            Self::Reset { .. } => "reset",
            Self::Unreachable(_) => "icmp-unreachable",
            Self::CutShort(_) => "record-cut-short",
            Self::HungUp(_) => "hung-up",
            Self::ResetsOutlived(_) => "resets-without-effect",
            Self::ResetTell(tell) => return Cow::Owned(format!("reset-{}", tell.name())),
            Self::ResetDistance(_) => "reset-distance",
            Self::ResetStage(_) => "reset-stage",
            Self::EncryptedAlert(_) => "encrypted-alert",
            Self::Gap => "gap",
            Self::OneDirection => "one-direction",
            Self::Halves(_) => "halves",
            Self::HelloMissed => "hello-missed",
            Self::Interception(evidence) => evidence.name(),
        })
    }

    /// Puts it into words, with its weight for the verdict's cause.
    pub fn written(&self, weight: f64) -> verdict::Evidence {
        verdict::Evidence {
            name: self.name().into_owned(),
            detail: self.to_string(),
            weight,
        }
    }

    /// Returns the sentence of evidence that has no numbers or names in it; empty of other
    /// evidence.
    const fn sentence(&self) -> &str {
        match self {
            Self::AlertForFinished => {
                "the client's only encrypted record is as long as an alert and stands where its \
                 Finished should be"
            }
            Self::Blinded => {
                "client was silent for many seconds once it had the server's certificate and then \
                 sent close_notify in the clear, as s2n-tls does after a failure"
            }
            Self::LeftTls => {
                "client went on in the clear once it had the server's certificate and closed, without \
                 having asked for anything under TLS"
            }
            Self::UnusedAfterHandshake => {
                "client finished the handshake, sent no data of its own and closed at once, as a \
                 pin check after the handshake does"
            }
            Self::ClosedUnused => {
                "client finished the handshake and closed without using the connection"
            }
            Self::EchRefused => {
                "client offered ECH, finished the handshake with the public name and sent an alert \
                 right behind, as ech_required is sent"
            }
            Self::Unacknowledged => {
                "nobody acknowledged the ClientHello: it was lost on its way or filtered"
            }
            Self::ProxyClosed => {
                "the proxy consented and closed before the ClientHello came: its own connection to \
                 the target failed"
            }
            Self::ClosedEarly { by, answered } => match (by, answered) {
                (Sender::Client, true) => "client closed within the handshake",
                (Sender::Client, false) => "client closed before the server had answered",
                (Sender::Server, true) => "server closed within the handshake",
                (Sender::Server, false) => "server closed on the ClientHello without a word",
            },
            Self::ServerAlertForData => {
                "server answered the client's Finished or data with nothing but a record as long \
                 as an alert, and had not asked for a certificate"
            }
            Self::ServerAlertAfterFlight => {
                "the client answered a request for its certificate, and the server answered that with \
                 nothing but a record as long as an alert"
            }
            Self::FragmentedCertificate => {
                "client asked for small fragments (max_fragment_length) and closed upon a \
                 Certificate in several of them"
            }
            Self::CertificateRequested {
                client_has_one: true,
            } => "server asks for a client certificate",
            Self::CertificateRequested {
                client_has_one: false,
            } => "server asks for a client certificate and the client has none",
            Self::OneDirection => "only one direction was seen: the other side's part is not known",
            Self::HelloMissed => "the ClientHello was not seen: name and app are not known",
            Self::Gap => "segments are missing here: records may have been overlooked",
            _ => "",
        }
    }
}

impl fmt::Display for Evidence<'_> {
    /// Writes the fact for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CertificateAlert {
                alert,
                after_flight,
            } => {
                let place = if *after_flight {
                    "flight"
                } else {
                    "Certificate"
                };
                write!(f, "{} after the server's {place}", sent(alert))
            }
            Self::ValidityAlert(alert)
            | Self::UnassignedAlert(alert)
            | Self::ParameterAlert(alert)
            | Self::DecryptAlert(alert)
            | Self::ServerRefusesClient(alert)
            | Self::EncryptedAlert(alert) => sent(alert).fmt(f),
            Self::KeyExchangeRefused(alert) => write!(
                f,
                "{} though all parameters were chosen: it did not like the server's key exchange",
                sent(alert)
            ),
            Self::SilentRefusal { after_ms } => {
                f.write_str("client closed without a word once it had the server's certificate")?;
                match after_ms {
                    Some(ms) if *ms >= PATIENCE_MS => {
                        write!(f, ", after {ms} ms, as a person or a timeout may")
                    }
                    Some(ms) => write!(f, ", after {ms} ms, as a program does"),
                    None => Ok(()),
                }
            }
            Self::PlainAnswer(answer) => write!(
                f,
                "the ClientHello was answered by no TLS record but by {answer}"
            ),
            Self::HelloTooLarge {
                size,
                acknowledged,
                smaller,
            } => {
                write!(
                    f,
                    "the ClientHello of {size} bytes takes several segments and "
                )?;
                match acknowledged {
                    Some(bytes) => {
                        let bytes = counted(*bytes, "byte of it was", "bytes of it were");
                        write!(f, "only {bytes} acknowledged")?;
                    }
                    None => f.write_str("was answered by a reset")?,
                }
                match smaller {
                    Some(smaller) => write!(
                        f,
                        "; for the same name this server answered up to {smaller} bytes"
                    ),
                    None => Ok(()),
                }
            }
            Self::ProxyAnswer(refusal) => write!(f, "the proxy answered with {refusal}"),
            Self::Target(target) => write!(f, "the client asked a proxy for {target}"),
            Self::ToldClient(client) => {
                write!(f, "a PROXY protocol header names {client} as the client")
            }
            Self::PreSharedKey(alert) => write!(
                f,
                "{}: it does not have the client's pre-shared key, or another one",
                sent(alert)
            ),
            Self::Certificate(flaw) => write!(f, "the certificate shown {flaw}"),
            Self::ServerLegCertificate(flaw) => {
                write!(f, "the origin's certificate behind the interceptor {flaw}")
            }
            Self::LeftUnasked => f.write_str(
                "it left after the origin's certificate, without having asked for anything",
            ),
            Self::ServerLeg(first) => {
                write!(f, "behind the interceptor it failed first: {first}")
            }
            Self::ResetTells(tells) => {
                f.write_str("the reset is not its alleged sender's: ")?;
                for (at, tell) in tells.iter().enumerate() {
                    f.write_str(if at == 0 { "" } else { ", " })?;
                    f.write_str(tell.name())?;
                }
                Ok(())
            }
            Self::Reset { by, comparable } => {
                let only = if *comparable {
                    ""
                } else {
                    ", the only segment of it that was seen"
                };
                write!(f, "{} reset the connection{only}", word(*by))
            }
            Self::Unreachable(error) => {
                let (by, code, about) = (error.by, error.code, word(error.about));
                let what = if error.about_syn { "SYN" } else { "data" };
                write!(f, "{by} answered the {about}'s {what} with {code}")?;
                match error.count {
                    1 => f.write_str(", and none arrived"),
                    count => write!(f, ", {count} times, and none arrived"),
                }
            }
            Self::CutShort(cut) => write!(
                f,
                "{} {} amid a record: {} still to come, after {} in all",
                word(cut.by),
                if cut.kind == CloseKind::Fin {
                    "closed"
                } else {
                    "reset the connection"
                },
                counted(cut.missing, "byte of it was", "bytes of it were"),
                cut.sent
            ),
            Self::AlertAmidData(alert) => {
                let by = word(alert.by);
                match alert.sign {
                    Sign::Twice => write!(
                        f,
                        "{by} sent two encrypted alerts in a row, as a fatal one and close_notify: it could \
                         not read a record"
                    ),
                    Sign::ForRequest => write!(
                        f,
                        "{by} answered a request that it had received with nothing but an encrypted alert, \
                         and closed"
                    ),
                    Sign::WhileSending => write!(
                        f,
                        "{by} sent nothing but an encrypted alert while the other side was sending to it, \
                         and closed"
                    ),
                }
            }
            Self::AlertAmidRecord(cut) => write!(
                f,
                "the other side sent an encrypted alert while {} was sending a record, of which {} \
                 still to come: it could not read one, or hung up",
                word(cut.by),
                counted(cut.missing, "byte was", "bytes were")
            ),
            Self::AlertBeforeCertificate(alert) => write!(
                f,
                "{} before it had received the server's certificate, by its acknowledgement number",
                sent(alert)
            ),
            Self::HungUp(cut) => write!(
                f,
                "{} was sending a record, of which {} still to come, after {} in all",
                word(cut.by),
                counted(cut.missing, "byte was", "bytes were"),
                cut.sent
            ),
            Self::ResetsOutlived(count) => write!(
                f,
                "resets without effect came before: {count}, after which data were acknowledged"
            ),
            Self::ResetTell(tell) => tell.fmt(f),
            Self::Halves(taps) => write!(
                f,
                "each direction passed another tap, the client's first: {taps}; their order follows from TCP's numbers"
            ),
            Self::ResetDistance(distance) => distance.fmt(f),
            Self::ResetStage(stage) => write!(f, "it came {stage}"),
            Self::AlertForFinished
            | Self::Blinded
            | Self::UnusedAfterHandshake
            | Self::LeftTls
            | Self::ClosedUnused
            | Self::EchRefused
            | Self::Unacknowledged
            | Self::ClosedEarly { .. }
            | Self::ProxyClosed
            | Self::ServerAlertForData
            | Self::ServerAlertAfterFlight
            | Self::FragmentedCertificate
            | Self::CertificateRequested { .. }
            | Self::OneDirection
            | Self::HelloMissed
            | Self::Gap => f.write_str(self.sentence()),
            Self::Interception(evidence) => evidence.fmt(f),
        }
    }
}

/// A program that refuses is quicker.
const PATIENCE_MS: u64 = 100;

const fn word(sender: Sender) -> &'static str {
    match sender {
        Sender::Client => "client",
        Sender::Server => "server",
    }
}

/// Returns text such as `client sent fatal unknown_ca (48)`.
fn sent(alert: &AlertFact) -> impl fmt::Display {
    struct Sent(AlertFact);
    impl fmt::Display for Sent {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{} sent {}", word(self.0.from), self.0)
        }
    }
    Sent(*alert)
}
