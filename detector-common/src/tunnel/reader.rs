//! Reading a frame from the outside in.

use crate::bytes::{be16, be32, u8_at};
use crate::headers::{LinkType, ppp_protocol};
use crate::tunnel::kind::{TunnelKind, TunnelTag};

pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const ETHERNET_BRIDGED: u16 = 0x6558;
/// MPLS labels (RFC 3032) stepped over.
const LABELS_MAX: usize = 8;

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

/// A position in a frame that is read from the outside in.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) frame: &'a [u8],
    pub(super) at: usize,
}

impl Reader<'_> {
    pub(super) fn peek<const N: usize>(&self) -> Option<&[u8; N]> {
        self.frame.get(self.at..)?.first_chunk()
    }

    pub(super) fn skip(&mut self, len: usize) {
        self.at = self.at.saturating_add(len);
    }

    pub(super) fn inner(self, link: LinkType, kind: TunnelKind, id: Option<u32>) -> Option<Inner> {
        (self.at < self.frame.len()).then(|| Inner {
            offset: self.at,
            link,
            tunnel: TunnelTag::new(kind, id),
        })
    }

    /// The inner frame of an EtherType that a tunnel names.
    pub(super) fn typed(self, ether_type: u16, kind: TunnelKind, id: Option<u32>) -> Option<Inner> {
        match ether_type {
            IPV4 | IPV6 => self.inner(LinkType::Raw, kind, id),
            ETHERNET_BRIDGED => self.inner(LinkType::Ethernet, kind, id),
            _ => None,
        }
    }
}

pub(super) fn ip_ether_type(reader: &Reader<'_>) -> Option<u16> {
    match u8_at(reader.peek::<1>()?, 0) >> 4 {
        4 => Some(IPV4),
        6 => Some(IPV6),
        _ => None,
    }
}

/// A PPP frame (RFC 1661), with or without address and control, its protocol in one byte or two.
pub(super) fn in_ppp(mut reader: Reader<'_>, kind: TunnelKind) -> Option<Inner> {
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

pub(super) fn in_mpls(mut reader: Reader<'_>) -> Option<Inner> {
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
