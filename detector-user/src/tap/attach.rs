//! Attaching to interfaces, and leaving them as they were.

use aya::Ebpf;
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcAttachType, TcError, qdisc_add_clsact,
};
use aya::programs::xdp::XdpLink;
use aya::programs::{LinkOrder, Program, ProgramError, SchedClassifier, Xdp, XdpMode};
use aya::util::KernelVersion;

use crate::interfaces::{Framing, Interface};
use crate::tap::clsact::Clsact;
use crate::tap::error::{TapError, one_line, os_error};
use crate::tap::object::{ObjectOptions, load};

/// The first kernel whose XDP programs read frames of several buffers, as jumbo frames and
/// coalesced ones are, and have `bpf_xdp_load_bytes`.
const XDP_FRAGMENTS: KernelVersion = KernelVersion::new(5, 18, 0);
/// The first kernel with TCX links.
const TCX: KernelVersion = KernelVersion::new(6, 6, 0);

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
    #[expect(dead_code, reason = "held for what dropping them does")]
    attached: Vec<Attached>,
    #[expect(dead_code, reason = "held for what dropping it does")]
    clsact: Option<Clsact>,
}

/// What keeps a program where it is; dropping it takes it off. XDP and TCX links are descriptors,
/// which the kernel closes however this process ends; a clsact filter is removed by a request.
#[derive(Debug)]
#[expect(dead_code, reason = "held for what dropping them does")]
enum Attached {
    Xdp(XdpLink),
    Classifier(SchedClassifierLink),
}

/// The loaded object and what it is attached to. Dropping it detaches everything.
pub struct KernelTap {
    /// Interfaces with programs. Dropping one detaches it.
    pub tapped: Vec<Tapped>,
    /// The object: programs, and maps shared by all interfaces.
    pub ebpf: Ebpf,
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
        let mut tap = Self {
            tapped: Vec::new(),
            ebpf: load(options).map_err(TapError::of_object)?,
        };
        for interface in interfaces {
            let tapped = Attaching::new(&mut tap.ebpf, interface, abilities).tap()?;
            tap.tapped.push(tapped);
        }
        Ok(tap)
    }
}

/// One interface being tapped.
struct Attaching<'a> {
    ebpf: &'a mut Ebpf,
    interface: &'a Interface,
    abilities: Abilities,
    attached: Vec<Attached>,
    clsact: Option<Clsact>,
}

/// What came of trying XDP.
enum XdpTry {
    Attached(Hook),
    Not(Option<String>),
}

impl<'a> Attaching<'a> {
    fn new(ebpf: &'a mut Ebpf, interface: &'a Interface, abilities: Abilities) -> Self {
        Self {
            ebpf,
            interface,
            abilities,
            attached: Vec::new(),
            clsact: None,
        }
    }

    fn tap(mut self) -> Result<Tapped, TapError> {
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
        Ok(Tapped {
            name: self.interface.name.clone(),
            index: self.interface.index,
            ingress,
            no_xdp,
            egress,
            attached: self.attached,
            clsact: self.clsact,
        })
    }

    /// Native XDP. Not where another program has it, which is never replaced; and never generic XDP,
    /// which copies frames that the classifier reads where they are.
    fn xdp(&mut self) -> Result<XdpTry, TapError> {
        let worth_it = self.interface.is_hardware() || self.abilities.virtual_xdp;
        if !(self.abilities.xdp && worth_it) {
            return Ok(XdpTry::Not(None));
        }
        if let Some(other) = self.interface.xdp {
            let which = other.id.map(|id| format!(" (id {id})")).unwrap_or_default();
            let why = format!("another XDP program{which} is there and stays");
            return Ok(XdpTry::Not(Some(why)));
        }
        let program: &mut Xdp = program(self.ebpf, "tlswhy_xdp")?;
        match load_once("tlswhy_xdp", || program.load()) {
            Ok(()) => {}
            Err(TapError::Program { reason, .. }) => {
                return Ok(XdpTry::Not(Some(format!(
                    "the kernel refused it: {reason}"
                ))));
            }
            Err(error) => return Err(error),
        }
        let refusal = match attach_xdp(program, self.interface.index) {
            Ok(link) => {
                self.attached.push(Attached::Xdp(link));
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
        let classifier: &mut SchedClassifier = program(self.ebpf, name)?;
        load_once(name, || classifier.load())?;
        let (hook, options) = if self.abilities.tcx {
            // First, at egress too: a program that gives a verdict ends the chain, and behind it
            // this one would be blind. It gives none itself, so those behind it run as before.
            (Hook::Tcx, TcAttachOptions::TcxOrder(LinkOrder::first()))
        } else {
            // The kernel picks a priority before all others there are, for the same reason.
            (Hook::Clsact, TcAttachOptions::Netlink(NlOptions::default()))
        };
        let link = classifier
            .attach_with_options(&self.interface.name, direction, options)
            .and_then(|id| classifier.take_link(id))
            .map_err(|error| TapError::of_attach(&self.interface.name, hook.name(), &error))?;
        self.attached.push(Attached::Classifier(link));
        Ok(hook)
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

fn attach_xdp(program: &mut Xdp, interface: u32) -> Result<XdpLink, ProgramError> {
    let id = program.attach_to_if_index(interface, XdpMode::Driver)?;
    program.take_link(id)
}

fn program<'e, P>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<P, TapError>
where
    P: TryFrom<&'e mut Program, Error = ProgramError>,
{
    let missing = |reason: String| TapError::Program {
        program: name,
        reason,
    };
    let found = ebpf
        .program_mut(name)
        .ok_or_else(|| missing("it is not in the object".to_owned()))?;
    P::try_from(found).map_err(|error| missing(one_line(&error)))
}

/// Loads a program unless it is loaded already.
fn load_once(
    name: &'static str,
    load: impl FnOnce() -> Result<(), ProgramError>,
) -> Result<(), TapError> {
    match load() {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(()),
        Err(error) => Err(TapError::of_program(name, &error)),
    }
}

/// Another XDP program has the interface, or one above or below it.
fn is_taken(error: &ProgramError) -> bool {
    matches!(os_error(error), Some(libc::EBUSY | libc::EEXIST))
}
