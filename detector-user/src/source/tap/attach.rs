//! Attaching to interfaces, and leaving them as they were.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aya::Ebpf;
use aya::maps::Map;
use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcAttachType, TcError, qdisc_add_clsact,
};
use aya::programs::xdp::XdpLink;
use aya::programs::{LinkOrder, Program, ProgramError, SchedClassifier, Xdp, XdpMode};
use aya::util::KernelVersion;

use crate::host::interfaces::{Framing, Interface};
use crate::source::tap::Maps;
use crate::source::tap::clsact::{ADDED, Clsact, InUse, remove_abandoned};
use crate::source::tap::error::{TapError, one_line, os_error};
use crate::source::tap::object::{ObjectOptions, load, memory_of};
use crate::source::tap::pins::{CLASSIFIERS, FoundLink, Pins, SideOf, XDP};

/// The first kernel whose XDP programs read frames of several buffers, as jumbo frames and
/// coalesced ones are, and have `bpf_xdp_load_bytes`.
const XDP_FRAGMENTS: KernelVersion = KernelVersion::new(5, 18, 0);
/// The first kernel with TCX links.
const TCX: KernelVersion = KernelVersion::new(6, 6, 0);
/// How often, and how long apart, XDP is tried where an agent's own has just been unpinned: the
/// kernel takes it off after a grace period.
const RELEASE_TRIES: u32 = 100;
const RELEASE_STEP: Duration = Duration::from_millis(10);

/// Where a program sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// XDP in the driver.
    XdpNative,
    /// A TCX link.
    Tcx,
    /// A filter of the clsact queueing discipline, before Linux 6.6.
    Clsact,
}

impl Hook {
    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::XdpNative => "native XDP",
            Self::Tcx => "TCX",
            Self::Clsact => "clsact",
        }
    }
}

/// What may be asked of the kernel. It is what the kernel has, unless a test wants the older way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// XDP on frames of several buffers (Linux 5.18).
    pub xdp: bool,
    /// Native XDP also on virtual interfaces, where it copies what has come in one piece from another
    /// namespace and takes three quarters of TCP's throughput. Only tests want it.
    pub virtual_xdp: bool,
    /// TCX links (Linux 6.6).
    pub tcx: bool,
}

impl Abilities {
    /// What this machine's kernel has, by its version.
    pub fn of_this_kernel() -> Self {
        let since = |first| KernelVersion::current().is_ok_and(|version| version >= first);
        Self {
            xdp: since(XDP_FRAGMENTS),
            virtual_xdp: false,
            tcx: since(TCX),
        }
    }
}

/// One interface with its programs. Dropping it takes them off.
#[derive(Debug)]
pub struct Tapped {
    /// Its name when it was tapped.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Where incoming frames are seen.
    pub ingress: Hook,
    /// Why that is not XDP, where it is an Ethernet device of hardware on a kernel that has it.
    pub no_xdp: Option<String>,
    /// Where outgoing frames are seen; loopback shows each frame twice and is tapped once.
    pub egress: Option<Hook>,
    // Dropped in this order: filters first, then the queueing discipline they sit in.
    attached: Vec<Attached>,
    #[expect(dead_code, reason = "held for what dropping it does")]
    clsact: Option<Clsact>,
}

/// What keeps a program where it is; dropping it takes it off, unless it is pinned. XDP and TCX links
/// are descriptors, which the kernel closes however this process ends; a clsact filter is removed by
/// a request.
#[derive(Debug)]
enum Attached {
    #[expect(dead_code, reason = "held for what dropping it does")]
    Xdp(XdpLink),
    #[expect(dead_code, reason = "held for what dropping it does")]
    Classifier(SchedClassifierLink),
    Pinned(PinnedLink),
}

impl Tapped {
    /// Takes the programs off, pinned ones too.
    pub fn detach(self) {
        take_off(self.attached);
    }
}

fn take_off(attached: Vec<Attached>) {
    for one in attached {
        if let Attached::Pinned(link) = one {
            // One that cannot be removed stays with the interface, and `tlswhy detach` says why.
            let _ = link.unpin();
        }
    }
}

/// The programs and their maps, and what they are attached to. Dropping it detaches everything that
/// is not pinned.
pub struct KernelTap {
    /// Interfaces with programs.
    pub tapped: Vec<Tapped>,
    /// Programs, and maps shared by all interfaces.
    pub kernel: Kernel,
    /// Where links are pinned, if they are.
    pins: Option<Pins>,
    abilities: Abilities,
    vlan_in_key: bool,
    /// Why the XDP program is on no interface, where it should be.
    no_xdp: Option<String>,
    /// Interfaces whose XDP program was an earlier agent's; what was listed of them is no more.
    had_own_xdp: BTreeSet<u32>,
    /// Classifiers of clsact that this process answers for.
    in_use: InUse,
}

/// The programs and their maps.
pub enum Kernel {
    /// Loaded by this process.
    Loaded(Box<Ebpf>),
    /// Left pinned by another, and running ever since.
    Adopted {
        /// The programs by name.
        programs: HashMap<&'static str, Program>,
        /// Where the maps are.
        maps: HashMap<String, Map>,
    },
}

impl Kernel {
    fn program_mut(&mut self, name: &'static str) -> Option<&mut Program> {
        match self {
            Self::Loaded(ebpf) => ebpf.program_mut(name),
            Self::Adopted { programs, .. } => programs.get_mut(name),
        }
    }

    /// Bytes of memory that the maps take in the kernel, by its own account: in full with Linux 6.4
    /// and later, before that what the maps' sizes come to.
    pub fn memory(&self) -> u64 {
        match self {
            Self::Loaded(ebpf) => ebpf.maps().filter_map(|(_, map)| memory_of(map)).sum(),
            Self::Adopted { maps, .. } => maps.values().filter_map(memory_of).sum(),
        }
    }
}

impl Maps for Kernel {
    fn take(&mut self, name: &str) -> Option<Map> {
        match self {
            Self::Loaded(ebpf) => ebpf.take_map(name),
            Self::Adopted { maps, .. } => maps.remove(name),
        }
    }
}

/// How a kernel tap came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing was there.
    New,
    /// What an earlier agent pinned goes on.
    Adopted,
    /// What an earlier agent pinned did not fit, and made room.
    Replaced,
}

impl KernelTap {
    /// Loads the object and attaches it to all `interfaces`.
    ///
    /// # Errors
    /// [`TapError`]; then nothing stays attached.
    pub fn attach(
        interfaces: &[Interface],
        options: &ObjectOptions,
        abilities: Abilities,
    ) -> Result<Self, TapError> {
        if !abilities.tcx {
            remove_abandoned()?;
        }
        let mut ebpf = load(options).map_err(TapError::of_object)?;
        let no_xdp = load_all(&mut ebpf, abilities)?;
        let mut tap = Self {
            tapped: Vec::new(),
            kernel: Kernel::Loaded(Box::new(ebpf)),
            pins: None,
            abilities,
            vlan_in_key: options.vlan_in_key,
            no_xdp,
            had_own_xdp: BTreeSet::new(),
            in_use: InUse::default(),
        };
        for interface in interfaces {
            tap.add(interface)?;
        }
        Ok(tap)
    }

    /// Takes over what is pinned, if it is of the same object and options; otherwise loads the
    /// object and pins it. Then attaches it to those `interfaces` that it is not on yet, and takes it
    /// off others.
    ///
    /// # Errors
    /// [`TapError`]; what is pinned stays.
    pub fn attach_pinned(
        interfaces: &[Interface],
        options: &ObjectOptions,
        abilities: Abilities,
        pins: Pins,
    ) -> Result<(Self, Origin), TapError> {
        let had_own_xdp = pins.with_own_xdp();
        let (kernel, no_xdp, origin) = match adopt(&pins) {
            Some((kernel, no_xdp)) => {
                pins.remove_others()?;
                (kernel, no_xdp, Origin::Adopted)
            }
            None => load_and_pin(&pins, options, abilities)?,
        };
        let found = match origin {
            Origin::Adopted => pins.links(),
            Origin::New | Origin::Replaced => Vec::new(),
        };
        let mut tap = Self {
            tapped: Vec::new(),
            kernel,
            pins: Some(pins),
            abilities,
            vlan_in_key: options.vlan_in_key,
            no_xdp,
            had_own_xdp,
            in_use: InUse::default(),
        };
        tap.adopt_links(interfaces, found);
        for interface in interfaces {
            if !tap.has(interface.index) {
                tap.add(interface)?;
            }
        }
        // Interfaces that come are listed anew.
        tap.had_own_xdp.clear();
        Ok((tap, origin))
    }

    /// Whether an interface is tapped.
    pub fn has(&self, index: u32) -> bool {
        self.tapped.iter().any(|tapped| tapped.index == index)
    }

    /// Taps one more interface.
    ///
    /// # Errors
    /// [`TapError`]; then nothing stays on it.
    pub fn add(&mut self, interface: &Interface) -> Result<&Tapped, TapError> {
        let mut abilities = self.abilities;
        // Whether VLAN IDs tell flows apart was settled when the object was loaded. A classifier sees
        // also the tags that hardware took off.
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

    /// Takes the programs off an interface.
    pub fn remove(&mut self, index: u32) {
        while let Some(at) = self.tapped.iter().position(|tapped| tapped.index == index) {
            self.tapped.swap_remove(at).detach();
        }
    }

    /// Whether programs and maps go on without this process.
    pub fn is_pinned(&self) -> bool {
        self.pins.is_some()
    }

    /// Takes links over that sit on wanted interfaces on both sides; the others are taken off.
    fn adopt_links(&mut self, interfaces: &[Interface], found: Vec<FoundLink>) {
        let mut by_interface: HashMap<u32, Vec<FoundLink>> = HashMap::new();
        for link in found {
            by_interface.entry(link.interface).or_default().push(link);
        }
        for (index, links) in by_interface {
            let interface = interfaces.iter().find(|it| it.index == index);
            let hook = |side| links.iter().find(|it| it.side == side).map(|it| it.hook);
            let (ingress, egress) = (hook(SideOf::Ingress), hook(SideOf::Egress));
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

/// Programs and maps of a generation of pins, and why XDP is not among them if it is not; `None` if the
/// generation is not whole.
fn adopt(pins: &Pins) -> Option<(Kernel, Option<String>)> {
    if !pins.is_whole() {
        return None;
    }
    let mut programs = HashMap::new();
    for name in CLASSIFIERS {
        programs.insert(name, pins.program(name)?);
    }
    let no_xdp = match pins.program(XDP) {
        Some(program) => {
            programs.insert(XDP, program);
            None
        }
        None => Some("the kernel refused it when an earlier agent loaded it".to_owned()),
    };
    let kernel = Kernel::Adopted {
        programs,
        maps: pins.maps().collect(),
    };
    Some((kernel, no_xdp))
}

/// Loads the object and pins it in the place of what is there; also returns why there is no XDP, if
/// there is none.
fn load_and_pin(
    pins: &Pins,
    options: &ObjectOptions,
    abilities: Abilities,
) -> Result<(Kernel, Option<String>, Origin), TapError> {
    pins.remove_own()?;
    let mut ebpf = load(options).map_err(TapError::of_object)?;
    let no_xdp = load_all(&mut ebpf, abilities)?;
    // Only now: what is there goes on until this is sure to run. Native XDP has room for one program.
    let others = pins.remove_others()?;
    pins.pin(&mut ebpf)?;
    let origin = if others > 0 {
        Origin::Replaced
    } else {
        Origin::New
    };
    Ok((Kernel::Loaded(Box::new(ebpf)), no_xdp, origin))
}

/// Loads every program, so that all can be pinned and none needs rights later. XDP is left out where
/// the kernel does not take it: returns why.
fn load_all(ebpf: &mut Ebpf, abilities: Abilities) -> Result<Option<String>, TapError> {
    let mut load = |name: &'static str| {
        let program = ebpf.program_mut(name);
        let loaded = match program.ok_or_else(|| TapError::missing(name))? {
            Program::Xdp(program) => program.load(),
            Program::SchedClassifier(program) => program.load(),
            _ => Ok(()),
        };
        loaded.map_err(|error| TapError::of_program(name, &error))
    };
    for name in CLASSIFIERS {
        load(name)?;
    }
    if !abilities.xdp {
        return Ok(None);
    }
    match load(XDP) {
        Ok(()) => Ok(None),
        Err(TapError::Program { reason, .. }) => {
            Ok(Some(format!("the kernel refused it: {reason}")))
        }
        Err(error) => Err(error),
    }
}

/// One interface being tapped.
struct Attaching<'a> {
    kernel: &'a mut Kernel,
    pins: Option<&'a Pins>,
    interface: &'a Interface,
    abilities: Abilities,
    no_xdp: Option<&'a str>,
    /// Whether an earlier agent's XDP program was on it when it was listed, and is being taken off.
    had_own_xdp: bool,
    in_use: &'a mut InUse,
    // Dropped in this order, as in `Tapped`.
    attached: Vec<Attached>,
    clsact: Option<Clsact>,
}

/// What came of trying XDP.
enum XdpTry {
    Attached(Hook),
    Not(Option<String>),
}

impl Attaching<'_> {
    fn tap(mut self) -> Result<Tapped, TapError> {
        match self.both_sides() {
            Ok((ingress, no_xdp, egress)) => Ok(Tapped {
                name: self.interface.name.clone(),
                index: self.interface.index,
                ingress,
                no_xdp,
                egress,
                attached: self.attached,
                clsact: self.clsact,
            }),
            Err(error) => {
                take_off(self.attached);
                Err(error)
            }
        }
    }

    fn both_sides(&mut self) -> Result<(Hook, Option<String>, Option<Hook>), TapError> {
        // Devices without a link layer have no native XDP.
        let ethernet = self.interface.framing() == Some(Framing::Ethernet);
        let (ingress_program, egress_program) = if ethernet {
            ("tlswhy_ingress", "tlswhy_egress")
        } else {
            ("tlswhy_ingress_l3", "tlswhy_egress_l3")
        };
        let tried = if ethernet {
            self.xdp()?
        } else {
            XdpTry::Not(None)
        };
        let (ingress, no_xdp) = match tried {
            XdpTry::Attached(hook) => (hook, None),
            XdpTry::Not(why) => (
                self.classifier(ingress_program, TcAttachType::Ingress)?,
                why,
            ),
        };
        // What leaves by loopback comes in by it at once.
        let egress = if self.interface.is_loopback() {
            None
        } else {
            Some(self.classifier(egress_program, TcAttachType::Egress)?)
        };
        Ok((ingress, no_xdp, egress))
    }

    /// Native XDP. Not where another program has it, which is never replaced; and never generic XDP,
    /// which copies frames that the classifier reads where they are.
    fn xdp(&mut self) -> Result<XdpTry, TapError> {
        let worth_it = self.interface.is_hardware() || self.abilities.virtual_xdp;
        if !(self.abilities.xdp && worth_it) {
            return Ok(XdpTry::Not(None));
        }
        if let Some(why) = self.no_xdp {
            return Ok(XdpTry::Not(Some(why.to_owned())));
        }
        if let Some(other) = self.interface.xdp.filter(|_| !self.had_own_xdp) {
            let which = other.id.map(|id| format!(" (id {id})")).unwrap_or_default();
            let why = format!("another XDP program{which} is there and stays");
            return Ok(XdpTry::Not(Some(why)));
        }
        let program: &mut Xdp = program(self.kernel, XDP)?;
        let tries = if self.had_own_xdp { RELEASE_TRIES } else { 1 };
        let refusal = match attach_xdp(program, self.interface.index, tries) {
            Ok(link) => {
                let attached = match self.pins {
                    None => Attached::Xdp(link),
                    Some(pins) => self.pinned(pins, link, SideOf::Ingress, Hook::XdpNative)?,
                };
                self.attached.push(attached);
                return Ok(XdpTry::Attached(Hook::XdpNative));
            }
            Err(error) if is_taken(&error) => {
                let why = "another XDP program is there and stays".to_owned();
                return Ok(XdpTry::Not(Some(why)));
            }
            Err(error) => error,
        };
        match TapError::of_attach(&self.interface.name, "XDP", &refusal) {
            TapError::Attach { reason, .. } => Ok(XdpTry::Not(Some(reason))),
            error => Err(error),
        }
    }

    fn classifier(
        &mut self,
        name: &'static str,
        direction: TcAttachType,
    ) -> Result<Hook, TapError> {
        if !self.abilities.tcx {
            self.add_clsact()?;
        }
        let classifier: &mut SchedClassifier = program(self.kernel, name)?;
        let (hook, options) = if self.abilities.tcx {
            // First, at egress too: a program that gives a verdict ends the chain, and behind it
            // this one would be blind. It gives none itself, so those behind it run as before.
            (Hook::Tcx, TcAttachOptions::TcxOrder(LinkOrder::first()))
        } else {
            if let Ok(about) = classifier.info() {
                self.in_use.say(about.id());
            }
            let handle = self.clsact.as_ref().map_or(0, |_| ADDED).into();
            // The kernel picks a priority before all others there are, for the same reason.
            let options = NlOptions {
                handle,
                ..NlOptions::default()
            };
            (Hook::Clsact, TcAttachOptions::Netlink(options))
        };
        let link = classifier
            .attach_with_options(&self.interface.name, direction, options)
            .and_then(|id| classifier.take_link(id))
            .map_err(|error| TapError::of_attach(&self.interface.name, hook.name(), &error))?;
        let side = match direction {
            TcAttachType::Egress => SideOf::Egress,
            _ => SideOf::Ingress,
        };
        let attached = match self.pins.filter(|_| hook == Hook::Tcx) {
            None => Attached::Classifier(link),
            Some(pins) => self.pinned(pins, link, side, hook)?,
        };
        self.attached.push(attached);
        Ok(hook)
    }

    fn pinned<L>(
        &self,
        pins: &Pins,
        link: L,
        side: SideOf,
        hook: Hook,
    ) -> Result<Attached, TapError>
    where
        L: TryInto<FdLink, Error = LinkError>,
    {
        let link = link
            .try_into()
            .map_err(|error| TapError::of_attach(&self.interface.name, hook.name(), &error))?;
        let pinned = pins.pin_link(link, self.interface.index, side, hook)?;
        Ok(Attached::Pinned(pinned))
    }

    /// Adds the clsact queueing discipline unless it is there; somebody else's stays when we go.
    fn add_clsact(&mut self) -> Result<(), TapError> {
        if self.clsact.is_some() {
            return Ok(());
        }
        match qdisc_add_clsact(&self.interface.name) {
            Ok(()) => self.clsact = Some(Clsact::added(self.interface.index)),
            Err(TcError::AlreadyAttached) => {}
            Err(error) if os_error(&error) == Some(libc::EEXIST) => {}
            Err(error) => {
                return Err(TapError::of_attach(&self.interface.name, "clsact", &error));
            }
        }
        Ok(())
    }
}

fn attach_xdp(program: &mut Xdp, interface: u32, tries: u32) -> Result<XdpLink, ProgramError> {
    for _ in 1..tries {
        match program.attach_to_if_index(interface, XdpMode::Driver) {
            Err(error) if is_taken(&error) => std::thread::sleep(RELEASE_STEP),
            attached => return program.take_link(attached?),
        }
    }
    let id = program.attach_to_if_index(interface, XdpMode::Driver)?;
    program.take_link(id)
}

fn program<'e, P>(kernel: &'e mut Kernel, name: &'static str) -> Result<P, TapError>
where
    P: TryFrom<&'e mut Program, Error = ProgramError>,
{
    let missing = |reason: String| TapError::Program {
        program: name,
        reason,
    };
    let found = kernel
        .program_mut(name)
        .ok_or_else(|| TapError::missing(name))?;
    P::try_from(found).map_err(|error| missing(one_line(&error)))
}

/// Another XDP program has the interface, or one above or below it.
fn is_taken(error: &ProgramError) -> bool {
    matches!(os_error(error), Some(libc::EBUSY | libc::EEXIST))
}
