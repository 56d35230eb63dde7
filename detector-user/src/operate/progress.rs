//! Long work: a bar that shows how far it is, and Ctrl-C, after which what was found so far is printed.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::SIGINT;
use signal_hook::flag;

/// Exit code of a process that a second Ctrl-C ends at once.
const EXIT_INTERRUPTED: i32 = 130;

/// Whether progress is shown, and whether the work was interrupted.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    is_shown: bool,
    interrupted: Arc<AtomicBool>,
}

impl Progress {
    /// Catches Ctrl-C from now on; a second one ends the process. Progress is shown if wanted, and only to a
    /// person at a terminal.
    pub(super) fn begin(is_wanted: bool) -> Self {
        let progress = Self {
            is_shown: is_wanted && std::io::stderr().is_terminal(),
            interrupted: Arc::default(),
        };
        let flag = || Arc::clone(&progress.interrupted);
        // Where a signal cannot be caught, the first one ends the process.
        let _ = flag::register_conditional_shutdown(SIGINT, EXIT_INTERRUPTED, flag());
        let _ = flag::register(SIGINT, flag());
        progress
    }

    /// Interrupts the work, as Ctrl-C does.
    pub(super) fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Relaxed);
    }

    /// Whether Ctrl-C was pressed.
    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Returns a bar over the bytes of files, hidden if it is not shown or there is a stream among them.
    pub(super) fn bar<'p>(&self, paths: impl Iterator<Item = &'p Path>) -> ProgressBar {
        let mut len = 0;
        let mut names = Vec::new();
        for path in paths {
            len += std::fs::metadata(path).map_or(0, |metadata| metadata.len());
            names.push(file_name(path));
        }
        if !self.is_shown || len == 0 {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(len);
        let style = "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_message(names.join(", "));
        bar
    }
}

/// Returns a file's name without its directory.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}
