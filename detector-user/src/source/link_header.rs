//! Link headers that only captures have: from a frame of any link type to one that the engine reads.
//!
//! Formats: <https://www.tcpdump.org/linktypes.html>, and the headers of the systems that write them.

use detector_common::headers::{self, Segment, Tap, walk};
use detector_common::tunnel::innermost;

use crate::source::capture::{Frame, LinkType};
use crate::source::unread::Unread;

/// A frame without the header of its link type: offset, and the header that it then begins with.
type Peeled = (usize, headers::LinkType);

/// Link types within link types that are opened.
const LEVELS_MAX: usize = 2;

/// Returns a captured frame's segment, behind link headers and tunnels, and its payload as far as it was
/// captured; `None` if it has none.
pub fn segment<'a>(frame: &Frame<'a>, vlan_in_key: bool) -> Option<(Segment, &'a [u8])> {
    let (offset, link) = peel(frame.link_type, frame.captured).ok()?;
    let bytes = frame.captured.get(offset..)?;
    let inner = innermost(bytes, link);
    let bytes = bytes.get(inner.offset..)?;
    let tap = Tap {
        link: inner.link,
        interface: frame.interface,
        egress: false,
        vlan_in_key,
        tunnel: inner.tunnel.0,
    };
    let segment = walk(&bytes, &tap).ok()?;
    let payload = bytes.get(segment.payload_offset..).unwrap_or_default();
    let present = (segment.payload_len as usize).min(payload.len());
    Some((segment, payload.get(..present).unwrap_or_default()))
}

/// Removes a frame's link header where the engine does not read it.
///
/// # Errors
/// The frame's protocol if it carries no IP, or its link type if that is not known.
pub fn peel(link: LinkType, frame: &[u8]) -> Result<Peeled, Unread> {
    let (mut link, mut offset) = (link, 0);
    for _ in 0..LEVELS_MAX {
        let rest = frame.get(offset..).unwrap_or_default();
        let Some((len, inner)) = wrapped(link, rest) else {
            break;
        };
        (link, offset) = (inner, offset + len);
    }
    let rest = frame.get(offset..).unwrap_or_default();
    let (len, link) = known(link, rest)?;
    Ok(((offset + len).min(frame.len()), link))
}

/// Returns the link type that another one carries, and the length of the header before it.
fn wrapped(link: LinkType, frame: &[u8]) -> Option<(usize, LinkType)> {
    match link {
        LinkType::PKTAP | LinkType::USER2 => pktap(frame),
        // The header's length and the link type behind it, little-endian.
        LinkType::PPI => {
            let header: &[u8; 8] = frame.first_chunk()?;
            let [_, _, len_low, len_high, link @ ..] = *header;
            let len = usize::from(u16::from_le_bytes([len_low, len_high]));
            Some((len, LinkType(u32::from_le_bytes(link))))
        }
        _ => None,
    }
}

/// Parses Apple's PKTAP (xnu, `bsd/net/pktap.h`): length, type of the contents, and their link
/// type, all in the byte order of the machine, which has been little-endian since there is a PKTAP.
fn pktap(frame: &[u8]) -> Option<(usize, LinkType)> {
    const PACKET: u32 = 1;
    const LEN_MIN: usize = 40;
    const LEN_MAX: usize = 1024;
    let word = |at: usize| {
        let bytes = frame.get(at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    };
    let len = word(0)? as usize;
    let plausible = (LEN_MIN..=LEN_MAX).contains(&len) && word(4)? == PACKET;
    plausible.then_some((len, LinkType(word(8)?)))
}

fn known(link: LinkType, frame: &[u8]) -> Result<Peeled, Unread> {
    use headers::LinkType::{Ethernet, LinuxSll, LinuxSll2, Null, Raw};
    let raw_after = |len| Ok((len, Raw));
    match link {
        LinkType::ETHERNET => Ok(behind_time_tag(frame).map_or((0, Ethernet), |len| (len, Raw))),
        LinkType::LINUX_SLL => Ok((0, LinuxSll)),
        LinkType::LINUX_SLL2 => Ok((0, LinuxSll2)),
        LinkType::NULL | LinkType::LOOP => Ok((0, Null)),
        link if link.is_raw() => raw_after(0),
        // The first byte is the header's length without its padding; systems' headers differ.
        LinkType::PFLOG => {
            raw_after(usize::from(frame.first().copied().unwrap_or(0)).next_multiple_of(4))
        }
        // Address family, SPI and flags.
        LinkType::ENC => raw_after(12),
        LinkType::NFLOG => nflog(frame),
        // Version, families, lengths, interfaces and zones (Solaris, `inet/ipnet.h`).
        LinkType::IPNET => raw_after(24),
        LinkType::PPP => ppp(frame, 0),
        LinkType::PPP_HDLC | LinkType::C_HDLC => hdlc(frame),
        // Version, code, session and length (RFC 2516).
        LinkType::PPP_ETHER => ppp(frame, 6),
        // A byte for the direction, then what PPP has.
        LinkType::PPP_WITH_DIR => ppp(frame, 1),
        // A byte for the direction in place of the address, and the control byte.
        LinkType::PPP_PPPD => ppp(frame, 2),
        _ => Err(Unread::LinkType(link.0)),
    }
}

/// Returns the place of the IP header in an Ethernet frame with Cisco's time tag (TTag, Nexus 9000): six bytes of
/// time, then an EtherType. The tag's own EtherType is none that is registered: the operator sets it, so that what
/// follows tells.
fn behind_time_tag(frame: &[u8]) -> Option<usize> {
    const TIME: usize = 6;
    // IP, ARP, VLAN tags, and what else the engine or tunnels read.
    const KNOWN: [u16; 15] = [
        0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x9100, 0x9200, 0x8847, 0x8848, 0x8864, 0x88e7,
        0x8909, 0x8926, 0x892f, 0x894f,
    ];
    let word = |at: usize| Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?));
    let mut at = 12;
    while matches!(word(at)?, 0x8100 | 0x88a8) && at < 20 {
        at += 4;
    }
    let tag = word(at)?;
    if tag <= 1500 || KNOWN.contains(&tag) {
        return None;
    }
    let ip = at + 2 + TIME + 2;
    let first = *frame.get(ip)?;
    let is_ip = match word(ip - 2)? {
        0x0800 => (0x45..=0x4f).contains(&first),
        0x86dd => first >> 4 == 6,
        _ => false,
    };
    is_ip.then_some(ip)
}

/// Parses PPP, with or without address and control (RFC 1662), or Cisco's HDLC in its place.
fn ppp(frame: &[u8], at: usize) -> Result<Peeled, Unread> {
    match frame.get(at..).unwrap_or_default() {
        [0xff, 0x03, ..] => ppp_protocol(frame, at + 2),
        [0x0f | 0x8f, 0, ..] => cisco(frame, at + 2),
        _ => ppp_protocol(frame, at),
    }
}

/// Parses PPP in HDLC-like framing, or Cisco's HDLC: address and control come first in any case.
fn hdlc(frame: &[u8]) -> Result<Peeled, Unread> {
    match frame {
        [0xff, 0x03, ..] => ppp_protocol(frame, 2),
        _ => cisco(frame, 2),
    }
}

fn cisco(frame: &[u8], at: usize) -> Result<Peeled, Unread> {
    match frame.get(at..).and_then(|rest| rest.first_chunk()) {
        Some([0x08, 0x00] | [0x86, 0xdd]) | None => Ok((at + 2, headers::LinkType::Raw)),
        Some(other) => Err(Unread::EtherType(u16::from_be_bytes(*other))),
    }
}

/// Parses a protocol field of one byte, which is odd, or two (RFC 1661 §6.5).
fn ppp_protocol(frame: &[u8], at: usize) -> Result<Peeled, Unread> {
    let (protocol, len) = match frame.get(at..).unwrap_or_default() {
        [first, ..] if first & 1 == 1 => (u16::from(*first), 1),
        [high, low, ..] => (u16::from_be_bytes([*high, *low]), 2),
        _ => return Ok((frame.len(), headers::LinkType::Raw)),
    };
    match protocol {
        0x0021 | 0x0057 => Ok((at + len, headers::LinkType::Raw)),
        other => Err(Unread::PppProtocol(other)),
    }
}

/// Parses Linux's netfilter log: family, version, resource, then attributes in the byte order of
/// the machine that wrote them, of which one is the packet.
fn nflog(frame: &[u8]) -> Result<Peeled, Unread> {
    let payload = nflog_payload(frame, u16::from_le_bytes)
        .or_else(|| nflog_payload(frame, u16::from_be_bytes));
    payload
        .map(|at| (at, headers::LinkType::Raw))
        .ok_or(Unread::LinkType(LinkType::NFLOG.0))
}

fn nflog_payload(frame: &[u8], number: fn([u8; 2]) -> u16) -> Option<usize> {
    const PAYLOAD: u16 = 9;
    const ATTRIBUTES_MAX: usize = 64;
    let mut at = 4;
    for _ in 0..ATTRIBUTES_MAX {
        let [a, b, c, d] = *frame.get(at..)?.first_chunk()?;
        let (len, kind) = (usize::from(number([a, b])), number([c, d]));
        if kind == PAYLOAD {
            return (len >= 4).then_some(at + 4);
        }
        if len < 4 {
            return None;
        }
        at += len.next_multiple_of(4);
    }
    None
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const IP: &[u8] = &[0x45, 0, 0, 40];

    fn header(bytes: &[u8], len: usize) -> Vec<u8> {
        let mut header = bytes.to_vec();
        header.resize(len, 0);
        header
    }

    /// As macOS writes it, with the DLT of the contents.
    fn pktap_header(link: u8) -> Vec<u8> {
        header(
            &[108, 0, 0, 0, 1, 0, 0, 0, link, 0, 0, 0, b'e', b'n', b'0'],
            108,
        )
    }

    fn nflog_header(number: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let attribute = |len: u16, kind: u16| [number(len), number(kind)].concat();
        [
            &[2, 0, 0, 5][..],
            &attribute(8, 1),
            &[0x08, 0, 1, 0],
            // A prefix of three bytes, padded.
            &attribute(7, 10),
            b"up\0\0",
            &attribute(4 + IP.len() as u16, 9),
        ]
        .concat()
    }

    #[rstest]
    #[case::pflog_openbsd(117, header(&[61, 2], 64))]
    #[case::pflog_pfsense(117, header(&[69, 2], 72))]
    #[case::pflog_new(117, header(&[100, 2], 100))]
    #[case::enc(109, header(&[2, 0, 0, 0], 12))]
    #[case::nflog(239, nflog_header(u16::to_le_bytes))]
    #[case::nflog_big_endian(239, nflog_header(u16::to_be_bytes))]
    #[case::ipnet(226, header(&[1, 2], 24))]
    #[case::ppp(9, vec![0xff, 3, 0, 0x21])]
    #[case::ppp_bare(9, vec![0, 0x21])]
    #[case::ppp_short_protocol(9, vec![0x21])]
    #[case::ppp_cisco(9, vec![0x0f, 0, 8, 0])]
    #[case::ppp_hdlc(50, vec![0xff, 3, 0, 0x21])]
    #[case::cisco_hdlc(104, vec![0x8f, 0, 8, 0])]
    #[case::ppp_in_cisco_hdlc(104, vec![0xff, 3, 0, 0x21])]
    #[case::pppoe(51, vec![0x11, 0, 0, 1, 0, 6, 0, 0x21])]
    #[case::ppp_pppd(166, vec![1, 3, 0, 0x21])]
    #[case::ppp_with_direction(204, vec![1, 0xff, 3, 0, 0x21])]
    #[case::raw_bsd(12, vec![])]
    #[case::raw_openbsd(14, vec![])]
    #[case::raw(101, vec![])]
    #[case::ipv4(228, vec![])]
    #[case::pktap_of_raw(258, pktap_header(12))]
    #[case::pktap_of_ppp(149, [pktap_header(9), vec![0xff, 3, 0, 0x21]].concat())]
    #[case::time_tag(1, tagged(&[0x88, 0xb5, 0, 1, 2, 3, 4, 5, 8, 0]))]
    #[case::time_tag_in_vlan(1, tagged(&[0x81, 0, 0, 7, 0x12, 0x34, 0, 1, 2, 3, 4, 5, 8, 0]))]
    #[case::ppi(192, vec![0, 0, 8, 0, 101, 0, 0, 0])]
    fn ip_follows(#[case] link: u32, #[case] header: Vec<u8>) {
        let frame = [&header, IP].concat();
        let raw = headers::LinkType::Raw;
        assert_eq!(peel(LinkType(link), &frame), Ok((header.len(), raw)));
        // Cut anywhere, it stays within its bytes.
        for len in 0..frame.len() {
            if let Ok((offset, _)) = peel(LinkType(link), &frame[..len]) {
                assert!(offset <= len);
            }
        }
    }

    /// MAC addresses, and what follows them.
    fn tagged(tags: &[u8]) -> Vec<u8> {
        [&[2; 12], tags].concat()
    }

    #[rstest]
    #[case::arp(&[8, 6, 0, 1, 8, 0, 6, 4, 8, 0])]
    #[case::no_ip_behind(&[0x88, 0xb5, 0, 1, 2, 3, 4, 5, 8, 6])]
    #[case::length(&[0, 40, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0])]
    #[case::security_tag(&[0x89, 9, 1, 1, 0, 1, 0, 16, 8, 0])]
    fn other_tags_are_the_engines(#[case] tags: &[u8]) {
        let frame = [&tagged(tags), IP].concat();
        let ethernet = headers::LinkType::Ethernet;
        assert_eq!(peel(LinkType::ETHERNET, &frame), Ok((0, ethernet)));
    }

    #[test]
    fn ethernet_follows_pktap() {
        let frame = [pktap_header(1), vec![0; 14]].concat();
        let ethernet = headers::LinkType::Ethernet;
        assert_eq!(peel(LinkType::PKTAP, &frame), Ok((108, ethernet)));
    }

    #[rstest]
    #[case::lcp(9, vec![0xff, 3, 0xc0, 0x21], Unread::PppProtocol(0xc021))]
    #[case::cisco_keepalive(104, vec![0x8f, 0, 0x80, 0x35], Unread::EtherType(0x8035))]
    #[case::pktap_of_wifi(258, pktap_header(127), Unread::LinkType(127))]
    #[case::no_pktap(149, vec![0; 64], Unread::LinkType(149))]
    #[case::unknown(4711, vec![0; 64], Unread::LinkType(4711))]
    fn what_is_not_read_is_named(
        #[case] link: u32,
        #[case] frame: Vec<u8>,
        #[case] unread: Unread,
    ) {
        assert_eq!(peel(LinkType(link), &frame), Err(unread));
    }
}
