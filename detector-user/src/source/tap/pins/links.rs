//! Pinned links, named after interface, direction and hook.

use std::fs;
use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};

use crate::source::tap::hook::{Direction, Hook};
use crate::source::tap::pins::directory::entries;

/// A pinned link that is still attached to its interface.
#[derive(Debug)]
pub(in crate::source::tap) struct FoundLink {
    pub(in crate::source::tap) link: PinnedLink,
    pub(in crate::source::tap) interface: u32,
    pub(in crate::source::tap) direction: Direction,
    pub(in crate::source::tap) hook: Hook,
}

/// Returns the name of a link's pin.
pub(super) fn name(interface: u32, direction: Direction, hook: Hook) -> String {
    format!("{interface}-{}-{}", direction.name(), tag(hook))
}

const fn tag(hook: Hook) -> &'static str {
    match hook {
        Hook::XdpNative => "xdp",
        Hook::Tcx => "tcx",
        Hook::Clsact => "clsact",
    }
}

/// Opens a pinned link; `None` if it is not attached to the interface that its name says.
pub(super) fn open(path: &Path) -> Option<FoundLink> {
    let name = path.file_name()?.to_str()?;
    let mut parts = name.split('-');
    let interface = parts.next()?.parse().ok()?;
    let direction = parts.next()?;
    let direction = Direction::ALL
        .into_iter()
        .find(|it| it.name() == direction)?;
    let hooks = [Hook::XdpNative, Hook::Tcx];
    let hook = parts
        .next()
        .and_then(|part| hooks.into_iter().find(|it| tag(*it) == part))?;
    // Opened twice: aya does not convert a descriptor back to a pinned link.
    let sits_on = interface_of(&FdLink::from(PinnedLink::from_pin(path).ok()?));
    let link = PinnedLink::from_pin(path).ok()?;
    (sits_on == Some(interface)).then_some(FoundLink {
        link,
        interface,
        direction,
        hook,
    })
}

/// Returns the index of the interface that a link is attached to, 0 if that is gone. It stands in
/// the fdinfo of the link's descriptor, which aya does not expose: it is found by the link's ID.
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
