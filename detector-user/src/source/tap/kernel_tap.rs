//! The kernel tap: programs and maps in the kernel, attached to interfaces that come and go.

use std::collections::{BTreeSet, HashMap};

use crate::host::interfaces::Interface;
use crate::source::tap::attach::{Attached, Attaching, Tapped};
use crate::source::tap::clsact::{InUse, remove_abandoned};
use crate::source::tap::error::TapError;
use crate::source::tap::hook::{Abilities, Direction, Hook};
use crate::source::tap::load::{InKernel, Kernel, Origin, adopt, load_and_pin, load_unpinned};
use crate::source::tap::object::ObjectOptions;
use crate::source::tap::pins::{FoundLink, Pins};

/// The programs and their maps, and the interfaces they are attached to. Dropping it detaches programs
/// that are not pinned.
pub struct KernelTap {
    /// Interfaces with programs.
    pub tapped: Vec<Tapped>,
    /// Programs, and maps shared by all interfaces.
    pub kernel: Kernel,
    /// Pins of programs, maps and links, if they are pinned.
    pins: Option<Pins>,
    abilities: Abilities,
    vlan_in_key: bool,
    /// The reason why the XDP program is not loaded, if the kernel refused it.
    no_xdp: Option<String>,
    /// Interfaces whose XDP program was an earlier agent's, and is being detached.
    had_own_xdp: BTreeSet<u32>,
    /// Clsact classifiers that are in use by this process.
    in_use: InUse,
}

impl KernelTap {
    /// Loads the object and attaches its programs to all `interfaces`.
    ///
    /// # Errors
    /// [`TapError`]; nothing stays attached then.
    pub fn attach(
        interfaces: &[Interface],
        options: &ObjectOptions,
        abilities: Abilities,
    ) -> Result<Self, TapError> {
        if !abilities.tcx {
            remove_abandoned()?;
        }
        let in_kernel = load_unpinned(options, abilities)?;
        let mut tap = Self::unattached(in_kernel, None, abilities, options.vlan_in_key);
        for interface in interfaces {
            tap.add(interface)?;
        }
        Ok(tap)
    }

    /// Adopts pinned programs, if they are of the same object and options; otherwise loads the object and
    /// pins it. Then attaches the programs to those `interfaces` that lack them, and detaches them from
    /// others.
    ///
    /// # Errors
    /// [`TapError`]; pins stay.
    pub fn attach_pinned(
        interfaces: &[Interface],
        options: &ObjectOptions,
        abilities: Abilities,
        pins: Pins,
    ) -> Result<(Self, Origin), TapError> {
        let had_own_xdp = pins.with_own_xdp();
        let in_kernel = match adopt(&pins) {
            Some(adopted) => {
                pins.remove_others()?;
                adopted
            }
            None => load_and_pin(&pins, options, abilities)?,
        };
        let origin = in_kernel.origin;
        let found = match origin {
            Origin::Adopted => pins.links(),
            Origin::New | Origin::Replaced => Vec::new(),
        };
        let mut tap = Self::unattached(in_kernel, Some(pins), abilities, options.vlan_in_key);
        tap.had_own_xdp = had_own_xdp;
        tap.adopt_links(interfaces, found);
        for interface in interfaces {
            if !tap.has(interface.index) {
                tap.add(interface)?;
            }
        }
        // Interfaces added later are listed after the program is gone.
        tap.had_own_xdp.clear();
        Ok((tap, origin))
    }

    fn unattached(
        in_kernel: InKernel,
        pins: Option<Pins>,
        abilities: Abilities,
        vlan_in_key: bool,
    ) -> Self {
        Self {
            tapped: Vec::new(),
            kernel: in_kernel.kernel,
            pins,
            abilities,
            vlan_in_key,
            no_xdp: in_kernel.no_xdp,
            had_own_xdp: BTreeSet::new(),
            in_use: InUse::default(),
        }
    }

    /// Whether an interface is tapped.
    pub fn has(&self, index: u32) -> bool {
        self.tapped.iter().any(|tapped| tapped.index == index)
    }

    /// Attaches the programs to one more interface.
    ///
    /// # Errors
    /// [`TapError`]; nothing stays attached to it then.
    pub fn add(&mut self, interface: &Interface) -> Result<&Tapped, TapError> {
        let mut abilities = self.abilities;
        // The flow key has VLAN IDs or not since the object was loaded. Classifiers also see tags that
        // hardware stripped.
        if self.vlan_in_key && interface.takes_xdp() && interface.strips_vlan_tags() {
            abilities.xdp = false;
        }
        let attaching = Attaching {
            kernel: &mut self.kernel,
            pins: self.pins.as_ref(),
            interface,
            abilities,
            no_xdp: self.no_xdp.as_deref(),
            had_own_xdp: self.had_own_xdp.contains(&interface.index),
            in_use: &mut self.in_use,
            attached: Vec::new(),
            clsact: None,
        };
        let tapped = attaching.tap()?;
        self.tapped.push(tapped);
        // Just pushed.
        self.tapped.last().ok_or_else(|| TapError::Gone {
            interface: interface.name.clone(),
        })
    }

    /// Detaches the programs from an interface.
    pub fn remove(&mut self, index: u32) {
        while let Some(at) = self.tapped.iter().position(|tapped| tapped.index == index) {
            self.tapped.swap_remove(at).detach();
        }
    }

    /// Whether programs and maps outlive this process.
    pub fn is_pinned(&self) -> bool {
        self.pins.is_some()
    }

    /// Adopts the pinned links of wanted interfaces that have one in each direction; detaches others.
    fn adopt_links(&mut self, interfaces: &[Interface], found: Vec<FoundLink>) {
        let mut by_interface: HashMap<u32, Vec<FoundLink>> = HashMap::new();
        for link in found {
            by_interface.entry(link.interface).or_default().push(link);
        }
        for (index, links) in by_interface {
            let interface = interfaces.iter().find(|it| it.index == index);
            let hook = |direction| {
                links
                    .iter()
                    .find(|it| it.direction == direction)
                    .map(|it| it.hook)
            };
            let (ingress, egress) = (hook(Direction::Ingress), hook(Direction::Egress));
            let wanted = interface
                .zip(ingress)
                .filter(|(interface, _)| egress.is_some() || interface.is_loopback());
            let attached = links
                .into_iter()
                .map(|it| Attached::Pinned(it.link))
                .collect();
            let tapped = Tapped {
                name: interface.map(|it| it.name.clone()).unwrap_or_default(),
                index,
                ingress: ingress.unwrap_or(Hook::Tcx),
                no_xdp: None,
                egress,
                attached,
                clsact: None,
            };
            match wanted {
                Some(_) => self.tapped.push(tapped),
                None => tapped.detach(),
            }
        }
    }
}
