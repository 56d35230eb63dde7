//! Pins: programs, maps and links under a BPF file system, where they outlive the agent.
//!
//! ```text
//! DIR/                    locked by the agent that uses it
//!   GENERATION/           named after object, table sizes and network namespace: others do not fit
//!     maps/NAME
//!     programs/NAME       written last: without all of them a generation is not whole
//!     links/INDEX-SIDE-HOOK
//! ```

mod directory;
mod generation;
mod links;
mod root;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use aya::Ebpf;
use aya::maps::{Map, MapData};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{Program, SchedClassifier, Xdp};
use aya_obj::programs::XdpAttachType;

use crate::source::tap::error::TapError;
use crate::source::tap::hook::{Direction, Hook};
use crate::source::tap::object::{CLASSIFIERS, ObjectOptions, XDP};
use directory::entries;
pub(super) use links::FoundLink;
pub use root::{Root, lock_if_there};

/// Maps that agents read or whose memory they tell, and every object has. The programs keep the others.
const MAPS: [&str; 9] = [
    "OBSERVATIONS",
    "HANDSHAKES",
    "COUNTERS",
    "WATCHED",
    "SETTLED",
    "TAGS",
    "PLACES",
    "TIMES",
    "SYNS",
];
/// One that objects without diagnostics do not have.
const LOGS: &str = "AYA_LOGS";
/// A generation of pins in such a directory.
#[derive(Debug)]
pub struct Pins {
    root: Root,
    generation: PathBuf,
}

impl Pins {
    /// Returns the generation of an object with these options, in this thread's network namespace.
    pub fn new(root: Root, options: &ObjectOptions) -> Self {
        let generation = generation::path_of(root.path(), options);
        Self { root, generation }
    }

    /// Whether all maps and classifiers are pinned.
    pub(super) fn is_whole(&self) -> bool {
        MAPS.iter().all(|map| self.map_path(map).exists())
            && CLASSIFIERS
                .iter()
                .all(|program| self.program_path(program).exists())
    }

    /// Removes other generations, which detaches their programs; returns their number.
    ///
    /// # Errors
    /// [`TapError::Pins`].
    pub(super) fn remove_others(&self) -> Result<usize, TapError> {
        let mut generations = generation::list(self.root.path())?;
        generations.retain(|path| *path != self.generation);
        for path in &generations {
            generation::remove(path)?;
        }
        Ok(generations.len())
    }

    /// Removes this generation.
    ///
    /// # Errors
    /// [`TapError::Pins`].
    pub(super) fn remove_own(&self) -> Result<(), TapError> {
        match self.generation.exists() {
            true => generation::remove(&self.generation),
            false => Ok(()),
        }
    }

    /// Returns the interfaces whose XDP program is pinned here, in any generation.
    pub(super) fn with_own_xdp(&self) -> BTreeSet<u32> {
        let generations = generation::list(self.root.path()).unwrap_or_default();
        let links = generations
            .iter()
            .flat_map(|it| entries(&it.join("links")).unwrap_or_default());
        let found = links.filter_map(|path| links::open(&path));
        found
            .filter(|it| it.hook == Hook::XdpNative)
            .map(|it| it.interface)
            .collect()
    }

    /// Pins maps and programs of a loaded object.
    ///
    /// # Errors
    /// [`TapError::Pins`].
    pub(super) fn pin(&self, ebpf: &mut Ebpf) -> Result<(), TapError> {
        for directory in ["maps", "programs", "links"] {
            let path = self.generation.join(directory);
            fs::create_dir_all(&path)
                .map_err(|error| TapError::pins(&path, "cannot be made", &error))?;
        }
        for name in MAPS.into_iter().chain([LOGS]) {
            if let Some(map) = ebpf.map(name) {
                let path = self.map_path(name);
                map.pin(&path)
                    .map_err(|error| TapError::pins(&path, "cannot be pinned", &error))?;
            }
        }
        for (name, program) in ebpf.programs_mut() {
            if program.fd().is_ok() {
                let path = self.program_path(name);
                program
                    .pin(&path)
                    .map_err(|error| TapError::pins(&path, "cannot be pinned", &error))?;
            }
        }
        Ok(())
    }

    fn map(&self, name: &str) -> Option<Map> {
        let data = MapData::from_pin(self.map_path(name)).ok()?;
        Map::from_map_data(data).ok()
    }

    /// Returns the maps by name.
    pub(super) fn maps(&self) -> impl Iterator<Item = (String, Map)> + '_ {
        let with_map = |name: &str| Some((name.to_owned(), self.map(name)?));
        MAPS.into_iter().chain([LOGS]).filter_map(with_map)
    }

    pub(super) fn program(&self, name: &str) -> Option<Program> {
        let path = self.program_path(name);
        if name == XDP {
            let program = Xdp::from_pin(path, XdpAttachType::Interface).ok()?;
            return Some(Program::Xdp(program));
        }
        let program = SchedClassifier::from_pin(path).ok()?;
        Some(Program::SchedClassifier(program))
    }

    /// Pins a link.
    ///
    /// # Errors
    /// [`TapError::Pins`].
    pub(super) fn pin_link(
        &self,
        link: FdLink,
        interface: u32,
        direction: Direction,
        hook: Hook,
    ) -> Result<PinnedLink, TapError> {
        let name = links::name(interface, direction, hook);
        let path = self.generation.join("links").join(name);
        link.pin(&path)
            .map_err(|error| TapError::pins(&path, "cannot be pinned", &error))
    }

    /// Opens the pinned links that are still attached; removes those of interfaces that are gone.
    pub(super) fn links(&self) -> Vec<FoundLink> {
        let mut found = Vec::new();
        for path in entries(&self.generation.join("links")).unwrap_or_default() {
            match links::open(&path) {
                Some(link) => found.push(link),
                None => {
                    // A pin that stays is removed at the next start.
                    let _ = fs::remove_file(&path);
                }
            }
        }
        found
    }

    fn map_path(&self, name: &str) -> PathBuf {
        self.generation.join("maps").join(name)
    }

    fn program_path(&self, name: &str) -> PathBuf {
        self.generation.join("programs").join(name)
    }
}
