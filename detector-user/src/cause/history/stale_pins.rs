//! Stale pins: a client refuses the server's own certificate where it took an earlier one of another key or
//! issuer. Nobody intercepts, and excluding the destination changes nothing.
//!
//! Only certificates in the clear show it, up to TLS 1.2.

use std::borrow::Cow;
use std::sync::Arc;

use hashlink::LruCache;

use crate::cause::hash::{self, hash};
use crate::cause::judge::subject::{Outcome, ShownCertificate, Subject};
use crate::cause::judge::{Judged, Judgement};
use crate::cause::registrable_domain::name_hashes;
use crate::verdict::{Cause, Evidence, Intercepted};

/// Certificates remembered: the last one that an app on a client took from a name, and the last one that any
/// took.
const CERTIFICATES_MAX: usize = 32_768;
/// Seconds after which a certificate that is still taken is written again.
const WRITTEN_AGAIN_S: u64 = 86_400;

/// Certificates that clients took from servers themselves.
pub(super) struct TakenCertificates {
    by_app: LruCache<u64, Taken>,
    by_name: LruCache<u64, (u64, ShownCertificate)>,
}

/// A certificate that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TakenLine {
    /// Client, app and name, as a hash.
    pub(super) subject: u64,
    /// Fingerprint of the server's key.
    pub(super) key: u64,
    /// Its issuer, as a hash.
    pub(super) issuer: u64,
    /// Time, seconds since the UNIX epoch.
    pub(super) time_s: u64,
}

struct Taken {
    line: TakenLine,
    /// The issuer's name, if it was seen since the start.
    issuer: Option<Arc<str>>,
    written_s: u64,
}

impl Default for TakenCertificates {
    fn default() -> Self {
        Self {
            by_app: LruCache::new(CERTIFICATES_MAX),
            by_name: LruCache::new(CERTIFICATES_MAX),
        }
    }
}

impl TakenCertificates {
    /// Restores a certificate from before a restart.
    pub(super) fn restore(&mut self, line: TakenLine) {
        let taken = Taken {
            line,
            issuer: None,
            written_s: line.time_s,
        };
        self.by_app.insert(line.subject, taken);
    }

    /// Records a connection, and completes its verdict if it is a refusal by a stale pin. Returns what is worth
    /// keeping.
    pub(super) fn record(&mut self, judged: &mut Judged) -> Option<TakenLine> {
        let subject = &judged.subject;
        let (Some(app), Some(shown)) = (subject.app, &subject.certificate) else {
            return None;
        };
        let status = subject.interception.status;
        let is_shown = match subject.outcome {
            Outcome::Accepted => status != Intercepted::Yes,
            Outcome::Refused { .. } => status == Intercepted::No,
            Outcome::Nothing => false,
        };
        if !is_shown {
            return None;
        }
        let name = name_hashes(&in_lower_case(&subject.name)).host;
        let key = hash(&(subject.client, app, name));
        let app = hash::key(&(subject.client, app));
        match subject.outcome {
            Outcome::Accepted if status != Intercepted::Yes => {
                self.by_name.insert(name, (app, shown.clone()));
                self.take(key, shown, subject)
            }
            Outcome::Refused { .. } if status == Intercepted::No => {
                let evidence = self.stale(key, name, app, shown);
                if let Judgement::Failed(verdict) = &mut judged.judgement
                    && let Some(evidence) = evidence
                    && verdict.cause == Cause::CertificateRejected
                {
                    let name = verdict.server_name().unwrap_or("this server").to_owned();
                    verdict.evidence.push(evidence);
                    verdict.advice = Some(format!(
                        "update the pin of this app, or its trust store: the certificate of {name} has changed, and \
                         nobody intercepts it; an exclusion from decryption does not help"
                    ));
                }
                None
            }
            _ => None,
        }
    }

    fn take(&mut self, key: u64, shown: &ShownCertificate, subject: &Subject) -> Option<TakenLine> {
        let line = TakenLine {
            subject: key,
            key: shown.key,
            issuer: hash(&*shown.issuer),
            time_s: subject.time_ns / 1_000_000_000,
        };
        let known = self.by_app.get(&key);
        let is_known = known.is_some_and(|it| {
            (it.line.key, it.line.issuer) == (line.key, line.issuer)
                && line.time_s.saturating_sub(it.written_s) < WRITTEN_AGAIN_S
        });
        let written_s = known.filter(|_| is_known).map(|it| it.written_s);
        let taken = Taken {
            line,
            issuer: Some(Arc::clone(&shown.issuer)),
            written_s: written_s.unwrap_or(line.time_s),
        };
        self.by_app.insert(key, taken);
        (!is_known).then_some(line)
    }

    /// Returns the evidence that a refused certificate is not the one that the app took.
    fn stale(
        &mut self,
        key: u64,
        name: u64,
        app: u64,
        shown: &ShownCertificate,
    ) -> Option<Evidence> {
        let taken = self.by_app.get(&key)?;
        let new_issuer = taken.line.issuer != hash(&*shown.issuer);
        let change = match (taken.line.key != shown.key, new_issuer) {
            (false, false) => return None,
            (true, false) => "its key is another since then".to_owned(),
            (is_new_key, true) => {
                let before = taken.issuer.as_deref();
                let before = before.map_or_else(String::new, |it| format!(", not {it}"));
                let key = if is_new_key {
                    ", and its key another"
                } else {
                    ""
                };
                format!("its issuer is {} since then{before}{key}", shown.issuer)
            }
        };
        let time_s = i64::try_from(taken.line.time_s).unwrap_or(i64::MAX);
        let time = jiff::Timestamp::from_second(time_s).unwrap_or_default();
        let others = self.by_name.get(&name);
        let others = others.is_some_and(|(by, it)| *by != app && it == shown);
        let others = if others { "; another app takes it" } else { "" };
        Some(Evidence {
            name: "stale-pin".to_owned(),
            detail: format!(
                "this app on this client took the server's certificate at {time:.0}: {change}{others}"
            ),
            weight: 0.0,
        })
    }
}

fn in_lower_case(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::history::tests::judged;
    use crate::verdict::Verdict;
    use crate::verdict::tests::pinning;

    const NAME: &str = "api.example.com";

    fn connection(client: u8, outcome: Outcome, issuer: &str, key: u64) -> Judged {
        let mut judged = judged(client, NAME, outcome);
        judged.subject.interception.status = Intercepted::No;
        judged.subject.certificate = Some(ShownCertificate {
            key,
            issuer: issuer.into(),
        });
        if outcome != Outcome::Accepted {
            let mut verdict = pinning();
            verdict.cause = Cause::CertificateRejected;
            verdict.evidence.clear();
            judged.judgement = Judgement::Failed(Box::new(verdict));
        }
        judged
    }

    const REFUSED: Outcome = Outcome::Refused { probability: 0.9 };

    fn refusal(taken: &mut TakenCertificates, mut refusal: Judged) -> Verdict {
        taken.record(&mut refusal);
        match refusal.judgement {
            Judgement::Failed(verdict) => *verdict,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refusal_after_the_key_or_issuer_changed_is_of_a_stale_pin() {
        for (issuer, key, change) in [
            ("CN=Old", 2, "its key is another since then"),
            ("CN=New", 1, "its issuer is CN=New since then, not CN=Old"),
            (
                "CN=New",
                2,
                "its issuer is CN=New since then, not CN=Old, and its key another",
            ),
        ] {
            let mut taken = TakenCertificates::default();
            taken.record(&mut connection(1, Outcome::Accepted, "CN=Old", 1));
            let verdict = refusal(&mut taken, connection(1, REFUSED, issuer, key));
            let [evidence] = verdict.evidence.as_slice() else {
                panic!("{verdict:?}");
            };
            assert_eq!(evidence.name, "stale-pin");
            let detail = format!(
                "this app on this client took the server's certificate at 2027-01-15T08:00:00Z: {change}"
            );
            assert_eq!(evidence.detail, detail);
            assert!(verdict.advice.unwrap().starts_with("update the pin"));
            // Another client's app takes it.
            taken.record(&mut connection(2, Outcome::Accepted, issuer, key));
            let again = refusal(&mut taken, connection(1, REFUSED, issuer, key));
            assert!(again.evidence[0].detail.ends_with("; another app takes it"));
        }
    }

    #[test]
    fn the_same_certificate_an_interceptors_and_another_clients_tell_nothing() {
        let mut taken = TakenCertificates::default();
        taken.record(&mut connection(1, Outcome::Accepted, "CN=Old", 1));
        let same = refusal(&mut taken, connection(1, REFUSED, "CN=Old", 1));
        assert_eq!(same.evidence, []);
        let other = refusal(&mut taken, connection(2, REFUSED, "CN=New", 2));
        assert_eq!(other.evidence, []);
        for status in [Intercepted::Yes, Intercepted::Unknown] {
            let mut intercepted = connection(1, REFUSED, "CN=New", 2);
            intercepted.subject.interception.status = status;
            assert_eq!(refusal(&mut taken, intercepted).evidence, []);
        }
    }

    /// An app that takes the interceptor's certificate has taken none of the server's.
    #[test]
    fn only_the_servers_own_certificates_are_remembered() {
        let mut taken = TakenCertificates::default();
        let mut intercepted = connection(1, Outcome::Accepted, "CN=Inspection CA", 9);
        intercepted.subject.interception.status = Intercepted::Yes;
        assert_eq!(taken.record(&mut intercepted), None);
        let refused = refusal(&mut taken, connection(1, REFUSED, "CN=Old", 1));
        assert_eq!(refused.evidence, []);
    }

    #[test]
    fn a_name_is_the_same_in_any_case_and_another_cause_is_left_alone() {
        let mut taken = TakenCertificates::default();
        let mut upper = connection(1, Outcome::Accepted, "CN=Old", 1);
        upper.subject.name = NAME.to_ascii_uppercase().into();
        taken.record(&mut upper);
        // Another app that took the old certificate says nothing about the new one.
        taken.record(&mut connection(2, Outcome::Accepted, "CN=Old", 1));
        let refused = refusal(&mut taken, connection(1, REFUSED, "CN=New", 1));
        assert!(refused.evidence[0].detail.ends_with("not CN=Old"));
        let mut other = connection(1, REFUSED, "CN=New", 1);
        if let Judgement::Failed(verdict) = &mut other.judgement {
            verdict.cause = Cause::ClientAuth;
        }
        assert_eq!(refusal(&mut taken, other).evidence, []);
    }

    #[test]
    fn a_certificate_that_is_still_taken_is_written_again_after_a_day() {
        let mut taken = TakenCertificates::default();
        let first = taken.record(&mut connection(1, Outcome::Accepted, "CN=Old", 1));
        let mut later = connection(1, Outcome::Accepted, "CN=Old", 1);
        later.subject.time_ns += WRITTEN_AGAIN_S * 1_000_000_000;
        let again = taken.record(&mut later);
        assert!(first.is_some() && again.is_some());
    }

    #[test]
    fn a_restart_forgets_no_certificate() {
        let mut taken = TakenCertificates::default();
        let line = taken.record(&mut connection(1, Outcome::Accepted, "CN=Old", 1));
        let again = taken.record(&mut connection(1, Outcome::Accepted, "CN=Old", 1));
        assert_eq!(again, None, "written once a day");
        let mut next = TakenCertificates::default();
        next.restore(line.unwrap());
        let verdict = refusal(&mut next, connection(1, REFUSED, "CN=New", 1));
        assert!(
            verdict.evidence[0]
                .detail
                .ends_with("its issuer is CN=New since then")
        );
    }
}
