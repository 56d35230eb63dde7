//! Link types by their number in the registry of the pcap and pcapng formats.

use std::fmt;

/// A value of the LINKTYPE_ registry (<https://www.tcpdump.org/linktypes.html>): the first
/// header of a captured frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u32);

impl LinkType {
    /// BSD loopback: the protocol family in the capturing host's byte order.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// PPP, with or without HDLC-like framing.
    pub const PPP: Self = Self(9);
    /// PPP in HDLC-like framing, or Cisco's HDLC.
    pub const PPP_HDLC: Self = Self(50);
    /// PPPoE session frames without an Ethernet header.
    pub const PPP_ETHER: Self = Self(51);
    /// An IPv4 or IPv6 header at once.
    pub const RAW: Self = Self(101);
    /// Cisco's HDLC.
    pub const C_HDLC: Self = Self(104);
    /// OpenBSD loopback: the protocol family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture, version 1.
    pub const LINUX_SLL: Self = Self(113);
    /// OpenBSD's decrypted IPsec.
    pub const ENC: Self = Self(109);
    /// The log of the packet filter PF.
    pub const PFLOG: Self = Self(117);
    /// Reserved for private use; Apple's PKTAP before it had a number.
    pub const USER2: Self = Self(149);
    /// PPP as pppd records it: a direction in place of the address.
    pub const PPP_PPPD: Self = Self(166);
    /// Per-packet information, then another link type.
    pub const PPI: Self = Self(192);
    /// PPP after a byte for the direction.
    pub const PPP_WITH_DIR: Self = Self(204);
    /// Solaris's IP network interface.
    pub const IPNET: Self = Self(226);
    /// An IPv4 header at once.
    pub const IPV4: Self = Self(228);
    /// An IPv6 header at once.
    pub const IPV6: Self = Self(229);
    /// Linux's netfilter log.
    pub const NFLOG: Self = Self(239);
    /// Apple's PKTAP: metadata, then another link type.
    pub const PKTAP: Self = Self(258);
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);

    /// Whether an IP header comes at once. 12 and 14 were written by programs that took a system's
    /// own DLT_RAW for the registry's.
    #[must_use]
    pub const fn is_raw(self) -> bool {
        matches!(self, Self::RAW | Self::IPV4 | Self::IPV6 | Self(12 | 14))
    }

    /// Returns the registry's name without the prefix `LINKTYPE_`, where it is a known one.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "NULL",
            1 => "ETHERNET",
            3 => "AX25",
            6 => "IEEE802_5",
            7 => "ARCNET_BSD",
            8 => "SLIP",
            9 => "PPP",
            10 => "FDDI",
            12 | 14 | 101 => "RAW",
            50 => "PPP_HDLC",
            51 => "PPP_ETHER",
            100 => "ATM_RFC1483",
            104 => "C_HDLC",
            105 => "IEEE802_11",
            107 => "FRELAY",
            108 => "LOOP",
            113 => "LINUX_SLL",
            114 => "LTALK",
            117 => "PFLOG",
            119 => "IEEE802_11_PRISM",
            122 => "IP_OVER_FC",
            123 => "SUNATM",
            127 => "IEEE802_11_RADIOTAP",
            138 => "APPLE_IP_OVER_IEEE1394",
            140 => "MTP2",
            141 => "MTP3",
            142 => "SCCP",
            143 => "DOCSIS",
            147..=162 => "USER",
            163 => "IEEE802_11_AVS",
            166 => "PPP_PPPD",
            187 => "BLUETOOTH_HCI_H4",
            189 => "USB_LINUX",
            192 => "PPI",
            195 => "IEEE802_15_4_WITHFCS",
            201 => "BLUETOOTH_HCI_H4_WITH_PHDR",
            204 => "PPP_WITH_DIR",
            220 => "USB_LINUX_MMAPPED",
            226 => "IPNET",
            227 => "CAN_SOCKETCAN",
            228 => "IPV4",
            229 => "IPV6",
            230 => "IEEE802_15_4_NOFCS",
            231 => "DBUS",
            239 => "NFLOG",
            240 => "NETANALYZER",
            241 => "NETANALYZER_TRANSPARENT",
            242 => "IPOIB",
            243 => "MPEG_2_TS",
            247 => "INFINIBAND",
            248 => "SCTP",
            249 => "USBPCAP",
            252 => "WIRESHARK_UPPER_PDU",
            253 => "NETLINK",
            258 => "PKTAP",
            259 => "EPON",
            271 => "VSOCK",
            274 => "ETHERNET_MPACKET",
            276 => "LINUX_SLL2",
            280 => "VPP_DISPATCH",
            281 => "DSA_TAG_BRCM",
            282 => "DSA_TAG_BRCM_PREPEND",
            283 => "IEEE802_15_4_TAP",
            284 => "DSA_TAG_DSA",
            285 => "DSA_TAG_EDSA",
            289 => "ETW",
            _ => return None,
        })
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "link type {}", self.0),
        }
    }
}
