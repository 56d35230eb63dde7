//! Kinds of tunnels, and the tag under which a flow's key names one.

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $number:literal => $name:literal,)*) => {
        /// Protocols whose inner frames are read.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum TunnelKind { $($(#[$doc])* $variant = $number,)* }

        impl TunnelKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the name in verdicts.
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
    #[inline(always)]
    pub(super) fn new(kind: TunnelKind, id: Option<u32>) -> Self {
        let id = id.filter(|id| *id < NO_ID).unwrap_or(NO_ID);
        Self((kind as u32) << 24 | id)
    }

    /// Returns the outermost tunnel's kind, if there is one.
    pub fn kind(self) -> Option<TunnelKind> {
        let number = (self.0 >> 24) as u8;
        TunnelKind::ALL
            .iter()
            .copied()
            .find(|kind| *kind as u8 == number)
    }

    /// Returns its identifier, where both directions share one below 2^24 - 1.
    pub fn id(self) -> Option<u32> {
        let id = self.0 & NO_ID;
        (self.0 != 0 && id != NO_ID).then_some(id)
    }
}
