//! Servers and interceptors that close upon some ClientHellos without a word, and answer others for the
//! same name: the offers that they do not answer differ.
//!
//! Alone such a connection is `abandoned` or `endpoint-reset` by the server. It becomes
//! `unsupported-parameters` once the same client was answered with another offer, or several were not
//! answered with this one.

use std::net::IpAddr;
use std::sync::Arc;

use hashlink::LruCache;

use crate::cause::hash;
use crate::cause::judge::offer::Offer;
use crate::cause::judge::{Judged, Judgement};
use crate::flow::tls::names::{self, cipher_suite};
use crate::verdict::{Cause, Evidence, Verdict};

/// Servers, each with a name, that are remembered.
const SERVERS_MAX: usize = 4096;
/// Offers remembered of one: answered ones, and others.
const OFFERS_MAX: usize = 4;
/// Log-odds of the difference.
const DIFFERS: f64 = 1.5;

/// Offers by server and name.
pub(super) struct Closings {
    servers: LruCache<u64, Server>,
}

#[derive(Default)]
struct Server {
    answered: Vec<(IpAddr, Offer)>,
    closed: Vec<Closed>,
}

/// A connection that the server closed without a word.
struct Closed {
    client: IpAddr,
    offer: Offer,
    /// Its verdict, until it is revised.
    given: Option<Box<Verdict>>,
}

impl Default for Closings {
    fn default() -> Self {
        Self {
            servers: LruCache::new(SERVERS_MAX),
        }
    }
}

impl Closings {
    /// Records a connection, whose verdict it changes if its offer is not supported. Returns earlier
    /// verdicts that it revises.
    pub(super) fn record(&mut self, judged: &mut Judged) -> Vec<Arc<Verdict>> {
        let Some(offer) = judged.offer.take() else {
            return Vec::new();
        };
        let subject = &judged.subject;
        let client = subject.client;
        let key = hash::key(&(subject.server, &subject.name));
        if offer.is_answered() {
            // Most servers answer all.
            let server = self.servers.entry(key).or_insert_with(Server::default);
            let all_answered = server.closed.is_empty();
            let mut answered = server.answered.iter();
            let known =
                answered.any(|(it, like)| (all_answered || *it == client) && like.is_like(&offer));
            if !known {
                push(&mut server.answered, (client, offer));
                return server.revise();
            }
            return Vec::new();
        }
        let Judgement::Failed(verdict) = &mut judged.judgement else {
            return Vec::new();
        };
        if !matches!(verdict.cause, Cause::Abandoned | Cause::EndpointReset) {
            return Vec::new();
        }
        let server = self.servers.entry(key).or_insert_with(Server::default);
        let given = Some(verdict.clone());
        let closed = Closed {
            client,
            offer,
            given,
        };
        push(&mut server.closed, closed);
        let mut revised = server.revise();
        // The last is its own, which was not given yet.
        let own = revised.pop_if(|it| it.supersedes.as_ref() == Some(&verdict.id));
        if let Some(own) = own {
            **verdict = Arc::unwrap_or_clone(own);
            verdict.revises = None;
            verdict.set_revision(0);
        }
        revised
    }
}

impl Server {
    /// Returns the verdicts on connections whose offer turned out not to be supported.
    fn revise(&mut self) -> Vec<Arc<Verdict>> {
        let told: Vec<_> = self.closed.iter().map(|it| self.unsupported(it)).collect();
        let closed = self.closed.iter_mut().zip(told);
        closed
            .filter_map(|(closed, told)| {
                let (differences, confidence) = told?;
                let verdict = closed.given.take()?;
                Some(Arc::new(unsupported(*verdict, differences, confidence)))
            })
            .collect()
    }

    /// Returns how the offer of a closed connection differs from all that are answered, and how sure it
    /// is that this is the reason.
    fn unsupported(&self, closed: &Closed) -> Option<(String, f64)> {
        let answered: Vec<&Offer> = self.answered.iter().map(|(_, offer)| offer).collect();
        let differences = differences(&closed.offer, &answered)?;
        let same_client = self.answered.iter().any(|(it, _)| *it == closed.client);
        let alike = self
            .closed
            .iter()
            .filter(|it| it.offer.is_like(&closed.offer));
        match (same_client, alike.count()) {
            (true, 1) => Some((differences, 0.7)),
            (true, _) => Some((differences, 0.8)),
            (false, 1) => None,
            (false, _) => Some((differences, 0.6)),
        }
    }
}

/// Returns the difference between an offer and all of those that were answered; `None` if one of them has
/// none that could matter.
fn differences(offer: &Offer, answered: &[&Offer]) -> Option<String> {
    let version = |version| names::version(version).unwrap_or("another");
    let first = answered.first()?;
    let like: Vec<_> = answered
        .iter()
        .filter(|it| it.version() == offer.version())
        .collect();
    let Some(chosen) = like.first() else {
        return Some(format!(
            "its highest version is TLS {}, and that of hellos which are answered TLS {}",
            version(offer.version()),
            version(first.version())
        ));
    };
    let suite = |it: &Offer| it.suite.is_some_and(|it| !offer.has_suite(it));
    if like.iter().all(|it| suite(it)) {
        let name = chosen.suite.and_then(cipher_suite).unwrap_or("another");
        return Some(format!(
            "it does not offer the cipher suite chosen for others, {name}"
        ));
    }
    let group = |it: &Offer| {
        it.group
            .is_some_and(|it| !offer.client.groups.contains(&it))
    };
    if like.iter().all(|it| group(it)) {
        let group = chosen.group.unwrap_or_default();
        return Some(format!(
            "it does not offer the group chosen for others, {group:#06x}"
        ));
    }
    let alpn = |it: &Offer| {
        let (offered, answered) = (&offer.client.alpn, &it.client.alpn);
        let offers = !offered.is_empty() && !answered.is_empty();
        offers && !answered.iter().any(|it| offered.contains(it))
    };
    like.iter().all(|it| alpn(it)).then(|| {
        format!(
            "its ALPN is {}, that of hellos which are answered {}",
            offer.client.alpn.join(", "),
            chosen.client.alpn.join(", ")
        )
    })
}

fn unsupported(mut verdict: Verdict, differences: String, confidence: f64) -> Verdict {
    let name = verdict.sni.clone();
    let name = name.unwrap_or_else(|| verdict.server.ip.to_string());
    verdict.revises = Some(format!("{} {}", verdict.time, verdict.community_id));
    verdict.set_revision(verdict.revision + 1);
    let cause = Cause::UnsupportedParameters;
    verdict.cause = cause;
    verdict.confidence = confidence;
    verdict.set_pan_os(|_| false);
    let intercepted = verdict.intercepted;
    verdict.advice = cause.advice(&name, |when| when.is_of(intercepted));
    for evidence in &mut verdict.evidence {
        evidence.weight = -evidence.weight.abs();
    }
    let differs = Evidence {
        name: "hello-differs".to_owned(),
        detail: format!(
            "the server closes upon this ClientHello and answers others: {differences}"
        ),
        weight: DIFFERS,
    };
    verdict.evidence.insert(0, differs);
    verdict
}

fn push<T>(latest: &mut Vec<T>, item: T) {
    if latest.len() == OFFERS_MAX {
        latest.remove(0);
    }
    latest.push(item);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::history::tests::judged;
    use crate::cause::judge::subject::Outcome;
    use crate::flow::tls::offers::Offers;
    use crate::verdict::tests::pinning;
    use rstest::rstest;

    fn offer(version: u16) -> Offer {
        offer_with(version, |_| {})
    }

    fn offer_with(version: u16, change: impl FnOnce(&mut Offers)) -> Offer {
        let mut client = Offers::default();
        client.supported_versions = vec![version];
        client.cipher_suites = vec![0x1301, 0xc02f];
        client.groups = vec![29, 23];
        client.alpn = vec!["h2".to_owned()];
        change(&mut client);
        Offer {
            client: client.into(),
            suite: None,
            group: None,
        }
    }

    fn answered(client: u8, offer: Offer) -> Judged {
        let answered = Offer {
            suite: Some(0xc02f),
            group: Some(29),
            ..offer
        };
        Judged {
            judgement: Judgement::Established,
            offer: Some(answered),
            ..judged(client, "a.test", Outcome::Accepted)
        }
    }

    /// Its number makes it another connection.
    fn closed(client: u8, number: u16, offer: Offer) -> Judged {
        let mut verdict = pinning();
        verdict.cause = Cause::Abandoned;
        verdict.client.port = number;
        verdict.community_id = format!("1:{number}");
        verdict.set_revision(0);
        Judged {
            judgement: Judgement::Failed(Box::new(verdict)),
            offer: Some(offer),
            ..judged(client, "a.test", Outcome::Nothing)
        }
    }

    /// Returns each connection's own cause, and the number of earlier verdicts that it revises.
    fn recorded(all: Vec<Judged>) -> Vec<(Cause, usize)> {
        let mut closings = Closings::default();
        let record = |mut judged: Judged| {
            let revised = closings.record(&mut judged).len();
            match judged.judgement {
                Judgement::Failed(verdict) => {
                    assert_eq!(verdict.revises, None);
                    (verdict.cause, revised)
                }
                _ => (Cause::Established, revised),
            }
        };
        all.into_iter().map(record).collect()
    }

    use Cause::{Abandoned, Established, UnsupportedParameters};

    #[test]
    fn a_client_that_is_answered_with_another_version_shows_the_reason() {
        let told = recorded(vec![
            answered(1, offer(0x0304)),
            closed(1, 1, offer(0x0302)),
        ]);
        assert_eq!(told, [(Established, 0), (UnsupportedParameters, 0)]);
        let later = recorded(vec![
            closed(1, 1, offer(0x0302)),
            answered(1, offer(0x0304)),
        ]);
        assert_eq!(later, [(Abandoned, 0), (Established, 1)]);
    }

    #[test]
    fn of_other_clients_it_takes_two() {
        let told = recorded(vec![
            answered(1, offer(0x0304)),
            closed(2, 1, offer(0x0302)),
            closed(3, 2, offer(0x0302)),
            closed(3, 3, offer(0x0302)),
        ]);
        let own = (UnsupportedParameters, 0);
        assert_eq!(
            told,
            [
                (Established, 0),
                (Abandoned, 0),
                (UnsupportedParameters, 1),
                own
            ]
        );
    }

    #[rstest]
    #[case::the_same(offer(0x0303), Abandoned)]
    #[case::suites(offer_with(0x0303, |it| it.cipher_suites = vec![0x002f]), UnsupportedParameters)]
    #[case::groups(offer_with(0x0303, |it| it.groups = vec![24]), UnsupportedParameters)]
    #[case::alpn(offer_with(0x0303, |it| it.alpn = vec!["acme".into()]), UnsupportedParameters)]
    #[case::no_alpn(offer_with(0x0303, |it| it.alpn.clear()), Abandoned)]
    fn each_parameter_counts(#[case] other: Offer, #[case] expected: Cause) {
        let told = recorded(vec![answered(1, offer(0x0303)), closed(1, 1, other)]);
        assert_eq!(told[1].0, expected);
    }
}
