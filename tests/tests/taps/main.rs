//! Taps on real interfaces: which hooks, both directions, and nothing left behind.

mod watched;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use detector_common::counter::Counter;
use detector_common::observation::events;
use detector_user::source::tap::hook::{Abilities, Hook};
use detector_user::source::tap::object::ObjectOptions;
use lab::host::{Namespace, run, words};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
};
use rstest::rstest;
use tests::conversation::{Conversation, From, Network, tls};
use tests::foreign::{Foreign, Place};
use tests::gateway::agent;
use tests::wire::{await_link, inside, interface, namespace, pair, send, until};
use watched::{Watched, alert, await_traces, hello, sees_both_directions, traces};

const XDP_PASS: i32 = 2;
const TCX_PASS: i32 = 0;

/// This kernel's hooks, and the place of its classifiers: these tests run on older ones too. With XDP
/// on the lab's virtual interfaces, which stand for hardware.
fn here() -> (Abilities, Hook) {
    let abilities = Abilities {
        virtual_xdp: true,
        ..Abilities::of_this_kernel()
    };
    let classifier = if abilities.tcx {
        Hook::Tcx
    } else {
        Hook::Clsact
    };
    (abilities, classifier)
}

/// Linux 5.18 to 6.5.
const BEFORE_TCX: Abilities = Abilities {
    xdp: true,
    virtual_xdp: true,
    tcx: false,
};

/// Linux 5.8 to 5.17.
const BEFORE_XDP_FRAGMENTS: Abilities = Abilities {
    xdp: false,
    virtual_xdp: false,
    tcx: false,
};

#[rstest]
#[case::as_here(here().0, (Hook::XdpNative, here().1))]
#[case::before_tcx(BEFORE_TCX, (Hook::XdpNative, Hook::Clsact))]
#[case::before_xdp_fragments(BEFORE_XDP_FRAGMENTS, (Hook::Clsact, Hook::Clsact))]
fn a_veth_is_seen_in_both_directions_and_left_as_it_was(
    #[case] abilities: Abilities,
    #[case] (ingress, egress): (Hook, Hook),
) {
    let (client, gateway) = pair();
    let before = traces(&gateway, "g0");
    inside(&gateway, || {
        let mut watched = Watched::new(&[interface("g0")], abilities);
        assert_eq!(watched.hooks(), [(ingress, Some(egress))]);
        assert_eq!(watched.tap.tapped[0].no_xdp, None);
        let during = traces(&gateway, "g0");
        assert_ne!(during, before, "or the comparison below proves nothing");
        assert_eq!(during.contains("clsact"), !abilities.tcx, "{during}");
        sees_both_directions(&client, &gateway, &mut watched);
    });
    // XDP programs go after a grace period of the kernel's.
    await_traces(&gateway, "g0", &before);
}

#[test]
fn a_virtual_interface_is_spared_xdp_which_would_copy_its_frames() {
    let (client, gateway) = pair();
    inside(&gateway, || {
        let mut watched = Watched::new(&[interface("g0")], Abilities::of_this_kernel());
        assert_eq!(watched.hooks(), [(here().1, Some(here().1))]);
        assert_eq!(watched.tap.tapped[0].no_xdp, None);
        sees_both_directions(&client, &gateway, &mut watched);
    });
}

#[test]
fn a_device_without_native_xdp_is_tapped_by_a_classifier() {
    let (client, gateway) = pair();
    gateway
        .run("ip link add br0 address 02:00:00:00:00:02 type bridge")
        .unwrap();
    gateway.run("ip link set g0 master br0").unwrap();
    gateway.run("ip link set br0 up").unwrap();
    await_link(&gateway, "br0");
    inside(&gateway, || {
        let mut watched = Watched::new(&[interface("br0")], here().0);
        assert_eq!(watched.hooks(), [(here().1, Some(here().1))]);
        let mut talk = Conversation::new(Network::Ipv6);
        send(&client, "c0", &hello(&mut talk));
        let index = watched.tap.tapped[0].index;
        assert_eq!(watched.await_event(events::HELLO), (index, false));
    });
}

#[test]
fn loopback_is_seen_once() {
    let gateway = namespace("loopback");
    inside(&gateway, || {
        let mut watched = Watched::new(&[interface("lo")], here().0);
        assert_eq!(watched.hooks(), [(here().1, None)]);
        let mut talk = Conversation::new(Network::Ipv4);
        send(&gateway, "lo", &hello(&mut talk));
        assert_eq!(watched.await_event(events::HELLO), (1, false));
        assert_eq!(watched.count(Counter::Followed), 1);
    });
}

#[rstest]
#[case::as_here(here().0, here().1)]
#[case::before_tcx(BEFORE_TCX, Hook::Clsact)]
fn a_tunnel_without_a_link_layer_is_seen_in_both_directions(
    #[case] abilities: Abilities,
    #[case] hook: Hook,
) {
    let gateway = namespace("tunnel");
    gateway.run("ip tuntap add mode tun name tun0").unwrap();
    let mut talk = Conversation::new(Network::Ipv6Extensions);
    let without_ethernet = |frames: Vec<Vec<u8>>| -> Vec<Vec<u8>> {
        frames.into_iter().map(|it| it[14..].to_vec()).collect()
    };
    inside(&gateway, || {
        let tunnel = tests::wire::Tunnel::open("tun0");
        gateway.run("ip link set tun0 up").unwrap();
        let mut watched = Watched::new(&[interface("tun0")], abilities);
        assert_eq!(watched.hooks(), [(hook, Some(hook))]);
        let index = watched.tap.tapped[0].index;
        for packet in without_ethernet(hello(&mut talk)) {
            tunnel.write(&packet);
        }
        assert_eq!(watched.await_event(events::HELLO), (index, false));
        send(&gateway, "tun0", &without_ethernet(alert(&mut talk)));
        assert_eq!(watched.await_event(events::ALERT), (index, true));
    });
}

#[rstest]
#[case(Place::XdpNative, "native")]
#[case(Place::XdpGeneric, "generic")]
fn another_xdp_program_stays_and_a_classifier_takes_the_ingress(
    #[case] place: Place,
    #[case] mode: &str,
) {
    let (client, gateway) = pair();
    inside(&gateway, || {
        let free = interface("g0");
        let _foreign = Foreign::attach(place, free.index, XDP_PASS).unwrap();
        let taken = interface("g0");
        let theirs = taken.xdp.unwrap();
        assert_eq!(theirs.mode, mode);
        // Also if it came only after the interfaces were listed.
        for listed in [taken, free] {
            let mut watched = Watched::new(&[listed], here().0);
            assert_eq!(watched.hooks(), [(here().1, Some(here().1))]);
            let why = watched.tap.tapped[0].no_xdp.clone().unwrap();
            assert!(why.contains("another XDP program"), "{why}");
            sees_both_directions(&client, &gateway, &mut watched);
            assert_eq!(interface("g0").xdp, Some(theirs));
        }
        assert_eq!(interface("g0").xdp, Some(theirs));
    });
}

#[test]
fn a_program_that_ends_the_chain_at_egress_does_not_blind_us() {
    let (client, gateway) = pair();
    inside(&gateway, || {
        let g0 = interface("g0");
        if !here().0.tcx {
            eprintln!("not on this kernel: TCX came with Linux 6.6");
            return;
        }
        let _foreign = Foreign::attach(Place::TcxEgress, g0.index, TCX_PASS).unwrap();
        sees_both_directions(&client, &gateway, &mut Watched::new(&[g0], here().0));
    });
}

#[test]
fn two_taps_on_one_interface_do_not_disturb_each_other() {
    let (client, gateway) = pair();
    inside(&gateway, || {
        let mut first = Watched::new(&[interface("g0")], BEFORE_TCX);
        let mut second = Watched::new(&[interface("g0")], BEFORE_TCX);
        assert_eq!(second.hooks(), [(Hook::Clsact, Some(Hook::Clsact))]);
        sees_both_directions(&client, &gateway, &mut first);
        // The first added the clsact; it stays as long as the second has filters in it.
        drop(first);
        second.await_event(events::ALERT);
        let mut talk = Conversation::new(Network::Ipv4);
        talk.client_port += 1;
        send(&client, "c0", &hello(&mut talk));
        until("a second flow", || second.count(Counter::Started) == 2);
    });
}

/// Filters of ours on each side, as `tc` shows them.
fn own_filters(gateway: &Namespace) -> [usize; 2] {
    ["ingress", "egress"].map(|side| {
        let filters = gateway.run(&format!("tc filter show dev g0 {side}"));
        let filters = filters.unwrap_or_default();
        filters
            .lines()
            .filter(|line| line.contains("tlswhy_"))
            .count()
    })
}

/// `tlswhy detach`, for programs that are not pinned.
fn detach(gateway: &Namespace) -> String {
    let mut command = gateway.command(agent());
    run(command.args(["detach", "--pins", "/sys/fs/bpf/nowhere"])).unwrap()
}

#[rstest]
#[case::added_by_the_agent(false)]
#[case::somebody_elses(true)]
fn filters_of_an_agent_that_was_killed_do_not_pile_up(#[case] has_clsact: bool) {
    let (client, gateway) = pair();
    if has_clsact {
        gateway.run("tc qdisc add dev g0 clsact").unwrap();
    }
    let before = traces(&gateway, "g0");
    // A process that is killed removes nothing.
    let killed = || {
        inside(&gateway, || {
            let mut tap = Watched::new(&[interface("g0")], BEFORE_XDP_FRAGMENTS).tap;
            std::mem::forget(std::mem::take(&mut tap.tapped));
        });
    };
    killed();
    assert_eq!(own_filters(&gateway), [1, 1]);
    inside(&gateway, || {
        let mut watched = Watched::new(&[interface("g0")], BEFORE_XDP_FRAGMENTS);
        assert_eq!(own_filters(&gateway), [1, 1]);
        detach(&gateway);
        // Those of an agent that runs stay.
        sees_both_directions(&client, &gateway, &mut watched);
    });
    await_traces(&gateway, "g0", &before);
    killed();
    assert_eq!(
        detach(&gateway),
        "detached 2 programs from their interfaces\n"
    );
    await_traces(&gateway, "g0", &before);
}

#[test]
fn a_clsact_of_somebody_else_stays() {
    let (client, gateway) = pair();
    gateway.run("tc qdisc add dev g0 clsact").unwrap();
    let before = traces(&gateway, "g0");
    inside(&gateway, || {
        let mut watched = Watched::new(&[interface("g0")], BEFORE_XDP_FRAGMENTS);
        sees_both_directions(&client, &gateway, &mut watched);
    });
    assert!(before.contains("clsact"));
    await_traces(&gateway, "g0", &before);
}

#[test]
fn jumbo_frames_are_taken_whole() {
    let (client, gateway) = pair();
    client.run("ip link set c0 mtu 9000").unwrap();
    gateway.run("ip link set g0 mtu 9000").unwrap();
    inside(&gateway, || {
        let mut watched = Watched::new(&[interface("g0")], here().0);
        assert_eq!(watched.hooks(), [(Hook::XdpNative, Some(here().1))]);
        let mut talk = Conversation::new(Network::Ipv4);
        let flight = [
            tls::server_hello(0xc02f, false),
            tls::record(22, &tls::message(11, &[0; 8000])),
            // Behind the part that the driver keeps in one piece.
            tls::record(21, &[2, 80]),
        ]
        .concat();
        send(&client, "c0", &hello(&mut talk));
        send(&client, "c0", &[talk.data(From::Server, &flight)]);
        watched.await_event(events::ALERT);
    });
}

#[test]
fn several_interfaces_share_one_object_and_say_which_they_are() {
    let (client, gateway) = pair();
    run(&mut words(&format!(
        "ip link add c1 netns {} type veth peer name g1 netns {}",
        client.name(),
        gateway.name()
    )))
    .unwrap();
    client.run("ip link set c1 up").unwrap();
    gateway.run("ip link set g1 up").unwrap();
    await_link(&client, "c1");
    inside(&gateway, || {
        let both = [interface("g0"), interface("g1")];
        let mut watched = Watched::new(&both, here().0);
        for (link, tapped) in ["c0", "c1"].into_iter().zip(&both) {
            send(&client, link, &hello(&mut Conversation::new(Network::Ipv4)));
            assert_eq!(watched.await_event(events::HELLO), (tapped.index, false));
            watched.told.observations.clear();
        }
        // One leaves; the other goes on.
        watched.tap.tapped.remove(0);
        let mut talk = Conversation::new(Network::Ipv4);
        talk.client_port += 1;
        send(&client, "c0", &hello(&mut talk));
        send(&client, "c1", &hello(&mut talk));
        assert_eq!(watched.await_event(events::HELLO), (both[1].index, false));
        assert_eq!(watched.count(Counter::Started), 3);
    });
}

#[test]
fn rings_that_nobody_reads_cost_counts_but_no_packet() {
    let (client, gateway) = pair();
    let small = ObjectOptions {
        observation_ring: 4096,
        handshake_ring: 4096,
        ..ObjectOptions::default()
    };
    gateway
        .run("ip link add br0 address 02:00:00:00:00:02 type bridge")
        .unwrap();
    gateway.run("ip link set g0 master br0").unwrap();
    gateway.run("ip link set br0 up").unwrap();
    let recording = tests::wire::Recording::start(&gateway, "br0");
    inside(&gateway, || {
        let mut watched = Watched::with(&[interface("g0")], here().0, &small);
        let mut sent = Vec::new();
        for port in 1..=32 {
            let mut talk = Conversation::new(Network::Ipv4);
            talk.client_port += port;
            sent.extend(hello(&mut talk));
            sent.push(talk.data(From::Client, &tls::record(21, &[2, 46])));
            sent.push(talk.rst(From::Client));
        }
        send(&client, "c0", &sent);
        let received = recording.finish(&client, "c0");
        sent.sort();
        assert!(received == sent, "{} of {}", received.len(), sent.len());
        let (observations, chunks) = (
            watched.count(Counter::ObservationLost),
            watched.count(Counter::HandshakeLost),
        );
        assert!(observations > 0 && chunks > 0);
        // Told or counted: none is missing.
        watched.rings.drain(&mut watched.told);
        let told = watched.told.observations.len() as u64;
        assert!(told > 0, "what fits is told");
        assert_eq!(told + observations, 3 * 32);
    });
}

#[test]
fn an_interface_that_is_down_is_tapped_and_seen_once_it_is_up() {
    let (client, gateway) = pair();
    gateway.run("ip link set g0 down").unwrap();
    inside(&gateway, || {
        let mut watched = Watched::new(&[interface("g0")], here().0);
        gateway.run("ip link set g0 up").unwrap();
        await_link(&gateway, "g0");
        await_link(&client, "c0");
        sees_both_directions(&client, &gateway, &mut watched);
    });
}

/// Real sockets without segmentation offload: their payload lies in fragments behind the headers.
#[test]
fn payload_in_fragments_is_read_where_it_begins_or_ends_a_flow() {
    let (client, gateway) = pair();
    for (namespace, device, address) in [
        (&client, "c0", "10.79.0.2/24"),
        (&gateway, "g0", "10.79.0.1/24"),
    ] {
        let offload = format!("ethtool -K {device} sg on tso off gso off");
        namespace.run(&offload).unwrap();
        let address = format!("ip address add {address} dev {device}");
        namespace.run(&address).unwrap();
    }
    inside(&gateway, || {
        let mut watched = Watched::new(&[interface("g0")], Abilities::of_this_kernel());
        let index = watched.tap.tapped[0].index;
        let mut port = 0;
        // Late alerts of either side; the second connection has the first one's ports.
        for last in [From::Client, From::Server] {
            watched.told.observations.clear();
            let mut talk = Sockets::connect(&client, port);
            talk.pass(From::Client, b"CONNECT www.works.test:443 HTTP/1.1\r\n\r\n");
            talk.pass(From::Server, b"HTTP/1.1 200 OK\r\n\r\n");
            // Longer than any alert: of a settled flow it would not be looked at.
            talk.pass(From::Client, &tls::client_hello("www.works.test", 700));
            assert_eq!(watched.await_event(events::HELLO), (index, false));
            talk.pass(From::Server, &tls::server_hello(0x1301, true));
            for _ in 0..12 {
                talk.pass(From::Client, &tls::record(23, &[0xa5; 300]));
                talk.pass(From::Server, &tls::record(23, &[0xa5; 1000]));
            }
            watched.await_event(events::SETTLED);
            let resumed = watched.count(Counter::Resumed);
            let before = watched.count(Counter::Unwatched);
            talk.pass(last, &tls::record(23, &[0xa5; 300]));
            until("data passes unwatched", || {
                watched.count(Counter::Unwatched) > before
            });
            assert_eq!(watched.count(Counter::Resumed), resumed);
            watched.told.observations.clear();
            talk.pass(last, &tls::record(21, &[0x5a; 19]));
            let egress = matches!(last, From::Server);
            assert_eq!(watched.await_event(events::ALERT), (index, egress));
            port = talk.close();
        }
    });
}

/// Both ends of a connection from `c0` to `g0`.
struct Sockets {
    client: TcpStream,
    server: TcpStream,
}

impl Sockets {
    /// Connects from this port, or any if it is 0; called in the server's namespace.
    fn connect(client: &Namespace, port: u16) -> Self {
        let listener = TcpListener::bind(("10.79.0.1", 443)).unwrap();
        let client = inside(client, || {
            let socket = socket(
                AddressFamily::Inet,
                SockType::Stream,
                SockFlag::SOCK_CLOEXEC,
                None,
            );
            let socket = socket.unwrap();
            setsockopt(&socket, sockopt::ReuseAddr, &true).unwrap();
            bind(socket.as_raw_fd(), &SockaddrIn::new(10, 79, 0, 2, port)).unwrap();
            connect(socket.as_raw_fd(), &SockaddrIn::new(10, 79, 0, 1, 443)).unwrap();
            TcpStream::from(socket)
        });
        let (server, _) = listener.accept().unwrap();
        for socket in [&client, &server] {
            socket.set_nodelay(true).unwrap();
        }
        Self { client, server }
    }

    /// Closes the server's end and then the client's, whose port is free at once. Returns it.
    fn close(mut self) -> u16 {
        self.server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(self.client.read(&mut [0]).unwrap(), 0);
        self.client.local_addr().unwrap().port()
    }

    /// Sends bytes in a segment of their own, and reads them at the other end.
    fn pass(&mut self, from: From, bytes: &[u8]) {
        let (sender, receiver) = match from {
            From::Client => (&mut self.client, &mut self.server),
            From::Server => (&mut self.server, &mut self.client),
        };
        sender.write_all(bytes).unwrap();
        receiver.read_exact(&mut vec![0; bytes.len()]).unwrap();
    }
}
