//! Packets leave a tapped gateway byte for byte as they came.

use detector_common::counter::Counter;
use detector_user::source::tap::counters::Counters;
use detector_user::source::tap::hook::{Abilities, Hook};
use detector_user::source::tap::kernel_tap::KernelTap;
use detector_user::source::tap::object::ObjectOptions;
use lab::host::{Namespace, connect};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rstest::rstest;
use tests::conversation::{Conversation, From, NETWORKS, tls};
use tests::wire::{Recording, await_link, inside, interface, namespace, send};

/// A client, a gateway that bridges, and a server; jumbo frames fit everywhere.
struct Path {
    client: Namespace,
    gateway: Namespace,
    server: Namespace,
    taps: [&'static str; 2],
}

/// The hook that the gateway's taps sit on.
#[derive(Clone, Copy, Debug)]
enum Device {
    /// The veth itself, which has native XDP.
    Veth,
    /// A macvlan on it, which has none.
    Macvlan,
}

impl Path {
    fn new(device: Device) -> Self {
        let (client, gateway, server) = (
            namespace("client"),
            namespace("bridge"),
            namespace("server"),
        );
        connect((&client, "c0", &[]), (&gateway, "lan0", &[])).unwrap();
        connect((&server, "s0", &[]), (&gateway, "wan0", &[])).unwrap();
        client.run("ip link set c0 mtu 9000").unwrap();
        server.run("ip link set s0 mtu 9000").unwrap();
        gateway.run("ip link add br0 type bridge").unwrap();
        // Where the kernel has br_netfilter, a bridge would drop bad IP packets.
        for family in ["iptables", "ip6tables"] {
            let _ = gateway.run(&format!("sysctl -qw net.bridge.bridge-nf-call-{family}=0"));
        }
        let taps = match device {
            Device::Veth => ["lan0", "wan0"],
            Device::Macvlan => ["lan1", "wan1"],
        };
        for (link, tap) in ["lan0", "wan0"].into_iter().zip(taps) {
            gateway
                .run(&format!("ip link set {link} mtu 9000"))
                .unwrap();
            if tap != link {
                gateway
                    .run(&format!(
                        "ip link add link {link} name {tap} type macvlan mode passthru"
                    ))
                    .unwrap();
            }
            gateway
                .run(&format!("ip link set {tap} master br0 up"))
                .unwrap();
        }
        gateway.run("ip link set br0 up").unwrap();
        await_link(&client, "c0");
        await_link(&server, "s0");
        await_link(&gateway, "br0");
        Self {
            client,
            gateway,
            server,
            taps,
        }
    }

    /// Returns the frames of the client that arrive at the server.
    fn crossing(&self, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let recording = Recording::start(&self.server, "s0");
        send(&self.client, "c0", frames);
        recording.finish(&self.client, "c0")
    }
}

/// Conversations of every kind, from the client's address.
fn conversations() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for network in NETWORKS {
        let mut talk = Conversation::new(network);
        let hello = tls::client_hello("api.pinned.test", 1800);
        frames.extend(talk.pieces(From::Client, &hello, 700));
        frames.push(talk.data(From::Client, &tls::record(23, &[0xa5; 1200])));
        frames.push(talk.data(From::Client, &tls::record(23, &[0xa5; 8500])));
        frames.push(talk.data(From::Client, &tls::record(21, &[2, 46])));
        frames.push(talk.fin(From::Client));
        frames.push(talk.rst(From::Client));
        // With the rest of each frame missing from anywhere in its headers.
        let whole = talk.data(From::Client, &hello);
        frames.extend((20..100).step_by(3).map(|len| whole[..len].to_vec()));
    }
    frames
}

/// Frames of any bytes behind the addresses, and ones that go wrong in every field.
fn odd_frames() -> Vec<Vec<u8>> {
    let mut runner = TestRunner::deterministic();
    let addresses = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    let mut draw = |strategy: BoxedStrategy<Vec<u8>>| {
        strategy.new_tree(&mut runner).expect("a value").current()
    };
    let mut frames = Vec::new();
    let types: [&[u8]; 8] = [
        &[0x08, 0x00, 0x45],
        &[0x08, 0x00],
        &[0x86, 0xdd, 0x60],
        &[0x81, 0x00, 0x00, 0x07, 0x08, 0x00, 0x45],
        &[0x88, 0xa8, 0x00, 0x64, 0x81, 0x00, 0x00, 0x07, 0x86, 0xdd],
        &[0x88, 0x64, 0x11, 0x00],
        &[0x08, 0x06],
        &[],
    ];
    for ether_type in types {
        for _ in 0..40 {
            let rest = draw(prop::collection::vec(any::<u8>(), 8..1400).boxed());
            frames.push([&addresses, ether_type, &rest].concat());
        }
    }
    let plain = Conversation::new(NETWORKS[0]).data(From::Client, &tls::client_hello("x", 200));
    for at in 12..80 {
        let mut frame = plain.clone();
        frame[at] ^= 0xff;
        frames.push(frame);
    }
    frames
}

#[rstest]
#[case::xdp(Device::Veth, Hook::XdpNative, Abilities { virtual_xdp: true, ..Abilities::of_this_kernel() })]
#[case::tcx(Device::Veth, Hook::Tcx, Abilities::of_this_kernel())]
#[case::no_xdp(Device::Macvlan, Hook::Tcx, Abilities { virtual_xdp: true, ..Abilities::of_this_kernel() })]
#[case::before_tcx(Device::Veth, Hook::XdpNative, Abilities { xdp: true, virtual_xdp: true, tcx: false })]
#[case::before_xdp_fragments(Device::Veth, Hook::Clsact, Abilities { xdp: false, virtual_xdp: false, tcx: false })]
fn frames_leave_as_they_came(
    #[case] device: Device,
    #[case] hook: Hook,
    #[case] abilities: Abilities,
) {
    let path = Path::new(device);
    let frames = [conversations(), odd_frames()].concat();
    // Frames that the bridge itself does not forward are not forwarded with a tap either.
    let without = path.crossing(&frames);
    assert!(without.len() * 10 > frames.len() * 9, "{}", without.len());
    inside(&path.gateway, || {
        let taps = path.taps.map(interface);
        let mut tap = KernelTap::attach(&taps, &ObjectOptions::default(), abilities).unwrap();
        let egress = if abilities.tcx {
            Hook::Tcx
        } else {
            Hook::Clsact
        };
        for tapped in &tap.tapped {
            assert_eq!((tapped.ingress, tapped.egress), (hook, Some(egress)));
        }
        let with = path.crossing(&frames);
        let changed = with.iter().find(|it| without.binary_search(it).is_err());
        assert_eq!(changed, None, "a frame changed");
        assert_eq!(with.len(), without.len(), "frames were lost or doubled");
        // And every one of them was looked at, on its way in and on its way out.
        let counters = Counters::take(&mut tap.kernel).unwrap().read().unwrap();
        let ways = counters.iter().filter(|(counter, _)| counter.is_outcome());
        let looks: u64 = ways.map(|(_, count)| count).sum();
        assert!(looks >= 2 * with.len() as u64, "{looks}");
        let started = counters.iter().find(|(it, _)| *it == Counter::Started);
        assert!(started.unwrap().1 >= 2 * NETWORKS.len() as u64 - 2);
    });
}
