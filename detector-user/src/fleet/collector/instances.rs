//! Agents that have one gateway's name between them, told apart by the instances in their health.

use std::collections::{BTreeMap, VecDeque};

/// Maximum gateways that are remembered.
const GATEWAYS_MAX: usize = 4_096;
/// Maximum earlier instances of each.
const EARLIER_MAX: usize = 8;
/// Time for which a name counts as shared after both were heard, seconds: twelve intervals of health.
const SHARED_S: i64 = 60;

/// Instances of each gateway, in the order in which the servers heard them.
#[derive(Debug, Default)]
pub(super) struct Instances {
    by_gateway: BTreeMap<String, Known>,
    /// Time of the latest message of all, seconds since the UNIX epoch.
    latest_s: i64,
}

#[derive(Debug)]
struct Known {
    last: u64,
    earlier: VecDeque<u64>,
    /// When an earlier one spoke again.
    shared_s: Option<i64>,
}

impl Instances {
    /// Records the instance in a gateway's health, which a server took at a time, seconds since the UNIX epoch.
    pub(super) fn record(&mut self, gateway: &str, instance: u64, time_s: i64) {
        self.latest_s = self.latest_s.max(time_s);
        let Some(known) = self.by_gateway.get_mut(gateway) else {
            if self.by_gateway.len() < GATEWAYS_MAX {
                let known = Known {
                    last: instance,
                    earlier: VecDeque::new(),
                    shared_s: None,
                };
                self.by_gateway.insert(gateway.to_owned(), known);
            }
            return;
        };
        if known.last == instance {
            return;
        }
        // After a restart the earlier one is silent for ever.
        if known.earlier.contains(&instance) {
            known.shared_s = Some(time_s);
        }
        known.earlier.retain(|it| *it != instance);
        known.earlier.push_back(known.last);
        if known.earlier.len() > EARLIER_MAX {
            known.earlier.pop_front();
        }
        known.last = instance;
    }

    /// Returns the gateways whose name several agents have.
    pub(super) fn shared(&self) -> impl Iterator<Item = &str> {
        let is_shared = |known: &Known| {
            let since = |shared_s| self.latest_s.saturating_sub(shared_s);
            known
                .shared_s
                .is_some_and(|shared_s| since(shared_s) < SHARED_S)
        };
        let shared = self.by_gateway.iter();
        shared
            .filter(move |(_, known)| is_shared(known))
            .map(|(gateway, _)| gateway.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(instances: &Instances) -> Vec<&str> {
        instances.shared().collect()
    }

    #[test]
    fn agents_that_take_turns_share_a_name_and_restarts_do_not() {
        let mut instances = Instances::default();
        for second in 0..10 {
            instances.record("restarted", second / 2, second.cast_signed());
        }
        assert_eq!(shared(&instances), [""; 0]);
        for second in 10..14 {
            instances.record("twice", second % 2, second.cast_signed());
        }
        assert_eq!(shared(&instances), ["twice"]);
        // One of them ends.
        for second in 14..100 {
            instances.record("twice", 1, second);
        }
        assert_eq!(shared(&instances), [""; 0]);
    }
}
