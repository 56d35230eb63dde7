//! Files that are replaced as a whole: a reader, and a full disk, find the last one or the next.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::process;

/// Replaces a file, or makes it. A pipe or a device is written as it is.
///
/// # Errors
/// It cannot be written: the last one stays.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let last = match fs::metadata(path) {
        Ok(last) if !last.is_file() => return fs::write(path, text),
        Ok(last) => Some(last),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    // A link goes on leading to it.
    let target = match &last {
        Some(_) => fs::canonicalize(path)?,
        None => path.to_owned(),
    };
    let folder = target.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let name = target.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let temporary = folder.join(format!(".{}.{}", name.to_string_lossy(), process::id()));
    let mut create = OpenOptions::new();
    let mut file = create.write(true).create_new(true).open(&temporary)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| match &last {
            Some(last) => fs::set_permissions(&temporary, last.permissions()),
            None => Ok(()),
        })
        .and_then(|()| fs::rename(&temporary, &target));
    if written.is_err() {
        // The failure to write is told.
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_file_is_replaced_with_its_permissions_and_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
        replace(&file, "one").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        // A reader of the last one reads it to its end.
        let mut reader = fs::File::open(&file).unwrap();
        replace(&link, "two").unwrap();
        assert_eq!(io::read_to_string(&mut reader).unwrap(), "one");
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        assert!(link.is_symlink());
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!((mode & 0o777, files(folder.path())), (0o640, 2));
    }

    #[test]
    fn what_is_no_file_is_written_as_it_is() {
        replace(Path::new("/dev/null"), "text").unwrap();
        let full = replace(Path::new("/dev/full"), "text").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert!(replace(Path::new("/"), "text").is_err());
        let missing = replace(Path::new("/nonexistent/file"), "text").unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    /// A name that leaves no room for the temporary one's stands for a disk that is full.
    #[test]
    fn a_failure_leaves_the_last_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x".repeat(255));
        fs::write(&file, "one").unwrap();
        replace(&file, "two").unwrap_err();
        assert_eq!(fs::read_to_string(&file).unwrap(), "one");
        assert_eq!(files(folder.path()), 1);
    }
}
