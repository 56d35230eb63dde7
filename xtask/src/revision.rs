//! Another revision of the repository, built beside this one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context, bail, ensure};

use crate::call::run;
use crate::{root, target};

/// Name of the object in its build's folder.
const OBJECT: &str = "tlswhy-ebpf";

/// A revision's programs.
pub struct Built {
    /// The object for the kernel.
    pub object: PathBuf,
    /// The agent.
    pub agent: PathBuf,
}

/// Builds a revision for release, in `target/against/COMMIT`: its files in one folder, its own target
/// folder in another, which a later call finds again.
///
/// # Errors
/// If there is no such revision, or it does not build.
pub fn build(revision: &str) -> anyhow::Result<Built> {
    let commit = commit(revision)?;
    let folder = target().join("against").join(&commit);
    let source = folder.join("source");
    if !source.exists() {
        println!("writing {revision} to {}", source.display());
        write(&commit, &folder, &source)?;
    }
    let target = folder.join("target");
    println!("building {revision}");
    run(
        Command::new(env!("CARGO"))
            .current_dir(&source)
            .args(["build", "--release", "--package", "detector-user"])
            .args(["--bin", "tlswhy", "--target-dir"])
            .arg(&target),
        "the other revision did not build",
    )?;
    let built = target.join("release");
    Ok(Built {
        object: object(&built.join("build"))?,
        agent: built.join("tlswhy"),
    })
}

/// Returns the full hash of a revision's commit.
fn commit(revision: &str) -> anyhow::Result<String> {
    let output = Command::new("git")
        .current_dir(root())
        .args(["rev-parse", "--verify", "--end-of-options"])
        .arg(format!("{revision}^{{commit}}"))
        .output()
        .context("cannot run git")?;
    if !output.status.success() {
        bail!("no such revision: {revision}");
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Writes a commit's files; nothing of them if that fails.
fn write(commit: &str, folder: &Path, source: &Path) -> anyhow::Result<()> {
    let partial = folder.join("partial");
    if partial.exists() {
        std::fs::remove_dir_all(&partial)?;
    }
    std::fs::create_dir_all(&partial)
        .with_context(|| format!("cannot make {}", partial.display()))?;
    let mut archive = Command::new("git")
        .current_dir(root())
        .args(["archive", "--format=tar", commit])
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run git")?;
    let tar = archive.stdout.take().context("git has no output")?;
    let unpacked = Command::new("tar")
        .args(["--extract", "--directory"])
        .arg(&partial)
        .stdin(tar)
        .status()
        .context("cannot run tar")?;
    ensure!(
        archive.wait()?.success() && unpacked.success(),
        "the revision's files could not be written"
    );
    std::fs::rename(&partial, source)?;
    Ok(())
}

/// Returns the object that was built last: its place is the build script's affair, and that changed.
fn object(build: &Path) -> anyhow::Result<PathBuf> {
    let mut found: Option<(SystemTime, PathBuf)> = None;
    let mut folders = vec![build.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let about = entry.metadata()?;
            if about.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == OBJECT {
                let modified = about.modified()?;
                if found.as_ref().is_none_or(|(latest, _)| *latest < modified) {
                    found = Some((modified, entry.path()));
                }
            }
        }
    }
    let (_, path) = found.with_context(|| format!("no {OBJECT} below {}", build.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_object_built_last_is_found_wherever_it_lies() {
        let build = std::env::temp_dir().join(format!("tlswhy-object-{}", std::process::id()));
        let places = ["agent-1/out/bpf/bpfel/bpf", "agent-2/out"].map(|place| build.join(place));
        for (age, place) in [9, 1].into_iter().zip(&places) {
            fs::create_dir_all(place).unwrap();
            let file = fs::File::create(place.join(OBJECT)).unwrap();
            let time = SystemTime::now() - std::time::Duration::from_secs(age);
            file.set_modified(time).unwrap();
        }
        let [_, newest] = &places;
        let found = object(&build);
        fs::remove_dir_all(&build).unwrap();
        assert_eq!(found.unwrap(), newest.join(OBJECT));
    }

    #[test]
    fn a_revision_is_a_commit_or_an_error() {
        assert!(commit("no-such-revision").is_err());
        assert!(commit("--help").is_err());
    }
}
