//! Entering another network namespace than the one this process was started in.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::errno::Errno;

/// Returns the file of a network namespace, from the name that `ip netns` has for it or from its path.
pub(crate) fn path(name: &Path) -> PathBuf {
    if name.components().count() == 1 {
        Path::new("/run/netns").join(name)
    } else {
        name.to_owned()
    }
}

/// Enters a network namespace, by the name that `ip netns` has for it or by its path. This concerns the
/// calling thread and those it starts.
///
/// # Errors
/// It does not exist, or permission is denied.
pub(crate) fn enter(name: &Path) -> anyhow::Result<()> {
    let path = path(name);
    let shown = path.display();
    let file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("there is no network namespace {shown}: `ip netns` lists them")
        }
        Err(error) => {
            return Err(error)
                .with_context(|| format!("cannot open the network namespace {shown}"));
        }
    };
    match nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET) {
        Err(Errno::EINVAL) => bail!("{shown} is no network namespace: `ip netns` lists them"),
        result => result.with_context(|| {
            format!("cannot enter the network namespace {shown}, which requires CAP_SYS_ADMIN")
        }),
    }
}
