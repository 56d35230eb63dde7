//! Attaching to interfaces, and leaving them as they were.

use std::io;

use aya::Ebpf;
use aya::programs::tc::{NlOptions, TcAttachOptions, TcAttachType, qdisc_add_clsact};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, Xdp, XdpMode};
use aya::util::KernelVersion;

use crate::interfaces::Interface;
use crate::tap::clsact::Clsact;
use crate::tap::object::{ObjectOptions, load};

/// The first kernel with TCX links.
const TCX: KernelVersion = KernelVersion::new(6, 6, 0);

/// Why a tap could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// Loading needs rights this process does not have.
    #[error(
        "may not load eBPF programs: run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
    )]
    Privileges,
    /// The kernel lacks something the object needs.
    #[error("this kernel cannot take the eBPF object ({0}): it needs Linux 5.18 or later")]
    Kernel(String),
    /// An interface could not be tapped.
    #[error("cannot tap {interface} at {hook}: {source}")]
    Attach {
        /// The interface.
        interface: String,
        /// Where.
        hook: &'static str,
        /// What the kernel said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Where a program sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// XDP in the driver.
    XdpNative,
    /// XDP in the stack: the driver has none.
    XdpGeneric,
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
            Self::XdpGeneric => "generic XDP",
            Self::Tcx => "TCX",
            Self::Clsact => "clsact",
        }
    }
}

/// Which classifier hook to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Classifier {
    /// TCX where the kernel has it, else clsact.
    #[default]
    ByKernel,
    /// Always clsact.
    Clsact,
}

/// One interface with its programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tapped {
    /// Its name when it was tapped.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Where incoming frames are seen.
    pub ingress: Hook,
    /// Where outgoing frames are seen; loopback shows each frame twice and is tapped once.
    pub egress: Option<Hook>,
}

/// The loaded object and what it is attached to. Dropping it detaches everything.
pub struct KernelTap {
    /// The object; its links detach when it is dropped.
    pub ebpf: Ebpf,
    /// Interfaces with programs.
    pub tapped: Vec<Tapped>,
    // Behind `ebpf`, so that its filters are gone when the queueing disciplines go.
    clsact: Vec<Clsact>,
}

impl KernelTap {
    /// Loads the object and attaches it to all `interfaces`.
    ///
    /// # Errors
    /// [`TapError`]; then nothing stays attached.
    pub fn attach(
        interfaces: &[Interface],
        options: &ObjectOptions,
        classifier: Classifier,
    ) -> Result<Self, TapError> {
        let ebpf = load(options).map_err(|error| refused(&error))?;
        let mut tap = Self {
            ebpf,
            tapped: Vec::new(),
            clsact: Vec::new(),
        };
        for interface in interfaces {
            tap.add(interface, classifier)?;
        }
        Ok(tap)
    }

    fn add(&mut self, interface: &Interface, classifier: Classifier) -> Result<(), TapError> {
        let tcx = classifier == Classifier::ByKernel
            && KernelVersion::current().is_ok_and(|version| version >= TCX);
        let ingress = match self.attach_xdp(interface)? {
            Some(hook) => hook,
            None => self.attach_classifier(interface, TcAttachType::Ingress, tcx)?,
        };
        let egress = if interface.is_loopback() {
            None
        } else {
            Some(self.attach_classifier(interface, TcAttachType::Egress, tcx)?)
        };
        let Interface { name, index, .. } = interface;
        self.tapped.push(Tapped {
            name: name.clone(),
            index: *index,
            ingress,
            egress,
        });
        Ok(())
    }

    /// XDP, native or generic; `None` where another program has it, which is never replaced.
    fn attach_xdp(&mut self, interface: &Interface) -> Result<Option<Hook>, TapError> {
        if interface.xdp.is_some() {
            return Ok(None);
        }
        let program: &mut Xdp = program(&mut self.ebpf, "tlswhy_xdp")?;
        load_once(|| program.load())?;
        let native = program.attach_to_if_index(interface.index, XdpMode::Driver);
        let Err(native) = native else {
            return Ok(Some(Hook::XdpNative));
        };
        if is_taken(&native) {
            return Ok(None);
        }
        match program.attach_to_if_index(interface.index, XdpMode::Skb) {
            Ok(_) => Ok(Some(Hook::XdpGeneric)),
            Err(error) if is_taken(&error) => Ok(None),
            Err(error) => Err(attach_error(interface, "XDP", error)),
        }
    }

    fn attach_classifier(
        &mut self,
        interface: &Interface,
        direction: TcAttachType,
        tcx: bool,
    ) -> Result<Hook, TapError> {
        let ingress = direction == TcAttachType::Ingress;
        let name = if ingress {
            "tlswhy_ingress"
        } else {
            "tlswhy_egress"
        };
        let program: &mut SchedClassifier = program(&mut self.ebpf, name)?;
        load_once(|| program.load())?;
        if tcx {
            // First at ingress and last at egress: what comes is seen before anybody changes it,
            // what goes as it leaves.
            let order = if ingress {
                LinkOrder::first()
            } else {
                LinkOrder::last()
            };
            program
                .attach_with_options(&interface.name, direction, TcAttachOptions::TcxOrder(order))
                .map_err(|error| attach_error(interface, "TCX", error))?;
            return Ok(Hook::Tcx);
        }
        if !self
            .clsact
            .iter()
            .any(|clsact| clsact.interface() == interface.index)
        {
            match qdisc_add_clsact(&interface.name) {
                Ok(()) => self.clsact.push(Clsact::added(interface.index)),
                // Somebody else's: it stays when we go.
                Err(aya::programs::tc::TcError::AlreadyAttached) => {}
                Err(aya::programs::tc::TcError::NetlinkError(error))
                    if error.raw_os_error() == Some(libc::EEXIST) => {}
                Err(error) => return Err(attach_error(interface, "clsact", error)),
            }
        }
        let options = TcAttachOptions::Netlink(NlOptions::default());
        program
            .attach_with_options(&interface.name, direction, options)
            .map_err(|error| attach_error(interface, "clsact", error))?;
        Ok(Hook::Clsact)
    }
}

fn program<'e, P>(ebpf: &'e mut Ebpf, name: &str) -> Result<P, TapError>
where
    P: TryFrom<&'e mut aya::programs::Program, Error = ProgramError>,
{
    let found = ebpf
        .program_mut(name)
        .ok_or_else(|| TapError::Kernel(format!("the object has no program {name}")))?;
    P::try_from(found).map_err(|error| TapError::Kernel(error.to_string()))
}

/// Loads a program unless it is loaded already.
fn load_once(load: impl FnOnce() -> Result<(), ProgramError>) -> Result<(), TapError> {
    match load() {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(()),
        Err(ProgramError::LoadError { io_error, .. }) if is_forbidden(&io_error) => {
            Err(TapError::Privileges)
        }
        Err(ProgramError::LoadError {
            io_error,
            verifier_log,
        }) => {
            let last = verifier_log.to_string();
            let last = last
                .lines()
                .rev()
                .find(|line| !line.trim().is_empty())
                .unwrap_or_default();
            Err(TapError::Kernel(format!("{io_error}: {}", last.trim())))
        }
        Err(error) => Err(TapError::Kernel(error.to_string())),
    }
}

fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}

/// Another XDP program has the interface.
fn is_taken(error: &ProgramError) -> bool {
    match error {
        ProgramError::SyscallError(error) => {
            matches!(
                error.io_error.raw_os_error(),
                Some(libc::EBUSY | libc::EEXIST)
            )
        }
        _ => false,
    }
}

fn attach_error(
    interface: &Interface,
    hook: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> TapError {
    TapError::Attach {
        interface: interface.name.clone(),
        hook,
        source: Box::new(source),
    }
}

/// Why the object was refused: the first reason the system gave.
fn refused(error: &aya::EbpfError) -> TapError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.downcast_ref::<io::Error>().is_some_and(is_forbidden) {
            return TapError::Privileges;
        }
        source = error.source();
    }
    TapError::Kernel(error.to_string())
}
