//! What speaks for which cause: a table of rules over [`Facts`].
//!
//! A rule is a name, the cause it speaks for, where it is known from, and a function that says the
//! fact with its weight if it holds. Weights are log-odds: 3 is "twenty times as likely as not".
//! To add a rule, write its function, put it into [`RULES`], and test it with a timeline.

use detector_common::flow::Sender;

use crate::cause::judge::facts::{AlertFact, Facts};
use crate::flow::timeline::{CloseKind, Timeline};
use crate::flow::tls::certificate::{Leaf, Validity};
use crate::flow::tls::names::{alert_description, is_finite_field};
use crate::verdict::{Cause, Intercepted};

/// What a rule's function says: a sentence and how much it counts.
pub type Holds = Option<(String, f64)>;

/// A rule that holds.
pub struct Finding {
    /// Which.
    pub rule: &'static Rule,
    /// The fact, for people.
    pub detail: String,
    /// Log-odds it adds to the rule's cause.
    pub weight: f64,
}

/// One rule.
pub struct Rule {
    /// Name of the evidence it gives.
    pub name: &'static str,
    /// What it speaks for.
    pub cause: Cause,
    /// Where it is known from.
    pub source: &'static str,
    /// Whether it holds, and how much it counts.
    pub holds: fn(&Facts<'_>, Intercepted) -> Holds,
}

impl Rule {
    /// What it finds in these facts.
    pub fn apply(&'static self, facts: &Facts<'_>, intercepted: Intercepted) -> Option<Finding> {
        let (detail, weight) = (self.holds)(facts, intercepted)?;
        Some(Finding {
            rule: self,
            detail,
            weight,
        })
    }
}

/// All rules.
pub static RULES: &[Rule] = &[
    Rule {
        name: "client-alert",
        cause: Cause::CertificateRejected,
        source: "RFC 8446 §6.2; measured with OpenSSL 3.0, Chromium, Go, rustls, GnuTLS, Java 17",
        holds: client_certificate_alert,
    },
    Rule {
        name: "alert-for-finished",
        cause: Cause::CertificateRejected,
        source: "measured, TLS 1.3: Chromium, Go, rustls, GnuTLS (19 bytes), Java 17 (35)",
        holds: alert_for_finished,
    },
    Rule {
        name: "silent-refusal",
        cause: Cause::CertificateRejected,
        source: "measured: Node 20 closes without a word after the server's flight",
        holds: silent_refusal,
    },
    Rule {
        name: "unused-after-handshake",
        cause: Cause::CertificateRejected,
        source: "measured: OkHttp, urllib3, curl and wget check pins after the handshake; IMC 2022",
        holds: unused_after_handshake,
    },
    Rule {
        name: "closed-unused",
        cause: Cause::Abandoned,
        source: "browsers' speculative connections, health checks, scanners",
        holds: closed_unused,
    },
    Rule {
        name: "closed-early",
        cause: Cause::Abandoned,
        source: "RFC 9293 §3.6",
        holds: closed_early,
    },
    Rule {
        name: "client-alert",
        cause: Cause::ServerCertInvalid,
        source: "RFC 8446 §6.2: certificate_expired, certificate_revoked",
        holds: client_validity_alert,
    },
    Rule {
        name: "certificate-outdated",
        cause: Cause::ServerCertInvalid,
        source: "RFC 5280 §4.1.2.5",
        holds: certificate_outdated,
    },
    Rule {
        name: "certificate-for-another-name",
        cause: Cause::ServerCertInvalid,
        source: "RFC 9525 §6",
        holds: certificate_for_another_name,
    },
    Rule {
        name: "certificate-self-signed",
        cause: Cause::ServerCertInvalid,
        source: "RFC 5280 §3.2",
        holds: certificate_self_signed,
    },
    Rule {
        name: "parameter-alert",
        cause: Cause::UnsupportedParameters,
        source: "RFC 8446 §6.2, RFC 5246 §7.2.2, RFC 7301 §3.2, RFC 7507",
        holds: parameter_alert,
    },
    Rule {
        name: "decrypt-alert",
        cause: Cause::DecryptError,
        source: "RFC 8446 §6.2",
        holds: decrypt_alert,
    },
    Rule {
        name: "key-exchange-refused",
        cause: Cause::DecryptError,
        source: "RFC 5246 §7.4.3; measured with a damaged ServerKeyExchange: Java 17, Go",
        holds: key_exchange_refused,
    },
    Rule {
        name: "server-alert-for-data",
        cause: Cause::DecryptError,
        source: "RFC 8446 §5.2: bad_record_mac; measured with a damaged record, OpenSSL and Go",
        holds: server_alert_for_data,
    },
    Rule {
        name: "server-refuses-client",
        cause: Cause::ClientAuth,
        source: "RFC 8446 §6.2: sent by the server these alerts are about the client's certificate",
        holds: server_refuses_client,
    },
    Rule {
        name: "server-alert-after-flight",
        cause: Cause::ClientAuth,
        source: "measured, TLS 1.3: certificate_required comes after the client's Finished",
        holds: server_alert_after_flight,
    },
    Rule {
        name: "certificate-requested",
        cause: Cause::ClientAuth,
        source: "RFC 5246 §7.4.4",
        holds: certificate_requested,
    },
    Rule {
        name: "server-leg",
        cause: Cause::ServerCertInvalid,
        source: "RFC 8446 §6.2, of the interceptor as a client",
        holds: |facts, _| server_leg_failed(facts, Cause::ServerCertInvalid),
    },
    Rule {
        name: "server-leg-certificate",
        cause: Cause::ServerCertInvalid,
        source: "measured: sslsplit hides an origin's outdated certificate, and clients refuse its own",
        holds: server_leg_certificate,
    },
    Rule {
        name: "server-leg",
        cause: Cause::UnsupportedParameters,
        source: "RFC 8446 §6.2, of the interceptor as a client",
        holds: |facts, _| server_leg_failed(facts, Cause::UnsupportedParameters),
    },
    Rule {
        name: "server-leg",
        cause: Cause::ClientAuth,
        source: "RFC 8446 §6.2, of the interceptor as a client",
        holds: |facts, _| server_leg_failed(facts, Cause::ClientAuth),
    },
    Rule {
        name: "server-leg",
        cause: Cause::DecryptError,
        source: "RFC 8446 §6.2, of the interceptor as a client",
        holds: |facts, _| server_leg_failed(facts, Cause::DecryptError),
    },
    Rule {
        name: "server-leg",
        cause: Cause::InjectedReset,
        source: "RFC 9293 §3.10.7, of the interceptor as a client",
        holds: |facts, _| server_leg_failed(facts, Cause::InjectedReset),
    },
    Rule {
        name: "server-leg",
        cause: Cause::EndpointReset,
        source: "RFC 9293 §3.10.7, of the interceptor as a client",
        holds: |facts, _| server_leg_failed(facts, Cause::EndpointReset),
    },
    Rule {
        name: "reset-tells",
        cause: Cause::InjectedReset,
        source: "Weaver, Sommer, Paxson, NDSS 2009; RFC 5961",
        holds: injected_reset,
    },
    Rule {
        name: "reset",
        cause: Cause::EndpointReset,
        source: "RFC 9293 §3.10.7",
        holds: endpoint_reset,
    },
];

/// An alert as people read it: `fatal certificate_unknown (46)`.
pub fn describe(alert: &AlertFact) -> String {
    let level = match alert.level {
        Some(1) => "warning ",
        Some(2) => "fatal ",
        _ => "",
    };
    match alert.code {
        Some(code) => {
            format!(
                "{level}{} ({code})",
                alert_description(code).unwrap_or("unassigned alert")
            )
        }
        None => format!("an encrypted alert of {} bytes", alert.length),
    }
}

fn alert_from(facts: &Facts<'_>, from: Sender, codes: &[u8]) -> Option<AlertFact> {
    let alert = facts.failure_alert()?;
    (alert.from == from && alert.code.is_some_and(|code| codes.contains(&code))).then_some(*alert)
}

fn client_certificate_alert(facts: &Facts<'_>, intercepted: Intercepted) -> Holds {
    // bad_certificate, unsupported_certificate, certificate_unknown, unknown_ca, access_denied,
    // and the two about stapled and fetched certificates.
    let alert = alert_from(facts, Sender::Client, &[42, 43, 46, 48, 49, 113, 114])?;
    let weight = if has_flaw(facts) {
        0.6
    } else if may_hide_flaw(facts, intercepted) {
        2.0
    } else {
        3.0
    };
    let place = if facts.is_tls13() {
        "flight"
    } else {
        "Certificate"
    };
    Some((
        format!(
            "client sent {} after the server's {place}",
            describe(&alert)
        ),
        weight,
    ))
}

/// Whether the certificate has a visible flaw, so that any client would refuse it.
fn has_flaw(facts: &Facts<'_>) -> bool {
    let leaf = facts.timeline.handshake.certificate.as_ref();
    leaf.and_then(|leaf| leaf.as_ref().ok())
        .and_then(|leaf| leaf_flaw(leaf, facts.timeline))
        .is_some()
}

/// Whether the certificate is encrypted and the origin's own, for all one knows: then it may be one
/// that nobody would take. Interceptors seldom show such.
fn may_hide_flaw(facts: &Facts<'_>, intercepted: Intercepted) -> bool {
    intercepted != Intercepted::Yes && facts.is_tls13()
}

fn alert_for_finished(facts: &Facts<'_>, intercepted: Intercepted) -> Holds {
    let weight = if may_hide_flaw(facts, intercepted) {
        1.7
    } else {
        2.2
    };
    (facts.is_tls13()
        && facts.client.alert_for_finished
        && !facts.misses_of(Sender::Client)
        && !facts.client.finished
        && facts.server_flight
        && !facts.resumed)
        .then(|| {
            let detail = "the client's only encrypted record is as long as an alert and stands \
                          where its Finished should be";
            (detail.to_owned(), weight)
        })
}

fn silent_refusal(facts: &Facts<'_>, intercepted: Intercepted) -> Holds {
    if !facts.turned_away() || facts.idled {
        return None;
    }
    let weight = match intercepted {
        Intercepted::Yes => 1.6,
        Intercepted::Unknown => 0.9,
        // A browser that has another connection to the same server drops its spare ones.
        Intercepted::No => 0.2,
    };
    let detail = "client closed without a word once it had the server's certificate";
    Some((detail.to_owned(), weight))
}

fn unused_after_handshake(facts: &Facts<'_>, intercepted: Intercepted) -> Holds {
    // Of a resumed session no certificate was shown: there was nothing to refuse. Nor was there
    // where nobody intercepts: browsers open such connections to spare.
    if !facts.unused() || facts.resumed || facts.idled || intercepted == Intercepted::No {
        return None;
    }
    let twice = facts.client.alerts_after_finished >= 2;
    let weight = match (intercepted, twice) {
        (Intercepted::Yes, true) => 1.8,
        (Intercepted::Yes, false) => 1.4,
        (_, true) => 1.2,
        (_, false) => 0.8,
    };
    let detail = "client finished the handshake, sent no data of its own and closed at once, as a \
                  pin check after the handshake does";
    Some((detail.to_owned(), weight))
}

fn closed_unused(facts: &Facts<'_>, intercepted: Intercepted) -> Holds {
    let told = !facts.resumed && !facts.idled && intercepted != Intercepted::No;
    (facts.unused() && told).then(|| {
        let detail = "client finished the handshake and closed without using the connection";
        let weight = if intercepted == Intercepted::Yes {
            0.3
        } else {
            0.6
        };
        (detail.to_owned(), weight)
    })
}

fn closed_early(facts: &Facts<'_>, _: Intercepted) -> Holds {
    let (by, kind) = facts.first_close?;
    let unfinished = !facts.client.finished && !facts.client.alert_for_finished;
    if facts.unacknowledged && by == Sender::Client && !facts.resets.injected() && unfinished {
        let detail = "nobody acknowledged the ClientHello: it was lost on its way or filtered";
        return Some((detail.to_owned(), 2.2));
    }
    if kind != CloseKind::Fin || !unfinished || facts.failure_alert().is_some() {
        return None;
    }
    let (who, weight) = match by {
        Sender::Client if facts.server_flight => ("client closed within the handshake", 0.5),
        Sender::Client if facts.server_hello => ("client closed within the handshake", 1.2),
        Sender::Client => ("client closed before the server had answered", 1.5),
        Sender::Server if facts.server_hello => ("server closed within the handshake", 1.2),
        Sender::Server => ("server closed on the ClientHello without a word", 1.2),
    };
    Some((who.to_owned(), weight))
}

fn client_validity_alert(facts: &Facts<'_>, intercepted: Intercepted) -> Holds {
    let alert = alert_from(facts, Sender::Client, &[44, 45])?;
    // An interceptor copies the origin's dates, or has outdated ones of its own.
    let weight = if intercepted == Intercepted::Yes {
        2.0
    } else {
        2.8
    };
    Some((format!("client sent {}", describe(&alert)), weight))
}

/// The leaf, if the client refused it, and whether it said so.
fn refused_leaf<'f>(facts: &'f Facts<'_>) -> Option<(&'f Leaf, bool)> {
    let leaf = facts.timeline.handshake.certificate.as_ref()?;
    let said = facts
        .failure_alert()
        .is_some_and(|alert| alert.from == Sender::Client);
    let quietly = (facts.unused() || facts.turned_away()) && !facts.idled;
    let refused = (said || quietly) && !facts.established;
    refused.then_some((leaf.as_ref().ok()?, said))
}

fn certificate_outdated(facts: &Facts<'_>, _: Intercepted) -> Holds {
    let (leaf, _) = refused_leaf(facts)?;
    let now = i64::try_from(facts.timeline.started_ns / 1_000_000_000).ok()?;
    if leaf.is_valid_at(now) {
        return None;
    }
    let which = if now > leaf.not_after {
        "has expired"
    } else {
        "is not valid yet"
    };
    Some((format!("the certificate shown {which}"), 3.2))
}

fn certificate_for_another_name(facts: &Facts<'_>, _: Intercepted) -> Holds {
    let (leaf, _) = refused_leaf(facts)?;
    let name = facts
        .timeline
        .handshake
        .client_hello
        .as_ref()?
        .server_name
        .as_ref()?;
    (!leaf.is_for(name)).then(|| {
        (
            format!(
                "the certificate shown is for {}, not for {name}",
                leaf.subject
            ),
            3.2,
        )
    })
}

fn certificate_self_signed(facts: &Facts<'_>, _: Intercepted) -> Holds {
    let (leaf, said) = refused_leaf(facts)?;
    // Services with certificates of their own making are closed unused as others are.
    if !said && facts.client.finished {
        return None;
    }
    let weight = if said { 3.2 } else { 1.2 };
    leaf.is_self_signed().then(|| {
        (
            format!("the certificate shown is self-signed: {}", leaf.subject),
            weight,
        )
    })
}

fn parameter_alert(facts: &Facts<'_>, _: Intercepted) -> Holds {
    // handshake_failure, illegal_parameter, protocol_version, insufficient_security,
    // inappropriate_fallback, missing_extension, unsupported_extension, unrecognized_name,
    // no_application_protocol.
    let codes = [40, 47, 70, 71, 86, 109, 110, 112, 120];
    let alert = facts
        .failure_alert()
        .filter(|a| a.code.is_some_and(|c| codes.contains(&c)))?;
    let who = if alert.from == Sender::Client {
        "client"
    } else {
        "server"
    };
    // handshake_failure says little: rustls sends it when a verifier refuses, servers when they
    // miss a client certificate.
    let vague = (alert.code == Some(40) && (alert.from == Sender::Client || asked_client(facts)))
        || key_exchange_refused(facts, Intercepted::Unknown).is_some();
    Some((
        format!("{who} sent {}", describe(alert)),
        if vague { 0.9 } else { 2.8 },
    ))
}

fn decrypt_alert(facts: &Facts<'_>, _: Intercepted) -> Holds {
    // unexpected_message, bad_record_mac, decryption_failed, record_overflow,
    // decompression_failure, decode_error, decrypt_error, internal_error.
    let codes = [10, 20, 21, 22, 30, 50, 51, 80];
    let alert = facts
        .failure_alert()
        .filter(|a| a.code.is_some_and(|c| codes.contains(&c)))?;
    let who = if alert.from == Sender::Client {
        "client"
    } else {
        "server"
    };
    Some((
        format!("{who} sent {}", describe(alert)),
        if alert.code == Some(80) { 1.5 } else { 2.8 },
    ))
}

/// Up to TLS 1.2: handshake_failure or illegal_parameter once the server has chosen everything and
/// signed it. A finite-field group is chosen as late, and refused as too small.
fn key_exchange_refused(facts: &Facts<'_>, _: Intercepted) -> Holds {
    let handshake = &facts.timeline.handshake;
    let alert = alert_from(facts, Sender::Client, &[40, 47])?;
    let finite_field = handshake.cipher_suite().is_none_or(is_finite_field);
    (handshake.server_hello_done && !facts.is_tls13() && !finite_field).then(|| {
        let detail = format!(
            "client sent {} though all parameters were chosen: it did not like the server's key \
             exchange",
            describe(&alert)
        );
        (detail, 1.8)
    })
}

/// Whether the server asked for a client certificate where that shows.
fn asked_client(facts: &Facts<'_>) -> bool {
    let handshake = &facts.timeline.handshake;
    handshake.certificate_request || handshake.client_certificates.is_some()
}

fn server_refuses_client(facts: &Facts<'_>, _: Intercepted) -> Holds {
    // From the server these are about the client's certificate; 116 is certificate_required.
    let alert = alert_from(facts, Sender::Server, &[42, 43, 44, 45, 46, 48, 49, 116])
        .or_else(|| alert_from(facts, Sender::Server, &[40]).filter(|_| asked_client(facts)))?;
    Some((format!("server sent {}", describe(&alert)), 3.0))
}

/// TLS 1.3: whether the server answered the client's last flight with nothing but an alert.
fn refused_by_server(facts: &Facts<'_>) -> bool {
    facts.is_tls13()
        && facts.client.finished
        && facts.server_alert_at_end
        && !facts.server_answered
        && !facts.established
        && facts.farewell == Some(Sender::Server)
}

fn server_alert_after_flight(facts: &Facts<'_>, _: Intercepted) -> Holds {
    (refused_by_server(facts) && facts.client.sent_certificate).then(|| {
        let detail = "the client answered a request for its certificate, and the server that with \
                      nothing but a record as long as an alert";
        (detail.to_owned(), 2.4)
    })
}

fn server_alert_for_data(facts: &Facts<'_>, _: Intercepted) -> Holds {
    (refused_by_server(facts) && !facts.client.sent_certificate && !facts.gaps).then(|| {
        let detail = "server answered the client's Finished or data with nothing but a record as \
                      long as an alert, and had not asked for a certificate";
        (detail.to_owned(), 1.5)
    })
}

fn certificate_requested(facts: &Facts<'_>, _: Intercepted) -> Holds {
    if facts.established || !facts.timeline.handshake.certificate_request {
        return None;
    }
    let by_server = facts
        .failure_alert()
        .is_some_and(|alert| alert.from == Sender::Server);
    let sent = match facts.timeline.handshake.client_certificates {
        Some(0) => " and the client has none",
        Some(_) => "",
        None => return None,
    };
    let detail = format!("server asks for a client certificate{sent}");
    Some((detail, if by_server { 1.0 } else { 0.5 }))
}

fn reset_counts(facts: &Facts<'_>) -> bool {
    // A reset after the client's own refusal changes nothing: it is evidence beside it.
    facts.resets.any()
        && !facts.resets.after_farewell
        && facts.failure_alert().is_none()
        && !facts.client.alert_for_finished
}

fn injected_reset(facts: &Facts<'_>, _: Intercepted) -> Holds {
    if !reset_counts(facts) || !facts.resets.injected() {
        return None;
    }
    let tells: Vec<&str> = facts.resets.tells.iter().map(|tell| tell.name).collect();
    Some((
        format!(
            "the reset is not its alleged sender's: {}",
            tells.join(", ")
        ),
        facts.resets.score(),
    ))
}

fn endpoint_reset(facts: &Facts<'_>, intercepted: Intercepted) -> Holds {
    if facts.unused() && intercepted == Intercepted::No {
        return None;
    }
    if !reset_counts(facts) || facts.resets.injected() || facts.established {
        return None;
    }
    if facts.unacknowledged && facts.resets.in_name_of == Some(Sender::Client) {
        return None;
    }
    // It may have worked in what was not seen.
    if facts.gaps && facts.client.finished {
        return None;
    }
    // A reset that answers a FIN tells nothing that the FIN had not.
    if facts
        .first_close
        .is_some_and(|(_, kind)| kind == CloseKind::Fin)
    {
        return None;
    }
    let (who, sender) = match facts.resets.in_name_of? {
        Sender::Client => ("client", Sender::Client),
        Sender::Server => ("server", Sender::Server),
    };
    // Without another segment of its sender there is nothing to tell a forged one by.
    let unsure = if facts.resets.comparable {
        ""
    } else {
        ", the only segment of it that was seen"
    };
    let refusal = sender == Sender::Client && facts.server_flight;
    // A client that has what it needs to refuse may do so by a reset.
    let weight = match (facts.resets.comparable, refusal) {
        (true, false) => 2.0,
        (true, true) if facts.client.finished => 0.5,
        (true, true) => 0.6,
        (false, _) => 0.6,
    };
    Some((format!("{who} reset the connection{unsure}"), weight))
}

/// Whether the leg behind the interceptor failed for this cause before its client's leg did: then
/// what the client saw is the interceptor's answer to that.
fn server_leg_failed(facts: &Facts<'_>, cause: Cause) -> Holds {
    let leg = facts.other_leg.as_ref()?;
    let client_failed_ns = facts.failed_ns().unwrap_or(u64::MAX);
    let first = leg.failed_ns <= client_failed_ns;
    (leg.cause == cause && leg.confidence >= 0.6 && !leg.established && first).then(|| {
        let detail = format!("behind the interceptor it failed first: {}", leg.detail);
        (detail, 4.5 * leg.confidence)
    })
}

fn server_leg_certificate(facts: &Facts<'_>, _: Intercepted) -> Holds {
    let leg = facts.other_leg.as_ref()?;
    let refused = facts
        .failure_alert()
        .is_some_and(|alert| alert.from == Sender::Client)
        || facts.client.alert_for_finished
        || (!facts.client.used && facts.closed_by(Sender::Client));
    let handshake = &leg.timeline.handshake;
    let leaf = handshake.certificate.as_ref()?.as_ref().ok()?;
    let flaw = leaf_flaw(leaf, leg.timeline)?;
    (refused && !facts.established).then(|| {
        (
            format!("the origin's certificate behind the interceptor {flaw}"),
            4.0,
        )
    })
}

/// What is visibly wrong with a certificate for the name it was shown for, at the time it was.
fn leaf_flaw(leaf: &Leaf, timeline: &Timeline) -> Option<String> {
    let now = i64::try_from(timeline.started_ns / 1_000_000_000).ok()?;
    match leaf.validity_at(now) {
        Validity::Expired => return Some("has expired".to_owned()),
        Validity::NotYet => return Some("is not valid yet".to_owned()),
        Validity::Valid => {}
    }
    let hello = timeline.handshake.client_hello.as_ref()?;
    let name = hello.server_name.as_ref()?;
    if !leaf.is_for(name) {
        return Some(format!("is for {}, not for {name}", leaf.subject));
    }
    leaf.is_self_signed()
        .then(|| format!("is self-signed: {}", leaf.subject))
}
