//! Features that connections through one interceptor have in common, as numbers.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::cause::hash::{hash, key};
use crate::flow::timeline::Timeline;
use crate::flow::tls::certificate::Leaf;
use crate::flow::tls::memo::{Memo, remembered};
use crate::flow::tls::names::TLS_1_3;

/// Issuers, destinations and fingerprints remembered of each; the one seen longest ago is evicted.
pub(super) const REMEMBERED: usize = 4096;

thread_local! {
    static ISSUERS: RefCell<Memo<Mark>> = RefCell::new(Memo::new(256, 512));
    /// The latest MAC address, and the place of it; no address is zero.
    static LATEST: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// A feature that connections through one interceptor have in common, as a hash of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark(pub(super) u64);

impl Mark {
    /// Returns the mark of an issuer by its distinguished name.
    pub(in crate::cause) fn of_issuer(issuer: &str) -> Self {
        let compute = |_: &[u8]| Self(hash(&("issuer", issuer)));
        remembered(&ISSUERS, issuer.as_bytes(), compute)
    }
}

#[cfg(test)]
impl Mark {
    pub(crate) const fn of_number(number: u64) -> Self {
        Self(number)
    }
}

/// The marks of one connection: its certificate's issuer, its destination, and the fingerprint of
/// its ServerHello.
pub type Marks = [Option<Mark>; 3];

/// Returns a connection's marks as its leg nearest to the client shows them.
pub(super) fn marks(leg: &Timeline) -> Marks {
    let place = place(leg);
    [
        leaf(leg).map(issuer_mark),
        destination_mark(leg, place),
        fingerprint_mark(leg, place),
    ]
}

/// Returns the server's own certificate, where it came in the clear and whole.
pub(super) fn leaf(leg: &Timeline) -> Option<&Leaf> {
    leg.handshake.certificate.as_ref()?.as_deref().ok()
}

/// Returns the server name that the client asked for.
pub(super) fn server_name(leg: &Timeline) -> Option<&str> {
    let hello = leg.handshake.client_hello.as_ref()?;
    let name = hello.server_name.as_deref();
    // Addresses have no domains, by which unrelated names are told.
    let target = || leg.target().filter(|target| target.is_name());
    name.or_else(|| Some(target()?.host.as_str()))
}

fn issuer_mark(leaf: &Leaf) -> Mark {
    Mark::of_issuer(&leaf.issuer)
}

/// Returns the mark of a server by address, name, apparent distance and place.
fn destination_mark(leg: &Timeline, place: u64) -> Option<Mark> {
    let [_, server] = &leg.sides;
    Some(Mark(hash(&(
        "destination",
        place,
        leg.server,
        server_name(leg)?,
        server.ttl_min,
    ))))
}

/// Returns the mark of a TLS 1.3 server's choices, the order of its extensions, and its apparent
/// distance. It depends on the client, too: another would be answered otherwise.
fn fingerprint_mark(leg: &Timeline, place: u64) -> Option<Mark> {
    let hello = leg.handshake.server_hello.as_ref()?;
    if !hello.complete || hello.version() < TLS_1_3 || hello.pre_shared_key {
        return None;
    }
    let [_, server] = &leg.sides;
    Some(Mark(hash(&(
        "fingerprint",
        place,
        hello.cipher_suite,
        &hello.extensions,
        hello.group,
        hello.session_id.is_empty(),
        server.ttl_min,
    ))))
}

/// Returns the place servers' packets come to the tap from: a neighbour's MAC address, or the whole
/// tap where frames have none. Several captures may be of one place.
pub(super) fn place(leg: &Timeline) -> u64 {
    match leg.sides[1].mac {
        0 => hash(&&*leg.tap),
        mac => place_of_mac(mac),
    }
}

/// Returns the number of the latest neighbour again without hashing: a tap has few.
fn place_of_mac(mac: u64) -> u64 {
    let (latest, place) = LATEST.get();
    if latest == mac {
        return place;
    }
    let place = hash(&mac);
    LATEST.set((mac, place));
    place
}

/// Returns the network of an address: /16 of IPv4, /32 of IPv6.
pub(super) fn network(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => key(&address.octets().first_chunk::<2>()),
        IpAddr::V6(address) => key(&address.octets().first_chunk::<4>()),
    }
}

/// Returns the usual extent of a link: /24 of IPv4, /64 of IPv6.
pub(super) fn link(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => key(&address.octets().first_chunk::<3>()),
        IpAddr::V6(address) => key(&address.octets().first_chunk::<8>()),
    }
}
