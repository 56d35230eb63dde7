//! Whether a connection was intercepted, by evidence that grows with every connection seen.
//!
//! Known at once: what the operator says, two legs with different client randoms, an issuer that is
//! named or is a product's. Learned: a private CA that issues for unrelated names with one key; a
//! destination that was seen intercepted; a ServerHello and a distance that are an interceptor's:
//! those of names it was seen with, of servers in many networks, or of servers elsewhere that answer
//! from no distance at all.
//! What is learned late is told with the next connection, so that earlier verdicts can be revised.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use hashlink::LruCache;
use serde::{Deserialize, Serialize};

use crate::cause::knowledge::{InterceptedWhen, Knowledge};
use crate::flow::legs::{Connection, Passage};
use crate::flow::timeline::Timeline;
use crate::flow::tls::app::app;
use crate::flow::tls::certificate::Leaf;
use crate::flow::tls::names::TLS_1_3;
use crate::verdict::Intercepted;

/// Issuers, destinations and fingerprints remembered.
const REMEMBERED: usize = 4096;
/// Unrelated names that one key of a private CA must serve.
const NAMES_OF_ONE_KEY: usize = 3;
/// Names known to be intercepted that a fingerprint must have been seen with.
const NAMES_OF_A_FINGERPRINT: usize = 2;
/// Connections at a place, networks and names, before all servers looking the same says something.
const UNIFORM_CONNECTIONS: u32 = 30;
const UNIFORM_NETWORKS: usize = 6;
/// Unrelated names that are answered without a router between, before that says something.
const UNROUTED_NAMES: usize = 3;
/// TTLs that systems begin with: Linux and most others, Windows, network devices.
const INITIAL_TTLS: [u8; 3] = [64, 128, 255];
/// Entries of a set that is only counted.
const SET_MAX: usize = 8;

/// Common names and organizations that interception products give their CA unless told otherwise
/// (after the products' own documentation, and Durumeric et al., "The Security Impact of HTTPS
/// Interception", NDSS 2017).
const PRODUCTS: &[(&str, &str)] = &[
    ("mitmproxy", "mitmproxy"),
    ("portswigger ca", "Burp Suite"),
    ("charles proxy", "Charles"),
    ("do_not_trust_fiddlerroot", "Fiddler"),
    ("zscaler", "Zscaler"),
    ("fortigate ca", "FortiGate"),
    ("fortinet untrusted ca", "FortiGate"),
    ("fg_ca", "FortiGate"),
    ("netskope", "Netskope"),
    ("cisco umbrella", "Cisco Umbrella"),
    ("sophos ssl ca", "Sophos"),
    ("sophos_ca", "Sophos"),
    ("blue coat", "Blue Coat"),
    ("untangle", "Untangle"),
    ("securly", "Securly"),
    ("lightspeed", "Lightspeed"),
    ("goguardian", "GoGuardian"),
    ("kaspersky anti-virus personal root", "Kaspersky"),
    ("kaspersky web anti-virus", "Kaspersky"),
    ("avast! web/mail shield", "Avast"),
    ("avg web/mail shield", "AVG"),
    ("eset ssl filter ca", "ESET"),
    ("bitdefender personal ca", "Bitdefender"),
    ("adguard personal ca", "AdGuard"),
    ("proxyman ca", "Proxyman"),
    ("http toolkit ca", "HTTP Toolkit"),
    ("watchguard", "WatchGuard"),
    ("barracuda ssl", "Barracuda"),
    ("check point firewall", "Check Point"),
    ("forcepoint", "Forcepoint"),
    ("websense", "Forcepoint"),
];

/// Whether a connection was intercepted, and what shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Interception {
    /// Whether it was.
    pub status: Intercepted,
    /// What shows it: name and fact. `None` where nothing does.
    pub evidence: Option<(&'static str, String)>,
    /// What would show it once it is known to be an interceptor's.
    pub marks: Marks,
    /// Marks that were recognized with this connection: earlier ones that have them were intercepted.
    pub recognized: Vec<Mark>,
}

impl Interception {
    fn new(known: Option<(Intercepted, &'static str, String)>, marks: Marks) -> Self {
        let (status, evidence) = known
            .map_or((Intercepted::Unknown, None), |(status, name, detail)| {
                (status, Some((name, detail)))
            });
        Self { status, evidence, marks, recognized: Vec::new() }
    }
}

/// Something that connections through one interceptor have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark(u64);

#[cfg(test)]
impl Mark {
    pub(crate) const fn of_number(number: u64) -> Self {
        Self(number)
    }
}

/// The marks of one connection.
pub type Marks = [Option<Mark>; 3];

/// What was learned of interceptors.
pub struct Interceptors {
    issuers: LruCache<Mark, Issuer>,
    destinations: LruCache<Mark, Source>,
    fingerprints: LruCache<Mark, Fingerprint>,
    places: LruCache<u64, u32>,
    /// By place and app: how it was always answered without a router between, or `None` if not alike.
    unrouted: LruCache<u64, Option<Mark>>,
}

/// Where it is known from that a connection was intercepted. What is only inferred from a likeness
/// does not teach another likeness, or one error would feed the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The operator, two legs, or a certificate.
    Shown,
    /// A destination of which that was shown.
    Destination,
    /// Likeness.
    Likeness,
}

#[derive(Default)]
struct Issuer {
    keys: Vec<Key>,
    recognized: bool,
}

/// One public key, and the unrelated names of certificates that have it.
struct Key {
    fingerprint: u64,
    certificates: Vec<u64>,
    domains: Vec<u64>,
}

#[derive(Default)]
struct Fingerprint {
    connections: u32,
    intercepted_names: Vec<u64>,
    direct: bool,
    unrouted_domains: Vec<u64>,
    destinations: Vec<u64>,
    domains: Vec<u64>,
    networks: Vec<u64>,
    recognized: bool,
}

impl Default for Interceptors {
    fn default() -> Self {
        Self {
            issuers: LruCache::new(REMEMBERED),
            destinations: LruCache::new(REMEMBERED),
            fingerprints: LruCache::new(REMEMBERED),
            places: LruCache::new(64),
            unrouted: LruCache::new(REMEMBERED),
        }
    }
}

impl Interceptors {
    /// Takes a mark for an interceptor's that was recognized before a restart: an issuer, a
    /// destination or a fingerprint; marks of different kinds are never alike. A destination teaches
    /// nothing further until it is shown again.
    pub fn remember(&mut self, mark: Mark) {
        self.issuers
            .entry(mark)
            .or_insert_with(Issuer::default)
            .recognized = true;
        self.fingerprints
            .entry(mark)
            .or_insert_with(Fingerprint::default)
            .recognized = true;
        self.destinations.insert(mark, Source::Destination);
    }

    /// Returns what is known of a connection, and records it if all its legs are known now and were
    /// not before: a settled connection is judged twice, when it works and at its end.
    pub fn examine(&mut self, connection: &Connection, knowledge: &Knowledge) -> Interception {
        if connection.newly_complete {
            self.record(connection, knowledge)
        } else {
            self.look(connection, knowledge)
        }
    }

    /// Returns what is known of a connection.
    pub fn look(&self, connection: &Connection, knowledge: &Knowledge) -> Interception {
        let marks = marks(&connection.client_leg);
        let known = self
            .shown(connection, marks, knowledge)
            .or_else(|| self.by_likeness(marks));
        Interception::new(known, marks)
    }

    /// Records a connection, once, and returns what is then known of it and what it lets recognize.
    pub fn record(&mut self, connection: &Connection, knowledge: &Knowledge) -> Interception {
        let leg = &*connection.client_leg;
        let marks = marks(leg);
        let mut recognized = Vec::new();
        if let (Some(leaf), Some(mark)) = (leaf(leg), marks[0]) {
            recognized.extend(self.learn_issuer(mark, leaf, leg).then_some(mark));
        }
        let known = self.shown(connection, marks, knowledge);
        let source = self.source(known.is_some(), marks);
        let mut known = known.or_else(|| self.by_likeness(marks));
        if knowledge.intercepted == InterceptedWhen::Auto {
            let status = known.as_ref().map_or(Intercepted::Unknown, |(it, ..)| *it);
            recognized.extend(self.learn_destination(marks[1], status, source));
            recognized.extend(self.learn_fingerprint(marks, leg, status, source));
        }
        if !recognized.is_empty() {
            known = known.or_else(|| self.by_likeness(marks));
        }
        Interception {
            recognized,
            ..Interception::new(known, marks)
        }
    }

    fn shown(
        &self,
        connection: &Connection,
        marks: Marks,
        knowledge: &Knowledge,
    ) -> Option<(Intercepted, &'static str, String)> {
        let leg = &*connection.client_leg;
        told(knowledge, leg)
            .or_else(|| by_legs(connection))
            .or_else(|| self.by_certificate(leaf(leg), marks[0], knowledge))
    }

    fn by_certificate(
        &self,
        leaf: Option<&Leaf>,
        mark: Option<Mark>,
        knowledge: &Knowledge,
    ) -> Option<(Intercepted, &'static str, String)> {
        let leaf = leaf?;
        let issuer = &leaf.issuer;
        if knowledge.inspection_cas.iter().any(|ca| ca.matches(issuer)) {
            let detail = format!("the certificate was issued by the inspection CA {issuer}");
            return Some((Intercepted::Yes, "inspection-ca", detail));
        }
        if let Some(product) = product(issuer) {
            let detail = format!("the issuer {issuer} is what {product} calls its CA");
            return Some((Intercepted::Yes, "product-ca", detail));
        }
        if mark
            .and_then(|mark| self.issuers.peek(&mark))
            .is_some_and(|issuer| issuer.recognized)
        {
            let detail =
                format!("the private CA {issuer} signs unrelated names with one and the same key");
            return Some((Intercepted::Yes, "learned-ca", detail));
        }
        if !knowledge.inspection_cas.is_empty() {
            let detail = format!("the certificate was issued by {issuer}, not an inspection CA");
            return Some((Intercepted::No, "other-ca", detail));
        }
        leaf.has_timestamps.then(|| {
            let detail = format!(
                "the certificate has timestamps of public logs, as only public CAs' have: {issuer}"
            );
            (Intercepted::No, "public-ca", detail)
        })
    }

    fn by_likeness(&self, marks: Marks) -> Option<(Intercepted, &'static str, String)> {
        let [_, destination, fingerprint] = marks;
        if destination.is_some_and(|mark| self.destinations.contains_key(&mark)) {
            let detail = "this server and name were seen intercepted from as far away".to_owned();
            return Some((Intercepted::Yes, "intercepted-destination", detail));
        }
        let known = fingerprint.and_then(|mark| self.fingerprints.peek(&mark))?;
        known.recognized.then(|| {
            let detail =
                "ServerHello and distance are those of an interceptor seen here".to_owned();
            (Intercepted::Yes, "learned-fingerprint", detail)
        })
    }

    /// Whether the issuer is recognized by this certificate.
    fn learn_issuer(&mut self, mark: Mark, leaf: &Leaf, leg: &Timeline) -> bool {
        let Some(domain) = name(leg).map(registrable_domain) else {
            return false;
        };
        if leaf.has_timestamps || leaf.is_self_signed() {
            return false;
        }
        let issuer = self.issuers.entry(mark).or_insert_with(Issuer::default);
        if issuer.recognized {
            return false;
        }
        let key = match issuer
            .keys
            .iter_mut()
            .position(|key| key.fingerprint == leaf.key_fingerprint)
        {
            Some(known) => known,
            None if issuer.keys.len() < SET_MAX => {
                issuer.keys.push(Key {
                    fingerprint: leaf.key_fingerprint,
                    certificates: Vec::new(),
                    domains: Vec::new(),
                });
                issuer.keys.len() - 1
            }
            None => return false,
        };
        let Some(key) = issuer.keys.get_mut(key) else {
            return false;
        };
        // A certificate for several names relates them.
        if key.certificates.contains(&leaf.fingerprint) || key.domains.contains(&hash(&domain)) {
            return false;
        }
        add(&mut key.certificates, leaf.fingerprint);
        add(&mut key.domains, hash(&domain));
        issuer.recognized = key.domains.len() >= NAMES_OF_ONE_KEY;
        issuer.recognized
    }

    fn source(&self, shown: bool, marks: Marks) -> Source {
        let destination = marks[1].and_then(|mark| self.destinations.peek(&mark));
        match destination {
            _ if shown => Source::Shown,
            Some(Source::Shown) => Source::Destination,
            _ => Source::Likeness,
        }
    }

    fn learn_destination(
        &mut self,
        mark: Option<Mark>,
        status: Intercepted,
        source: Source,
    ) -> Option<Mark> {
        let mark = mark?;
        match (status, source) {
            (Intercepted::Yes, Source::Shown) => self
                .destinations
                .insert(mark, Source::Shown)
                .is_none()
                .then_some(mark),
            (Intercepted::No, _) => {
                self.destinations.remove(&mark);
                None
            }
            _ => None,
        }
    }

    /// Marks that this connection lets recognize: the fingerprint, and destinations that have it.
    fn learn_fingerprint(
        &mut self,
        [_, destination, fingerprint]: Marks,
        leg: &Timeline,
        status: Intercepted,
        source: Source,
    ) -> Vec<Mark> {
        let (Some(mark), Some(name)) = (fingerprint, name(leg)) else {
            return Vec::new();
        };
        let domain = hash(&registrable_domain(name));
        let here = self.places.entry(place(leg)).or_insert_with(|| 0);
        *here = here.saturating_add(1);
        let here = *here;
        let unrouted = self.unrouted_alike(mark, leg);
        let known = self
            .fingerprints
            .entry(mark)
            .or_insert_with(Fingerprint::default);
        if unrouted {
            add(&mut known.unrouted_domains, domain);
        }
        if let Some(Mark(destination)) = destination {
            add(&mut known.destinations, destination);
        }
        known.connections = known.connections.saturating_add(1);
        add(&mut known.domains, domain);
        add(&mut known.networks, network(leg.server.ip()));
        match status {
            Intercepted::Yes if source != Source::Likeness => {
                add(&mut known.intercepted_names, domain);
            }
            Intercepted::No => known.direct = true,
            _ => {}
        }
        let by_names = known.intercepted_names.len() >= NAMES_OF_A_FINGERPRINT;
        // Servers in many networks do not all lie equally far away and choose alike.
        let uniform = here >= UNIFORM_CONNECTIONS
            && known.connections >= here - here / 20
            && known.networks.len() >= UNIFORM_NETWORKS
            && known.domains.len() >= UNIFORM_NETWORKS;
        let gateway_answers = unrouted && known.unrouted_domains.len() >= UNROUTED_NAMES;
        let before = known.recognized;
        known.recognized = !known.direct && (by_names || uniform || gateway_answers);
        if !known.recognized {
            return Vec::new();
        }
        let mut marks = Vec::new();
        marks.extend((!before).then_some(mark));
        for destination in known.destinations.drain(..).map(Mark) {
            if !self.destinations.contains_key(&destination) {
                self.destinations.insert(destination, Source::Likeness);
                marks.push(destination);
            }
        }
        marks
    }

    /// Whether this app's connections at this place, as far as nobody routed them, were all answered
    /// like this one.
    fn unrouted_alike(&mut self, mark: Mark, leg: &Timeline) -> bool {
        if !is_unrouted(leg) {
            return false;
        }
        let Some(app) = leg.handshake.client_hello.as_ref().and_then(app) else {
            return false;
        };
        let always = self
            .unrouted
            .entry(hash(&(place(leg), app)))
            .or_insert_with(|| Some(mark));
        if *always != Some(mark) {
            *always = None;
        }
        always.is_some()
    }
}

/// Whether no router stood between client and server, though their networks differ: then the one
/// that answers stands where a router should, and is not the server that was asked.
fn is_unrouted(leg: &Timeline) -> bool {
    let near = leg
        .sides
        .iter()
        .all(|side| side.ttl_min == side.ttl_max && INITIAL_TTLS.contains(&side.ttl_min));
    near && link(leg.client.ip()) != link(leg.server.ip())
}

fn told(knowledge: &Knowledge, leg: &Timeline) -> Option<(Intercepted, &'static str, String)> {
    let client = leg.client.ip().to_canonical();
    if knowledge.interceptors.contains(&client) {
        let detail = format!("{client} is an interceptor, which opened this itself");
        return Some((Intercepted::No, "interceptor-address", detail));
    }
    let (status, what) = match knowledge.intercepted {
        InterceptedWhen::Auto => return None,
        InterceptedWhen::Always => (Intercepted::Yes, "every connection is intercepted here"),
        InterceptedWhen::Never => (Intercepted::No, "no connection is intercepted here"),
    };
    Some((status, "told", format!("the operator says that {what}")))
}

fn by_legs(connection: &Connection) -> Option<(Intercepted, &'static str, String)> {
    let (passage, other) = connection.server_leg.as_ref()?;
    let (here, there) = (&connection.client_leg.tap, &other.tap);
    Some(match passage {
        Passage::Forwarded => (
            Intercepted::No,
            "same-random",
            format!("{there} shows the same client random as {here}: it was only forwarded"),
        ),
        Passage::Intercepted => (
            Intercepted::Yes,
            "two-legs",
            format!(
                "{there} shows another client random than {here}: somebody between terminates TLS"
            ),
        ),
    })
}

/// The product whose CA has such a name.
fn product(issuer: &str) -> Option<&'static str> {
    let issuer = issuer.to_lowercase();
    issuer.split(", ").find_map(|part| {
        let (kind, value) = part.split_once('=')?;
        if !["cn", "o"].contains(&kind) {
            return None;
        }
        PRODUCTS
            .iter()
            .find(|(name, _)| value.starts_with(name))
            .map(|(_, product)| *product)
    })
}

fn leaf(leg: &Timeline) -> Option<&Leaf> {
    leg.handshake.certificate.as_ref()?.as_ref().ok()
}

fn name(leg: &Timeline) -> Option<&str> {
    leg.handshake.client_hello.as_ref()?.server_name.as_deref()
}

/// What is registered of a host name, by the public suffix list; the name itself where that says
/// nothing.
pub fn registrable_domain(name: &str) -> String {
    let name = name.trim_end_matches('.');
    psl::domain_str(name).unwrap_or(name).to_ascii_lowercase()
}

fn marks(leg: &Timeline) -> Marks {
    [
        leaf(leg).map(issuer_mark),
        destination_mark(leg),
        fingerprint_mark(leg),
    ]
}

fn issuer_mark(leaf: &Leaf) -> Mark {
    Mark(hash(&("issuer", &leaf.issuer)))
}

/// A server by address, name and how far away it seems, and where.
fn destination_mark(leg: &Timeline) -> Option<Mark> {
    let [_, server] = &leg.sides;
    Some(Mark(hash(&(
        "destination",
        place(leg),
        leg.server,
        name(leg)?,
        server.ttl_min,
    ))))
}

/// What a TLS 1.3 server chooses and in which order it says so, how far away it seems, and for what
/// kind of client: another client would be answered otherwise.
fn fingerprint_mark(leg: &Timeline) -> Option<Mark> {
    let hello = leg.handshake.server_hello.as_ref()?;
    if !hello.complete || hello.version() < TLS_1_3 || hello.pre_shared_key {
        return None;
    }
    let [_, server] = &leg.sides;
    Some(Mark(hash(&(
        "fingerprint",
        place(leg),
        hello.cipher_suite,
        &hello.extensions,
        hello.group,
        hello.session_id.is_empty(),
        server.ttl_min,
    ))))
}

/// From where servers' packets come to the tap: a neighbour's MAC address, or all that the tap sees
/// where there are none. Several captures may be of one place.
fn place(leg: &Timeline) -> u64 {
    match leg.sides[1].mac {
        0 => hash(&&*leg.tap),
        mac => hash(&mac),
    }
}

/// /16 of IPv4, /32 of IPv6.
fn network(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => hash(&address.octets().first_chunk::<2>()),
        IpAddr::V6(address) => hash(&address.octets().first_chunk::<4>()),
    }
}

/// /24 of IPv4, /64 of IPv6: what usually shares a link.
fn link(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => hash(&address.octets().first_chunk::<3>()),
        IpAddr::V6(address) => hash(&address.octets().first_chunk::<8>()),
    }
}

fn add(set: &mut Vec<u64>, value: u64) {
    if set.len() < SET_MAX && !set.contains(&value) {
        set.push(value);
    }
}

/// A number for what is only compared within this run.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use detector_common::flow::{Side, side_flags};
    use rstest::rstest;

    use super::*;
    use crate::flow::flow_id::FlowId;
    use crate::flow::timeline::Ending;
    use crate::flow::tls::Handshake;
    use crate::flow::tls::client_hello::ClientHello;
    use crate::flow::tls::server_hello::ServerHello;

    /// A mark by a number.
    pub(crate) fn mark(number: u64) -> Mark {
        Mark(number)
    }

    fn leaf(issuer: &str, key: u64, number: u64) -> Leaf {
        Leaf {
            subject: "CN=x".to_owned(),
            issuer: issuer.to_owned(),
            serial: "01".to_owned(),
            not_before: 0,
            not_after: i64::MAX,
            dns_names: vec![],
            common_name: None,
            chain_len: 1,
            chain_complete: true,
            fingerprint: number,
            key_fingerprint: key,
            has_timestamps: false,
            ..Leaf::default()
        }
    }

    fn connection(name: &str, server: [u8; 4], leaf: Option<Leaf>, ttl: u8) -> Connection {
        let mut hello = ClientHello::default();
        hello.server_name = Some(name.to_owned());
        let tls13 = leaf.is_none();
        let timeline = Timeline {
            flow: FlowId::default(),
            tap: Arc::from("lan0"),
            client: ([10, 0, 1, 2], 40_000).into(),
            server: (server, 443).into(),
            vlan: vec![],
            started_ns: 0,
            last_ns: 0,
            handshake: Handshake {
                client_hello: Some(hello),
                server_hello: Some(ServerHello {
                    legacy_version: 0x0303,
                    selected_version: tls13.then_some(TLS_1_3),
                    complete: true,
                    ..ServerHello::default()
                }),
                certificate: leaf.map(Ok),
                ..Handshake::default()
            },
            records: vec![],
            closes: vec![],
            sides: [64, ttl].map(|ttl| Side {
                flags: side_flags::SEEN,
                ttl_min: ttl,
                ttl_max: ttl,
                ..Side::default()
            }),
            settled: true,
            ending: Ending::Closed,
        };
        Connection {
            client_leg: Box::new(timeline),
            server_leg: None,
            goes_on: false,
            newly_complete: true,
        }
    }

    fn knowledge(ca: &str) -> Knowledge {
        Knowledge {
            inspection_cas: if ca.is_empty() {
                vec![]
            } else {
                vec![ca.parse().unwrap()]
            },
            ..Knowledge::default()
        }
    }

    #[rstest]
    #[case("CN=mitmproxy, O=mitmproxy", "", Intercepted::Yes)]
    #[case("CN=Inspection CA", "Inspection CA", Intercepted::Yes)]
    #[case("CN=R3, O=Let's Encrypt, C=US", "Inspection CA", Intercepted::No)]
    #[case("CN=Private CA", "", Intercepted::Unknown)]
    fn by_issuer(#[case] issuer: &str, #[case] ca: &str, #[case] status: Intercepted) {
        let connection = connection("a.test", [10, 0, 2, 1], Some(leaf(issuer, 1, 1)), 64);
        let seen = Interceptors::default().look(&connection, &knowledge(ca));
        assert_eq!(seen.status, status);
        assert_eq!(seen.evidence.is_some(), status != Intercepted::Unknown);
    }

    #[test]
    fn timestamps_show_a_public_ca() {
        let mut public = leaf("CN=Private CA", 1, 1);
        public.has_timestamps = true;
        let connection = connection("a.test", [10, 0, 2, 1], Some(public), 64);
        let seen = Interceptors::default().look(&connection, &knowledge(""));
        assert_eq!(seen.status, Intercepted::No);
    }

    /// Unrelated names with one key, each by a certificate of its own: nobody but an interceptor.
    #[test]
    fn a_private_ca_for_unrelated_names_with_one_key_is_learned() {
        let mut interceptors = Interceptors::default();
        let names = ["a.one.test", "b.one.test", "www.two.test", "www.three.test"];
        let mut statuses = vec![];
        for (number, name) in (1..).zip(names) {
            let shown = Some(leaf("CN=Unknown CA", 7, number));
            let seen =
                interceptors.look(&connection(name, [10, 0, 2, 1], shown, 64), &knowledge(""));
            statuses.push((seen.status, seen.recognized.len()));
        }
        use Intercepted::{Unknown, Yes};
        // The name that makes it clear also revises those before; related names say nothing.
        let recognized: Vec<usize> = statuses.iter().map(|(_, count)| *count).collect();
        assert_eq!(statuses[..3], [(Unknown, 0), (Unknown, 0), (Unknown, 0)]);
        assert_eq!(statuses[3].0, Yes);
        assert!(recognized[3] >= 1);
    }

    #[test]
    fn a_private_ca_with_a_key_for_each_name_is_not() {
        let mut interceptors = Interceptors::default();
        for (number, name) in (1..).zip(["www.one.test", "www.two.test", "www.three.test"]) {
            let shown = Some(leaf("CN=Company CA", number, number));
            let seen =
                interceptors.look(&connection(name, [10, 0, 2, 1], shown, 64), &knowledge(""));
            assert_eq!(seen.status, Intercepted::Unknown);
        }
    }

    /// One certificate for several names relates them.
    #[test]
    fn one_certificate_for_many_names_is_no_interceptor() {
        let mut interceptors = Interceptors::default();
        for name in [
            "www.one.test",
            "www.two.test",
            "www.three.test",
            "www.four.test",
        ] {
            let shown = Some(leaf("CN=Hosting CA", 1, 1));
            let seen =
                interceptors.look(&connection(name, [10, 0, 2, 1], shown, 64), &knowledge(""));
            assert_eq!(seen.status, Intercepted::Unknown);
        }
    }

    /// TLS 1.3 hides the certificate: what TLS 1.2 showed of the same server, name and distance counts.
    #[test]
    fn a_destination_seen_intercepted_is_so_in_tls13() {
        let mut interceptors = Interceptors::default();
        let ca = knowledge("Inspection CA");
        let shown = Some(leaf("CN=Inspection CA", 1, 1));
        interceptors.look(&connection("a.test", [10, 0, 2, 1], shown, 64), &ca);
        let hidden = |name, server, ttl| connection(name, server, None, ttl);
        let mut status = |connection| interceptors.look(&connection, &ca).status;
        assert_eq!(
            status(hidden("a.test", [10, 0, 2, 1], 64)),
            Intercepted::Yes
        );
        assert_eq!(
            status(hidden("a.test", [10, 0, 2, 1], 57)),
            Intercepted::Unknown,
            "farther away"
        );
        assert_eq!(
            status(hidden("b.test", [10, 0, 2, 9], 57)),
            Intercepted::Unknown
        );
    }

    /// Without a router between, and yet in another network: the gateway itself answers.
    #[rstest]
    #[case::gateway([10, 0, 2, 1], 64, 0x1301, Intercepted::Yes)]
    #[case::routed([10, 0, 2, 1], 63, 0x1301, Intercepted::Unknown)]
    #[case::same_link([10, 0, 1, 9], 64, 0x1301, Intercepted::Unknown)]
    #[case::not_alike([10, 0, 2, 1], 64, 0x1302, Intercepted::Unknown)]
    fn who_answers_without_a_router_between_is_no_server_elsewhere(
        #[case] server: [u8; 4],
        #[case] ttl: u8,
        #[case] first_suite: u16,
        #[case] expected: Intercepted,
    ) {
        let mut interceptors = Interceptors::default();
        let names = [
            "www.one.test",
            "www.two.test",
            "a.three.test",
            "b.three.test",
            "x.four.test",
        ];
        let mut last = None;
        for (number, name) in names.into_iter().enumerate() {
            let mut connection = connection(name, server, None, ttl);
            let handshake = &mut connection.client_leg.handshake;
            handshake.client_hello.as_mut().unwrap().complete = true;
            let suite = if number == 0 { first_suite } else { 0x1301 };
            handshake.server_hello.as_mut().unwrap().cipher_suite = suite;
            last = Some(interceptors.look(&connection, &knowledge("")));
        }
        assert_eq!(last.unwrap().status, expected);
    }

    /// Servers in many networks are not all equally far away and do not all choose alike.
    #[test]
    fn an_interceptor_of_everything_is_learned_without_a_certificate() {
        let mut interceptors = Interceptors::default();
        let mut last = Intercepted::Unknown;
        for number in 0..40_u8 {
            let name = format!("www.site{}.test", number % 10);
            let server = [100 + number % 10, number % 10, 2, 1];
            last = interceptors
                .look(&connection(&name, server, None, 64), &knowledge(""))
                .status;
        }
        assert_eq!(last, Intercepted::Yes);
    }

    #[test]
    fn one_provider_among_others_is_no_interceptor() {
        let mut interceptors = Interceptors::default();
        for number in 0..80_u8 {
            let name = format!("www.site{}.test", number % 10);
            let server = [100 + number % 10, number % 10, 2, 1];
            let ttl = if number % 4 == 0 { 50 + number % 9 } else { 57 };
            let seen = interceptors.look(&connection(&name, server, None, ttl), &knowledge(""));
            assert_eq!(seen.status, Intercepted::Unknown);
        }
    }
}
