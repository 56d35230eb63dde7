//! Tunnels and mirror protocols: from an outer frame to the one it carries.
//!
//! Inner addresses make the flow. An identifier that is the same in both directions (VNI, VSID, GRE
//! key, mirror session) becomes part of its key; identifiers that each direction has of its own
//! (MPLS labels, GTP TEIDs, L2TP sessions) do not.

use crate::bytes::{be16, be32, u8_at};
use crate::headers::{LinkType, link_layer, ppp_protocol};

/// Tunnels within tunnels that are opened.
pub const LEVELS_MAX: usize = 2;

/// IPv6 extension headers stepped over in an outer header.
const EXTENSIONS_MAX: usize = 4;
/// MPLS labels (RFC 3032) stepped over.
const LABELS_MAX: usize = 8;
/// GTP-U extension headers (3GPP TS 29.281 §5.2) stepped over.
const GTP_EXTENSIONS_MAX: usize = 4;
/// TZSP tagged fields stepped over.
const TZSP_TAGS_MAX: usize = 16;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ETHERNET_BRIDGED: u16 = 0x6558;
const MPLS_UNICAST: u16 = 0x8847;
const MPLS_MULTICAST: u16 = 0x8848;
const NSH: u16 = 0x894f;
const PBB: u16 = 0x88e7;
const ERSPAN_I_II: u16 = 0x88be;
const ERSPAN_III: u16 = 0x22eb;
const PPP: u16 = 0x880b;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $number:literal => $name:literal,)*) => {
        /// Protocols whose inner frames are read.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum TunnelKind { $($(#[$doc])* $variant = $number,)* }

        impl TunnelKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in verdicts.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

kinds! {
    /// RFC 7348, and its Generic Protocol Extension.
    Vxlan = 1 => "vxlan",
    /// RFC 8926.
    Geneve = 2 => "geneve",
    /// RFC 2784 and 2890; of version 1 (PPTP, RFC 2637) as well.
    Gre = 3 => "gre",
    /// RFC 7637.
    Nvgre = 4 => "nvgre",
    /// ERSPAN types I to III, inside GRE.
    Erspan = 5 => "erspan",
    /// IP in IP: RFC 2003, 2473 and 4213.
    IpIp = 6 => "ipip",
    /// RFC 3032, and Ethernet pseudowires (RFC 4448).
    Mpls = 7 => "mpls",
    /// 3GPP TS 29.281.
    Gtp = 8 => "gtp-u",
    /// TaZmen Sniffer Protocol, as access points and MikroTik routers mirror.
    Tzsp = 9 => "tzsp",
    /// RFC 2661 data messages.
    L2tp = 10 => "l2tp",
    /// RFC 3378.
    EtherIp = 11 => "etherip",
    /// Generic UDP Encapsulation, variants 0 and 1.
    Gue = 12 => "gue",
    /// RFC 8300.
    Nsh = 13 => "nsh",
    /// IEEE 802.1ah.
    Pbb = 14 => "pbb",
    /// HP's encapsulated remote mirroring (UDP port 7932).
    HpErm = 15 => "hp-erm",
}

/// A tunnel as it stands in a flow's key: its kind in the high byte, its identifier in the low three.
///
/// 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TunnelTag(pub u32);

/// Stands for an identifier that there is none of, or that three bytes can't hold.
const NO_ID: u32 = 0xff_ffff;

impl TunnelTag {
    fn new(kind: TunnelKind, id: Option<u32>) -> Self {
        let id = id.filter(|id| *id < NO_ID).unwrap_or(NO_ID);
        Self((kind as u32) << 24 | id)
    }

    /// The outermost tunnel's kind, if there is one.
    pub fn kind(self) -> Option<TunnelKind> {
        let number = (self.0 >> 24) as u8;
        TunnelKind::ALL
            .iter()
            .copied()
            .find(|kind| *kind as u8 == number)
    }

    /// Its identifier, where both directions share one below 2^24 - 1.
    pub fn id(self) -> Option<u32> {
        let id = self.0 & NO_ID;
        (self.0 != 0 && id != NO_ID).then_some(id)
    }
}

/// A frame inside another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Where it begins in the outer frame.
    pub offset: usize,
    /// Its link layer.
    pub link: LinkType,
    /// Its tunnel; the outermost of several.
    pub tunnel: TunnelTag,
}

/// The innermost frame of `frame`, which is itself where nothing is tunnelled. Opens at most
/// [`LEVELS_MAX`] tunnels.
pub fn innermost(frame: &[u8], link: LinkType) -> Inner {
    let mut found = Inner {
        offset: 0,
        link,
        tunnel: TunnelTag::default(),
    };
    for _ in 0..LEVELS_MAX {
        let Some(bytes) = frame.get(found.offset..) else {
            break;
        };
        let Some(inner) = inner(bytes, found.link) else {
            break;
        };
        found = Inner {
            offset: found.offset + inner.offset,
            link: inner.link,
            tunnel: if found.tunnel.0 == 0 {
                inner.tunnel
            } else {
                found.tunnel
            },
        };
    }
    found
}

/// A position in a frame that is read from the outside in.
#[derive(Clone, Copy)]
struct Reader<'a> {
    frame: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek<const N: usize>(&self) -> Option<&[u8; N]> {
        self.frame.get(self.at..)?.first_chunk()
    }

    fn skip(&mut self, len: usize) {
        self.at = self.at.saturating_add(len);
    }

    fn inner(self, link: LinkType, kind: TunnelKind, id: Option<u32>) -> Option<Inner> {
        (self.at < self.frame.len()).then(|| Inner {
            offset: self.at,
            link,
            tunnel: TunnelTag::new(kind, id),
        })
    }

    /// The inner frame of an EtherType that a tunnel names.
    fn typed(self, ether_type: u16, kind: TunnelKind, id: Option<u32>) -> Option<Inner> {
        match ether_type {
            IPV4 | IPV6 => self.inner(LinkType::Raw, kind, id),
            ETHERNET_BRIDGED => self.inner(LinkType::Ethernet, kind, id),
            _ => None,
        }
    }
}

fn inner(frame: &[u8], link: LinkType) -> Option<Inner> {
    let network = link_layer(&frame, link).ok()?;
    let mut reader = Reader {
        frame,
        at: network.offset,
    };
    match network.ether_type {
        IPV4 => in_ipv4(reader),
        IPV6 => in_ipv6(reader),
        MPLS_UNICAST | MPLS_MULTICAST => in_mpls(reader),
        NSH => in_nsh(reader),
        PBB => {
            reader.skip(4);
            reader.inner(LinkType::Ethernet, TunnelKind::Pbb, None)
        }
        _ => None,
    }
}

fn ip_ether_type(reader: &Reader<'_>) -> Option<u16> {
    match u8_at(reader.peek::<1>()?, 0) >> 4 {
        4 => Some(IPV4),
        6 => Some(IPV6),
        _ => None,
    }
}

fn in_ipv4(mut reader: Reader<'_>) -> Option<Inner> {
    let header = reader.peek::<20>()?;
    let header_len = usize::from(u8_at(header, 0) & 0x0f) * 4;
    // A fragment, the first too, has only a part of the inner frame.
    if u8_at(header, 0) >> 4 != 4 || header_len < 20 || be16(header, 6) & 0x3fff != 0 {
        return None;
    }
    let protocol = u8_at(header, 9);
    reader.skip(header_len);
    in_protocol(reader, protocol)
}

fn in_ipv6(mut reader: Reader<'_>) -> Option<Inner> {
    let header = reader.peek::<40>()?;
    if u8_at(header, 0) >> 4 != 6 {
        return None;
    }
    let mut next = u8_at(header, 6);
    reader.skip(40);
    for _ in 0..EXTENSIONS_MAX {
        // Hop-by-hop, routing and destination options (RFC 8200 §4); fragments are not joined.
        if !matches!(next, 0 | 43 | 60) {
            break;
        }
        let extension = reader.peek::<2>()?;
        let len = (usize::from(u8_at(extension, 1)) + 1) * 8;
        next = u8_at(extension, 0);
        reader.skip(len);
    }
    in_protocol(reader, next)
}

fn in_protocol(mut reader: Reader<'_>, protocol: u8) -> Option<Inner> {
    match protocol {
        4 | 41 => {
            ip_ether_type(&reader)?;
            reader.inner(LinkType::Raw, TunnelKind::IpIp, None)
        }
        17 => in_udp(reader),
        47 => in_gre(reader),
        97 => {
            let version = be16(reader.peek::<2>()?, 0);
            reader.skip(2);
            let inner = reader.inner(LinkType::Ethernet, TunnelKind::EtherIp, None)?;
            (version == 0x3000).then_some(inner)
        }
        137 => in_mpls(reader),
        _ => None,
    }
}

fn in_udp(mut reader: Reader<'_>) -> Option<Inner> {
    let header = reader.peek::<8>()?;
    let (source, destination) = (be16(header, 0), be16(header, 2));
    reader.skip(8);
    match destination {
        // 8472 is where Linux sent VXLAN before the port was assigned.
        4789 | 8472 => in_vxlan(reader),
        4790 => in_vxlan_gpe(reader),
        6081 => in_geneve(reader),
        6080 => in_gue(reader),
        2152 => in_gtp(reader),
        6635 => in_mpls(reader),
        37008 => in_tzsp(reader),
        7932 if source == 7932 => {
            reader.skip(12);
            reader.inner(LinkType::Ethernet, TunnelKind::HpErm, None)
        }
        1701 => in_l2tp(reader),
        _ if source == 1701 => in_l2tp(reader),
        _ => None,
    }
}

fn in_vxlan(mut reader: Reader<'_>) -> Option<Inner> {
    let header = reader.peek::<8>()?;
    let has_vni = u8_at(header, 0) & 0x08 != 0;
    let vni = be32(header, 4) >> 8;
    reader.skip(8);
    let inner = reader.inner(LinkType::Ethernet, TunnelKind::Vxlan, Some(vni))?;
    has_vni.then_some(inner)
}

fn in_vxlan_gpe(mut reader: Reader<'_>) -> Option<Inner> {
    let header = reader.peek::<8>()?;
    let link = match u8_at(header, 3) {
        1 | 2 => LinkType::Raw,
        3 => LinkType::Ethernet,
        _ => return None,
    };
    let vni = be32(header, 4) >> 8;
    reader.skip(8);
    reader.inner(link, TunnelKind::Vxlan, Some(vni))
}

fn in_geneve(mut reader: Reader<'_>) -> Option<Inner> {
    let header = reader.peek::<8>()?;
    let version = u8_at(header, 0) >> 6;
    let options_len = usize::from(u8_at(header, 0) & 0x3f) * 4;
    let (protocol, vni) = (be16(header, 2), be32(header, 4) >> 8);
    reader.skip(8 + options_len);
    let inner = reader.typed(protocol, TunnelKind::Geneve, Some(vni))?;
    (version == 0).then_some(inner)
}

/// draft-ietf-intarea-gue: variant 0 has a header, variant 1 is IP at once.
fn in_gue(mut reader: Reader<'_>) -> Option<Inner> {
    let header = reader.peek::<4>()?;
    let (first, protocol) = (u8_at(header, 0), u8_at(header, 1));
    if first >> 6 == 1 {
        ip_ether_type(&reader)?;
        return reader.inner(LinkType::Raw, TunnelKind::Gue, None);
    }
    if first & 0xe0 != 0 {
        return None;
    }
    reader.skip(4 + usize::from(first & 0x1f) * 4);
    match protocol {
        4 | 41 => reader.inner(LinkType::Raw, TunnelKind::Gue, None),
        _ => None,
    }
}

fn in_gtp(mut reader: Reader<'_>) -> Option<Inner> {
    const USER_DATA: u8 = 255;
    let header = reader.peek::<8>()?;
    let flags = u8_at(header, 0);
    // Version 1, GTP rather than GTP'.
    if flags & 0xf0 != 0x30 || u8_at(header, 1) != USER_DATA {
        return None;
    }
    reader.skip(8);
    if flags & 0x07 != 0 {
        let optional = reader.peek::<4>()?;
        let mut next = if flags & 0x04 != 0 {
            u8_at(optional, 3)
        } else {
            0
        };
        reader.skip(4);
        for _ in 0..GTP_EXTENSIONS_MAX {
            if next == 0 {
                break;
            }
            let len = usize::from(u8_at(reader.peek::<1>()?, 0)) * 4;
            if len == 0 {
                return None;
            }
            reader.skip(len - 1);
            next = u8_at(reader.peek::<1>()?, 0);
            reader.skip(1);
        }
    }
    ip_ether_type(&reader)?;
    reader.inner(LinkType::Raw, TunnelKind::Gtp, None)
}

fn in_tzsp(mut reader: Reader<'_>) -> Option<Inner> {
    const PADDING: u8 = 0;
    const END: u8 = 1;
    let header = reader.peek::<4>()?;
    let is_frame = u8_at(header, 0) == 1 && matches!(u8_at(header, 1), 0 | 1);
    if !is_frame || be16(header, 2) != 1 {
        return None;
    }
    reader.skip(4);
    for _ in 0..TZSP_TAGS_MAX {
        match u8_at(reader.peek::<1>()?, 0) {
            END => {
                reader.skip(1);
                return reader.inner(LinkType::Ethernet, TunnelKind::Tzsp, None);
            }
            PADDING => reader.skip(1),
            _ => {
                let len = usize::from(u8_at(reader.peek::<2>()?, 1));
                reader.skip(2 + len);
            }
        }
    }
    None
}

fn in_l2tp(mut reader: Reader<'_>) -> Option<Inner> {
    const CONTROL: u16 = 0x8000;
    const LENGTH: u16 = 0x4000;
    const SEQUENCE: u16 = 0x0800;
    const OFFSET: u16 = 0x0200;
    let flags = be16(reader.peek::<2>()?, 0);
    if flags & CONTROL != 0 || flags & 0x000f != 2 {
        return None;
    }
    reader.skip(2 + 4);
    for (flag, len) in [(LENGTH, 2), (SEQUENCE, 4)] {
        if flags & flag != 0 {
            reader.skip(len);
        }
    }
    if flags & OFFSET != 0 {
        let padding = usize::from(be16(reader.peek::<2>()?, 0));
        reader.skip(2 + padding);
    }
    in_ppp(reader, TunnelKind::L2tp)
}

/// A PPP frame (RFC 1661), with or without address and control, its protocol in one byte or two.
fn in_ppp(mut reader: Reader<'_>, kind: TunnelKind) -> Option<Inner> {
    if be16(reader.peek::<2>()?, 0) == 0xff03 {
        reader.skip(2);
    }
    let (protocol, len) = ppp_protocol(be16(reader.peek::<2>()?, 0));
    reader.skip(len);
    match protocol {
        0x0021 | 0x0057 => reader.inner(LinkType::Raw, kind, None),
        _ => None,
    }
}

fn in_gre(mut reader: Reader<'_>) -> Option<Inner> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const ACKNOWLEDGMENT: u16 = 0x0080;
    let header = reader.peek::<4>()?;
    let (flags, protocol) = (be16(header, 0), be16(header, 2));
    if flags & ROUTING != 0 {
        return None;
    }
    reader.skip(4);
    if flags & CHECKSUM != 0 {
        reader.skip(4);
    }
    let mut key = None;
    if flags & KEY != 0 {
        key = Some(be32(reader.peek::<4>()?, 0));
        reader.skip(4);
    }
    if flags & SEQUENCE != 0 {
        reader.skip(4);
    }
    match (flags & 0x0007, protocol) {
        (1, PPP) => {
            if flags & ACKNOWLEDGMENT != 0 {
                reader.skip(4);
            }
            in_ppp(reader, TunnelKind::Gre)
        }
        (0, ERSPAN_I_II) if flags & SEQUENCE == 0 => {
            reader.inner(LinkType::Ethernet, TunnelKind::Erspan, None)
        }
        (0, ERSPAN_I_II | ERSPAN_III) => in_erspan(reader),
        (0, ETHERNET_BRIDGED) if key.is_some() => {
            let vsid = key.map(|key| key >> 8);
            reader.inner(LinkType::Ethernet, TunnelKind::Nvgre, vsid)
        }
        (0, MPLS_UNICAST | MPLS_MULTICAST) => in_mpls(reader),
        (0, _) => reader.typed(protocol, TunnelKind::Gre, key),
        _ => None,
    }
}

/// draft-foschiano-erspan: types II and III, told by the version in the header itself.
fn in_erspan(mut reader: Reader<'_>) -> Option<Inner> {
    let header = reader.peek::<8>()?;
    let session = u32::from(be16(header, 2) & 0x03ff);
    let len = match u8_at(header, 0) >> 4 {
        1 => 8,
        2 => {
            let last = u8_at(reader.peek::<12>()?, 11);
            // The O flag announces a platform-specific subheader.
            if last & 1 != 0 { 20 } else { 12 }
        }
        _ => return None,
    };
    reader.skip(len);
    reader.inner(LinkType::Ethernet, TunnelKind::Erspan, Some(session))
}

fn in_mpls(mut reader: Reader<'_>) -> Option<Inner> {
    const BOTTOM_OF_STACK: u32 = 0x100;
    for _ in 0..LABELS_MAX {
        let label = be32(reader.peek::<4>()?, 0);
        reader.skip(4);
        if label & BOTTOM_OF_STACK == 0 {
            continue;
        }
        if ip_ether_type(&reader).is_some() {
            return reader.inner(LinkType::Raw, TunnelKind::Mpls, None);
        }
        // An Ethernet pseudowire with its control word, whose first nibble is 0.
        let control = u8_at(reader.peek::<1>()?, 0);
        reader.skip(if control >> 4 == 0 { 4 } else { 0 });
        return reader.inner(LinkType::Ethernet, TunnelKind::Mpls, None);
    }
    None
}

fn in_nsh(mut reader: Reader<'_>) -> Option<Inner> {
    let header = reader.peek::<8>()?;
    let len = usize::from(be16(header, 0) & 0x003f) * 4;
    let link = match u8_at(header, 3) {
        1 | 2 => LinkType::Raw,
        3 => LinkType::Ethernet,
        _ => return None,
    };
    reader.skip(len.max(8));
    reader.inner(link, TunnelKind::Nsh, None)
}
