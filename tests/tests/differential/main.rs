//! The same frames through the kernel's programs and through the host's engine tell the same.

mod halves;

use std::collections::VecDeque;
use std::time::Instant;

use proptest::prelude::*;
use rstest::rstest;
use tests::conversation::{Conversation, From, NETWORKS, Network, tls};
use tests::engines::{Host, Kernel, Program, Told};

use detector_common::counter::Counter;
use detector_common::observation::events;
use detector_common::tunnel::{TunnelKind, TunnelTag};
use detector_user::source::tap::object::ObjectOptions;
use lab::rewrite::random::Random;

const XDP_PASS: u32 = 2;
const TCX_NEXT: u32 = u32::MAX;

/// Runs frames through both and demands the same of both, packet by packet and byte by byte.
fn both(program: Program, frames: &[Vec<u8>]) -> Told {
    both_with(program, &ObjectOptions::default(), frames)
}

/// The same with other options for the kernel.
fn both_with(program: Program, options: &ObjectOptions, frames: &[Vec<u8>]) -> Told {
    let mut kernel = Kernel::new(program, options).unwrap();
    let mut host = Host::default();
    let pass = if program == Program::Xdp {
        XDP_PASS
    } else {
        TCX_NEXT
    };
    let mut by_kernel = Told::default();
    for frame in frames {
        let (verdict, after) = kernel.frame(frame).unwrap();
        assert_eq!(verdict, pass);
        assert_eq!(&after, frame, "the program changed a packet");
        host.frame(frame);
        // Now, as bytes that an observation has itself come with it, behind other connections' bytes.
        kernel.drain(&mut by_kernel);
    }
    assert_eq!(by_kernel, host.told());
    assert_eq!(kernel.counters().unwrap(), host.counters());
    by_kernel
}

fn application_data(len: usize) -> Vec<u8> {
    tls::record(23, &vec![0xa5; len])
}

/// A TLS 1.2 client refuses the certificate, closes, and is reset.
fn refusal(network: Network) -> Vec<Vec<u8>> {
    refused(Conversation::new(network))
}

fn refused(mut talk: Conversation) -> Vec<Vec<u8>> {
    let flight = [
        tls::server_hello(0xc02f, false),
        tls::record(22, &tls::message(11, &[0; 3000])),
        tls::record(22, &tls::message(14, &[])),
    ]
    .concat();
    let mut frames = vec![talk.data(From::Client, &tls::client_hello("api.pinned.test", 500))];
    frames.push(talk.ack(From::Server));
    frames.extend(talk.pieces(From::Server, &flight, 1448));
    frames.push(talk.ack(From::Client));
    frames.push(talk.data(From::Client, &tls::record(21, &[2, 46])));
    frames.push(talk.fin(From::Client));
    frames.push(talk.rst(From::Server));
    frames.push(talk.ack(From::Server));
    frames
}

/// A TLS 1.3 connection that works long enough to settle, and then ends.
fn success(network: Network) -> Vec<Vec<u8>> {
    works(Conversation::new(network))
}

fn works(mut talk: Conversation) -> Vec<Vec<u8>> {
    let mut frames = vec![talk.data(From::Client, &tls::client_hello("works.test", 1800))];
    let flight = [
        tls::server_hello(0x1301, true),
        tls::record(20, &[1]),
        application_data(2200),
    ];
    frames.extend(talk.pieces(From::Server, &flight.concat(), 1448));
    frames.push(talk.data(
        From::Client,
        &[tls::record(20, &[1]), application_data(53)].concat(),
    ));
    for _ in 0..9 {
        frames.push(talk.data(From::Client, &application_data(300)));
        frames.extend(talk.pieces(From::Server, &application_data(5000), 1448));
    }
    frames.push(talk.data(From::Server, &application_data(19)));
    frames.push(talk.fin(From::Server));
    frames.push(talk.data(From::Client, &application_data(19)));
    frames.push(talk.fin(From::Client));
    frames.push(talk.rst(From::Server));
    frames
}

#[rstest]
fn a_refusal_is_told_the_same(
    #[values(Program::Xdp, Program::Egress)] program: Program,
    #[values(0, 1, 2, 3, 4)] network: usize,
) {
    let told = both(program, &refusal(NETWORKS[network]));
    let seen = told
        .observations
        .iter()
        .fold(0, |seen, observation| seen | observation.events);
    let wanted = [
        events::HELLO,
        events::ALERT,
        events::FIN,
        events::RESET,
        events::SENT_AFTER_RESET,
    ];
    assert!(wanted.iter().all(|event| seen & event != 0), "{seen:b}");
    let vlan = told.observations[0].watched.flow.vlan;
    assert_eq!(vlan, if network == 1 { [100, 7] } else { [0, 0] });
}

/// A connection with its SYNs, reset upon the hello, and one refused at its SYN.
#[rstest]
fn what_came_before_the_hello_is_told_the_same(
    #[values(Program::Xdp, Program::Egress)] program: Program,
    #[values(0, 1, 2, 3, 4)] network: usize,
) {
    let mut talk = Conversation::new(NETWORKS[network]);
    let mut frames = talk.three_way_handshake();
    frames.push(talk.data(From::Client, &tls::client_hello("api.pinned.test", 500)));
    frames.push(talk.rst(From::Server));
    let mut refused = Conversation::new(NETWORKS[network]);
    refused.client_port += 1;
    frames.push(refused.three_way_handshake()[0].clone());
    frames.push(refused.rst(From::Server));
    let told = both(program, &frames);
    let told: Vec<_> = told.observations.iter().collect();
    let [hello, reset, refusal] = told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(hello.events, events::HELLO);
    assert_eq!(reset.events, events::RESET);
    for flow in [hello, reset].map(|it| &it.watched.flow) {
        let numbers = flow.syns.map(|syn| (syn.count, syn.ttl, syn.next_seq));
        let sides = [From::Client, From::Server];
        let [client, server] = sides.map(|from| talk.next(from));
        let hello_len = client.wrapping_sub(numbers[0].2);
        assert!(hello_len > 500 && hello_len < 600, "{hello_len}");
        assert_eq!(numbers[0], (1, talk.ttl[0], client - hello_len));
        assert_eq!(numbers[1], (1, talk.ttl[1], server));
    }
    assert_eq!(refusal.events, events::REFUSED);
    assert_eq!(refusal.sender, 1);
    let flow = &refusal.watched.flow;
    assert_eq!(flow.syns.map(|syn| syn.count), [1, 0]);
}

fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &ether_type.to_be_bytes(), payload].concat()
}

fn outer_ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (20 + payload.len() as u16).to_be_bytes();
    let header = [
        0x45, 0, high, low, 0, 1, 0x40, 0, 64, protocol, 0, 0, 198, 51, 100, 1, 198, 51, 100, 2,
    ];
    ethernet(0x0800, &[&header[..], payload].concat())
}

fn outer_udp(port: u16, header: &[u8], inner: &[u8]) -> Vec<u8> {
    let len = 8 + header.len() + inner.len();
    let words = [50_000, port, len as u16, 0].map(u16::to_be_bytes).concat();
    outer_ipv4(17, &[&words[..], header, inner].concat())
}

fn outer_ipv6_udp(port: u16, header: &[u8], inner: &[u8]) -> Vec<u8> {
    let len = 8 + header.len() + inner.len();
    let words = [50_000, port, len as u16, 0].map(u16::to_be_bytes).concat();
    let [high, low] = (len as u16).to_be_bytes();
    let addresses = [0x20; 32];
    let ip = [&[0x60, 0, 0, 0, high, low, 17, 64][..], &addresses].concat();
    ethernet(0x86dd, &[&ip[..], &words, header, inner].concat())
}

/// Puts a frame, or the packet in it, into a tunnel.
type Wrap = fn(&[u8]) -> Vec<u8>;

/// Live taps open what captures open, and tell the same of it.
#[rstest]
#[case::none(0, |frame: &[u8]| frame.to_vec(), None)]
#[case::vxlan(0, |frame: &[u8]| outer_udp(4789, &[8, 0, 0, 0, 0, 0, 77, 0], frame), Some((TunnelKind::Vxlan, Some(77))))]
#[case::vxlan_with_vlan_inside(1, |frame: &[u8]| outer_udp(8472, &[8, 0, 0, 0, 0, 0, 77, 0], frame), Some((TunnelKind::Vxlan, Some(77))))]
#[case::vxlan_over_ipv6(0, |frame: &[u8]| outer_ipv6_udp(4789, &[8, 0, 0, 0, 0, 0, 77, 0], frame), Some((TunnelKind::Vxlan, Some(77))))]
#[case::geneve(0, |frame: &[u8]| outer_udp(6081, &[2, 0, 0x65, 0x58, 0, 1, 0, 0, 1, 8, 1, 1, 9, 9, 9, 9], frame), Some((TunnelKind::Geneve, Some(256))))]
#[case::geneve_ip(0, |frame: &[u8]| outer_udp(6081, &[0, 0, 8, 0, 0, 1, 0, 0], &frame[14..]), Some((TunnelKind::Geneve, Some(256))))]
#[case::gre_key(0, |frame: &[u8]| outer_ipv4(47, &[&[0x20, 0, 8, 0, 0, 0, 0, 5][..], &frame[14..]].concat()), Some((TunnelKind::Gre, Some(5))))]
#[case::nvgre(0, |frame: &[u8]| outer_ipv4(47, &[&[0x20, 0, 0x65, 0x58, 0, 0, 7, 1][..], frame].concat()), Some((TunnelKind::Nvgre, Some(7))))]
#[case::erspan_2(0, |frame: &[u8]| outer_ipv4(47, &[&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 1, 0, 100, 0, 0, 0, 0][..], frame].concat()), Some((TunnelKind::Erspan, Some(100))))]
#[case::ip_in_ip(0, |frame: &[u8]| outer_ipv4(4, &frame[14..]), Some((TunnelKind::IpIp, None)))]
#[case::mpls(0, |frame: &[u8]| ethernet(0x8847, &[&[0, 1, 0, 64, 0, 2, 1, 64][..], &frame[14..]].concat()), Some((TunnelKind::Mpls, None)))]
#[case::gtp(0, |frame: &[u8]| outer_udp(2152, &[0x34, 255, 0, 55, 0, 0, 0, 5, 0, 0, 0, 0x85, 1, 0, 9, 0], &frame[14..]), Some((TunnelKind::Gtp, None)))]
fn tunnels_are_opened_the_same(
    #[values(Program::Xdp, Program::Egress)] program: Program,
    #[case] network: usize,
    #[case] wrap: Wrap,
    #[case] tunnel: Option<(TunnelKind, Option<u32>)>,
) {
    let options = ObjectOptions {
        tunnels: true,
        ..ObjectOptions::default()
    };
    let mut frames = refusal(NETWORKS[network]);
    frames.extend(success(NETWORKS[network]));
    let frames: Vec<_> = frames.iter().map(|frame| wrap(frame)).collect();
    let told = both_with(program, &options, &frames);
    let seen = told
        .observations
        .iter()
        .fold(0, |seen, it| seen | it.events);
    let wanted = events::HELLO | events::ALERT | events::FIN | events::RESET;
    assert_eq!(seen & wanted, wanted, "{seen:b}");
    for observation in &told.observations {
        let tag = TunnelTag(observation.key.tunnel);
        assert_eq!(tag.kind().map(|kind| (kind, tag.id())), tunnel);
    }
    // Where it is off, there is no TCP in the frames.
    if tunnel.is_some() {
        let mut kernel = Kernel::new(program, &ObjectOptions::default()).unwrap();
        for frame in &frames {
            kernel.frame(frame).unwrap();
        }
        assert_eq!(kernel.told(), Told::default());
    }
}

/// A download in the middle of which comes a reset that the client ignores, or one that destroys it.
fn reset_amid_data(outlived: bool) -> Vec<Vec<u8>> {
    let mut talk = Conversation::new(NETWORKS[0]);
    let mut frames = vec![talk.data(From::Client, &tls::client_hello("works.test", 500))];
    let flight = [tls::server_hello(0x1301, true), application_data(900)];
    frames.push(talk.data(From::Server, &flight.concat()));
    frames.push(talk.data(From::Client, &application_data(53)));
    frames.push(talk.data(From::Client, &application_data(300)));
    frames.push(talk.data(From::Server, &application_data(1200)));
    let reset = talk.rst(From::Server);
    frames.push(reset);
    let acknowledged = talk.ack(From::Client);
    for _ in 0..40 {
        frames.push(talk.data(From::Server, &application_data(1200)));
        let ack = if outlived {
            talk.ack(From::Client)
        } else {
            acknowledged.clone()
        };
        frames.push(ack);
    }
    frames.push(talk.fin(From::Server));
    if outlived {
        frames.push(talk.fin(From::Client));
    }
    frames
}

/// The segments after a reset do not use up the flow's observations, so that its real end is seen.
#[rstest]
fn a_reset_amid_data_is_told_the_same(
    #[values(Program::Xdp, Program::Egress)] program: Program,
    #[values(true, false)] outlived: bool,
) {
    let told = both(program, &reset_amid_data(outlived));
    let of = |event: u16| {
        let observations = told.observations.iter();
        observations.filter(|it| it.events & event != 0).count()
    };
    assert_eq!(of(events::RESET), 1);
    assert_eq!(of(events::OUTLIVED_RESET), usize::from(outlived));
    assert!((1..=5).contains(&of(events::SENT_AFTER_RESET)));
    assert_eq!(of(events::FIN), 1 + usize::from(outlived));
}

/// An alert in the segment of a reset is read; other bytes there, or in another place, are not.
#[rstest]
#[case::alert(tls::record(21, &[2, 48]), 1)]
#[case::handshake(tls::record(22, &[2, 48]), 0)]
fn an_alert_in_the_segment_of_a_reset_is_told_the_same(
    #[values(Program::Xdp, Program::Egress)] program: Program,
    #[case] payload: Vec<u8>,
    #[case] alerts: usize,
) {
    let mut talk = Conversation::new(NETWORKS[0]);
    let mut frames = vec![talk.data(From::Client, &tls::client_hello("works.test", 500))];
    let flight = [
        tls::server_hello(0xc02f, false),
        tls::record(22, &[11; 900]),
    ];
    frames.push(talk.data(From::Server, &flight.concat()));
    let next = talk.next(From::Client);
    let reset = |seq| talk.segment(From::Client, seq, &payload, |tcp| tcp.rst = true);
    frames.push(reset(next.wrapping_add(7)));
    frames.push(reset(next));
    let told = both(program, &frames);
    let alert = |it: &&detector_common::observation::Observation| it.events & events::ALERT != 0;
    assert_eq!(told.observations.iter().filter(alert).count(), alerts);
}

#[rstest]
fn a_success_is_told_the_same(
    #[values(Program::Xdp, Program::Egress)] program: Program,
    #[values(0, 3)] network: usize,
) {
    let told = both(program, &success(NETWORKS[network]));
    assert!(
        told.observations
            .iter()
            .any(|o| o.events & events::SETTLED != 0)
    );
    let last = told.observations.last().unwrap();
    assert_ne!(last.events & events::RESET, 0);
}

#[rstest]
fn tiny_segments_are_told_the_same(
    #[values(Program::Xdp, Program::Egress)] program: Program,
    #[values(1, 2, 3, 5, 6, 7, 8, 100)] size: usize,
) {
    let mut talk = Conversation::new(Network::Ipv4);
    let mut frames = talk.pieces(From::Client, &tls::client_hello("tiny.test", 120), size);
    let flight = [tls::server_hello(0xc02f, false), tls::record(21, &[2, 40])].concat();
    frames.extend(talk.pieces(From::Server, &flight, size));
    let told = both(program, &frames);
    assert!(
        told.observations
            .iter()
            .any(|o| o.events & events::ALERT != 0)
    );
}

#[rstest]
fn every_truncation_is_told_the_same(#[values(Program::Xdp, Program::Egress)] program: Program) {
    // BPF_PROG_TEST_RUN makes no socket buffer with less than an Ethernet and an IP header.
    let shortest = if program == Program::Xdp { 14 } else { 14 + 40 };
    let mut kernel = Kernel::new(program, &ObjectOptions::default()).unwrap();
    let mut host = Host::default();
    for network in NETWORKS {
        for frame in refusal(network) {
            for len in shortest..frame.len().min(400) {
                let cut = &frame[..len];
                kernel.frame(cut).unwrap();
                host.frame(cut);
                assert_eq!(kernel.told(), host.told(), "{network:?} cut to {len}");
            }
        }
    }
    assert_eq!(kernel.counters().unwrap(), host.counters());
}

#[test]
fn what_is_no_tls_costs_no_state() {
    let mut talk = Conversation::new(Network::Ipv4);
    let mut frames = vec![talk.data(From::Client, b"GET / HTTP/1.1\r\n\r\n")];
    frames.extend(talk.pieces(From::Server, &[0x17; 4000], 1000));
    // It begins like a hello and is none.
    frames.push(talk.data(From::Client, &[22]));
    frames.push(talk.data(From::Client, &[3, 1, 0, 200, 9, 9, 9]));
    frames.push(talk.fin(From::Client));
    let told = both(Program::Xdp, &frames);
    assert!(told.observations.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    /// Frames lost, doubled, swapped and damaged.
    #[test]
    fn disorder_and_damage_are_told_the_same(
        xdp: bool,
        tls13: bool,
        network in 0usize..5,
        changes in proptest::collection::vec((0u8..4, any::<u16>(), any::<u16>(), any::<u8>()), 0..12),
    ) {
        let network = NETWORKS[network];
        let mut frames = if tls13 { success(network) } else { refusal(network) };
        for (kind, at, place, value) in changes {
            let at = usize::from(at) % frames.len();
            match kind {
                0 if frames.len() > 1 => { frames.remove(at); }
                1 => { let twin = frames[at].clone(); frames.insert(at, twin); }
                2 => { let other = (at + 1) % frames.len(); frames.swap(at, other); }
                _ => {
                    let place = usize::from(place) % frames[at].len();
                    frames[at][place] = value;
                }
            }
        }
        both(if xdp { Program::Xdp } else { Program::Egress }, &frames);
    }
}

/// The state of a connection whose ports are used again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Left {
    /// Both sides closed.
    Closed,
    /// Reset by the client.
    Reset,
    /// The client closed, and the server never did.
    HalfClosed,
}

fn left(talk: &mut Conversation, left: Left) -> Vec<Vec<u8>> {
    match left {
        Left::Closed => vec![
            talk.fin(From::Client),
            talk.fin(From::Server),
            talk.ack(From::Client),
        ],
        Left::Reset => vec![talk.rst(From::Client)],
        Left::HalfClosed => vec![talk.fin(From::Client), talk.ack(From::Server)],
    }
}

/// A source port used again, with initial sequence numbers as far from the last ones as they may be.
#[rstest]
fn each_connection_on_the_same_ports_is_told(
    #[values(Program::Xdp, Program::Egress)] program: Program,
    #[values(Left::Closed, Left::Reset, Left::HalfClosed)] how: Left,
    #[values(true, false)] syn_is_seen: bool,
) {
    let mut frames = Vec::new();
    let mut talk = Conversation::new(Network::Ipv4);
    let steps = [0x1_0000, 0x4000_0000, 0x8000_0000, 0xf000_0000];
    for step in steps {
        let mut handshake = talk.three_way_handshake();
        if !syn_is_seen {
            handshake.drain(..2);
        }
        frames.extend(handshake);
        frames.push(talk.data(From::Client, &tls::client_hello("again.test", 500)));
        let flight = [
            tls::server_hello(0xc02f, false),
            tls::record(22, &tls::message(11, &[0; 900])),
        ];
        frames.push(talk.data(From::Server, &flight.concat()));
        frames.push(talk.data(From::Client, &tls::record(21, &[2, 46])));
        frames.extend(left(&mut talk, how));
        talk.seq = talk.seq.map(|seq| seq.wrapping_add(step));
    }
    let told = both(program, &frames);
    let count = |event: u16| {
        let told = told.observations.iter();
        told.filter(|it| it.events & event != 0).count()
    };
    assert_eq!((count(events::HELLO), count(events::ALERT)), (4, 4));
}

/// Anybody can send a SYN in a client's name: a connection that is under way goes on being followed.
#[rstest]
fn a_stray_syn_ends_nothing(#[values(Program::Xdp, Program::Egress)] program: Program) {
    let mut talk = Conversation::new(Network::Ipv4);
    let mut frames = talk.three_way_handshake();
    frames.push(talk.data(From::Client, &tls::client_hello("goes-on.test", 500)));
    frames.push(talk.segment(From::Client, 0x7000_0000, &[], |tcp| {
        tcp.syn = true;
        tcp.ack = false;
    }));
    frames.push(talk.data(From::Server, &tls::server_hello(0xc02f, false)));
    frames.push(talk.data(From::Client, &tls::record(21, &[2, 46])));
    frames.push(talk.fin(From::Client));
    let told = both(program, &frames);
    let [.., alert, fin] = told.observations.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!((alert.events, fin.events), (events::ALERT, events::FIN));
    assert_eq!((alert.measured.seq_ahead, fin.measured.seq_ahead), (0, 0));
}

/// A late copy of a connection's own SYN or hello begins nothing.
#[test]
fn retransmissions_begin_no_connection() {
    let mut talk = Conversation::new(Network::Ipv4);
    let handshake = talk.three_way_handshake();
    let hello = talk.data(From::Client, &tls::client_hello("once.test", 500));
    let server = talk.data(From::Server, &tls::server_hello(0xc02f, false));
    let mut frames = handshake.clone();
    frames.extend([hello.clone(), handshake[0].clone(), handshake[1].clone()]);
    frames.push(server);
    frames.extend(left(&mut talk, Left::Closed));
    frames.extend([handshake[0].clone(), hello, handshake[1].clone()]);
    let told = both(Program::Xdp, &frames);
    let hellos = told.observations.iter();
    assert_eq!(
        hellos.filter(|it| it.events & events::HELLO != 0).count(),
        1
    );
}

/// Frames of the short run; `TLSWHY_FRAMES` asks for more.
const FRAMES: u64 = 4_000;
/// Conversations whose frames are mixed.
const AT_ONCE: usize = 8;

/// Returns a conversation of any kind. Its addresses and ports are those of `number`, which most often is its own:
/// with another's from long ago it would depend on the clock whether they are used again.
fn conversation(number: u32, random: &mut Random) -> Vec<Vec<u8>> {
    let mut talk = Conversation::new(NETWORKS[random.below(NETWORKS.len())]);
    talk.client = number >> 6;
    talk.client_port = 40_000 + (number % 64) as u16;
    talk.seq = [random.u32(), random.u32()];
    talk.ttl = [64, random.between(40, 255) as u8];
    let mut frames = talk.three_way_handshake();
    frames.truncate(random.below(4));
    let hello = tls::client_hello("any.test", random.between(60, 2_500) as usize);
    let size = [1, 3, 7, 100, 536, 1448, 9_000][random.below(7)];
    frames.extend(talk.pieces(From::Client, &hello, size.max(hello.len() / 40)));
    for _ in 0..random.below(12) {
        let from = [From::Client, From::Server][random.below(2)];
        let len = random.below(1_500);
        let body = random.bytes(len);
        let bytes = match random.below(9) {
            0 => tls::server_hello(0x1301, true),
            1 => tls::server_hello(0xc02f, false),
            2 => tls::record(22, &tls::message(11, &body)),
            3 => tls::record(21, &[2, random.below(120) as u8]),
            4 => tls::record(20, &[1]),
            5 => body,
            6 => tls::record(random.below(256) as u8, &body),
            _ => tls::record(23, &body),
        };
        frames.extend(talk.pieces(from, &bytes, size.max(bytes.len() / 12 + 1)));
        if random.one_in(4) {
            frames.push(talk.ack([From::Client, From::Server][random.below(2)]));
        }
    }
    let from = [From::Client, From::Server][random.below(2)];
    match random.below(5) {
        0 => frames.push(talk.rst(from)),
        1 => frames.push(talk.fin(from)),
        2 => frames.extend([talk.fin(from), talk.rst(from)]),
        3 => {
            let far = talk.next(from).wrapping_add(random.u32());
            frames.push(talk.segment(from, far, &[], |tcp| tcp.rst = true));
        }
        _ => {}
    }
    frames
}

/// Damages a frame: a bit, a byte, its end, or a length, a flag or a number of its headers.
fn damaged(mut frame: Vec<u8>, random: &mut Random) -> Vec<u8> {
    let len = frame.len();
    let in_headers = len.min(90);
    match random.below(6) {
        0 => frame[random.below(len)] ^= 1 << random.below(8),
        1 => frame[random.below(in_headers)] = random.bytes(1)[0],
        // BPF_PROG_TEST_RUN makes no socket buffer with less than an Ethernet and an IP header.
        2 => frame.truncate(random.between(54, len as u64) as usize),
        3 => {
            let at = random.below(in_headers.saturating_sub(2));
            let value = [0, 1, 0x7fff, 0x8000, 0xffff, random.u16()][random.below(6)];
            frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
        }
        4 => {
            let len = random.below(60);
            frame.extend(random.bytes(len));
        }
        _ => {
            let (from, to) = (random.below(len), random.below(len));
            frame.swap(from, to);
        }
    }
    frame
}

/// Returns the counters, with frames that are not IP among those that are not TCP: damage can make a protocol that of
/// a tunnel, into which captures look, and taps only where they are told to.
fn counts(counters: Vec<(Counter, u64)>) -> Vec<(Counter, u64)> {
    let not_tcp = [Counter::NotIp, Counter::NotTcp];
    let (together, mut counts): (Vec<_>, Vec<_>) = counters
        .into_iter()
        .partition(|(counter, _)| not_tcp.contains(counter));
    counts.push((
        Counter::NotTcp,
        together.iter().map(|(_, count)| count).sum(),
    ));
    counts
}

/// Runs generated and mutated frames of mixed conversations through both; demands the same of every frame.
fn told_the_same(program: Program, halves: bool, seed: u64, frames: u64) {
    let mut random = Random::new(seed);
    let options = ObjectOptions {
        halves,
        ..ObjectOptions::default()
    };
    let mut kernel = Kernel::new(program, &options).unwrap();
    let mut host = Host::with_options(&options);
    let began = Instant::now();
    let mut talks: Vec<(usize, std::vec::IntoIter<Vec<u8>>)> = Vec::new();
    let mut last: VecDeque<Vec<u8>> = VecDeque::new();
    let (mut run, mut number) = (0, 0);
    while run < frames {
        // Two that begin at once may share a slot of baselines on one host and not on the other.
        if talks.len() < AT_ONCE && talks.iter().all(|(sent, _)| *sent > 3) {
            number += u32::from(!random.one_in(6));
            let mut talk = conversation(number, &mut random);
            if halves && !random.one_in(4) {
                talk = halves::only([From::Client, From::Server][random.below(2)], talk);
            }
            talks.push((0, talk.into_iter()));
        }
        let place = random.below(talks.len());
        talks[place].0 += 1;
        let Some(mut frame) = talks[place].1.next() else {
            talks.swap_remove(place);
            continue;
        };
        match random.below(20) {
            // Lost.
            0 => continue,
            1 | 2 => frame = damaged(frame, &mut random),
            // Sent again, or late.
            3 if !last.is_empty() => frame = last[random.below(last.len())].clone(),
            _ => {}
        }
        // Both clocks are this machine's: a pause between two frames is one for both.
        let elapsed = began.elapsed().as_nanos() as u64;
        kernel.frame(&frame).unwrap();
        host.frame_at(&frame, elapsed);
        run += 1;
        let (by_kernel, by_host) = (kernel.told(), host.told());
        assert!(
            by_kernel == by_host,
            "seed {seed}, {program:?}, frame {run}: {frame:02x?}\nkernel {by_kernel:?}\nhost {by_host:?}"
        );
        if last.len() == 16 {
            last.pop_front();
        }
        last.push_back(frame);
    }
    assert_eq!(
        counts(kernel.counters().unwrap()),
        counts(host.counters()),
        "seed {seed}"
    );
    let of = |wanted| {
        host.counters()
            .iter()
            .find(|(it, _)| *it == wanted)
            .unwrap()
            .1
    };
    assert!(
        of(Counter::Started) > frames / 100,
        "hardly any connection began"
    );
    println!(
        "{program:?}, seed {seed}: {run} frames, {} connections, no difference",
        of(Counter::Started)
    );
}

#[rstest]
fn generated_frames_are_told_the_same(
    #[values(Program::Xdp, Program::Egress)] program: Program,
    #[values(false, true)] halves: bool,
) {
    let wanted = std::env::var("TLSWHY_FRAMES").ok();
    let frames = wanted.map_or(FRAMES, |it| it.parse().expect("TLSWHY_FRAMES is a number"));
    // Fresh tables now and then: what one damaged frame leaves behind does not hide the next.
    let runs = frames.div_ceil(100_000).max(1);
    let seed = std::env::var("TLSWHY_SEED").map_or(1, |it| it.parse().expect("a number"));
    for run in 0..runs {
        told_the_same(program, halves, seed + run, frames / runs);
    }
}
