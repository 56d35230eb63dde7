//! Entry points.
//!
//! All are inlined: the macros wrap them in the program proper, and a call and its return cost an
//! established packet as much as the rest of its path, where the processor's returns are hardened.

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use aya_log_ebpf::{debug, trace};
use detector_common::counter::Counter;
use detector_common::engine::inspect;
use detector_common::headers::{LinkType, Tap};
use detector_common::packet::{Inside, Packet};
use detector_common::tunnel::{Place, inner};

use crate::counters::count;
use crate::flows::Maps;
use crate::maps::{LAYOUT, TUNNELS, VLAN_IN_KEY};
use crate::packet::Frame;
use crate::rings::Rings;

/// `TCX_NEXT`, or `TC_ACT_UNSPEC` below Linux 6.6, the same number: the packet goes on as if this
/// program were not there.
const TCX_NEXT: i32 = -1;

/// Ingress of an Ethernet device, before the stack.
#[xdp(frags)]
#[inline(always)]
pub(crate) fn tlswhy_xdp(context: XdpContext) -> u32 {
    let tap = Tap {
        link: LinkType::Ethernet,
        interface: context.ingress_ifindex() as u32,
        egress: false,
        vlan_in_key: VLAN_IN_KEY.load() != 0,
        tunnel: 0,
    };
    let way = inspect_frame(&Frame(&context), &tap);
    count(way);
    match way {
        Counter::Unwatched | Counter::NotTcp | Counter::NotIp => {}
        Counter::Followed => trace!(&context, "ingress {}: followed", tap.interface),
        _ => debug!(&context, "ingress {}: way {}", tap.interface, way as u32),
    }
    XDP_PASS
}

/// Ingress of an Ethernet device whose XDP hook is in use or unsuitable.
#[classifier]
#[inline(always)]
pub(crate) fn tlswhy_ingress(context: TcContext) -> i32 {
    classify(&context, LinkType::Ethernet, false)
}

/// Egress of an Ethernet device.
#[classifier]
#[inline(always)]
pub(crate) fn tlswhy_egress(context: TcContext) -> i32 {
    classify(&context, LinkType::Ethernet, true)
}

/// Ingress of a device without link-layer headers (tun, WireGuard).
#[classifier]
#[inline(always)]
pub(crate) fn tlswhy_ingress_l3(context: TcContext) -> i32 {
    classify(&context, LinkType::Raw, false)
}

/// Egress of a device without link-layer headers.
#[classifier]
#[inline(always)]
pub(crate) fn tlswhy_egress_l3(context: TcContext) -> i32 {
    classify(&context, LinkType::Raw, true)
}

/// Runs the engine on the frame, or where tunnels are read, on the frame inside it.
#[inline(always)]
fn inspect_frame<P: Packet>(packet: &P, tap: &Tap) -> Counter {
    // Where XDP sees what arrives, a classifier sees what leaves.
    let tags_settled = P::SPLITS_HEADERS;
    let mut maps = Maps::new(tags_settled);
    if TUNNELS.load() == 0 {
        return inspect(packet, tap, &mut maps, &mut Rings::default());
    }
    let (inside, tap) = inside(packet, tap);
    inspect(&inside, &tap, &mut maps, &mut Rings::default())
}

/// Returns the frame that a tunnel's frame carries, or any other frame itself, and its tap.
#[inline(always)]
fn inside<'a, P: Packet>(outer: &'a P, tap: &Tap) -> (Inside<'a, P>, Tap) {
    let found = Place::read(find_inner(outer, tap.link));
    let link = match tap.link {
        // The outer frame of a device without link layer, unless there is one inside.
        LinkType::Raw if found.offset == 0 => LinkType::Raw,
        _ => found.link,
    };
    let tap = Tap {
        link,
        tunnel: found.tunnel.0,
        ..*tap
    };
    let offset = found.offset;
    (Inside { outer, offset }, tap)
}

/// Returns the word of an inner frame's place, or 0. Not inlined, and one unknown word to the verifier: it goes
/// on once for all kinds of tunnels.
#[inline(never)]
fn find_inner<P: Packet>(packet: &P, link: LinkType) -> u64 {
    let word = inner(packet, link).map_or(0, Place::word);
    let [high, low] = [word >> 32, word].map(|half| packet.black_box(half as u32));
    u64::from(high) << 32 | u64::from(low)
}

#[inline(always)]
fn classify(context: &TcContext, link: LinkType, egress: bool) -> i32 {
    let frame = Frame(context);
    let tap = Tap {
        link,
        interface: frame.interface(),
        egress,
        vlan_in_key: VLAN_IN_KEY.load() != 0,
        tunnel: 0,
    };
    let way = inspect_frame(&frame, &tap);
    count(way);
    match way {
        Counter::Unwatched | Counter::NotTcp | Counter::NotIp => {}
        Counter::Followed => trace!(context, "tc {}: followed", tap.interface),
        _ => debug!(context, "tc {}: way {}", tap.interface, way as u32),
    }
    // Keeps the layout version in the object, for the agent to check.
    core::hint::black_box(&LAYOUT);
    TCX_NEXT
}
