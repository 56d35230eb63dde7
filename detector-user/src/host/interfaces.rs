//! The machine's interfaces: which there are, and which are worth a tap.

use std::collections::HashSet;
use std::fmt;
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

/// Which interfaces to watch, as the operator says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// What carries a default route, and the ports of bridges.
    Auto,
    /// One, by its name.
    Named(String),
    /// Those worth a tap whose names match.
    Glob(Glob),
}

impl Wanted {
    /// All that are worth a tap.
    #[must_use]
    pub fn any() -> Self {
        Self::Glob(Glob("*".to_owned()))
    }

    /// Reads a name, a glob, or `auto`.
    ///
    /// # Errors
    /// Why no interface can be called that.
    pub fn parse(given: &str) -> Result<Self, String> {
        if given == "auto" {
            return Ok(Self::Auto);
        }
        let is_glob = given.contains(['*', '?', '[']);
        let is_name = !given.is_empty()
            && given != "."
            && given != ".."
            && !given.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
        // The kernel takes no others (`dev_valid_name`), so that a slip is not taken for an
        // interface that is not there yet.
        if !is_name || (!is_glob && given.len() >= libc::IFNAMSIZ) {
            return Err(format!(
                "no interface can be called {given:?}; `ip link` lists them"
            ));
        }
        Ok(if is_glob {
            Self::Glob(Glob(given.to_owned()))
        } else {
            Self::Named(given.to_owned())
        })
    }

    /// Whether it means this interface. `carries_default` are indices of interfaces with a default
    /// route.
    fn means(&self, interface: &Interface, carries_default: &HashSet<u32>) -> bool {
        match self {
            Self::Auto => {
                interface.framing().is_some()
                    && (carries_default.contains(&interface.index)
                        || interface.master_kind.as_deref() == Some("bridge"))
            }
            Self::Named(name) => interface.name == *name,
            Self::Glob(glob) => interface.is_worth_a_tap() && glob.matches(&interface.name),
        }
    }

    /// Whether an interface that is tapped already may be one of these: it need not be in a state in
    /// which it would be chosen.
    #[must_use]
    pub fn may_mean(&self, interface: &Interface) -> bool {
        match self {
            Self::Auto => true,
            Self::Named(name) => interface.name == *name,
            Self::Glob(glob) => glob.matches(&interface.name),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Named(name) | Self::Glob(Glob(name)) => f.write_str(name),
        }
    }
}

/// A pattern of names, as glob(7) has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    fn matches(&self, name: &str) -> bool {
        glob_match::glob_match(&self.0, name)
    }
}

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
    /// What kind of interface it is a port of, such as `bridge`.
    pub master_kind: Option<String>,
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

    /// Whether an XDP program of ours may go on it: it is hardware with Ethernet frames. What is there
    /// now makes no difference: it is our own after a restart, and another's may go.
    #[must_use]
    pub fn takes_xdp(&self) -> bool {
        self.is_hardware() && self.framing() == Some(Framing::Ethernet)
    }

    /// Whether the device takes VLAN tags off frames before XDP sees them. Unknown counts as yes:
    /// then VLAN IDs do not tell flows apart, which costs nothing where there are none.
    #[must_use]
    pub fn strips_vlan_tags(&self) -> bool {
        const STRIPPING: [&str; 2] = ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];
        ethtool::offloads(&self.name).map_or(true, |on| STRIPPING.iter().any(|it| on.contains(*it)))
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

/// What was chosen to be watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Interfaces, each once.
    pub interfaces: Vec<Interface>,
    /// Names of interfaces that are not there.
    pub missing: Vec<String>,
    /// Names of interfaces whose frames the engine does not read.
    pub unreadable: Vec<String>,
}

impl Choice {
    /// The interfaces, if something can be watched and all that was named is there.
    ///
    /// # Errors
    /// [`InterfaceError`] names the first that cannot be watched.
    pub fn whole(self) -> Result<Vec<Interface>, InterfaceError> {
        if let Some(name) = self.missing.into_iter().next() {
            return Err(InterfaceError::Missing { name });
        }
        if let Some(name) = self.unreadable.into_iter().next() {
            return Err(InterfaceError::Unreadable { name });
        }
        if self.interfaces.is_empty() {
            return Err(InterfaceError::NoneUp);
        }
        Ok(self.interfaces)
    }
}

/// Those called `names`, or without any all that are worth a tap.
#[must_use]
pub fn named(names: &[String]) -> Vec<Wanted> {
    if names.is_empty() {
        return vec![Wanted::any()];
    }
    names.iter().cloned().map(Wanted::Named).collect()
}

/// The interfaces that are wanted, each once. One that is named and down is among them: it may come
/// up later, and the caller says so.
///
/// # Errors
/// [`InterfaceError::List`] when the kernel does not answer.
pub fn choose(wanted: &[Wanted]) -> Result<Choice, InterfaceError> {
    let carries_default = if wanted.contains(&Wanted::Auto) {
        default_routes().map_err(InterfaceError::List)?
    } else {
        HashSet::new()
    };
    Ok(chosen(list()?, wanted, &carries_default))
}

fn chosen(all: Vec<Interface>, wanted: &[Wanted], carries_default: &HashSet<u32>) -> Choice {
    let mut choice = Choice::default();
    for one in wanted {
        let meant = all.iter().filter(|it| one.means(it, carries_default));
        let new: Vec<Interface> = meant
            .filter(|it| !choice.interfaces.contains(it))
            .cloned()
            .collect();
        if let Wanted::Named(name) = one {
            match all.iter().find(|it| it.name == *name) {
                None => choice.missing.push(name.clone()),
                Some(it) if it.framing().is_none() => {
                    choice.unreadable.push(name.clone());
                    continue;
                }
                Some(_) => {}
            }
        }
        choice.interfaces.extend(new);
    }
    choice
}

/// Indices of interfaces that carry a default route, of either IP version, in the main table.
fn default_routes() -> io::Result<HashSet<u32>> {
    /// `struct rtmsg`.
    const HEADER: usize = 12;
    let answer = request(
        SockProtocol::NetlinkRoute,
        libc::RTM_GETROUTE,
        Ask::All,
        &[0; HEADER],
    )?;
    let mut found = HashSet::new();
    for message in &answer {
        let route = message.payload.as_slice();
        let (Some(&prefix), Some(&table), Some(&kind)) = (route.get(1), route.get(4), route.get(7))
        else {
            continue;
        };
        let is_default = prefix == 0 && table == libc::RT_TABLE_MAIN && kind == libc::RTN_UNICAST;
        if is_default {
            found.extend(next_hops(route.get(HEADER..).unwrap_or_default()));
        }
    }
    Ok(found)
}

/// The interfaces a route leads to.
fn next_hops(route: &[u8]) -> Vec<u32> {
    let mut hops = Vec::new();
    for (kind, value) in attributes(route) {
        match kind {
            libc::RTA_OIF => hops.extend(u32_at(value, 0)),
            libc::RTA_MULTIPATH => {
                // Each `struct rtnexthop`: its length with what follows, flags, hops, interface.
                let mut rest = value;
                while let (Some(length), Some(interface)) = (u16_at(rest, 0), u32_at(rest, 4)) {
                    hops.push(interface);
                    let next = usize::from(length).next_multiple_of(4).max(8);
                    rest = rest.get(next..).unwrap_or_default();
                }
            }
            _ => {}
        }
    }
    hops
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

    /// An Ethernet interface of hardware that is up and has a link.
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

    fn names(choice: &Choice) -> Vec<&str> {
        let interfaces = choice.interfaces.iter();
        interfaces
            .map(|interface| interface.name.as_str())
            .collect()
    }

    fn wanted(given: &[&str]) -> Vec<Wanted> {
        given.iter().map(|it| Wanted::parse(it).unwrap()).collect()
    }

    #[test]
    fn a_glob_takes_what_carries_traffic() {
        let none = HashSet::new();
        let choice = |glob| chosen(several(), &wanted(&[glob]), &none);
        assert_eq!(names(&choice("*")), ["eth0", "veth0"]);
        assert_eq!(names(&choice("eth[0-9]")), ["eth0"]);
        assert_eq!(names(&choice("?eth0")), ["veth0"]);
        assert!(matches!(
            choice("wlan*").whole(),
            Err(InterfaceError::NoneUp)
        ));
    }

    #[test]
    fn what_is_named_is_chosen_once_even_when_it_is_down() {
        let asked = wanted(&["eth1", "lo", "eth*", "eth1", "tun0"]);
        let choice = chosen(several(), &asked, &HashSet::new());
        assert_eq!(names(&choice), ["eth1", "lo", "eth0", "tun0"]);
        let framing: Vec<_> = choice
            .interfaces
            .iter()
            .filter_map(Interface::framing)
            .collect();
        assert_eq!(framing.last(), Some(&Framing::Ip));
        assert_eq!(choice.whole().unwrap().len(), 4);
    }

    #[test]
    fn auto_is_what_carries_a_default_route_and_ports_of_bridges() {
        let mut all = several();
        for (index, interface) in all.iter_mut().enumerate() {
            interface.index = index as u32 + 1;
        }
        all[6].master_kind = Some("bridge".into());
        let carries_default = HashSet::from([8]);
        let choice = chosen(all, &[Wanted::Auto], &carries_default);
        assert_eq!(names(&choice), ["veth0", "tun0"]);
    }

    #[test]
    fn what_cannot_be_watched_is_named() {
        let choice = chosen(
            several(),
            &wanted(&["eth9", "gre1", "eth0"]),
            &HashSet::new(),
        );
        assert_eq!(names(&choice), ["eth0"]);
        assert_eq!(
            (&choice.missing[..], &choice.unreadable[..]),
            (&["eth9".to_owned()][..], &["gre1".to_owned()][..])
        );
        let error = choice.whole().unwrap_err();
        assert!(
            error.to_string().starts_with("no interface is called eth9"),
            "{error}"
        );
    }

    #[rstest::rstest]
    #[case("lan0", Ok(Wanted::Named("lan0".into())))]
    #[case("auto", Ok(Wanted::Auto))]
    #[case("lan*", Ok(Wanted::Glob(Glob("lan*".into()))))]
    #[case("an-interface-name-too-long", Err(()))]
    #[case("eth0/../x", Err(()))]
    #[case("a b", Err(()))]
    #[case("", Err(()))]
    fn names_and_globs(#[case] given: &str, #[case] expected: Result<Wanted, ()>) {
        assert_eq!(Wanted::parse(given).map_err(drop), expected);
    }

    #[test]
    fn routes_lead_to_interfaces() {
        let mut route = Vec::new();
        put(&mut route, libc::RTA_OIF, &7u32.to_ne_bytes());
        let mut hops = Vec::new();
        for interface in [3u32, 4] {
            hops.extend_from_slice(&8u16.to_ne_bytes());
            hops.extend_from_slice(&[0, 0]);
            hops.extend_from_slice(&interface.to_ne_bytes());
        }
        put(&mut route, libc::RTA_MULTIPATH, &hops);
        assert_eq!(next_hops(&route), [7, 3, 4]);
        for length in 0..route.len() {
            let _ = next_hops(&route[..length]);
        }
        assert!(default_routes().is_ok());
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
