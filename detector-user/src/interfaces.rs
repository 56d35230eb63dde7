//! The machine's interfaces: which there are, and which are worth a tap.

use std::io;

use nix::sys::socket::SockProtocol;

use crate::doctor::offloads;
use crate::netlink::{Ask, attribute, attributes, put, request, text, u16_at, u32_at};

/// `struct ifinfomsg`, which stands before the attributes.
const LINK_HEADER: usize = 16;
/// From linux/if_link.h; libc does not have them all.
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
/// Kinds whose frames another interface carries already, or that carry none from outside.
const STACKED: [&str; 11] = [
    "bridge", "bond", "team", "vlan", "macvlan", "ipvlan", "vxlan", "geneve", "macsec", "ifb",
    "dummy",
];

/// linux/if_arp.h, which libc lacks.
const ARPHRD_RAWIP: u16 = 519;
/// Devices whose frames are IP packets, both where they come in and where they
/// leave (tun, WireGuard, cellular modems, PPP without its protocol field, IP in IP). GRE and SIT
/// are not among them: what comes in by those still has its outer headers.
const BARE_IP: [u16; 5] = [
    libc::ARPHRD_NONE,
    ARPHRD_RAWIP,
    libc::ARPHRD_PPP,
    libc::ARPHRD_TUNNEL,
    libc::ARPHRD_TUNNEL6,
];

/// What an interface's frames begin with.
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
    /// What kind of virtual interface it is, such as `veth`; none for hardware.
    pub kind: Option<String>,
    /// The XDP program on it.
    pub xdp: Option<XdpProgram>,
    hardware: u16,
    flags: u32,
}

/// An XDP program that is attached to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XdpProgram {
    /// `native`, `generic`, `offloaded` or `several`.
    pub mode: &'static str,
    /// The kernel's number for it; none when there are several.
    pub id: Option<u32>,
}

/// Why no tap can be chosen.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// The kernel does not list its interfaces.
    #[error("cannot list the network interfaces: {0}")]
    List(#[source] io::Error),
    /// There is none of this name here.
    #[error("no interface is called {name}: `ip link` lists them (a container sees only its own)")]
    Missing {
        /// What was asked for.
        name: String,
    },
    /// Its frames begin with something the engine does not read.
    #[error(
        "{name} has neither Ethernet nor bare IP packets and cannot be watched: watch what carries \
         its packets"
    )]
    Unreadable {
        /// What was asked for.
        name: String,
    },
    /// None was named and none fits.
    #[error("no Ethernet interface is up and has a link: name one with --interface")]
    NoneUp,
}

impl Interface {
    /// Whether it is switched on.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.flags & libc::IFF_UP as u32 != 0
    }

    /// Whether it is switched on and there is somebody at the other end.
    #[must_use]
    pub const fn has_link(&self) -> bool {
        self.is_up() && self.flags & libc::IFF_RUNNING as u32 != 0
    }

    /// What its frames begin with, if the engine reads them.
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

    /// Whether it is a device of its own rather than made by the kernel.
    #[must_use]
    pub fn is_hardware(&self) -> bool {
        self.kind.is_none() && !self.is_loopback()
    }

    /// Whether an XDP program of ours goes on it: it is hardware with Ethernet frames, and has no
    /// other's.
    #[must_use]
    pub fn takes_xdp(&self) -> bool {
        self.is_hardware() && self.framing() == Some(Framing::Ethernet) && self.xdp.is_none()
    }

    /// Whether the device takes VLAN tags off frames before XDP sees them. Unknown counts as yes:
    /// then VLAN IDs do not tell flows apart, which costs nothing where there are none.
    #[must_use]
    pub fn strips_vlan_tags(&self) -> bool {
        const STRIPPING: [&str; 2] = ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];
        offloads::active(&self.name).map_or(true, |on| STRIPPING.iter().any(|it| on.contains(*it)))
    }

    /// Whether a gateway's traffic is best seen here: on Ethernet that is up, where it comes in
    /// first rather than on what is stacked upon that.
    #[must_use]
    pub fn is_worth_a_tap(&self) -> bool {
        self.hardware == libc::ARPHRD_ETHER
            && self.has_link()
            && !self
                .kind
                .as_deref()
                .is_some_and(|kind| STACKED.contains(&kind))
    }
}

/// All interfaces of this network namespace.
///
/// # Errors
/// [`InterfaceError::List`] when the kernel does not answer.
pub fn list() -> Result<Vec<Interface>, InterfaceError> {
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
    )
    .map_err(InterfaceError::List)?;
    Ok(answer
        .iter()
        .filter_map(|message| parsed(&message.payload))
        .collect())
}

/// The interfaces called `names`, each once, or without any the ones worth a tap. One that is
/// down is among them: it may come up later, and the caller says so.
///
/// # Errors
/// [`InterfaceError`] names the first that cannot be watched.
pub fn choose(names: &[String]) -> Result<Vec<Interface>, InterfaceError> {
    chosen(list()?, names)
}

fn chosen(all: Vec<Interface>, names: &[String]) -> Result<Vec<Interface>, InterfaceError> {
    if names.is_empty() {
        let taps: Vec<_> = all.into_iter().filter(Interface::is_worth_a_tap).collect();
        return if taps.is_empty() {
            Err(InterfaceError::NoneUp)
        } else {
            Ok(taps)
        };
    }
    let mut taps: Vec<Interface> = Vec::new();
    for name in names {
        let found = all.iter().find(|interface| interface.name == *name);
        let interface = found.ok_or_else(|| InterfaceError::Missing { name: name.clone() })?;
        if interface.framing().is_none() {
            return Err(InterfaceError::Unreadable { name: name.clone() });
        }
        if !taps.contains(interface) {
            taps.push(interface.clone());
        }
    }
    Ok(taps)
}

fn parsed(message: &[u8]) -> Option<Interface> {
    let hardware = u16_at(message, 2)?;
    let index = u32_at(message, 4)?;
    let flags = u32_at(message, 8)?;
    let (mut name, mut mtu, mut kind, mut xdp) = (None, 0, None, None);
    for (attribute_type, value) in attributes(message.get(LINK_HEADER..)?) {
        match attribute_type {
            libc::IFLA_IFNAME => name = Some(text(value)),
            libc::IFLA_MTU => mtu = u32_at(value, 0)?,
            IFLA_LINKINFO => kind = attribute(value, IFLA_INFO_KIND).map(text),
            IFLA_XDP => xdp = parsed_xdp(value),
            _ => {}
        }
    }
    Some(Interface {
        index,
        name: name?,
        mtu,
        kind,
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

    /// An Ethernet interface of hardware that is up and has a link.
    pub(crate) fn ethernet(name: &str) -> Interface {
        Interface {
            index: 2,
            name: name.into(),
            mtu: 1500,
            kind: None,
            xdp: None,
            hardware: libc::ARPHRD_ETHER,
            flags: UP,
        }
    }

    /// The same, switched off.
    pub(crate) fn down(name: &str) -> Interface {
        Interface {
            flags: 0,
            ..ethernet(name)
        }
    }

    fn several() -> Vec<Interface> {
        let kind = |name, kind: &str| Interface {
            kind: Some(kind.into()),
            ..ethernet(name)
        };
        let lo = Interface {
            hardware: libc::ARPHRD_LOOPBACK,
            ..ethernet("lo")
        };
        let tun = Interface {
            hardware: libc::ARPHRD_NONE,
            ..ethernet("tun0")
        };
        let gre = Interface {
            hardware: libc::ARPHRD_IPGRE,
            ..ethernet("gre1")
        };
        let no_cable = Interface {
            flags: libc::IFF_UP as u32,
            ..ethernet("eth2")
        };
        vec![
            lo,
            ethernet("eth0"),
            down("eth1"),
            no_cable,
            kind("br0", "bridge"),
            kind("eth0.7", "vlan"),
            kind("veth0", "veth"),
            tun,
            gre,
        ]
    }

    fn names(chosen: Vec<Interface>) -> Vec<String> {
        chosen.into_iter().map(|interface| interface.name).collect()
    }

    #[test]
    fn without_names_what_carries_traffic_is_chosen() {
        assert_eq!(names(chosen(several(), &[]).unwrap()), ["eth0", "veth0"]);
        assert!(matches!(
            chosen(vec![down("eth1")], &[]),
            Err(InterfaceError::NoneUp)
        ));
    }

    #[test]
    fn what_is_named_is_chosen_once_even_when_it_is_down() {
        let asked = ["eth1", "lo", "eth1", "tun0"].map(String::from);
        let chosen = chosen(several(), &asked).unwrap();
        let framing: Vec<_> = chosen.iter().filter_map(Interface::framing).collect();
        assert_eq!(names(chosen), ["eth1", "lo", "tun0"]);
        assert_eq!(framing, [Framing::Ethernet, Framing::Ethernet, Framing::Ip]);
    }

    #[test]
    fn what_cannot_be_watched_is_named() {
        let error = chosen(several(), &["eth9".into()]).unwrap_err();
        assert!(
            error.to_string().starts_with("no interface is called eth9"),
            "{error}"
        );
        let error = chosen(several(), &["gre1".into()]).unwrap_err();
        assert!(
            matches!(error, InterfaceError::Unreadable { .. }),
            "{error}"
        );
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
        assert!(lo.framing() == Some(Framing::Ethernet) && !lo.is_worth_a_tap());
        assert_eq!(lo.index, 1);
        assert!(lo.mtu > 0);
    }
}
