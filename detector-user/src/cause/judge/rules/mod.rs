//! Rules: a table of facts that speak for causes.
//!
//! A rule is the cause it speaks for, its source, and a function that returns evidence and its weight
//! if it holds. Weights are log-odds: 3 is "twenty times as likely as not". To add a rule, write its
//! function in the file of its kind, its evidence in [`evidence`](super::evidence), put it into
//! [`RULES`], and test it with a timeline.

mod abandonment;
mod case;
mod certificate;
mod client_auth;
mod hello_size;
mod parameters;
mod plain_answer;
mod proxy;
mod records;
mod refusal;
mod resets;
mod server_leg;
mod unreachable;

pub use self::case::{Case, Holds, ServerLeg};
use crate::cause::judge::evidence::Evidence;
use crate::verdict::Cause;

/// One rule.
pub struct Rule {
    /// The cause it speaks for.
    pub cause: RuleCause,
    /// Its source: a specification, a study, or a measurement.
    pub source: &'static str,
    /// Whether it holds, with its evidence and weight.
    pub holds: for<'f> fn(Case<'f>) -> Holds<'f>,
}

/// The cause that a rule speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleCause {
    /// Always this one.
    Of(Cause),
    /// The one that the leg behind the interceptor failed for.
    OfServerLeg,
}

/// A rule that holds.
pub struct Finding<'f> {
    /// The cause it speaks for.
    pub cause: Cause,
    /// The fact.
    pub evidence: Evidence<'f>,
    /// Log-odds it adds to the cause.
    pub weight: f64,
}

impl Rule {
    /// Applies it to a case.
    pub fn apply<'f>(&self, case: Case<'f>) -> Option<Finding<'f>> {
        let (evidence, weight) = (self.holds)(case)?;
        let cause = match self.cause {
            RuleCause::Of(cause) => cause,
            RuleCause::OfServerLeg => case.server_leg?.cause,
        };
        Some(Finding {
            cause,
            evidence,
            weight,
        })
    }
}

/// Applies all rules to a case.
pub fn findings(case: Case<'_>) -> Vec<Finding<'_>> {
    let mut findings: Vec<_> = RULES.iter().filter_map(|rule| rule.apply(case)).collect();
    // It has no pins and no CA to lack but its own: it refuses the origin's certificate.
    if case.client_is_interceptor {
        for finding in &mut findings {
            if finding.cause == Cause::CertificateRejected {
                finding.cause = Cause::ServerCertInvalid;
            }
        }
    }
    // A client's alert or close after that is its answer to it, and no cause of its own.
    for decides in [Cause::ProxyRefused, Cause::NotTlsAnswer] {
        if findings.iter().any(|it| it.cause == decides) {
            findings.retain(|it| it.cause == decides || it.cause == Cause::InjectedReset);
        }
    }
    // The ends act on it afterwards: that is no cause of its own.
    let is_unreachable = |it: &Finding<'_>| matches!(it.evidence, Evidence::Unreachable(_));
    if findings.iter().any(is_unreachable) {
        findings.retain(|it| is_unreachable(it) || it.cause == Cause::InjectedReset);
    }
    findings
}

const fn rule(
    cause: Cause,
    source: &'static str,
    holds: for<'f> fn(Case<'f>) -> Holds<'f>,
) -> Rule {
    Rule {
        cause: RuleCause::Of(cause),
        source,
        holds,
    }
}

/// All rules. Evidence of equal weight is written in this order.
pub static RULES: &[Rule] = &[
    rule(
        Cause::CertificateRejected,
        "RFC 8446 §6.2; measured with OpenSSL 3.0, Chromium, Go, rustls, GnuTLS, Java 17; \
         internal_error: pyOpenSSL, Perl's IO::Socket::SSL, mosquitto, squid 5",
        refusal::certificate_alert,
    ),
    rule(
        Cause::CertificateRejected,
        "measured, TLS 1.3: Chromium, Go, rustls, GnuTLS (19 bytes), Java 17 (35)",
        refusal::alert_for_finished,
    ),
    rule(
        Cause::CertificateRejected,
        "measured: Node 20 closes without a word after the server's flight",
        refusal::silent_refusal,
    ),
    rule(
        Cause::CertificateRejected,
        "measured: s2n-tls delays its close by 10 to 30 s and sends close_notify as a warning",
        refusal::blinded,
    ),
    rule(
        Cause::CertificateRejected,
        "measured: libldap 2.5 on GnuTLS refuses StartTLS by an Unbind in the clear and FIN",
        refusal::left_tls,
    ),
    rule(
        Cause::CertificateRejected,
        "measured: OkHttp, urllib3, curl and wget check pins after the handshake; IMC 2022",
        refusal::unused_after_handshake,
    ),
    rule(
        Cause::Abandoned,
        "browsers' speculative connections, health checks, scanners",
        abandonment::closed_unused,
    ),
    rule(Cause::Abandoned, "RFC 9293 §3.6", abandonment::closed_early),
    rule(
        Cause::Abandoned,
        "RFC 8446 §6",
        abandonment::unassigned_alert,
    ),
    rule(
        Cause::ServerCertInvalid,
        "RFC 8446 §6.2: certificate_expired, certificate_revoked",
        certificate::validity_alert,
    ),
    rule(
        Cause::ServerCertInvalid,
        "RFC 5280 §4.1.2.5",
        certificate::outdated,
    ),
    rule(
        Cause::ServerCertInvalid,
        "RFC 9525 §6",
        certificate::for_another_name,
    ),
    rule(
        Cause::ServerCertInvalid,
        "RFC 5280 §3.2",
        certificate::self_signed,
    ),
    rule(
        Cause::UnsupportedParameters,
        "RFC 8446 §6.2, RFC 5246 §7.2.2, RFC 7301 §3.2, RFC 7507; measured: OpenSSL 3.0 without a group \
         sends internal_error in place of its ClientHello",
        parameters::parameter_alert,
    ),
    rule(
        Cause::UnsupportedParameters,
        "RFC 9293 §3.4: an acknowledgement covers all bytes received; a record is read once it is whole",
        parameters::alert_before_certificate,
    ),
    rule(
        Cause::HelloTooLarge,
        "tldr.fail: ClientHellos with post-quantum key shares need two segments",
        hello_size::too_large,
    ),
    rule(
        Cause::ProxyRefused,
        "RFC 9110 §9.3.6, RFC 1928 §6, RFC 1929",
        proxy::refused,
    ),
    rule(
        Cause::Abandoned,
        "measured: proxy.py consents before it connects",
        proxy::closed,
    ),
    rule(
        Cause::NotTlsAnswer,
        "RFC 8446 §5.1: the first byte of a record is its type; OpenSSL: wrong version number",
        plain_answer::plain_answer,
    ),
    rule(
        Cause::UnsupportedParameters,
        "RFC 6066 §4; measured: Mbed TLS 2.28 cannot read the fragmented Certificate it asked for",
        parameters::fragmented_certificate,
    ),
    rule(Cause::DecryptError, "RFC 8446 §6.2", records::decrypt_alert),
    rule(
        Cause::DecryptError,
        "RFC 5246 §7.4.3; measured with a damaged ServerKeyExchange: Java 17, Go",
        records::key_exchange_refused,
    ),
    rule(
        Cause::DecryptError,
        "RFC 8446 §5.2: bad_record_mac; measured with a damaged record, OpenSSL and Go",
        records::server_alert_for_data,
    ),
    rule(
        Cause::DecryptError,
        "RFC 8446 §5.2, §6.1; measured with a damaged record amid a transfer: OpenSSL, Go, Java",
        records::alert_amid_data,
    ),
    rule(
        Cause::Truncated,
        "RFC 8446 §5.1, §6.1: a stream ends with close_notify, behind a whole record",
        records::cut_short,
    ),
    rule(
        Cause::ClientAuth,
        "RFC 8446 §6.2: sent by the server these alerts are about the client's certificate",
        client_auth::server_refuses_client,
    ),
    rule(
        Cause::ClientAuth,
        "measured, TLS 1.3: certificate_required comes after the client's Finished",
        client_auth::server_alert_after_flight,
    ),
    rule(
        Cause::ClientAuth,
        "RFC 8446 §4.2.11, RFC 4279 §2; measured with a wrong key: GnuTLS 3.7",
        client_auth::pre_shared_key,
    ),
    rule(
        Cause::ClientAuth,
        "RFC 5246 §7.4.4",
        client_auth::certificate_requested,
    ),
    Rule {
        cause: RuleCause::OfServerLeg,
        source: "RFC 8446 §6.2, RFC 9293 §3.10.7, of the interceptor as a client",
        holds: server_leg::failed_first,
    },
    rule(
        Cause::ServerCertInvalid,
        "measured: sslsplit hides an origin's outdated certificate, and clients refuse its own",
        server_leg::certificate,
    ),
    rule(
        Cause::InjectedReset,
        "Weaver, Sommer, Paxson, NDSS 2009; RFC 5961",
        resets::injected,
    ),
    rule(
        Cause::EndpointReset,
        "RFC 9293 §3.10.7",
        resets::of_endpoint,
    ),
    rule(
        Cause::InjectedReset,
        "RFC 792, RFC 4443 §3.1; nftables and iptables: reject",
        unreachable::rejected_on_the_way,
    ),
    rule(
        Cause::EndpointReset,
        "RFC 1122 §3.2.2.1",
        unreachable::rejected_by_host,
    ),
    rule(Cause::Abandoned, "RFC 1812 §5.2.7.1", unreachable::no_way),
];
