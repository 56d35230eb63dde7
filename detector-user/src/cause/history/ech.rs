//! Refused ECH offers (RFC 9849), told from GREASE by the client's next connections.
//!
//! A client whose ECH was refused finishes the handshake with the public name, sends ech_required,
//! encrypted, and comes again: with the configuration that the server sent, or without ECH for the name
//! that it had hidden. GREASE (RFC 9849 §6.2) is never refused, and has another random `config_id` each
//! time. Where neither shows, it stays open.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hashlink::LruCache;

use super::Reclassified;
use crate::cause::hash::key;
use crate::cause::judge::Judged;
use crate::cause::judge::subject::{Outcome, Subject};
use crate::flow::tls::client_hello::EchOffer;
use crate::verdict::{Evidence, Verdict};

/// Clients remembered, each with its latest connections.
const CLIENTS_MAX: usize = 16_384;
/// Connections remembered of a client, of each kind.
const LATEST_MAX: usize = 8;
/// Clients come again at once.
const AGAIN_NS: u64 = 2_000_000_000;
/// Offers further apart may be of different configurations, which servers rotate.
const ROTATED_NS: u64 = 300_000_000_000;
/// So many offers without a repeated `config_id` are GREASE.
const GREASE_MIN: usize = 3;
/// Log-odds that the next connection adds, and the confidence then.
const CAME_AGAIN: f64 = 1.5;
const CONFIDENCE: f64 = 0.9;

/// Offers of ECH by client.
pub(super) struct EchOffers {
    clients: LruCache<IpAddr, Client>,
}

#[derive(Default)]
struct Client {
    /// Connections that offered ECH.
    offers: VecDeque<Attempt>,
    /// Connections that worked.
    worked: VecDeque<Attempt>,
    /// Connections that may have ended for a refused offer.
    refused: VecDeque<(Attempt, Verdict)>,
}

/// One connection of a client.
#[derive(Clone, Copy)]
struct Attempt {
    /// App, as a hash.
    app: u64,
    /// Server name, as a hash; the public one under ECH.
    name: u64,
    server: SocketAddr,
    offer: Option<EchOffer>,
    began_ns: u64,
    ended_ns: u64,
}

impl Default for EchOffers {
    fn default() -> Self {
        Self {
            clients: LruCache::new(CLIENTS_MAX),
        }
    }
}

impl EchOffers {
    /// Records a connection. Returns the verdicts on refused offers that it shows, its own or earlier
    /// ones; a judgement whose offer was GREASE becomes the one that it has then.
    pub(super) fn record(
        &mut self,
        judged: &mut Judged,
        reclassified: &mut Reclassified,
    ) -> Vec<Arc<Verdict>> {
        let refused = judged.ech_refused.take();
        let subject = &judged.subject;
        let worked = subject.outcome == Outcome::Accepted;
        if subject.ech.is_none() && !(worked && self.clients.contains_key(&subject.client)) {
            return Vec::new();
        }
        let attempt = Attempt::of(subject);
        let client = self.clients.entry(judged.subject.client);
        let client = client.or_insert_with(Client::default);
        let mut verdicts = Vec::new();
        if worked {
            verdicts.extend(client.take_refused_before(&attempt));
            push(&mut client.worked, attempt);
        }
        let known = client.offers_like(&attempt);
        if attempt.offer.is_some() {
            push(&mut client.offers, attempt);
        }
        if let Some(refused) = refused {
            let again = client.worked.iter().find_map(|it| attempt.again(it));
            match (again, known) {
                (Some(again), _) => verdicts.push(told(refused.verdict, again)),
                (None, Offers::Repeated) => {
                    verdicts.extend(client.take_same(&attempt));
                    verdicts.push(told(refused.verdict, REPEATED));
                }
                (None, Offers::Grease) => {
                    reclassified.record(&judged.judgement, &refused.if_grease.judgement);
                    *judged = refused.if_grease;
                }
                (None, Offers::Unknown) => {
                    push(&mut client.refused, (attempt, refused.verdict));
                }
            }
        }
        verdicts
    }
}

/// Relation of an offer to earlier ones.
#[derive(Clone, Copy)]
enum Offers {
    /// The same configuration was offered before: it is real.
    Repeated,
    /// All are different.
    Grease,
    Unknown,
}

const RETRIED: &str =
    "the client came again with another ECH configuration, which the server had sent";
const WITHOUT: &str = "the client came again without ECH, for another name on this server";
const REPEATED: &str =
    "the client offers one ECH configuration again and again, so it is no GREASE";

impl Client {
    fn offers_like(&self, attempt: &Attempt) -> Offers {
        let Some(offer) = attempt.offer else {
            return Offers::Unknown;
        };
        let recent = self.offers.iter().filter(|it| {
            it.app == attempt.app && attempt.began_ns.abs_diff(it.began_ns) <= ROTATED_NS
        });
        let key = |it: &Attempt| (it.name, it.offer.map(|offer| offer.config_id));
        let own = (attempt.name, Some(offer.config_id));
        let mut keys: Vec<_> = recent.map(key).collect();
        if keys.contains(&own) {
            // A server that accepts it refuses it from nobody.
            let accepted = self.worked.iter().any(|it| key(it) == own);
            return if accepted {
                Offers::Unknown
            } else {
                Offers::Repeated
            };
        }
        keys.push(own);
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        if keys.len() == all && all >= GREASE_MIN {
            Offers::Grease
        } else {
            Offers::Unknown
        }
    }

    /// Removes the attempts that `next` is another try of.
    fn take_refused_before(&mut self, next: &Attempt) -> Vec<Arc<Verdict>> {
        let mut verdicts = Vec::new();
        self.refused.retain(|(attempt, verdict)| {
            let again = attempt.again(next);
            verdicts.extend(again.map(|again| told(verdict.clone(), again)));
            again.is_none()
        });
        verdicts
    }

    /// Removes earlier attempts with the same configuration.
    fn take_same(&mut self, like: &Attempt) -> Vec<Arc<Verdict>> {
        let mut verdicts = Vec::new();
        self.refused.retain(|(attempt, verdict)| {
            let same = attempt.name == like.name && attempt.offer == like.offer;
            verdicts.extend(same.then(|| told(verdict.clone(), REPEATED)));
            !same
        });
        verdicts
    }
}

impl Attempt {
    fn of(subject: &Subject) -> Self {
        Self {
            app: key(&subject.app),
            name: key(&subject.name),
            server: subject.server,
            offer: subject.ech,
            began_ns: subject.time_ns,
            ended_ns: subject.ended_ns,
        }
    }

    /// Returns how `next`, which worked, shows that this one's offer was refused.
    fn again(&self, next: &Self) -> Option<&'static str> {
        let offer = self.offer?;
        let at_once =
            (self.ended_ns..=self.ended_ns.saturating_add(AGAIN_NS)).contains(&next.began_ns);
        if !at_once {
            return None;
        }
        let same_name = self.name == next.name;
        match next.offer {
            // The same inner hello under another key; GREASE is of random length.
            Some(other) if same_name => (other.config_id != offer.config_id
                && other.payload_len == offer.payload_len)
                .then_some(RETRIED),
            None => (!same_name && self.server == next.server).then_some(WITHOUT),
            Some(_) => None,
        }
    }
}

fn told(mut verdict: Verdict, again: &str) -> Arc<Verdict> {
    verdict.confidence = CONFIDENCE;
    let came_again = Evidence {
        name: "came-again".to_owned(),
        detail: again.to_owned(),
        weight: CAME_AGAIN,
    };
    verdict.evidence.insert(0, came_again);
    Arc::new(verdict)
}

fn push<T>(latest: &mut VecDeque<T>, item: T) {
    if latest.len() == LATEST_MAX {
        latest.pop_front();
    }
    latest.push_back(item);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::judge::EchRefused;
    use crate::verdict::Cause;
    use crate::verdict::tests::pinning;

    const MS: u64 = 1_000_000;

    fn judged(at_ms: u64, name: &str, config_id: Option<u8>, outcome: Outcome) -> Judged {
        let mut judged = crate::cause::history::tests::judged(2, name, outcome);
        judged.subject.ech = config_id.map(|config_id| EchOffer {
            config_id,
            payload_len: 190,
        });
        judged.subject.time_ns += at_ms * MS;
        judged.subject.ended_ns += at_ms * MS;
        judged
    }

    fn worked(at_ms: u64, name: &str, config_id: Option<u8>) -> Judged {
        judged(at_ms, name, config_id, Outcome::Accepted)
    }

    fn refused(at_ms: u64, name: &str, config_id: u8) -> Judged {
        let mut verdict = pinning();
        verdict.cause = Cause::EchRefused;
        let if_grease = judged(
            at_ms,
            name,
            Some(config_id),
            Outcome::Refused { probability: 0.6 },
        );
        Judged {
            ech_refused: Some(Box::new(EchRefused { verdict, if_grease })),
            ..judged(at_ms, name, Some(config_id), Outcome::Nothing)
        }
    }

    /// Returns the number of verdicts after each connection.
    fn told_of(all: Vec<Judged>) -> Vec<usize> {
        let mut offers = EchOffers::default();
        let all = all.into_iter();
        all.map(|mut judged| {
            offers
                .record(&mut judged, &mut Reclassified::default())
                .len()
        })
        .collect()
    }

    #[test]
    fn coming_again_shows_that_the_offer_was_refused() {
        let retried = vec![refused(0, "pub.test", 7), worked(10, "pub.test", Some(9))];
        assert_eq!(told_of(retried), [0, 1]);
        let without = vec![refused(0, "pub.test", 7), worked(10, "real.test", None)];
        assert_eq!(told_of(without), [0, 1]);
        // The first one ended later.
        let crossed = vec![worked(10, "real.test", None), refused(0, "pub.test", 7)];
        assert_eq!(told_of(crossed), [0, 0]);
        let after = vec![
            refused(0, "pub.test", 1),
            worked(30, "real.test", None),
            refused(20, "pub.test", 7),
        ];
        assert_eq!(told_of(after), [0, 1, 1]);
        let same = vec![refused(0, "pub.test", 7), refused(9000, "pub.test", 7)];
        assert_eq!(told_of(same), [0, 2]);
    }

    #[test]
    fn other_connections_leave_it_open() {
        let first = || refused(0, "pub.test", 7);
        assert_eq!(told_of(vec![first(), worked(10, "pub.test", None)]), [0, 0]);
        assert_eq!(
            told_of(vec![first(), worked(9000, "real.test", None)]),
            [0, 0]
        );
        assert_eq!(
            told_of(vec![first(), worked(10, "other.test", Some(9))]),
            [0, 0]
        );
        // Before it, or while it was under way.
        assert_eq!(told_of(vec![worked(0, "real.test", None), first()]), [0, 0]);
        // The server accepts this configuration.
        let accepted = vec![worked(0, "pub.test", Some(7)), refused(900, "pub.test", 7)];
        assert_eq!(told_of(accepted), [0, 0]);
        let mut shorter = worked(10, "pub.test", Some(9));
        shorter.subject.ech = Some(EchOffer {
            config_id: 9,
            payload_len: 222,
        });
        assert_eq!(told_of(vec![first(), shorter]), [0, 0]);
    }

    #[test]
    fn random_offers_are_grease() {
        let mut offers = EchOffers::default();
        for (at_ms, config_id) in [(0, 7), (3000, 200)] {
            let mut judged = refused(at_ms, "a.test", config_id);
            assert!(
                offers
                    .record(&mut judged, &mut Reclassified::default())
                    .is_empty()
            );
            assert_eq!(judged.subject.outcome, Outcome::Nothing);
        }
        let mut third = refused(6000, "b.test", 90);
        assert!(
            offers
                .record(&mut third, &mut Reclassified::default())
                .is_empty()
        );
        assert!(matches!(third.subject.outcome, Outcome::Refused { .. }));
    }
}
