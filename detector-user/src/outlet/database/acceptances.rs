//! Connections that worked, counted by group until the database takes them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::group::GroupKey;
use super::hours::HOUR_NS;
use crate::verdict::Intercepted;

/// Maximum groups that wait for the database; it takes them each second.
const GROUPS_MAX: usize = 65_536;

/// Connections that worked since the database last took them, shared with its thread. The two wait for
/// each other only while the whole table changes hands.
#[derive(Debug, Clone, Default)]
pub struct Acceptances {
    shared: Arc<Mutex<Pending>>,
}

/// A connection that worked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// Address of the client.
    pub client: IpAddr,
    /// JA4 fingerprint of the app.
    pub app: Option<String>,
    /// Server name, or the server's address.
    pub name: String,
    /// Whether it was intercepted.
    pub intercepted: Intercepted,
    /// Issuer of the server's certificate.
    pub issuer: Option<String>,
    /// Tap that its client's leg was seen at.
    pub tap: String,
    /// Time of its end, nanoseconds since the UNIX epoch.
    pub time_ns: u64,
}

/// Groups with connections that worked.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// By tap and by the hour of their ends, too.
    pub(super) groups: HashMap<(GroupKey, String, u64), Worked>,
    /// Connections of further groups, for which there was no room.
    pub(super) dropped: u64,
}

/// Number and times of a group's connections that worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Worked {
    pub(super) connections: u64,
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
}

impl Acceptances {
    /// Counts a connection that worked.
    pub fn record(&self, acceptance: Acceptance) {
        let intercepted = acceptance.intercepted == Intercepted::Yes;
        let key = GroupKey {
            client: acceptance.client,
            app: acceptance.app.unwrap_or_default(),
            name: acceptance.name.to_ascii_lowercase(),
            intercepted: acceptance.intercepted,
            issuer: acceptance
                .issuer
                .filter(|_| intercepted)
                .unwrap_or_default(),
        };
        let time_ns = acceptance.time_ns;
        let mut pending = self.lock();
        let is_full = pending.groups.len() >= GROUPS_MAX;
        let hour = time_ns / HOUR_NS.unsigned_abs();
        match pending.groups.entry((key, acceptance.tap, hour)) {
            Entry::Occupied(mut worked) => {
                let worked = worked.get_mut();
                worked.connections += 1;
                worked.first_ns = worked.first_ns.min(time_ns);
                worked.last_ns = worked.last_ns.max(time_ns);
            }
            Entry::Vacant(_) if is_full => pending.dropped += 1,
            Entry::Vacant(vacant) => {
                vacant.insert(Worked {
                    connections: 1,
                    first_ns: time_ns,
                    last_ns: time_ns,
                });
            }
        }
    }

    /// Returns, and removes, all that was counted.
    pub(super) fn take(&self) -> Pending {
        std::mem::take(&mut *self.lock())
    }

    /// Returns the number of connections that the database has not taken.
    #[cfg(test)]
    pub fn connections(&self) -> u64 {
        let pending = self.lock();
        pending.groups.values().map(|it| it.connections).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
