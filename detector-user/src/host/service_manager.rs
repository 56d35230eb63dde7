//! Notifications to systemd where it runs the agent: `Type=notify` with a watchdog (sd_notify(3)).

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::stat::fstat;
use sd_notify::{NotifyState, notify, watchdog_enabled};
use tracing::warn;

/// The service manager; without one notifications do nothing.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    watchdog: Option<Duration>,
    status: String,
    is_unreachable: bool,
}

impl ServiceManager {
    /// Finds the service manager by its environment variables.
    #[must_use]
    pub(crate) fn find() -> Self {
        Self {
            watchdog: watchdog_enabled().filter(|timeout| !timeout.is_zero()),
            status: String::new(),
            is_unreachable: false,
        }
    }

    /// Returns the longest time between calls of [`Self::alive`], where there is a watchdog: half
    /// of its timeout, as sd_watchdog_enabled(3) recommends.
    #[must_use]
    pub(crate) fn alive_every(&self) -> Option<Duration> {
        self.watchdog.map(|allowed| allowed / 2)
    }

    /// Notifies that startup or a reload has finished.
    pub(crate) fn ready(&mut self) {
        self.notify(&[NotifyState::Ready]);
    }

    /// Notifies that the configuration is being reloaded; [`Self::ready`] follows.
    pub(crate) fn reloading(&mut self) {
        let mut states = vec![NotifyState::Reloading];
        // Asked for by Type=notify-reload (systemd 253); others ignore it.
        states.extend(NotifyState::monotonic_usec_now());
        self.notify(&states);
    }

    /// Notifies that the agent is about to end.
    pub(crate) fn stopping(&mut self) {
        self.notify(&[NotifyState::Stopping]);
    }

    /// Feeds the watchdog, and updates the line that `systemctl status` shows.
    pub(crate) fn alive(&mut self, status: &str) {
        let mut states = Vec::with_capacity(2);
        if self.watchdog.is_some() {
            states.push(NotifyState::Watchdog);
        }
        if self.status != status {
            states.push(NotifyState::Status(status));
            status.clone_into(&mut self.status);
        }
        if !states.is_empty() {
            self.notify(&states);
        }
    }

    fn notify(&mut self, states: &[NotifyState]) {
        match notify(states) {
            Ok(_) => self.is_unreachable = false,
            Err(error) => {
                if !self.is_unreachable {
                    warn!("cannot reach the service manager: {error}");
                }
                self.is_unreachable = true;
            }
        }
    }
}

/// Whether standard error is the journal: `JOURNAL_STREAM` has the device and inode number of the
/// journal's stream (systemd.exec(5)).
pub(crate) fn connected_to_journal() -> bool {
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| is_stream(std::io::stderr(), &stream))
}

/// Whether a descriptor is the stream of a device and inode number such as `9:1234`.
fn is_stream(descriptor: impl AsFd, stream: &str) -> bool {
    let numbers = stream.split_once(':').map(|(device, inode)| {
        let parsed: (Result<u64, _>, Result<u64, _>) = (device.parse(), inode.parse());
        parsed
    });
    match (numbers, fstat(descriptor)) {
        (Some((Ok(device), Ok(inode))), Ok(about)) => {
            (about.st_dev, about.st_ino) == (device, inode)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_stream_is_known_by_device_and_inode() {
        let file = tempfile::tempfile().unwrap();
        let about = file.metadata().unwrap();
        let (device, inode) = (about.dev(), about.ino());
        assert!(is_stream(&file, &format!("{device}:{inode}")));
        assert!(!is_stream(&file, &format!("{device}:{}", inode + 1)));
        assert!(!is_stream(&file, &format!("{}:{inode}", device + 1)));
        assert!(!is_stream(&file, &format!("{device}")));
        assert!(!is_stream(&file, ""));
    }
}
