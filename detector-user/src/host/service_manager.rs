//! What systemd is told, where it runs the agent: `Type=notify` with a watchdog (sd_notify(3)).

use std::time::Duration;

use libsystemd::daemon::{NotifyState, notify, watchdog_enabled};
use nix::time::{ClockId, clock_gettime};
use tracing::warn;

/// The way to the service manager; without one nothing is told.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    watchdog: Option<Duration>,
    status: String,
    is_unreachable: bool,
}

impl ServiceManager {
    /// Finds out whether somebody wants to be told.
    #[must_use]
    pub(crate) fn find() -> Self {
        Self {
            watchdog: watchdog_enabled(false),
            status: String::new(),
            is_unreachable: false,
        }
    }

    /// How often [`Self::alive`] is to be called at least, where there is a watchdog: half of what it
    /// allows, as sd_watchdog_enabled(3) recommends.
    #[must_use]
    pub(crate) fn alive_every(&self) -> Option<Duration> {
        self.watchdog.map(|allowed| allowed / 2)
    }

    /// Everything is in place.
    pub(crate) fn ready(&mut self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// A changed configuration is being taken; [`Self::ready`] follows.
    pub(crate) fn reloading(&mut self) {
        let mut states = vec![NotifyState::Reloading];
        // Asked for by Type=notify-reload (systemd 253); others ignore it.
        if let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) {
            let now_us = Duration::from(now).as_micros();
            states.push(NotifyState::Other(format!("MONOTONIC_USEC={now_us}")));
        }
        self.tell(&states);
    }

    /// It is about to end.
    pub(crate) fn stopping(&mut self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// It still turns, and this is how it is doing: one line for `systemctl status`.
    pub(crate) fn alive(&mut self, status: String) {
        let mut states = Vec::with_capacity(2);
        if self.watchdog.is_some() {
            states.push(NotifyState::Watchdog);
        }
        if self.status != status {
            states.push(NotifyState::Status(status.clone()));
            self.status = status;
        }
        if !states.is_empty() {
            self.tell(&states);
        }
    }

    fn tell(&mut self, states: &[NotifyState]) {
        match notify(false, states) {
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
