//! The walk from link layer to TCP payload, against frames that etherparse builds.
#![expect(
    clippy::unwrap_used,
    reason = "a frame that cannot be built is a failed test"
)]

use detector_common::counter::Counter;
use detector_common::headers::{LinkType, Segment, Tap, tcp_flags, walk};
use etherparse::{PacketBuilder, TcpHeader, VlanId};
use proptest::prelude::*;
use rstest::rstest;

const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVER: [u8; 6] = [2, 0, 0, 0, 0, 2];
const PAYLOAD: &[u8] = b"sixteen bytes of";

fn tap(link: LinkType) -> Tap {
    Tap {
        link,
        interface: 3,
        egress: false,
        vlan_in_key: true,
        tunnel: 0,
    }
}

fn walked(frame: &[u8], link: LinkType) -> Result<Segment, Counter> {
    let mut segment = walk(&frame, &tap(link))?;
    segment.order_endpoints();
    Ok(segment)
}

fn tcp() -> TcpHeader {
    let mut tcp = TcpHeader::new(40_112, 443, 7, 502);
    tcp.ack = true;
    tcp.acknowledgment_number = 9;
    tcp.psh = true;
    tcp.set_options_raw(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2])
        .unwrap();
    tcp
}

/// IPv4 from its header on.
fn ipv4() -> Vec<u8> {
    let mut packet = Vec::new();
    let step = PacketBuilder::ipv4([10, 0, 1, 2], [10, 0, 2, 2], 61).tcp_header(tcp());
    step.write(&mut packet, PAYLOAD).unwrap();
    packet
}

fn ipv6() -> Vec<u8> {
    let mut packet = Vec::new();
    let step = PacketBuilder::ipv6([1; 16], [2; 16], 61).tcp_header(tcp());
    step.write(&mut packet, PAYLOAD).unwrap();
    packet
}

fn ethernet(ether_type: u16, rest: &[u8]) -> Vec<u8> {
    [&SERVER[..], &CLIENT, &ether_type.to_be_bytes(), rest].concat()
}

/// Puts IPv6 extension headers before TCP: a list of (type, body behind the type byte).
fn extended(extensions: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut packet = ipv6();
    let mut chain = Vec::new();
    for (index, (_, body)) in extensions.iter().enumerate() {
        chain.push(extensions.get(index + 1).map_or(6, |(kind, _)| *kind));
        chain.extend(body);
    }
    packet[6] = extensions[0].0;
    let length = u16::from_be_bytes([packet[4], packet[5]]) + chain.len() as u16;
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    packet.splice(40..40, chain);
    packet
}

/// Options of `units` times eight bytes.
fn options(units: u8) -> Vec<u8> {
    let mut body = vec![0; usize::from(units) * 8 - 1];
    body[0] = units - 1;
    body
}

fn fragment(offset: u16) -> Vec<u8> {
    let place = (offset << 3 | 1).to_be_bytes();
    vec![0, place[0], place[1], 0, 0, 0, 1]
}

#[rstest]
#[case::ethernet(LinkType::Ethernet, ethernet(0x0800, &ipv4()), [0, 0])]
#[case::ethernet_ipv6(LinkType::Ethernet, ethernet(0x86dd, &ipv6()), [0, 0])]
#[case::one_tag(LinkType::Ethernet, ethernet(0x8100, &[&[0x60, 100, 8, 0][..], &ipv4()].concat()), [100, 0])]
#[case::two_tags(LinkType::Ethernet, ethernet(0x88a8, &[&[0, 100, 0x81, 0, 0, 7, 0x86, 0xdd][..], &ipv6()].concat()), [100, 7])]
#[case::three_tags(LinkType::Ethernet, ethernet(0x9100, &[&[0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3, 8, 0][..], &ipv4()].concat()), [1, 2])]
#[case::pppoe(LinkType::Ethernet, ethernet(0x8864, &[&[0x11, 0, 0, 1, 0, 70, 0, 0x21][..], &ipv4()].concat()), [0, 0])]
#[case::pppoe_ipv6(LinkType::Ethernet, ethernet(0x8864, &[&[0x11, 0, 0, 1, 0, 90, 0, 0x57][..], &ipv6()].concat()), [0, 0])]
#[case::tagged_pppoe(LinkType::Ethernet, ethernet(0x8100, &[&[0, 9, 0x88, 0x64, 0x11, 0, 0, 1, 0, 70, 0, 0x21][..], &ipv4()].concat()), [9, 0])]
#[case::pppoe_compressed_protocol(LinkType::Ethernet, ethernet(0x8864, &[&[0x11, 0, 0, 1, 0, 69, 0x21][..], &ipv4()].concat()), [0, 0])]
#[case::tag_9200(LinkType::Ethernet, ethernet(0x9200, &[&[0, 5, 8, 0][..], &ipv4()].concat()), [5, 0])]
#[case::cisco_metadata(LinkType::Ethernet, ethernet(0x8909, &[&[1, 1, 0, 1, 0, 2, 8, 0][..], &ipv4()].concat()), [0, 0])]
#[case::vn_tag_and_vlan(LinkType::Ethernet, ethernet(0x8926, &[&[0, 0, 0, 0x14, 0x81, 0, 0, 101, 8, 0][..], &ipv4()].concat()), [101, 0])]
#[case::hsr(LinkType::Ethernet, ethernet(0x892f, &[&[0x10, 70, 0, 1, 8, 0][..], &ipv4()].concat()), [0, 0])]
#[case::snap(LinkType::Ethernet, ethernet(80, &[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &ipv4()].concat()), [0, 0])]
#[case::snap_in_a_vlan(LinkType::Ethernet, ethernet(0x8100, &[&[0, 9, 0, 80, 0xaa, 0xaa, 3, 0, 0, 0, 0x86, 0xdd][..], &ipv6()].concat()), [9, 0])]
#[case::raw(LinkType::Raw, ipv4(), [0, 0])]
#[case::raw_ipv6(LinkType::Raw, ipv6(), [0, 0])]
#[case::null(LinkType::Null, [&[2, 0, 0, 0][..], &ipv4()].concat(), [0, 0])]
#[case::null_ipv6(LinkType::Null, [&[0, 0, 0, 30][..], &ipv6()].concat(), [0, 0])]
#[case::cooked(LinkType::LinuxSll, [&[0, 0, 0, 1, 0, 6][..], &CLIENT, &[0, 0, 8, 0], &ipv4()].concat(), [0, 0])]
#[case::cooked_v2(LinkType::LinuxSll2, [&[8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6][..], &CLIENT, &[0, 0], &ipv4()].concat(), [0, 0])]
#[case::hop_by_hop(LinkType::Raw, extended(&[(0, options(1))]), [0, 0])]
#[case::all_extensions(LinkType::Raw, extended(&[(0, options(1)), (43, options(3)), (60, options(2)), (44, fragment(0))]), [0, 0])]
fn every_way_down_ends_at_the_same_segment(
    #[case] link: LinkType,
    #[case] frame: Vec<u8>,
    #[case] vlan: [u16; 2],
) {
    let segment = walked(&frame, link).unwrap();
    assert_eq!(segment.vlan, vlan);
    assert_eq!((segment.seq, segment.ack, segment.window), (7, 9, 502));
    assert_eq!((segment.ttl, segment.options_len), (61, 12));
    assert!(segment.has(tcp_flags::ACK) && !segment.has(tcp_flags::RST | tcp_flags::FIN));
    assert_eq!(segment.payload_len as usize, PAYLOAD.len());
    assert_eq!(&frame[segment.payload_offset..], PAYLOAD);
    let mac = if matches!(link, LinkType::Raw | LinkType::Null) {
        0
    } else {
        0x0200_0000_0001
    };
    assert_eq!(segment.source_mac, mac);
    let mut ports = segment.key.ports;
    ports.rotate_left(usize::from(segment.endpoint));
    assert_eq!(ports, [40_112, 443]);
}

#[rstest]
#[case::arp(LinkType::Ethernet, ethernet(0x0806, &[0; 28]), Counter::NotIp)]
#[case::spanning_tree(LinkType::Ethernet, ethernet(38, &[0x42, 0x42, 3, 0, 0, 0, 0, 0]), Counter::NotIp)]
#[case::udp(LinkType::Raw, { let mut p = ipv4(); p[9] = 17; p }, Counter::NotTcp)]
#[case::udp_in_ipv6(LinkType::Raw, { let mut p = ipv6(); p[6] = 17; p }, Counter::NotTcp)]
#[case::later_fragment(LinkType::Raw, { let mut p = ipv4(); p[7] = 9; p }, Counter::LaterFragment)]
#[case::later_fragment_ipv6(LinkType::Raw, extended(&[(44, fragment(9))]), Counter::LaterFragment)]
#[case::short_ipv4_header(LinkType::Raw, { let mut p = ipv4(); p[0] = 0x44; p }, Counter::MalformedHeaders)]
#[case::short_tcp_header(LinkType::Raw, { let mut p = ipv4(); p[32] = 0x40; p }, Counter::MalformedHeaders)]
#[case::ip_shorter_than_tcp(LinkType::Raw, { let mut p = ipv4(); p[3] = 30; p }, Counter::MalformedHeaders)]
#[case::five_tags(LinkType::Ethernet, ethernet(0x8100, &[&[0, 1, 0x81, 0].repeat(5)[..], &ipv4()].concat()), Counter::TooManyHeaders)]
#[case::seven_extensions(LinkType::Raw, extended(&vec![(60, options(1)); 7]), Counter::TooManyHeaders)]
#[case::empty(LinkType::Ethernet, vec![], Counter::TruncatedHeaders)]
fn what_is_no_segment_says_why(
    #[case] link: LinkType,
    #[case] frame: Vec<u8>,
    #[case] why: Counter,
) {
    assert_eq!(walked(&frame, link), Err(why));
}

/// Ethernet pads short frames: the datagram's own length counts.
#[test]
fn padding_is_no_payload() {
    let builder = PacketBuilder::ethernet2(CLIENT, SERVER).ipv4([10, 0, 1, 2], [10, 0, 2, 2], 64);
    let mut frame = Vec::new();
    builder.tcp(1, 2, 3, 4).write(&mut frame, b"x").unwrap();
    frame.resize(60, 0xee);
    assert_eq!(walked(&frame, LinkType::Ethernet).unwrap().payload_len, 1);
}

/// BIG TCP leaves the length zero: the frame's own counts.
#[test]
fn a_length_of_zero_is_the_frames() {
    let mut packet = ipv4();
    packet[2..4].fill(0);
    assert_eq!(
        walked(&packet, LinkType::Raw).unwrap().payload_len as usize,
        PAYLOAD.len()
    );
}

#[test]
fn both_directions_have_one_key() {
    let there = walked(&ethernet(0x0800, &ipv4()), LinkType::Ethernet).unwrap();
    let builder = PacketBuilder::ethernet2(SERVER, CLIENT)
        .single_vlan(VlanId::try_new(0).unwrap())
        .ipv4([10, 0, 2, 2], [10, 0, 1, 2], 64);
    let mut frame = Vec::new();
    builder
        .tcp(443, 40_112, 3, 4)
        .write(&mut frame, b"x")
        .unwrap();
    let back = walked(&frame, LinkType::Ethernet).unwrap();
    assert_eq!(there.key, back.key);
    assert_ne!(there.endpoint, back.endpoint);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_frames_do_no_harm(frame in proptest::collection::vec(any::<u8>(), 0..200), link in 0usize..5) {
        let links = [LinkType::Ethernet, LinkType::LinuxSll, LinkType::LinuxSll2, LinkType::Raw, LinkType::Null];
        let _ = walked(&frame, links[link]);
    }

    /// A frame cut within its headers is reported as truncated; the walk never reads beyond it.
    #[test]
    fn truncation_is_said(len in 0usize..80) {
        let frame = ethernet(0x86dd, &extended(&[(0, options(1))]));
        let cut = &frame[..len.min(frame.len())];
        let result = walked(cut, LinkType::Ethernet);
        // Ethernet, IPv6, eight bytes of options, TCP without its options.
        if cut.len() < 14 + 40 + 8 + 20 {
            prop_assert_eq!(result, Err(Counter::TruncatedHeaders));
        }
    }
}
