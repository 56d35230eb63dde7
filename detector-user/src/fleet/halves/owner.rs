//! The gateway that joins a connection's halves: chosen by rendezvous hashing of the Community ID over those that are
//! alive, so that one that leaves moves its own connections only.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// Time without a sign of life after which a gateway joins nothing: three intervals of health, and a little.
pub(super) const ALIVE: Duration = Duration::from_secs(17);
/// Maximum gateways.
const MEMBERS_MAX: usize = 4096;

/// The gateways that join halves.
#[derive(Debug)]
pub(super) struct Members {
    own: String,
    /// When others were last heard of.
    others: BTreeMap<String, Instant>,
}

impl Members {
    /// Creates the list of this gateway alone.
    #[must_use]
    pub(super) fn new(own: &str) -> Self {
        Self {
            own: own.to_owned(),
            others: BTreeMap::new(),
        }
    }

    /// Records a sign of life of a gateway, or that it joins no more.
    pub(super) fn record(&mut self, gateway: &str, joins: bool, now: Instant) {
        if gateway == self.own {
            return;
        }
        self.others
            .retain(|_, heard| now.duration_since(*heard) < ALIVE);
        if !joins {
            self.others.remove(gateway);
        } else if self.others.len() < MEMBERS_MAX || self.others.contains_key(gateway) {
            self.others.insert(gateway.to_owned(), now);
        }
    }

    /// Returns how many gateways join, this one included.
    pub(super) fn number(&self, now: Instant) -> usize {
        let alive = self.others.values();
        1 + alive
            .filter(|heard| now.duration_since(**heard) < ALIVE)
            .count()
    }

    /// Returns the gateway that joins the halves of a connection.
    #[must_use]
    pub(super) fn owner(&self, community_id: &str, now: Instant) -> &str {
        let alive = self.others.iter();
        let alive = alive.filter(|(_, heard)| now.duration_since(**heard) < ALIVE);
        let others = alive.map(|(gateway, _)| gateway.as_str());
        let all = others.chain([self.own.as_str()]);
        all.max_by_key(|gateway| (score(gateway, community_id), *gateway))
            .unwrap_or(&self.own)
    }
}

/// Returns a gateway's weight for a connection, the same on all gateways and in all versions.
fn score(gateway: &str, community_id: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((gateway.len() as u64).to_be_bytes());
    hash.update(gateway);
    hash.update(community_id);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: usize = 400;

    fn members(own: &str, others: &[&str], now: Instant) -> Members {
        let mut members = Members::new(own);
        for other in others {
            members.record(other, true, now);
        }
        members
    }

    fn owners(members: &Members, now: Instant) -> Vec<String> {
        let ids = (0..IDS).map(|number| format!("1:{number}="));
        ids.map(|id| members.owner(&id, now).to_owned()).collect()
    }

    #[test]
    fn all_gateways_choose_the_same_owner_and_each_owns_a_part() {
        let now = Instant::now();
        let of_a = owners(&members("a", &["b", "c"], now), now);
        assert_eq!(of_a, owners(&members("c", &["a", "b"], now), now));
        for gateway in ["a", "b", "c"] {
            let number = of_a.iter().filter(|owner| *owner == gateway).count();
            assert!((IDS / 5..IDS / 2).contains(&number), "{gateway}: {number}");
        }
    }

    #[test]
    fn a_gateway_that_leaves_moves_its_own_connections_alone() {
        let now = Instant::now();
        let mut members = members("a", &["b", "c"], now);
        let before = owners(&members, now);
        members.record("b", false, now);
        let after = owners(&members, now);
        for (before, after) in before.iter().zip(&after) {
            assert!(before == after || before == "b");
            assert_ne!(after, "b");
        }
        // One that is no longer heard of has left.
        members.record("c", true, now + ALIVE / 2);
        let later = owners(&members, now + ALIVE / 2 + ALIVE);
        assert!(later.iter().all(|owner| owner == "a"));
    }
}
