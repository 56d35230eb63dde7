//! ServerHellos of TLS 1.3, where the certificate is encrypted. One is an interceptor's if it was seen
//! with intercepted names, if servers in many networks all send it, or if it answers from no distance
//! in the name of servers elsewhere.

use std::net::IpAddr;

use hashlink::LruCache;

use super::mark::REMEMBERED;
use super::mark::{Mark, Marks, link, network, place, server_name};
use super::small_set::SmallSet;
use crate::cause::hash::key;
use crate::cause::registrable_domain::domain_hash;
use crate::flow::timeline::Timeline;
use crate::flow::tls::app::app;

/// Names known to be intercepted that a fingerprint must have been seen with.
const NAMES_OF_A_FINGERPRINT: usize = 2;
/// Connections at a place before all servers looking the same says something.
const UNIFORM_CONNECTIONS: u32 = 30;
/// Networks, and names, of those connections.
const UNIFORM_NETWORKS: usize = 6;
/// Unrelated names that are answered without a router between, before that says something.
const UNROUTED_NAMES: usize = 3;
/// Initial TTLs of operating systems: Linux and most others, Windows, network devices.
const INITIAL_TTLS: [u8; 3] = [64, 128, 255];
/// Places counted.
const PLACES: usize = 64;

/// Fingerprints of ServerHellos, and the connections they were counted among.
pub(super) struct Fingerprints {
    fingerprints: LruCache<Mark, Fingerprint>,
    /// Connections by place.
    places: LruCache<u64, u32>,
    /// By place and app: the fingerprint of all answers without a router between; `None` if they
    /// are not alike.
    unrouted: LruCache<u64, Option<Mark>>,
}

#[derive(Default)]
struct Fingerprint {
    connections: u32,
    intercepted_names: SmallSet,
    direct: bool,
    unrouted_domains: SmallSet,
    destinations: SmallSet,
    domains: SmallSet,
    networks: SmallSet,
    recognized: bool,
    /// Recognized before a restart: the counts that showed it are gone.
    remembered: bool,
}

/// Evidence besides the fingerprint of a connection that is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// It was intercepted, by more than a likeness.
    Intercepted,
    /// It was not intercepted.
    Direct,
    /// Neither.
    Nothing,
}

/// The outcome of recording a connection whose fingerprint is an interceptor's.
#[derive(Debug, Default)]
pub(super) struct Recognized {
    /// The fingerprint, unless it was recognized before.
    pub(super) fingerprint: Option<Mark>,
    /// Destinations seen with it since.
    pub(super) destinations: Vec<Mark>,
}

impl Default for Fingerprints {
    fn default() -> Self {
        Self {
            fingerprints: LruCache::new(REMEMBERED),
            places: LruCache::new(PLACES),
            unrouted: LruCache::new(REMEMBERED),
        }
    }
}

impl Fingerprints {
    /// Whether a fingerprint is an interceptor's.
    pub(super) fn is_recognized(&self, mark: Mark) -> bool {
        self.fingerprints
            .peek(&mark)
            .is_some_and(|known| known.recognized)
    }

    /// Restores a fingerprint that was recognized before a restart. It stays an interceptor's until a
    /// connection that was not intercepted shows it.
    pub(super) fn remember(&mut self, mark: Mark) {
        let known = self
            .fingerprints
            .entry(mark)
            .or_insert_with(Fingerprint::default);
        known.remembered = true;
        known.recognized = true;
    }

    /// Records a connection that has a fingerprint and a server name.
    pub(super) fn record(
        &mut self,
        [_, destination, fingerprint]: Marks,
        leg: &Timeline,
        shown: Shown,
    ) -> Recognized {
        let (Some(mark), Some(name)) = (fingerprint, server_name(leg)) else {
            return Recognized::default();
        };
        let domain = domain_hash(name);
        let here = self.places.entry(place(leg)).or_insert_with(|| 0);
        *here = here.saturating_add(1);
        let here = *here;
        let unrouted = self.is_unrouted_alike(mark, leg);
        let known = self
            .fingerprints
            .entry(mark)
            .or_insert_with(Fingerprint::default);
        if unrouted {
            known.unrouted_domains.insert(domain);
        }
        known.record(destination, domain, leg.server.ip(), shown);
        let before = known.recognized;
        known.recognized = known.is_an_interceptors(here, unrouted);
        if !known.recognized {
            return Recognized::default();
        }
        Recognized {
            fingerprint: (!before).then_some(mark),
            destinations: known.destinations.drain().map(Mark).collect(),
        }
    }

    /// Records a connection that no router forwarded. Returns true if all such connections of this app
    /// at this place were answered like this one.
    fn is_unrouted_alike(&mut self, mark: Mark, leg: &Timeline) -> bool {
        if !is_unrouted(leg) {
            return false;
        }
        let Some(app) = leg.handshake.client_hello.as_ref().and_then(app) else {
            return false;
        };
        let always = self
            .unrouted
            .entry(key(&(place(leg), app)))
            .or_insert_with(|| Some(mark));
        if *always != Some(mark) {
            *always = None;
        }
        always.is_some()
    }

    /// Returns the number of connections recorded at the place of `leg`.
    #[cfg(test)]
    pub(super) fn count_at(&self, leg: &Timeline) -> u32 {
        self.places.peek(&place(leg)).copied().unwrap_or(0)
    }
}

impl Fingerprint {
    fn record(&mut self, destination: Option<Mark>, domain: u64, server: IpAddr, shown: Shown) {
        self.connections = self.connections.saturating_add(1);
        if let Some(Mark(destination)) = destination {
            self.destinations.insert(destination);
        }
        self.domains.insert(domain);
        self.networks.insert(network(server));
        match shown {
            Shown::Intercepted => self.intercepted_names.insert(domain),
            Shown::Direct => self.direct = true,
            Shown::Nothing => {}
        }
    }

    /// Whether it is an interceptor's, at a place that has seen `here` connections.
    fn is_an_interceptors(&self, here: u32, unrouted: bool) -> bool {
        let by_names = self.intercepted_names.len() >= NAMES_OF_A_FINGERPRINT;
        // Servers in many networks do not all lie equally far away and choose alike.
        let uniform = here >= UNIFORM_CONNECTIONS
            && self.connections >= here - here / 20
            && self.networks.len() >= UNIFORM_NETWORKS
            && self.domains.len() >= UNIFORM_NETWORKS;
        let gateway_answers = unrouted && self.unrouted_domains.len() >= UNROUTED_NAMES;
        !self.direct && (self.remembered || by_names || uniform || gateway_answers)
    }
}

/// Whether no router stood between client and server, though their networks differ: then the answer
/// comes from where a router should stand, not from the server that was asked.
fn is_unrouted(leg: &Timeline) -> bool {
    let near = leg
        .sides
        .iter()
        .all(|side| side.ttl_min == side.ttl_max && INITIAL_TTLS.contains(&side.ttl_min));
    near && link(leg.client.ip()) != link(leg.server.ip())
}
