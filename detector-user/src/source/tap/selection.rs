//! Selection of the interfaces to tap: by name, by glob, or `auto`.

use std::collections::HashSet;
use std::fmt;
use std::io;

use glob::Pattern;

use crate::host::interfaces::{self, Framing, Interface};
use crate::host::routes::default_routes;

/// Kinds of interfaces whose frames pass another interface as well, or never leave the machine.
const STACKED: [&str; 11] = [
    "bridge", "bond", "team", "vlan", "macvlan", "ipvlan", "vxlan", "geneve", "macsec", "ifb",
    "dummy",
];

/// An entry of `watch.interfaces`: the interfaces to tap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Interfaces with a default route, and ports of bridges.
    Auto,
    /// The interface of a name.
    Named(String),
    /// Interfaces worth a tap whose names match.
    Glob(Pattern),
}

impl Wanted {
    /// Selects all interfaces worth a tap.
    #[must_use]
    pub fn any() -> Self {
        Self::Glob(Pattern::new("*").unwrap_or_default())
    }

    /// Parses a name, a glob, or `auto`.
    ///
    /// # Errors
    /// The reason why no interface can have that name.
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
        if !is_glob {
            return Ok(Self::Named(given.to_owned()));
        }
        Pattern::new(given).map(Self::Glob).map_err(|error| {
            format!(
                "{given:?} is not a glob: {}; wildcards are *, ? and [a-z]",
                error.msg
            )
        })
    }

    /// Whether it selects this interface. `carries_default` are indices of interfaces with a default
    /// route.
    fn selects(&self, interface: &Interface, carries_default: &HashSet<u32>) -> bool {
        match self {
            Self::Auto => {
                interface.framing().is_some()
                    && (carries_default.contains(&interface.index)
                        || interface.master_kind.as_deref() == Some("bridge"))
            }
            Self::Named(name) => interface.name == *name,
            Self::Glob(glob) => is_worth_a_tap(interface) && glob.matches(&interface.name),
        }
    }

    /// Whether it may have selected an interface that is tapped, whatever state that is in now.
    #[must_use]
    pub fn may_select(&self, interface: &Interface) -> bool {
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
            Self::Named(name) => f.write_str(name),
            Self::Glob(pattern) => f.write_str(pattern.as_str()),
        }
    }
}

/// The reason why no interface can be tapped.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// The kernel does not list interfaces.
    #[error("cannot list the network interfaces: {0}")]
    List(#[source] io::Error),
    /// No interface has this name.
    #[error("no interface is called {name}; `ip link` lists them (a container sees only its own)")]
    Missing {
        /// The name asked for.
        name: String,
    },
    /// Its frames begin with a header that the engine does not read.
    #[error(
        "{name} has neither Ethernet nor bare IP packets and cannot be watched; watch the interface that \
         carries its packets"
    )]
    Unreadable {
        /// The name asked for.
        name: String,
    },
    /// No interface was named, and none is worth a tap.
    #[error("no Ethernet interface is up and has a link; name one with --interface")]
    NoneUp,
}

/// The interfaces selected on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Interfaces to tap, each once.
    pub interfaces: Vec<Interface>,
    /// Names of interfaces that do not exist.
    pub missing: Vec<String>,
    /// Names of interfaces whose frames the engine does not read.
    pub unreadable: Vec<String>,
}

impl Choice {
    /// Returns the interfaces to tap, if there are any and all that were named can be tapped.
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

/// Selects interfaces, each once. An interface that is named is selected even if it is down: it may
/// come up later.
///
/// # Errors
/// [`InterfaceError::List`] when the kernel does not answer.
pub fn choose(wanted: &[Wanted]) -> Result<Choice, InterfaceError> {
    let carries_default = if wanted.contains(&Wanted::Auto) {
        default_routes().map_err(InterfaceError::List)?
    } else {
        HashSet::new()
    };
    let all = interfaces::list().map_err(InterfaceError::List)?;
    Ok(chosen(all, wanted, &carries_default))
}

fn chosen(all: Vec<Interface>, wanted: &[Wanted], carries_default: &HashSet<u32>) -> Choice {
    let mut choice = Choice::default();
    for one in wanted {
        let selected = all.iter().filter(|it| one.selects(it, carries_default));
        let new: Vec<Interface> = selected
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

/// Whether a gateway's traffic is best seen here: an Ethernet interface that is up and is not stacked
/// upon another.
fn is_worth_a_tap(interface: &Interface) -> bool {
    let kind = interface.kind.as_deref();
    interface.framing() == Some(Framing::Ethernet)
        && !interface.is_loopback()
        && interface.has_link()
        && !kind.is_some_and(|kind| STACKED.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::interfaces::tests::{down, ethernet};

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

    #[rstest::rstest]
    #[case("eth[!1]", "eth0", true)]
    #[case("eth[!1]", "eth1", false)]
    #[case("[!e]*", "eth0", false)]
    #[case("!eth*", "lan0", false)]
    #[case("!eth*", "!eth0", true)]
    #[case("eth{0,1}*", "eth0", false)]
    #[case("eth{0,1}*", "eth{0,1}", true)]
    fn wildcards_are_those_of_glob_7(
        #[case] glob: &str,
        #[case] name: &str,
        #[case] selected: bool,
    ) {
        let wanted = Wanted::parse(glob).unwrap();
        assert_eq!(wanted.may_select(&ethernet(name)), selected);
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
    #[case("lan*", Ok(Wanted::Glob(Pattern::new("lan*").unwrap())))]
    #[case("an-interface-name-too-long", Err(()))]
    #[case("lan[", Err(()))]
    #[case("lan**", Err(()))]
    #[case("eth0/../x", Err(()))]
    #[case("a b", Err(()))]
    #[case("", Err(()))]
    fn names_and_globs(#[case] given: &str, #[case] expected: Result<Wanted, ()>) {
        assert_eq!(Wanted::parse(given).map_err(drop), expected);
    }
}
