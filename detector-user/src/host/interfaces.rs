//! Network interfaces, as rtnetlink(7) lists them.

use std::io;

use nix::sys::socket::SockProtocol;

use crate::host::ethtool;
use crate::host::netlink::{Ask, attribute, attributes, put, request, text, u16_at, u32_at};

/// `struct ifinfomsg`, which stands before the attributes.
const LINK_HEADER: usize = 16;
/// From linux/if_link.h; libc does not have them all.
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;

/// From linux/if_arp.h; libc lacks it.
const ARPHRD_RAWIP: u16 = 519;
/// Types of devices whose frames are IP packets, both at ingress and at egress (tun, WireGuard,
/// cellular modems, PPP without its protocol field, IP in IP). GRE and SIT are not among them: their
/// frames still have the outer headers at ingress.
const BARE_IP: [u16; 5] = [
    libc::ARPHRD_NONE,
    ARPHRD_RAWIP,
    libc::ARPHRD_PPP,
    libc::ARPHRD_TUNNEL,
    libc::ARPHRD_TUNNEL6,
];

/// The first header of an interface's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// An Ethernet header, which loopback's have as well.
    Ethernet,
    /// An IP header: there is no link layer.
    Ip,
}

/// A network interface, as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// Kind of a virtual interface, such as `veth`; `None` for hardware.
    pub kind: Option<String>,
    /// Kind of the interface that it is a port of, such as `bridge`.
    pub master_kind: Option<String>,
    /// The XDP program on it.
    pub xdp: Option<XdpProgram>,
    /// The link layer's type (`ARPHRD_*` in linux/if_arp.h).
    pub(crate) hardware: u16,
    /// Flags (`IFF_*` in netdevice(7)).
    pub(crate) flags: u32,
}

/// An XDP program that is attached to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XdpProgram {
    /// `native`, `generic`, `offloaded` or `several`.
    pub mode: &'static str,
    /// The kernel's number for it; none when there are several.
    pub id: Option<u32>,
}

impl Interface {
    /// Whether it is up.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.flags & libc::IFF_UP as u32 != 0
    }

    /// Whether it is up and has a carrier.
    #[must_use]
    pub const fn has_link(&self) -> bool {
        self.is_up() && self.flags & libc::IFF_RUNNING as u32 != 0
    }

    /// Returns the first header of its frames; `None` for other link layers than Ethernet and none.
    #[must_use]
    pub fn framing(&self) -> Option<Framing> {
        if matches!(self.hardware, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK) {
            Some(Framing::Ethernet)
        } else {
            BARE_IP.contains(&self.hardware).then_some(Framing::Ip)
        }
    }

    /// Whether it is the loopback interface, on which every frame leaves and comes in again.
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        self.hardware == libc::ARPHRD_LOOPBACK
    }

    /// Whether it is a device rather than a virtual interface.
    #[must_use]
    pub fn is_hardware(&self) -> bool {
        self.kind.is_none() && !self.is_loopback()
    }

    /// Whether native XDP programs may be attached to it: it is hardware with Ethernet frames. A program
    /// that is attached now makes no difference.
    #[must_use]
    pub fn takes_xdp(&self) -> bool {
        self.is_hardware() && self.framing() == Some(Framing::Ethernet)
    }

    /// Whether the device strips VLAN tags before XDP programs run; assumed where the driver does not
    /// say.
    #[must_use]
    pub fn strips_vlan_tags(&self) -> bool {
        const STRIPPING: [&str; 2] = ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];
        ethtool::offloads(&self.name).map_or(true, |on| STRIPPING.iter().any(|it| on.contains(*it)))
    }
}

/// Returns all interfaces of this network namespace.
///
/// # Errors
/// If the kernel does not answer.
pub fn list() -> io::Result<Vec<Interface>> {
    let mut payload = vec![0; LINK_HEADER];
    put(
        &mut payload,
        IFLA_EXT_MASK,
        &RTEXT_FILTER_SKIP_STATS.to_ne_bytes(),
    );
    let answer = request(
        SockProtocol::NetlinkRoute,
        libc::RTM_GETLINK,
        Ask::All,
        &payload,
    )?;
    Ok(answer
        .iter()
        .filter_map(|message| parsed(&message.payload))
        .collect())
}

fn parsed(message: &[u8]) -> Option<Interface> {
    let hardware = u16_at(message, 2)?;
    let index = u32_at(message, 4)?;
    let flags = u32_at(message, 8)?;
    let (mut name, mut mtu, mut kind, mut master_kind, mut xdp) = (None, 0, None, None, None);
    for (attribute_type, value) in attributes(message.get(LINK_HEADER..)?) {
        match attribute_type {
            libc::IFLA_IFNAME => name = Some(text(value)),
            libc::IFLA_MTU => mtu = u32_at(value, 0)?,
            IFLA_LINKINFO => {
                kind = attribute(value, IFLA_INFO_KIND).map(text);
                master_kind = attribute(value, IFLA_INFO_SLAVE_KIND).map(text);
            }
            IFLA_XDP => xdp = parsed_xdp(value),
            _ => {}
        }
    }
    Some(Interface {
        index,
        name: name?,
        mtu,
        kind,
        master_kind,
        xdp,
        hardware,
        flags,
    })
}

fn parsed_xdp(value: &[u8]) -> Option<XdpProgram> {
    let mode = match attribute(value, IFLA_XDP_ATTACHED)?.first()? {
        1 => "native",
        2 => "generic",
        3 => "offloaded",
        4 => "several",
        _ => return None,
    };
    let id = attribute(value, IFLA_XDP_PROG_ID).and_then(|id| u32_at(id, 0));
    Some(XdpProgram { mode, id })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const UP: u32 = (libc::IFF_UP | libc::IFF_RUNNING) as u32;

    /// Returns an Ethernet interface of hardware that is up and has a link.
    pub(crate) fn ethernet(name: &str) -> Interface {
        Interface {
            index: 2,
            name: name.into(),
            mtu: 1500,
            kind: None,
            master_kind: None,
            xdp: None,
            hardware: libc::ARPHRD_ETHER,
            flags: UP,
        }
    }

    /// Returns the same, switched off.
    pub(crate) fn down(name: &str) -> Interface {
        Interface {
            flags: 0,
            ..ethernet(name)
        }
    }

    #[test]
    fn a_link_message_is_read() {
        let mut message = vec![0; LINK_HEADER];
        message[2..4].copy_from_slice(&libc::ARPHRD_ETHER.to_ne_bytes());
        message[4..8].copy_from_slice(&7u32.to_ne_bytes());
        message[8..12].copy_from_slice(&UP.to_ne_bytes());
        put(&mut message, libc::IFLA_IFNAME, b"lan0\0");
        put(&mut message, libc::IFLA_MTU, &9000u32.to_ne_bytes());
        let (mut info, mut xdp) = (Vec::new(), Vec::new());
        put(&mut info, IFLA_INFO_KIND, b"veth\0");
        put(&mut message, IFLA_LINKINFO, &info);
        put(&mut xdp, IFLA_XDP_ATTACHED, &[1]);
        put(&mut xdp, IFLA_XDP_PROG_ID, &42u32.to_ne_bytes());
        put(&mut message, IFLA_XDP, &xdp);
        let interface = parsed(&message).unwrap();
        let xdp = Some(XdpProgram {
            mode: "native",
            id: Some(42),
        });
        let expected = Interface {
            index: 7,
            mtu: 9000,
            kind: Some("veth".into()),
            xdp,
            ..ethernet("lan0")
        };
        assert_eq!(interface, expected);
        for length in 0..message.len() {
            let _ = parsed(&message[..length]);
        }
    }

    #[test]
    fn the_kernel_lists_loopback() {
        let all = list().unwrap();
        let lo = all.iter().find(|interface| interface.name == "lo").unwrap();
        assert!(lo.framing() == Some(Framing::Ethernet) && lo.is_loopback());
        assert_eq!(lo.index, 1);
        assert!(lo.mtu > 0);
    }
}
