//! Loading of programs and maps, and adoption of pinned ones.

use std::collections::HashMap;

use aya::Ebpf;
use aya::maps::Map;
use aya::programs::{Program, ProgramError};

use crate::source::tap::Maps;
use crate::source::tap::error::{TapError, one_line};
use crate::source::tap::hook::Abilities;
use crate::source::tap::object::{CLASSIFIERS, ObjectOptions, XDP, load, memory_of};
use crate::source::tap::pins::Pins;

/// The programs and their maps.
pub enum Kernel {
    /// Loaded by this process.
    Loaded(Box<Ebpf>),
    /// Pinned by an earlier agent, and running since then.
    Adopted {
        /// The programs by name.
        programs: HashMap<&'static str, Program>,
        /// The maps by name.
        maps: HashMap<String, Map>,
    },
}

impl Kernel {
    /// Borrows a program as one of type `P`.
    pub(super) fn program<'e, P>(&'e mut self, name: &'static str) -> Result<P, TapError>
    where
        P: TryFrom<&'e mut Program, Error = ProgramError>,
    {
        let missing = |reason: String| TapError::Program {
            program: name,
            reason,
        };
        let found = self
            .program_mut(name)
            .ok_or_else(|| TapError::missing(name))?;
        P::try_from(found).map_err(|error| missing(one_line(&error)))
    }

    fn program_mut(&mut self, name: &'static str) -> Option<&mut Program> {
        match self {
            Self::Loaded(ebpf) => ebpf.program_mut(name),
            Self::Adopted { programs, .. } => programs.get_mut(name),
        }
    }

    /// Returns the bytes of kernel memory that the maps take, as the kernel accounts for them:
    /// before Linux 6.4 the maps' sizes alone.
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

/// Origin of the programs of a kernel tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Loaded where none were pinned.
    New,
    /// Pinned by an earlier agent.
    Adopted,
    /// Loaded in place of other ones that an earlier agent had pinned.
    Replaced,
}

/// Programs that are in the kernel, and how they got there.
pub(super) struct InKernel {
    pub(super) kernel: Kernel,
    /// The reason why the XDP program is not among them, if it is not.
    pub(super) no_xdp: Option<String>,
    pub(super) origin: Origin,
}

/// Loads the object without pins.
///
/// # Errors
/// [`TapError`].
pub(super) fn load_unpinned(
    options: &ObjectOptions,
    abilities: Abilities,
) -> Result<InKernel, TapError> {
    let mut ebpf = load(options).map_err(TapError::of_object)?;
    let no_xdp = load_all(&mut ebpf, abilities)?;
    Ok(InKernel {
        kernel: Kernel::Loaded(Box::new(ebpf)),
        no_xdp,
        origin: Origin::New,
    })
}

/// Opens programs and maps of a generation of pins; `None` if the generation is not whole.
pub(super) fn adopt(pins: &Pins) -> Option<InKernel> {
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
    Some(InKernel {
        kernel,
        no_xdp,
        origin: Origin::Adopted,
    })
}

/// Loads the object and pins it in place of other generations.
///
/// # Errors
/// [`TapError`]; other generations stay then.
pub(super) fn load_and_pin(
    pins: &Pins,
    options: &ObjectOptions,
    abilities: Abilities,
) -> Result<InKernel, TapError> {
    pins.remove_own()?;
    let mut ebpf = load(options).map_err(TapError::of_object)?;
    let no_xdp = load_all(&mut ebpf, abilities)?;
    // Only now: earlier programs go on until this is sure to run. Native XDP has room for one
    // program.
    let others = pins.remove_others()?;
    pins.pin(&mut ebpf)?;
    let origin = if others > 0 {
        Origin::Replaced
    } else {
        Origin::New
    };
    Ok(InKernel {
        kernel: Kernel::Loaded(Box::new(ebpf)),
        no_xdp,
        origin,
    })
}

/// Loads all programs, so that all can be pinned and none needs privileges later. Returns the reason if
/// the kernel refuses the XDP program.
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
