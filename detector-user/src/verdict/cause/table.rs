//! The table of causes. To add one, add its row; then run the tests of `verdict::cause::document`
//! with `UPDATE_DOCUMENTS=1`, which write the catalog and the documents.

use super::row::{Catalog, CauseRow, Reference, Scope, Severity, When, Wording};
use crate::verdict::named::named;

macro_rules! causes {
    ($($variant:ident = $name:literal, $meaning:literal => $row:expr;)+) => {
        named! {
            /// Why a connection ended as it did.
            pub enum Cause {
                $(#[doc = $meaning] $variant = $name,)+
            }
        }

        impl Cause {
            /// Returns its row of the table.
            #[must_use]
            pub const fn row(self) -> &'static CauseRow {
                match self {
                    $(Self::$variant => &const { $row },)+
                }
            }

            /// Returns its meaning, in one line.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)+
                }
            }
        }
    };
}

const fn always(text: &'static str) -> Wording {
    when(When::Always, text)
}

const fn when(when: When, text: &'static str) -> Wording {
    Wording { when, text }
}

causes! {
    Pinning = "pinning", "The app accepts only its own certificate or key." => CauseRow {
        severity: Severity::Warning,
        message_id: "0fa584efe7f247a7b46f0b7b6f821080",
        pan_os: &[always("policy-deny")],
        advice: &[always(
            "exclude this destination from decryption: the app accepts no certificate but its own",
        )],
        catalog: Some(Catalog {
            subject: "An app accepts no certificate but its own: @TLSWHY_SNI@",
            text: "\
An app on @TLSWHY_CLIENT_IP@ (TLSWHY_JA4) refused the certificate that the
interceptor (@TLSWHY_ISSUER@) showed for @TLSWHY_SNI@, and accepts the
interceptor elsewhere or is alone in refusing it here: it pins.

No CA that is installed on the client changes that. Exclude this destination
from decryption; `journalctl TLSWHY_SNI=@TLSWHY_SNI@` lists the other clients affected.
",
        }),
        reference: Reference {
            scope: Scope::ManyConnections,
            signs: "a refusal as under `certificate-rejected`, by an app that accepts the \
                    interceptor for other names, of a name that other apps accept through it",
            confidence: "50–95 %: one of the two alone gives little over 50 %, an alert in the \
                         clear and both 93 %",
            advice: "exclude the destination from decryption: no CA installed on the client \
                     changes it",
        },
    };

    CaNotTrusted = "ca-not-trusted",
    "The client, or this app's own trust store, rejects every intercepted destination." => CauseRow {
        severity: Severity::Warning,
        message_id: "94a6f6e9889a45f9bf12b9b05e074767",
        pan_os: &[always("policy-deny")],
        advice: &[
            when(
                When::InterceptionUnknown,
                "install the CA that signed these certificates, the inspection CA if they are an \
                 interceptor's, where this app looks for it",
            ),
            when(
                When::OtherAppsAccept,
                "install the inspection CA in this app's own trust store: other apps on this \
                 client have it",
            ),
            always("install the inspection CA on this client: no app there accepts it"),
        ],
        catalog: Some(Catalog {
            subject: "A client does not trust the inspection CA: @TLSWHY_CLIENT_IP@",
            text: "\
@TLSWHY_CLIENT_IP@, or one app on it (TLSWHY_JA4), refuses every certificate
that the interceptor (@TLSWHY_ISSUER@) shows, whatever the destination.

Install the inspection CA there: in the system's store if all apps are
affected, in the app's own store (Java, Firefox, Python, Node) if only one is.
TLSWHY_ADVICE says which it is.
",
        }),
        reference: Reference {
            scope: Scope::ManyConnections,
            signs: "the same refusals by an app for several unrelated names, or by every app on \
                    the client; no app there accepts the interceptor",
            confidence: "30–95 %: it grows with names and apps, and with unknown_ca; closing \
                         without an alert keeps it low",
            advice: "install the inspection CA there: in the system's store if all apps on the \
                     client refuse it, in the app's own store (Java, Firefox, Python, Node) if \
                     other apps accept it",
        },
    };

    CertificateRejected = "certificate-rejected",
    "Rejected, and the facts do not yet tell pinning from a missing CA." => CauseRow {
        severity: Severity::Notice,
        message_id: "59fea368612141d5ba16cfcef02e03b4",
        pan_os: &[always("policy-deny")],
        advice: &[
            when(
                When::NotIntercepted,
                "check which CAs the client trusts: {name} was not intercepted",
            ),
            when(
                When::InterceptionUnknown,
                "see who signed the certificate: if the origin's own CA did, check which CAs the client \
                 trusts; if an interceptor did, and this app accepts other inspected names or other \
                 apps accept {name}, it pins, exclude {name} from decryption; if it rejects every \
                 inspected name, install the inspection CA where this app looks for it",
            ),
            always(
                "see whether this app accepts other inspected names and whether other apps accept \
                 {name}: if so it pins, exclude {name} from decryption; if it rejects every \
                 inspected name, install the inspection CA where this app looks for it",
            ),
        ],
        catalog: Some(Catalog {
            subject: "A certificate was refused: @TLSWHY_SNI@",
            text: "\
@TLSWHY_CLIENT_IP@ refused the certificate shown for @TLSWHY_SNI@. The
evidence so far fits both a pinning app and a missing CA; as soon as other
connections decide, another entry revises this one (TLSWHY_REVISES).

See whether other apps on this client, and this app elsewhere, get through.
",
        }),
        reference: Reference {
            scope: Scope::OneConnection,
            signs: "client sends bad_certificate, certificate_unknown, unknown_ca, access_denied \
                    or the like; in TLS 1.3 a record as long as an alert where its Finished \
                    should be; a client that closes after the server's flight; a handshake that \
                    completes and is never used",
            confidence: "95 % with an alert in the clear, 90 % by an alert's place (85 % where \
                         the certificate is encrypted and may itself be invalid), 30–75 % \
                         otherwise",
            advice: "check whether this app accepts other inspected names, and whether other apps \
                     accept this name",
        },
    };

    ServerCertInvalid = "server-cert-invalid",
    "The origin's own certificate is expired, self-signed, or for another name." => CauseRow {
        severity: Severity::Notice,
        message_id: "f712d4abab954fd8ae46dcfa932ce47c",
        pan_os: &[always("decrypt-cert-validation")],
        advice: &[
            when(
                When::ClientIsInterceptor,
                "renew or correct the certificate of {name}, or install its CA on the proxy that \
                 refuses it",
            ),
            when(
                When::NotIntercepted,
                "renew or correct the certificate of {name}, or trust it on the client",
            ),
            when(
                When::RefusedFromInterceptorOnly,
                "see what certificate the interceptor makes for this name: apps that trust it \
                 elsewhere refuse this one",
            ),
            always(
                "renew or correct the certificate of {name}, or make a policy exception for it",
            ),
        ],
        catalog: Some(Catalog {
            subject: "A server's own certificate is not valid: @TLSWHY_SNI@",
            text: "\
The certificate of @TLSWHY_SNI@ at @TLSWHY_SERVER_IP@ is expired, not yet valid,
self-signed, of a CA that is not trusted, or for another name. TLSWHY_EVIDENCE
says which. Clients would refuse it without interception, too.

Have the server's certificate fixed, or make a policy exception for it.
",
        }),
        reference: Reference {
            scope: Scope::OneConnection,
            signs: "client sends certificate_expired or certificate_revoked; or it refuses a \
                    certificate that is visibly outdated, self-signed or for another name (up to \
                    TLS 1.2); behind an interceptor: the origin's certificate on the other leg",
            confidence: "75 % and more",
            advice: "renew or correct the certificate, or make an exception",
        },
    };

    UnsupportedParameters = "unsupported-parameters",
    "No common version, cipher, group or ALPN." => CauseRow {
        severity: Severity::Notice,
        message_id: "360af84f14364a31ac652276e5420f15",
        pan_os: &[always("decrypt-unsupport-param")],
        advice: &[
            when(
                When::ClientIsInterceptor,
                "allow the versions and ciphers {name} needs in the decryption profile, or exclude it",
            ),
            when(
                When::NotIntercepted,
                "allow at the client the versions, ciphers and protocols {name} needs, or at the \
                 server those the client offers",
            ),
            when(
                When::InterceptionUnknown,
                "allow the versions and ciphers {name} needs at the client; if it is intercepted, in \
                 the decryption profile, or exclude it",
            ),
            always(
                "allow the versions and ciphers {name} needs in the decryption profile, or exclude it",
            ),
        ],
        catalog: Some(Catalog {
            subject: "No common TLS version, cipher, group or ALPN: @TLSWHY_SNI@",
            text: "\
@TLSWHY_CLIENT_IP@ and @TLSWHY_SERVER_IP@, or the interceptor between them, found
no parameters that both support.

Widen the decryption profile (versions, suites, groups), or exclude the
destination.
",
        }),
        reference: Reference {
            scope: Scope::OneConnection,
            signs: "either side sends handshake_failure, protocol_version, insufficient_security, \
                    illegal_parameter, no_application_protocol, unrecognized_name or the like",
            confidence: "94 %; handshake_failure alone may have another cause",
            advice: "allow the parameters that the server needs, or exclude it",
        },
    };

    HelloTooLarge = "hello-too-large",
    "A ClientHello over several segments dies on the way, smaller ones to the same server live." => CauseRow {
        severity: Severity::Warning,
        message_id: "138f46069481470db0c289a1a5344957",
        pan_os: &[always("aged-out")],
        advice: &[always(
            "find the device on the way to {name} that loses a ClientHello's second segment: its MTU, \
             or an inspection that reads one segment only; clients without post-quantum key shares \
             send smaller ones",
        )],
        catalog: Some(Catalog {
            subject: "A large ClientHello does not get through: @TLSWHY_SNI@",
            text: "\
@TLSWHY_CLIENT_IP@ sent a ClientHello to @TLSWHY_SERVER_IP@ that needs more than
one segment, as post-quantum key shares make it, and it died on the way.
TLSWHY_EVIDENCE has its size and how much of it was acknowledged.

A device with a small MTU, or one that inspects only the first segment of a
hello, stands between.
",
        }),
        reference: Reference {
            scope: Scope::OneConnection,
            signs: "a ClientHello of more than 1460 bytes of which the server acknowledges only a \
                    part, for a second or more, or that it resets, though it answered smaller \
                    ones for the same name; evidence `hello-size` has size and split point",
            confidence: "80–98 %, 50–85 % where no smaller one was seen to be answered",
            advice: "look for an MTU or an old inspection engine on the way",
        },
    };

    EchRefused = "ech-refused", "The client's ECH was not accepted; it comes again." => CauseRow {
        severity: Severity::Informational,
        message_id: "d8dbf5fc1ddc4417a6cee79a455db778",
        pan_os: &[],
        advice: &[
            when(
                When::NotIntercepted,
                "no action unless it recurs: the client comes again by itself; {name} is only the public \
                 name of its ECH configuration. An outdated HTTPS record in DNS keeps ECH from working",
            ),
            always(
                "no action unless it recurs: the client comes again by itself; {name} is only the public \
                 name of its ECH configuration and belongs on no list. An interceptor that answers for \
                 it keeps ECH from working, and so does an outdated HTTPS record in DNS",
            ),
        ],
        catalog: Some(Catalog {
            subject: "A client's Encrypted ClientHello was refused: @TLSWHY_SNI@",
            text: "\
@TLSWHY_CLIENT_IP@ offered ECH (RFC 9849), finished the handshake with the public
name @TLSWHY_SNI@ only to learn that its offer was not accepted, and came again.

It refused no certificate. An interceptor that answers for the server, or an
outdated ECH configuration in DNS, has this effect; each connection takes one
more handshake.
",
        }),
        reference: Reference {
            scope: Scope::ManyConnections,
            signs: "an outer ClientHello with ECH, a finished handshake, an alert right behind the \
                    client's Finished, and then another connection: with another ECH configuration for \
                    the same public name, without ECH for another name, or with the same configuration \
                    again. GREASE offers show none of these; alone the connection is `unused`",
            confidence: "90 %",
            advice: "none: the client comes again; never exclude the public name",
        },
    };

    ProxyRefused = "proxy-refused",
    "An explicit proxy answered CONNECT or SOCKS with a refusal." => CauseRow {
        severity: Severity::Notice,
        message_id: "05f01d0bad2e465fb8b6fe156ef6bc93",
        pan_os: &[],
        advice: &[always(
            "look for {name} in the proxy's log: 403 is its policy, 407 its authentication, 502 to \
             504 and a SOCKS5 reply of 3 to 6 its own way to the server",
        )],
        catalog: Some(Catalog {
            subject: "A proxy refused a connection: @TLSWHY_TARGET@",
            text: "\
@TLSWHY_CLIENT_IP@ asked the proxy at @TLSWHY_SERVER_IP@ for @TLSWHY_TARGET@, and the
proxy refused before TLS began. TLSWHY_EVIDENCE has its answer.

Look for the target in the proxy's log. No certificate is concerned.
",
        }),
        reference: Reference {
            scope: Scope::OneConnection,
            signs: "an explicit proxy answers CONNECT with another status than 2xx, or SOCKS with \
                    a reply code or a refusal of all methods or of the password; a 407 only if the \
                    client does not get through within five seconds. In captures only: live taps \
                    begin at the ClientHello",
            confidence: "98 %",
            advice: "read the proxy's log: 403 is its policy, 407 its authentication, 502 to 504 \
                     its own way to the target",
        },
    };

    NotTlsAnswer = "not-tls-answer",
    "The ClientHello was answered in another protocol than TLS." => CauseRow {
        severity: Severity::Notice,
        message_id: "a331f7d91483424cb179f2225dbee94a",
        pan_os: &[],
        advice: &[always(
            "see what listens there: {name} answered without TLS, as a plaintext service, a block \
             page or a captive portal does; correct the port or the scheme, or the policy that \
             redirects it",
        )],
        catalog: Some(Catalog {
            subject: "A ClientHello was answered without TLS: @TLSWHY_SNI@",
            text: "\
@TLSWHY_CLIENT_IP@ sent a ClientHello to @TLSWHY_SERVER_IP@, port
@TLSWHY_SERVER_PORT@, and got an answer that is no TLS: TLSWHY_EVIDENCE shows its
beginning. Clients report it as a wrong version number.

A plaintext service listens on this port, or a filter, a proxy or a captive
portal answered in the server's place.
",
        }),
        reference: Reference {
            scope: Scope::OneConnection,
            signs: "the server's first bytes begin no TLS record: an HTTP error or redirect, a \
                    banner of SMTP, FTP, IMAP, POP3 or SSH, other bytes; `plaintext-answer` has \
                    the status and Location, or the first line",
            confidence: "97 %",
            advice: "correct port or scheme; look for a block page or captive portal where the \
                     answer redirects",
        },
    };

    DecryptError = "decrypt-error",
    "`bad_record_mac`, `decode_error`, `decrypt_error` and the like." => CauseRow {
        severity: Severity::Notice,
        message_id: "dd8329dc61de4cdba2c90408c1030b0a",
        pan_os: &[always("decrypt-error")],
        advice: &[
            when(
                When::NotIntercepted,
                "capture this connection near the client and near the server: a record for {name} \
                 could not be decrypted or read",
            ),
            when(
                When::InterceptionUnknown,
                "capture this connection near the client and near the server, on both sides of an \
                 interceptor: a record for {name} could not be decrypted or read",
            ),
            always(
                "capture this connection on both sides of the interceptor: a record for {name} could \
                 not be decrypted or read",
            ),
        ],
        catalog: Some(Catalog {
            subject: "A TLS record could not be read: @TLSWHY_SNI@",
            text: "\
@TLSWHY_CLIENT_IP@ or @TLSWHY_SERVER_IP@ could not decrypt or decode a record that
it received, and said so. Bytes were changed or lost on the way, or an
implementation is at fault.

Compare captures of both sides of the gateway: `tlswhy pcap` judges them.
",
        }),
        reference: Reference {
            scope: Scope::OneConnection,
            signs: "bad_record_mac, decode_error, decrypt_error, record_overflow, \
                    unexpected_message; internal_error is weaker; up to TLS 1.2 also \
                    handshake_failure or illegal_parameter for the server's signed key exchange; \
                    a server that answers data only with a record as long as an alert; amid data \
                    an encrypted alert that is hardly a close_notify (below)",
            confidence: "62–94 %",
            advice: "capture on both sides of the interceptor",
        },
    };

    Truncated = "truncated", "A peer closed amid a record." => CauseRow {
        severity: Severity::Notice,
        message_id: "242a390d44574c848c632ff12570e863",
        pan_os: &[always("tcp-fin")],
        advice: &[always(
            "read the log of the side that closed: it ended its stream to or from {name} amid a \
             record, as a program that crashes or a proxy that gives up does",
        )],
        catalog: Some(Catalog {
            subject: "A connection ended amid a record: @TLSWHY_SNI@",
            text: "\
Between @TLSWHY_CLIENT_IP@ and @TLSWHY_SERVER_IP@, the @TLSWHY_ENDED_BY@ closed the
connection (FIN) before the end of a record that it had begun to send. The other
side has less than was promised; TLSWHY_EVIDENCE says how much.

Look at the log of the side that closed, or of the interceptor where it is a peer.
",
        }),
        reference: Reference {
            scope: Scope::OneConnection,
            signs: "a side sends FIN, first, before all the bytes came that its last record's \
                    header promises; told where every record of that side was seen",
            confidence: "92 %",
            advice: "read the log of the side that closed",
        },
    };

    ClientAuth = "client-auth", "The server wants a client certificate." => CauseRow {
        severity: Severity::Notice,
        message_id: "48d7ab7a1d3d4c1fa9402c6d0d30e84e",
        pan_os: &[always("decrypt-cert-validation")],
        advice: &[
            when(
                When::ClientIsInterceptor,
                "exclude {name} from decryption: mutual TLS cannot be intercepted",
            ),
            when(
                When::NotIntercepted,
                "give the client a certificate that {name} accepts",
            ),
            when(
                When::InterceptionUnknown,
                "give the client a certificate that {name} accepts; if it is intercepted, exclude \
                 {name} from decryption: mutual TLS cannot be intercepted",
            ),
            always("exclude {name} from decryption: mutual TLS cannot be intercepted"),
        ],
        catalog: Some(Catalog {
            subject: "The server wants a client certificate: @TLSWHY_SNI@",
            text: "\
The server (@TLSWHY_SNI@ at @TLSWHY_SERVER_IP@) asks clients for a certificate
of their own. An interceptor has none to show: mutual TLS cannot be intercepted.

Exclude this destination from decryption.
",
        }),
        reference: Reference {
            scope: Scope::OneConnection,
            signs: "the *server* sends an alert about a certificate, or certificate_required; in \
                    TLS 1.3 a record as long as an alert after the client's flight with a \
                    Certificate in it, and no other record",
            confidence: "95 % in the clear, 92 % by its place",
            advice: "exclude: mutual TLS cannot be intercepted",
        },
    };

    InjectedReset = "injected-reset", "A third party reset the connection." => CauseRow {
        severity: Severity::Warning,
        message_id: "f91454cc5e364baaaba60a397260c1e2",
        pan_os: &[
            when(When::RejectedByIcmp, "policy-deny"),
            when(When::ResetInClientsName, "tcp-rst-from-client"),
            always("tcp-rst-from-server"),
        ],
        advice: &[
            when(
                When::RejectedByIcmp,
                "look at the rules of the device that sent the ICMP error: the evidence has its address",
            ),
            always("find the device that sends this reset: compare its TTL with your path"),
        ],
        catalog: Some(Catalog {
            subject: "A third party reset a connection: @TLSWHY_SNI@",
            text: "\
Neither end sent the RST that ended this connection between @TLSWHY_CLIENT_IP@ and
@TLSWHY_SERVER_IP@. TLSWHY_RESET_TELLS lists its tells, TLSWHY_RESET_FROM its
sender as far as that is known.

Look at the logs of filters and firewalls on the way.
",
        }),
        reference: Reference {
            scope: Scope::OneConnection,
            signs: "a RST that its alleged sender did not send, by its tells (below); in captures \
                    another host's ICMP error that rejects the segments (below)",
            confidence: "by the weight of the tells; 95 % by ICMP",
            advice: "find the device: the evidence gives its distance in hops, by its TTL",
        },
    };

    EndpointReset = "endpoint-reset", "A peer itself reset it." => CauseRow {
        severity: Severity::Informational,
        message_id: "54698894f083422d8db2e623700d3285",
        pan_os: RESET,
        advice: &[
            when(
                When::RejectedByIcmp,
                "look at the host's own packet filter: it answered with an ICMP error",
            ),
            when(
                When::ResetIsAllOfItsSender,
                "capture nearer to the server: its reset is all that was seen of it here",
            ),
        ],
        catalog: Some(Catalog {
            subject: "A peer reset a connection: @TLSWHY_SNI@",
            text: "\
@TLSWHY_RESET_FROM@ of this connection itself reset it (RST) during the handshake,
right after it, or amid its answer. Where the interceptor is a peer, look at its log.
",
        }),
        reference: Reference {
            scope: Scope::OneConnection,
            signs: "a RST without such tells, before the connection worked; a server's RST amid a \
                    record of its answer",
            confidence: "88 %; 65 % if it is the only segment seen from its sender, its SYN,ACK included, or came sooner than the server can answer",
            advice: "read the log of the side that sent it; where the reset is its only segment, \
                     capture nearer to it",
        },
    };

    Abandoned = "abandoned",
    "A peer closed without a word during or right after the handshake." => CauseRow {
        severity: Severity::Informational,
        message_id: "6089c786e0804bf6a8bfdb9617837d96",
        pan_os: &[always("tcp-fin")],
        advice: &[when(
            When::RejectedByIcmp,
            "look at the routes of the device that sent the ICMP error: the evidence has its address",
        ),
        when(
            When::HandshakeFinished,
            "nothing, unless it repeats: then see whether this app ever uses {name} elsewhere",
        )],
        catalog: Some(Catalog {
            subject: "A connection was closed without an alert: @TLSWHY_SNI@",
            text: "\
Between @TLSWHY_CLIENT_IP@ and @TLSWHY_SERVER_IP@, the @TLSWHY_ENDED_BY@ closed the
connection during or right after the handshake and gave no reason. Some clients
refuse certificates that way; many close connections that they no longer need.
A single case proves nothing; look for repetition.
",
        }),
        reference: Reference {
            scope: Scope::OneConnection,
            signs: "a side closes without an alert before or right after the handshake, or no \
                    host acknowledges the ClientHello",
            confidence: "50–90 %",
            advice: "no action unless it recurs",
        },
    };

    Established = "established", "It worked." => CauseRow {
        severity: Severity::Informational,
        message_id: "10ec469089f34b87af92ce466ba791f5",
        pan_os: &[always("tcp-fin")],
        advice: &[],
        catalog: None,
        reference: Reference {
            scope: Scope::OneConnection,
            signs: "application data both ways",
            confidence: "counted, not written",
            advice: "",
        },
    };
}

const RESET: &[Wording] = &[
    when(When::ResetInClientsName, "tcp-rst-from-client"),
    always("tcp-rst-from-server"),
];
