//! Programs, maps and links under a BPF file system, where they go on without the agent.
//!
//! ```text
//! DIR/                    locked by the agent that uses it
//!   GENERATION/           named after object and table sizes: what differs does not fit
//!     maps/NAME
//!     programs/NAME       written last: without all of them a generation is not whole
//!     links/INDEX-SIDE-HOOK
//! ```

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::maps::{Map, MapData};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{Program, SchedClassifier, Xdp};
use aya_obj::Object;
use aya_obj::programs::XdpAttachType;
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use crate::tap::attach::Hook;
use crate::tap::error::TapError;
use crate::tap::object::{OBJECT, ObjectOptions};

/// Maps that somebody reads. The programs keep the others.
const MAPS: [&str; 8] = [
    "OBSERVATIONS",
    "HANDSHAKES",
    "COUNTERS",
    "WATCHED",
    "SETTLED",
    "TAGS",
    "PLACES",
    "AYA_LOGS",
];
/// Of those, the ones that every object has.
const NEEDED: [&str; 7] = [
    "OBSERVATIONS",
    "HANDSHAKES",
    "COUNTERS",
    "WATCHED",
    "SETTLED",
    "TAGS",
    "PLACES",
];
/// Classifiers, one for each side and framing.
pub(super) const CLASSIFIERS: [&str; 4] = [
    "tlswhy_ingress",
    "tlswhy_egress",
    "tlswhy_ingress_l3",
    "tlswhy_egress_l3",
];
/// The XDP program, which some kernels do not take.
pub(super) const XDP: &str = "tlswhy_xdp";

/// A side of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SideOf {
    Ingress,
    Egress,
}

impl SideOf {
    const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// A generation of pins that this process alone uses.
#[derive(Debug)]
pub struct Pins {
    root: PathBuf,
    generation: PathBuf,
    #[expect(dead_code, reason = "held for the lock")]
    lock: Flock<OwnedFd>,
}

/// A link that was found pinned and still sits on its interface.
#[derive(Debug)]
pub(super) struct FoundLink {
    pub(super) link: PinnedLink,
    pub(super) interface: u32,
    pub(super) side: SideOf,
    pub(super) hook: Hook,
}

impl Pins {
    /// Takes `root`, which is made if it is not there, for an object with these options.
    ///
    /// # Errors
    /// [`TapError::Pins`]: it is on no BPF file system, somebody else uses it, or may not.
    pub fn lock(root: &Path, options: &ObjectOptions) -> Result<Self, TapError> {
        let failed = |what: &str, error: io::Error| TapError::pins(root, what, &error);
        match fs::create_dir(root) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("cannot be made", error));
            }
            _ => {}
        }
        let on_bpffs = nix::sys::statfs::statfs(root)
            .is_ok_and(|about| about.filesystem_type() == nix::sys::statfs::BPF_FS_MAGIC);
        if !on_bpffs {
            return Err(TapError::PinsElsewhere {
                directory: root.to_owned(),
            });
        }
        let directory: OwnedFd = fs::File::open(root)
            .map_err(|error| failed("cannot be opened", error))?
            .into();
        let lock =
            Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, code)| {
                if code == nix::errno::Errno::EWOULDBLOCK {
                    TapError::PinsTaken {
                        directory: root.to_owned(),
                    }
                } else {
                    failed("cannot be locked", code.into())
                }
            })?;
        Ok(Self {
            root: root.to_owned(),
            generation: root.join(generation(options)),
            lock,
        })
    }

    /// Whether everything that is needed is pinned here by an agent of the same object and options.
    pub(super) fn is_whole(&self) -> bool {
        NEEDED.iter().all(|map| self.map_path(map).exists())
            && CLASSIFIERS
                .iter()
                .all(|program| self.program_path(program).exists())
    }

    /// Removes what agents of other objects or options pinned, which takes their programs off;
    /// returns how many there were.
    ///
    /// # Errors
    /// [`TapError::Pins`].
    pub(super) fn remove_others(&self) -> Result<usize, TapError> {
        let mut removed = 0;
        for path in entries(&self.root) {
            if path != self.generation {
                remove(&path)
                    .map_err(|error| TapError::pins(&path, "cannot be removed", &error))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Removes this generation.
    ///
    /// # Errors
    /// [`TapError::Pins`].
    pub(super) fn remove_own(&self) -> Result<(), TapError> {
        if !self.generation.exists() {
            return Ok(());
        }
        remove(&self.generation)
            .map_err(|error| TapError::pins(&self.generation, "cannot be removed", &error))
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
        for name in MAPS {
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

    /// The maps by name.
    pub(super) fn maps(&self) -> impl Iterator<Item = (String, Map)> + '_ {
        let with_map = |name: &&str| Some(((*name).to_owned(), self.map(name)?));
        MAPS.iter().filter_map(with_map)
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
        side: SideOf,
        hook: Hook,
    ) -> Result<PinnedLink, TapError> {
        let name = format!("{interface}-{}-{}", side.name(), tag(hook));
        let path = self.generation.join("links").join(name);
        link.pin(&path)
            .map_err(|error| TapError::pins(&path, "cannot be pinned", &error))
    }

    /// Links that are pinned and still where they were put. What is left of interfaces that are
    /// gone is removed.
    pub(super) fn links(&self) -> Vec<FoundLink> {
        let mut found = Vec::new();
        for path in entries(&self.generation.join("links")) {
            match found_link(&path) {
                Some(link) => found.push(link),
                None => {
                    // If it stays, the next start tries again.
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

/// Removes everything that was pinned under `root`, and `root`; returns how many links that took
/// off.
///
/// # Errors
/// What the system says, and about which file.
pub fn remove_all(root: &Path) -> Result<usize, TapError> {
    let links: usize = entries(root)
        .iter()
        .map(|generation| entries(&generation.join("links")).len())
        .sum();
    match remove(root) {
        Ok(()) => Ok(links),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        // The directory itself may be somebody else's to make and to remove.
        Err(_) if entries(root).is_empty() => Ok(links),
        Err(error) => Err(TapError::pins(root, "cannot be removed", &error)),
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries.flatten().map(|entry| entry.path()).collect()
}

/// Removes a directory with all that is in it, links first: while programs are on interfaces, what
/// they use stays.
fn remove(path: &Path) -> io::Result<()> {
    let links = path.join("links");
    if links.is_dir() {
        fs::remove_dir_all(&links)?;
    }
    for entry in entries(path) {
        if entry.is_dir() {
            remove(&entry)?;
        } else {
            fs::remove_file(&entry)?;
        }
    }
    fs::remove_dir(path)
}

/// Names what the programs do and how large their tables are: an agent takes over what has the same
/// name. The object's bytes would not do: they name the agent's version, too.
fn generation(options: &ObjectOptions) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{options:?}"));
    match Object::parse(OBJECT) {
        Ok(object) => hash_object(&object, &mut hash),
        // It will not load either.
        Err(_) => hash.update(OBJECT),
    }
    let digest = hash.finalize();
    let bytes = digest.iter().take(8);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

fn hash_object(object: &Object, hash: &mut Sha256) {
    let mut maps: Vec<_> = object.maps.iter().collect();
    maps.sort_by_key(|(name, _)| *name);
    for (name, map) in maps {
        hash.update(name);
        for size in [map.map_type(), map.key_size(), map.value_size()] {
            hash.update(size.to_le_bytes());
        }
    }
    for function in object.functions.values() {
        for instruction in &function.instructions {
            let registers = [instruction.dst_reg(), instruction.src_reg()];
            hash.update([&[instruction.code], &registers[..]].concat());
            hash.update(instruction.off.to_le_bytes());
            hash.update(instruction.imm.to_le_bytes());
        }
    }
}

const fn tag(hook: Hook) -> &'static str {
    match hook {
        Hook::XdpNative => "xdp",
        Hook::Tcx => "tcx",
        Hook::Clsact => "clsact",
    }
}

fn found_link(path: &Path) -> Option<FoundLink> {
    let name = path.file_name()?.to_str()?;
    let mut parts = name.split('-');
    let interface = parts.next()?.parse().ok()?;
    let side = [SideOf::Ingress, SideOf::Egress];
    let side = parts
        .next()
        .and_then(|part| side.into_iter().find(|it| it.name() == part))?;
    let hooks = [Hook::XdpNative, Hook::Tcx];
    let hook = parts
        .next()
        .and_then(|part| hooks.into_iter().find(|it| tag(*it) == part))?;
    // Opened twice: aya gives no way back from the one to the other.
    let sits_on = interface_of(&FdLink::from(PinnedLink::from_pin(path).ok()?));
    let link = PinnedLink::from_pin(path).ok()?;
    (sits_on == Some(interface)).then_some(FoundLink {
        link,
        interface,
        side,
        hook,
    })
}

/// The interface that a link is attached to, 0 if that is gone. The kernel tells it with the
/// descriptor, which aya keeps to itself: it is known by the link's number.
fn interface_of(link: &FdLink) -> Option<u32> {
    let number = link.info().ok()?.id().to_string();
    let field = |about: &str, name: &str| {
        about
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|value| value.trim().to_owned())
    };
    for path in entries(Path::new("/proc/self/fdinfo")) {
        let about = fs::read_to_string(path).unwrap_or_default();
        if field(&about, "link_id").as_deref() == Some(&number) {
            return field(&about, "ifindex")?.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_tables_are_another_generation() {
        let one = ObjectOptions::default();
        let other = ObjectOptions {
            watched_flows: one.watched_flows + 1,
            ..one
        };
        assert_eq!(generation(&one), generation(&one));
        assert_ne!(generation(&one), generation(&other));
        assert_eq!(generation(&one).len(), 16);
    }

    #[test]
    fn what_is_no_bpf_file_system_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let error = Pins::lock(directory.path(), &ObjectOptions::default()).unwrap_err();
        assert!(matches!(error, TapError::PinsElsewhere { .. }), "{error}");
    }
}
