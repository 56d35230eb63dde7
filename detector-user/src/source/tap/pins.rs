//! Programs, maps and links under a BPF file system, where they go on without the agent.
//!
//! ```text
//! DIR/                    locked by the agent that uses it
//!   GENERATION/           named after object, table sizes and network namespace: what differs does
//!                         not fit
//!     maps/NAME
//!     programs/NAME       written last: without all of them a generation is not whole
//!     links/INDEX-SIDE-HOOK
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::maps::{Map, MapData};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{Program, SchedClassifier, Xdp};
use aya_obj::Object;
use aya_obj::programs::XdpAttachType;
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use crate::source::tap::attach::Hook;
use crate::source::tap::error::TapError;
use crate::source::tap::object::{OBJECT, ObjectOptions};

/// Maps that somebody reads, and every object has. The programs keep the others.
const MAPS: [&str; 7] = [
    "OBSERVATIONS",
    "HANDSHAKES",
    "COUNTERS",
    "WATCHED",
    "SETTLED",
    "TAGS",
    "PLACES",
];
/// One that objects without diagnostics do not have.
const LOGS: &str = "AYA_LOGS";
/// Classifiers, one for each side and framing.
pub(super) const CLASSIFIERS: [&str; 4] = [
    "tlswhy_ingress",
    "tlswhy_egress",
    "tlswhy_ingress_l3",
    "tlswhy_egress_l3",
];
/// The XDP program, which some kernels do not take.
pub(super) const XDP: &str = "tlswhy_xdp";

/// Bytes of a generation's name.
const GENERATION: usize = 8;

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

/// A directory for pins that this process alone uses.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    #[expect(dead_code, reason = "held for the lock")]
    lock: Flock<OwnedFd>,
}

/// A generation of pins in it.
#[derive(Debug)]
pub struct Pins {
    root: Root,
    generation: PathBuf,
}

/// A link that was found pinned and still sits on its interface.
#[derive(Debug)]
pub(super) struct FoundLink {
    pub(super) link: PinnedLink,
    pub(super) interface: u32,
    pub(super) side: SideOf,
    pub(super) hook: Hook,
}

impl Root {
    /// Takes the directory for this process; it is made if it is not there.
    ///
    /// # Errors
    /// [`TapError`]: it is on no BPF file system, another agent uses it, or this process may not.
    pub fn lock(path: &Path) -> Result<Self, TapError> {
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(TapError::pins(path, "cannot be made", &error));
            }
            _ => {}
        }
        Self::lock_existing(path)
    }

    fn lock_existing(path: &Path) -> Result<Self, TapError> {
        let failed = |what: &str, error: io::Error| TapError::pins(path, what, &error);
        let directory: OwnedFd = fs::File::open(path)
            .map_err(|error| failed("cannot be opened", error))?
            .into();
        // Nothing is ever removed on another file system, whatever was named.
        let on_bpffs = nix::sys::statfs::fstatfs(&directory)
            .is_ok_and(|about| about.filesystem_type() == nix::sys::statfs::BPF_FS_MAGIC);
        if !on_bpffs {
            return Err(TapError::PinsElsewhere {
                directory: path.to_owned(),
            });
        }
        let lock =
            Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, code)| {
                if code == nix::errno::Errno::EWOULDBLOCK {
                    TapError::PinsTaken {
                        directory: path.to_owned(),
                    }
                } else {
                    failed("cannot be locked", code.into())
                }
            })?;
        Ok(Self {
            path: path.to_owned(),
            lock,
        })
    }

    /// The generations in it. What is called otherwise is somebody else's.
    fn generations(&self) -> Result<Vec<PathBuf>, TapError> {
        let mut generations = entries(&self.path)
            .map_err(|error| TapError::pins(&self.path, "cannot be read", &error))?;
        generations.retain(|path| is_generation(path));
        Ok(generations)
    }

    /// Removes everything that agents pinned here, and the directory; returns how many links that
    /// took off.
    ///
    /// # Errors
    /// [`TapError::Pins`]: what the system says, and about which file.
    pub fn remove_all(self) -> Result<usize, TapError> {
        let mut links = 0;
        for generation in self.generations()? {
            links += entries(&generation.join("links"))
                .map_err(|error| TapError::pins(&generation, "cannot be read", &error))?
                .len();
            remove_generation(&generation)?;
        }
        // It may be somebody else's to make and to remove, or have more in it.
        let _ = fs::remove_dir(&self.path);
        Ok(links)
    }
}

/// Takes the directory for pins if it is there.
///
/// # Errors
/// As [`Root::lock`].
pub fn lock_if_there(path: &Path) -> Result<Option<Root>, TapError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(TapError::pins(path, "cannot be looked at", &error)),
        Ok(_) => Root::lock_existing(path).map(Some),
    }
}

impl Pins {
    /// The generation of an object with these options, in this thread's network namespace.
    pub fn new(root: Root, options: &ObjectOptions) -> Self {
        let generation = root.path.join(generation(options, network_namespace()));
        Self { root, generation }
    }

    /// Whether everything that is needed is pinned here by an agent of the same object and options.
    pub(super) fn is_whole(&self) -> bool {
        MAPS.iter().all(|map| self.map_path(map).exists())
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
        let mut generations = self.root.generations()?;
        generations.retain(|path| *path != self.generation);
        for path in &generations {
            remove_generation(path)?;
        }
        Ok(generations.len())
    }

    /// Removes this generation.
    ///
    /// # Errors
    /// [`TapError::Pins`].
    pub(super) fn remove_own(&self) -> Result<(), TapError> {
        match self.generation.exists() {
            true => remove_generation(&self.generation),
            false => Ok(()),
        }
    }

    /// Interfaces whose XDP program is one that an agent pinned here, of whatever generation.
    pub(super) fn with_own_xdp(&self) -> BTreeSet<u32> {
        let generations = self.root.generations().unwrap_or_default();
        let links = generations
            .iter()
            .flat_map(|it| entries(&it.join("links")).unwrap_or_default());
        let found = links.filter_map(|path| found_link(&path));
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

    /// The maps by name.
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
        for path in entries(&self.generation.join("links")).unwrap_or_default() {
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

/// What is in a directory; nothing if there is none.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
    }
}

fn is_generation(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.len() == 2 * GENERATION && name.iter().all(u8::is_ascii_hexdigit)
}

fn remove_generation(path: &Path) -> Result<(), TapError> {
    remove(path).map_err(|error| TapError::pins(path, "cannot be removed", &error))
}

/// Removes a directory with all that is in it, links first: while programs are on interfaces, what
/// they use stays.
fn remove(path: &Path) -> io::Result<()> {
    let links = path.join("links");
    if links.is_dir() {
        fs::remove_dir_all(&links)?;
    }
    for entry in entries(path)? {
        if entry.is_dir() {
            remove(&entry)?;
        } else {
            fs::remove_file(&entry)?;
        }
    }
    fs::remove_dir(path)
}

/// Names what the programs do and how large their tables are: an agent takes over what has the same
/// name. The object's bytes would not do: they name the agent's version, too. An interface's number says
/// which it is in one network namespace only.
fn generation(options: &ObjectOptions, namespace: u64) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{options:?}"));
    hash.update(namespace.to_le_bytes());
    match Object::parse(OBJECT) {
        Ok(object) => hash_object(&object, &mut hash),
        // It will not load either.
        Err(_) => hash.update(OBJECT),
    }
    let digest = hash.finalize();
    let bytes = digest.iter().take(GENERATION);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// The kernel's number for this thread's network namespace.
fn network_namespace() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").map_or(0, |about| about.ino())
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
    for path in entries(Path::new("/proc/self/fdinfo")).unwrap_or_default() {
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
    fn other_tables_and_namespaces_are_other_generations() {
        let one = ObjectOptions::default();
        let other = ObjectOptions {
            watched_flows: one.watched_flows + 1,
            ..one
        };
        assert_eq!(generation(&one, 1), generation(&one, 1));
        assert_ne!(generation(&one, 1), generation(&other, 1));
        assert_ne!(generation(&one, 1), generation(&one, 2));
        assert!(is_generation(&Path::new("/x").join(generation(&one, 1))));
        assert!(!is_generation(Path::new("/x/tc")));
    }

    #[test]
    fn what_is_no_bpf_file_system_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let error = Root::lock(directory.path()).unwrap_err();
        assert!(matches!(error, TapError::PinsElsewhere { .. }), "{error}");
        let error = lock_if_there(directory.path()).unwrap_err();
        assert!(matches!(error, TapError::PinsElsewhere { .. }), "{error}");
        assert!(directory.path().exists());
        let missing = lock_if_there(&directory.path().join("x"));
        assert!(missing.unwrap().is_none());
    }
}
