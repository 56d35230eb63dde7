//! Frames inside frames.

use detector_common::headers::{LinkType, Tap, walk};
use detector_common::tunnel::{TunnelKind, TunnelTag, innermost};
use proptest::prelude::*;
use rstest::rstest;

const ETHERNET: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&ETHERNET[..], &ether_type.to_be_bytes(), payload].concat()
}

fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (20 + payload.len() as u16).to_be_bytes();
    let header = [
        0x45, 0, high, low, 0, 1, 0x40, 0, 64, protocol, 0, 0, 198, 51, 100, 1, 198, 51, 100, 2,
    ];
    [&header[..], payload].concat()
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    let mut header = vec![0x60, 0, 0, 0, high, low, next, 64];
    header.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    header.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    [&header[..], payload].concat()
}

fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let len = (8 + payload.len() as u16).to_be_bytes();
    let ports = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    [&ports[..], &len, &[0, 0], payload].concat()
}

/// A TCP segment in IPv4: 40 bytes and a payload.
fn packet() -> Vec<u8> {
    let tcp = [
        0x9c, 0x40, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 1, 0, 0, 0, 0, 0,
    ];
    let mut packet = ipv4(6, &[&tcp[..], b"payload"].concat());
    packet[12..20].copy_from_slice(&[192, 0, 2, 10, 192, 0, 2, 80]);
    packet
}

fn frame() -> Vec<u8> {
    ethernet(0x0800, &packet())
}

fn over_udp(port: u16, header: &[u8], inner: &[u8]) -> Vec<u8> {
    ethernet(
        0x0800,
        &ipv4(17, &udp(50_000, port, &[header, inner].concat())),
    )
}

fn over_gre(header: &[u8], inner: &[u8]) -> Vec<u8> {
    ethernet(0x0800, &ipv4(47, &[header, inner].concat()))
}

#[rstest]
#[case::vxlan(over_udp(4789, &[8, 0, 0, 0, 0, 0, 77, 0], &frame()), TunnelKind::Vxlan, Some(77))]
#[case::vxlan_linux_port(over_udp(8472, &[8, 0, 0, 0, 0, 0, 77, 0], &frame()), TunnelKind::Vxlan, Some(77))]
#[case::vxlan_gpe(over_udp(4790, &[0x0c, 0, 0, 1, 0, 0, 9, 0], &packet()), TunnelKind::Vxlan, Some(9))]
#[case::geneve(over_udp(6081, &[0, 0, 8, 0, 0, 0, 9, 0], &packet()), TunnelKind::Geneve, Some(9))]
#[case::geneve_options(
    over_udp(6081, &[2, 0, 0x65, 0x58, 0, 1, 0, 0, 1, 8, 1, 1, 9, 9, 9, 9], &frame()),
    TunnelKind::Geneve,
    Some(256)
)]
#[case::gue(over_udp(6080, &[0, 4, 0, 0], &packet()), TunnelKind::Gue, None)]
#[case::gue_direct(over_udp(6080, &[], &[&[0x45][..], &packet()[1..]].concat()), TunnelKind::Gue, None)]
#[case::gtp(over_udp(2152, &[0x30, 255, 0, 47, 0, 0, 0, 5], &packet()), TunnelKind::Gtp, None)]
#[case::gtp_extension(
    over_udp(2152, &[0x34, 255, 0, 55, 0, 0, 0, 5, 0, 0, 0, 0x85, 1, 0, 9, 0], &packet()),
    TunnelKind::Gtp,
    None
)]
#[case::tzsp(over_udp(37008, &[1, 0, 0, 1, 0, 10, 1, 7, 1], &frame()), TunnelKind::Tzsp, None)]
#[case::l2tp(over_udp(1701, &[0, 2, 0, 7, 0, 9, 0, 0x21], &packet()), TunnelKind::L2tp, None)]
#[case::l2tp_length_and_address(
    over_udp(1701, &[0x40, 2, 0, 60, 0, 7, 0, 9, 0xff, 3, 0, 0x21], &packet()),
    TunnelKind::L2tp,
    None
)]
#[case::hp_erm(
    ethernet(0x0800, &ipv4(17, &udp(7932, 7932, &[&[0; 12][..], &frame()].concat()))),
    TunnelKind::HpErm,
    None
)]
#[case::gre(over_gre(&[0, 0, 8, 0], &packet()), TunnelKind::Gre, None)]
#[case::gre_key(over_gre(&[0x20, 0, 8, 0, 0, 0, 0, 5], &packet()), TunnelKind::Gre, Some(5))]
#[case::gre_all(
    over_gre(&[0xb0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1], &packet()),
    TunnelKind::Gre,
    Some(5)
)]
#[case::gre_long_key(over_gre(&[0x20, 0, 8, 0, 1, 0, 0, 5], &packet()), TunnelKind::Gre, None)]
#[case::nvgre(over_gre(&[0x20, 0, 0x65, 0x58, 0, 0, 7, 1], &frame()), TunnelKind::Nvgre, Some(7))]
#[case::pptp(
    over_gre(&[0x30, 0x81, 0x88, 0x0b, 0, 49, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 3, 0x21], &packet()),
    TunnelKind::Gre,
    None
)]
#[case::erspan_1(over_gre(&[0, 0, 0x88, 0xbe], &frame()), TunnelKind::Erspan, None)]
#[case::erspan_2(
    over_gre(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 1, 0, 100, 0, 0, 0, 0], &frame()),
    TunnelKind::Erspan,
    Some(100)
)]
#[case::erspan_3(
    over_gre(&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 1, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0], &frame()),
    TunnelKind::Erspan,
    Some(100)
)]
#[case::ip_in_ip(ethernet(0x0800, &ipv4(4, &packet())), TunnelKind::IpIp, None)]
#[case::ip_in_ipv6(ethernet(0x86dd, &ipv6(4, &packet())), TunnelKind::IpIp, None)]
#[case::ip_in_ipv6_options(
    ethernet(0x86dd, &ipv6(60, &[&[4, 0, 1, 4, 0, 0, 0, 0][..], &packet()].concat())),
    TunnelKind::IpIp,
    None
)]
#[case::ether_ip(ethernet(0x0800, &ipv4(97, &[&[0x30, 0][..], &frame()].concat())), TunnelKind::EtherIp, None)]
#[case::mpls(ethernet(0x8847, &[&[0, 6, 64, 9, 0, 0xc, 0x81, 9][..], &packet()].concat()), TunnelKind::Mpls, None)]
#[case::mpls_pseudowire(
    ethernet(0x8847, &[&[0, 6, 65, 9, 0, 0, 0, 0][..], &frame()].concat()),
    TunnelKind::Mpls,
    None
)]
#[case::nsh(
    ethernet(0x894f, &[&[0, 2, 1, 3, 0, 0, 1, 255][..], &frame()].concat()),
    TunnelKind::Nsh,
    None
)]
#[case::pbb(ethernet(0x88e7, &[&[0, 0, 1, 0][..], &frame()].concat()), TunnelKind::Pbb, None)]
#[case::behind_a_vlan_tag(
    [&ETHERNET[..], &[0x81, 0, 0, 7, 8, 0], &ipv4(4, &packet())].concat(),
    TunnelKind::IpIp,
    None
)]
fn the_inner_segment_is_the_plain_one(
    #[case] outer: Vec<u8>,
    #[case] kind: TunnelKind,
    #[case] id: Option<u32>,
) {
    let inner = innermost(&outer, LinkType::Ethernet);
    let tag = inner.tunnel;
    assert_eq!((tag.kind(), tag.id()), (Some(kind), id));
    let tap = Tap {
        link: inner.link,
        interface: 1,
        egress: false,
        vlan_in_key: true,
        tunnel: 0,
    };
    let plain = walk(
        &packet().as_slice(),
        &Tap {
            link: LinkType::Raw,
            ..tap
        },
    )
    .unwrap();
    let found = walk(&&outer[inner.offset..], &tap).unwrap();
    assert_eq!(
        (found.key, found.payload_len, found.ttl),
        (plain.key, 7, 64)
    );
}

/// GENEVE inside VXLAN is opened; the verdict names the outer one. A third level stays closed.
#[test]
fn two_levels_are_opened() {
    let geneve = over_udp(6081, &[0, 0, 8, 0, 0, 0, 9, 0], &packet());
    let vxlan = over_udp(4789, &[8, 0, 0, 0, 0, 0, 77, 0], &geneve);
    let inner = innermost(&vxlan, LinkType::Ethernet);
    assert_eq!(vxlan[inner.offset..], packet());
    let tag = inner.tunnel;
    assert_eq!((tag.kind(), tag.id()), (Some(TunnelKind::Vxlan), Some(77)));
    let third = ethernet(0x0800, &ipv4(4, &[ipv4(4, &ipv4(4, &packet()))].concat()));
    let inner = innermost(&third, LinkType::Ethernet);
    assert_eq!(third[inner.offset..], ipv4(4, &packet()));
}

#[rstest]
#[case::plain(frame())]
#[case::vxlan_without_vni(over_udp(4789, &[0, 0, 0, 0, 0, 0, 77, 0], &frame()))]
#[case::l2tp_control(over_udp(1701, &[0xc8, 2, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0], &[]))]
#[case::gtp_echo(over_udp(2152, &[0x32, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0], &packet()))]
#[case::dns(over_udp(53, &[0; 12], &packet()))]
#[case::arp(ethernet(0x0806, &[0; 28]))]
fn nothing_else_is_opened(#[case] outer: Vec<u8>) {
    let inner = innermost(&outer, LinkType::Ethernet);
    assert_eq!((inner.offset, inner.tunnel), (0, TunnelTag::default()));
}

/// Only the first fragment has the inner headers, and it lacks the rest of the frame.
#[test]
fn fragments_are_left_alone() {
    let mut first = ethernet(0x0800, &ipv4(4, &packet()));
    first[14 + 6] = 0x20;
    assert_eq!(innermost(&first, LinkType::Ethernet).offset, 0);
}

proptest! {
    /// With any bytes, the inner frame lies within the outer.
    #[test]
    fn the_inner_frame_lies_within(
        kind in 0usize..10,
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        cut in 0usize..200,
    ) {
        let ports = [4789, 4790, 6081, 6080, 2152, 37008, 1701, 8472];
        let mut outer = match kind {
            0 => ethernet(0x0800, &ipv4(47, &noise)),
            1 => ethernet(0x8847, &noise),
            number => over_udp(ports[number - 2], &noise, &[]),
        };
        outer.truncate(cut);
        let inner = innermost(&outer, LinkType::Ethernet);
        prop_assert!(inner.offset <= outer.len());
        prop_assert_eq!(inner.offset == 0, inner.tunnel == TunnelTag::default());
    }
}
