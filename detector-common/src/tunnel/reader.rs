//! Reading a frame from the outside in.

use core::num::NonZeroU64;

use crate::bytes::{be16, be32, u8_at};
use crate::headers::{LinkType, ppp_protocol};
use crate::packet::Packet;
use crate::tunnel::kind::{TunnelKind, TunnelTag};

pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const ETHERNET_BRIDGED: u16 = 0x6558;
/// MPLS labels (RFC 3032) stepped over.
const LABELS_MAX: usize = 8;

/// No inner frame is looked for from here on. Far below what the verifier takes: that of Linux 6.1 bounds one copy of an
/// offset where another is used, which has this bound alone.
const OFFSET_MAX: usize = 0x3fff;

/// A frame inside another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Its offset in the outer frame.
    pub offset: usize,
    /// Its link layer.
    pub link: LinkType,
    /// Its tunnel; the outermost of several.
    pub tunnel: TunnelTag,
}

/// The place of an inner frame, in one word of which no bit is undefined where there is none: the eBPF
/// verifier takes no arithmetic on what a register happened to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(NonZeroU64);

impl Place {
    const RAW: u64 = 1 << 16;
    const SOME: u64 = 1 << 17;

    #[inline(always)]
    fn new(offset: usize, link: LinkType, tunnel: TunnelTag) -> Option<Self> {
        let raw = if matches!(link, LinkType::Raw) {
            Self::RAW
        } else {
            0
        };
        let offset = offset as u64 & OFFSET_MAX as u64;
        NonZeroU64::new(u64::from(tunnel.0) << 32 | Self::SOME | raw | offset).map(Self)
    }

    /// Whether it is as far in as offsets go: the frame may begin further in.
    #[inline(always)]
    pub(super) const fn is_last(self) -> bool {
        self.word() & OFFSET_MAX as u64 == OFFSET_MAX as u64
    }

    /// Returns the word.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0.get()
    }

    /// Returns the place that a word stands for; of 0 the outer frame itself, as if it were Ethernet's.
    #[inline(always)]
    pub const fn read(word: u64) -> Inner {
        Inner {
            offset: word as usize & OFFSET_MAX,
            link: if word & Self::RAW != 0 {
                LinkType::Raw
            } else {
                LinkType::Ethernet
            },
            tunnel: TunnelTag((word >> 32) as u32),
        }
    }
}

/// A position in a frame that is read from the outside in.
pub(super) struct Reader<'a, P> {
    pub(super) packet: &'a P,
    pub(super) at: usize,
}

impl<'a, P: Packet> Reader<'a, P> {
    #[inline(always)]
    pub(super) fn peek<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.packet.far_window(self.at)
    }

    #[inline(always)]
    pub(super) fn skip(&mut self, len: usize) {
        let at = self.at.saturating_add(len).min(OFFSET_MAX);
        self.at = self.packet.black_box(at as u32) as usize & OFFSET_MAX;
    }

    #[inline(always)]
    pub(super) fn inner(self, link: LinkType, kind: TunnelKind, id: Option<u32>) -> Option<Place> {
        self.peek::<1>()?;
        Place::new(self.at, link, TunnelTag::new(kind, id))
    }

    /// Returns the inner frame of an EtherType that a tunnel names.
    #[inline(always)]
    pub(super) fn typed(self, ether_type: u16, kind: TunnelKind, id: Option<u32>) -> Option<Place> {
        match ether_type {
            IPV4 | IPV6 => self.inner(LinkType::Raw, kind, id),
            ETHERNET_BRIDGED => self.inner(LinkType::Ethernet, kind, id),
            _ => None,
        }
    }
}

#[inline(always)]
pub(super) fn ip_ether_type<P: Packet>(reader: &Reader<'_, P>) -> Option<u16> {
    match u8_at(reader.peek::<1>()?, 0) >> 4 {
        4 => Some(IPV4),
        6 => Some(IPV6),
        _ => None,
    }
}

/// Parses a PPP frame (RFC 1661), with or without address and control, its protocol in one byte or
/// two.
#[inline(always)]
pub(super) fn in_ppp<P: Packet>(mut reader: Reader<'_, P>, kind: TunnelKind) -> Option<Place> {
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

#[inline(always)]
pub(super) fn in_mpls<P: Packet>(mut reader: Reader<'_, P>) -> Option<Place> {
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
