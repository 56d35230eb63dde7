//! JSON lines appended to a file that logrotate may rotate.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{JsonShape, Sink, SinkError};
use crate::verdict::Verdict;

const NAME: &str = "json-file";
/// Mode of a new file: readable by its owner and group.
const MODE: u32 = 0o640;

/// Appends each verdict as one line. `logrotate` may rename the file and have it reopened, or copy and
/// truncate it.
pub struct JsonFile {
    path: PathBuf,
    /// `None` until it can be opened.
    file: Option<File>,
    shape: JsonShape,
    line: Vec<u8>,
}

impl JsonFile {
    /// Opens or creates the file at `path`, readable by its owner and group.
    ///
    /// # Errors
    /// [`SinkError::Open`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, SinkError> {
        let mut sink = Self::at(path);
        sink.reopen()?;
        Ok(sink)
    }

    /// Writes lines of another shape.
    #[must_use]
    pub fn in_shape(self, shape: JsonShape) -> Self {
        Self { shape, ..self }
    }

    /// Opens or creates the file at `path` as soon as that is possible; verdicts fail until then.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            file: None,
            shape: JsonShape::Json,
            line: Vec::new(),
        }
    }
}

/// Appends the line as a whole or not at all: a partial line is truncated.
fn append(file: &mut File, line: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    let written = file.write_all(line);
    if written.is_err() && file.metadata().is_ok_and(|now| now.len() > before) {
        let _ = file.set_len(before);
    }
    written
}

fn open(path: &Path) -> Result<File, SinkError> {
    let mut options = OpenOptions::new();
    options.append(true).mode(MODE);
    let opened = match options.create_new(true).open(path) {
        Ok(file) => {
            // Independent of the umask: others read it by the group. A filesystem without modes is
            // not a reason to lose verdicts.
            let _ = file.set_permissions(Permissions::from_mode(MODE));
            Ok(file)
        }
        // An existing file keeps its mode.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            options.create_new(false).create(true).open(path)
        }
        Err(error) => Err(error),
    };
    opened.map_err(|source| SinkError::Open {
        path: path.to_owned(),
        source,
    })
}

impl Sink for JsonFile {
    fn name(&self) -> &'static str {
        NAME
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        self.shape.encode(&mut self.line, verdict, verdict, NAME)?;
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(open(&self.path)?),
        };
        append(file, &self.line).map_err(|source| SinkError::Write {
            output: NAME,
            source,
        })
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        self.file = Some(open(&self.path)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::verdict::tests::pinning;

    fn lines(path: &Path) -> usize {
        let text = fs::read_to_string(path).unwrap();
        for line in text.lines() {
            serde_json::from_str::<Verdict>(line).unwrap();
        }
        text.lines().count()
    }

    #[test]
    fn it_appends_to_an_existing_file_and_through_both_kinds_of_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (
            folder.path().join("verdicts"),
            folder.path().join("verdicts.1"),
        );
        JsonFile::open(&path).unwrap().write(&pinning()).unwrap();
        let mut sink = JsonFile::open(&path).unwrap();
        sink.write(&pinning()).unwrap();
        assert_eq!(lines(&path), 2);
        fs::rename(&path, &old).unwrap();
        sink.write(&pinning()).unwrap();
        assert_eq!(lines(&old), 3, "until it is reopened");
        sink.reopen().unwrap();
        sink.write(&pinning()).unwrap();
        assert_eq!(lines(&path), 1);
        fs::copy(&path, &old).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(0)
            .unwrap();
        sink.write(&pinning()).unwrap();
        assert_eq!(lines(&path), 1, "no hole where the old lines were");
    }

    /// The unit's umask hides new files from all others.
    #[test]
    fn its_group_may_read_a_new_file_and_an_existing_one_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("new"), folder.path().join("old"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        fs::write(&old, "").unwrap();
        fs::set_permissions(&old, Permissions::from_mode(0o604)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Of this thread only: other tests keep theirs.
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).unwrap();
                nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
                let mut sink = JsonFile::open(&path).unwrap();
                JsonFile::open(&old).unwrap();
                assert_eq!((mode(&path), mode(&old)), (0o640, 0o604));
                fs::remove_file(&path).unwrap();
                sink.reopen().unwrap();
                assert_eq!(mode(&path), 0o640, "reopened");
            });
        });
    }

    #[test]
    fn a_file_that_cannot_be_opened_yet_is_tried_with_each_verdict() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("later").join("verdicts");
        let mut sink = JsonFile::at(&path);
        let error = sink.write(&pinning()).unwrap_err();
        assert!(error.is_temporary(), "{error}");
        fs::create_dir(folder.path().join("later")).unwrap();
        sink.write(&pinning()).unwrap();
        assert_eq!(lines(&path), 1);
    }

    #[test]
    fn a_missing_folder_is_reported_with_its_name() {
        let error = JsonFile::open("/nonexistent/verdicts").err().unwrap();
        assert!(
            error
                .to_string()
                .starts_with("cannot open /nonexistent/verdicts: "),
            "{error}"
        );
    }
}
