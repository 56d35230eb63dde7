//! Attachment of the programs to one interface, and their detachment.

use std::time::Duration;

use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcAttachType, TcError, qdisc_add_clsact,
};
use aya::programs::xdp::XdpLink;
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, Xdp, XdpMode};

use crate::host::interfaces::{Framing, Interface};
use crate::source::tap::clsact::{ADDED, Clsact, InUse};
use crate::source::tap::error::{TapError, os_error};
use crate::source::tap::hook::{Abilities, Direction, Hook};
use crate::source::tap::load::Kernel;
use crate::source::tap::object::XDP;
use crate::source::tap::pins::Pins;

/// Attempts at XDP where an earlier agent's program has just been unpinned, and the time between them:
/// the kernel detaches it after a grace period.
const RELEASE_TRIES: u32 = 100;
const RELEASE_STEP: Duration = Duration::from_millis(10);

/// An interface with its programs. Dropping it detaches those that are not pinned.
#[derive(Debug)]
pub struct Tapped {
    /// Its name when it was tapped.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Hook of incoming frames.
    pub ingress: Hook,
    /// The reason why that is not XDP, where hardware and kernel have it.
    pub no_xdp: Option<String>,
    /// Hook of outgoing frames; none on loopback, where each frame leaves and comes in again.
    pub egress: Option<Hook>,
    // Dropped in this order: filters first, then the queueing discipline they sit in.
    pub(super) attached: Vec<Attached>,
    #[expect(dead_code, reason = "held for what dropping it does")]
    pub(super) clsact: Option<Clsact>,
}

/// Link of an attached program; dropping it detaches the program, unless it is pinned. XDP and TCX links
/// are descriptors, which the kernel closes however this process ends; a clsact filter is removed by
/// a request.
#[derive(Debug)]
pub(super) enum Attached {
    #[expect(dead_code, reason = "held for what dropping it does")]
    Xdp(XdpLink),
    #[expect(dead_code, reason = "held for what dropping it does")]
    Classifier(SchedClassifierLink),
    Pinned(PinnedLink),
}

impl Tapped {
    /// Detaches the programs, pinned ones too.
    pub fn detach(self) {
        detach_all(self.attached);
    }
}

fn detach_all(attached: Vec<Attached>) {
    for one in attached {
        if let Attached::Pinned(link) = one {
            // A pin that cannot be removed stays, and `tlswhy detach` reports the reason.
            let _ = link.unpin();
        }
    }
}

/// One interface being tapped.
pub(super) struct Attaching<'a> {
    pub(super) kernel: &'a mut Kernel,
    pub(super) pins: Option<&'a Pins>,
    pub(super) interface: &'a Interface,
    pub(super) abilities: Abilities,
    pub(super) no_xdp: Option<&'a str>,
    /// Whether an earlier agent's XDP program is being detached from it.
    pub(super) had_own_xdp: bool,
    pub(super) in_use: &'a mut InUse,
    // Dropped in this order, as in `Tapped`.
    pub(super) attached: Vec<Attached>,
    pub(super) clsact: Option<Clsact>,
}

/// Result of trying XDP: the hook, or the reason worth telling why not.
enum XdpTry {
    Attached(Hook),
    Not(Option<String>),
}

impl Attaching<'_> {
    /// Attaches a program in each direction.
    ///
    /// # Errors
    /// [`TapError`]; nothing stays attached then.
    pub(super) fn tap(mut self) -> Result<Tapped, TapError> {
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
                detach_all(self.attached);
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
        // Frames that leave by loopback come in by it at once.
        let egress = if self.interface.is_loopback() {
            None
        } else {
            Some(self.classifier(egress_program, TcAttachType::Egress)?)
        };
        Ok((ingress, no_xdp, egress))
    }

    /// Attaches native XDP. Another program is never replaced, and generic XDP is not used: it copies
    /// frames that the classifier reads in place.
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
            let why = format!("another XDP program{which} is attached and was left in place");
            return Ok(XdpTry::Not(Some(why)));
        }
        let program: &mut Xdp = self.kernel.program(XDP)?;
        let tries = if self.had_own_xdp { RELEASE_TRIES } else { 1 };
        let refusal = match attach_xdp(program, self.interface.index, tries) {
            Ok(link) => {
                let attached = match self.pins {
                    None => Attached::Xdp(link),
                    Some(pins) => self.pinned(pins, link, Direction::Ingress, Hook::XdpNative)?,
                };
                self.attached.push(attached);
                return Ok(XdpTry::Attached(Hook::XdpNative));
            }
            Err(error) if is_taken(&error) => {
                let why = "another XDP program is attached and was left in place".to_owned();
                return Ok(XdpTry::Not(Some(why)));
            }
            Err(error) => error,
        };
        match TapError::of_attach(&self.interface.name, "XDP", &refusal) {
            TapError::Attach { reason, .. } => Ok(XdpTry::Not(Some(reason))),
            error => Err(error),
        }
    }

    fn classifier(&mut self, name: &'static str, at: TcAttachType) -> Result<Hook, TapError> {
        if !self.abilities.tcx {
            self.add_clsact()?;
        }
        let classifier: &mut SchedClassifier = self.kernel.program(name)?;
        let (hook, options) = if self.abilities.tcx {
            // First, at egress too: a program that gives a verdict ends the chain, and behind it
            // this one would be blind. It gives none itself, so those behind it run as before.
            (Hook::Tcx, TcAttachOptions::TcxOrder(LinkOrder::first()))
        } else {
            if let Ok(about) = classifier.info() {
                self.in_use.mark(about.id());
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
            .attach_with_options(&self.interface.name, at, options)
            .and_then(|id| classifier.take_link(id))
            .map_err(|error| TapError::of_attach(&self.interface.name, hook.name(), &error))?;
        let direction = match at {
            TcAttachType::Egress => Direction::Egress,
            _ => Direction::Ingress,
        };
        let attached = match self.pins.filter(|_| hook == Hook::Tcx) {
            None => Attached::Classifier(link),
            Some(pins) => self.pinned(pins, link, direction, hook)?,
        };
        self.attached.push(attached);
        Ok(hook)
    }

    fn pinned<L>(
        &self,
        pins: &Pins,
        link: L,
        direction: Direction,
        hook: Hook,
    ) -> Result<Attached, TapError>
    where
        L: TryInto<FdLink, Error = LinkError>,
    {
        let link = link
            .try_into()
            .map_err(|error| TapError::of_attach(&self.interface.name, hook.name(), &error))?;
        let pinned = pins.pin_link(link, self.interface.index, direction, hook)?;
        Ok(Attached::Pinned(pinned))
    }

    /// Adds the clsact queueing discipline unless there is one; that of another program stays at the end.
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

/// Whether another XDP program is attached to the interface, or to one above or below it.
fn is_taken(error: &ProgramError) -> bool {
    matches!(os_error(error), Some(libc::EBUSY | libc::EEXIST))
}
