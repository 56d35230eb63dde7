//! A list as it stands: entries with their ages, and those that left it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::host::Host;
use super::selection::{Criteria, Entry};

/// Time for which the last entries stay where all would leave at once by their age: a wrong clock or a lost
/// database looks like that.
const HOLD: Duration = Duration::from_secs(86_400);
/// Maximum entries that left whose story is kept; the earliest are dropped.
const FORMER_MAX: usize = 1_000;

/// A list from one time to the next. An entry stays until its last failure is too old, even if the database
/// is lost; what fails then comes back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    entries: BTreeMap<Host, StandingEntry>,
    former: BTreeMap<Host, Former>,
    /// Time since which all entries are too old.
    held_since: Option<Timestamp>,
    /// Time of the last update.
    updated: Option<Timestamp>,
}

/// An entry of a list that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingEntry {
    /// The entry.
    pub entry: Entry,
    /// Time since which it is listed.
    pub listed: Timestamp,
    /// Number of times that it left the list before.
    pub returns: u32,
}

/// A host that left a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// Time at which it left.
    pub left: Timestamp,
    /// Number of times that it left.
    pub times: u32,
    /// Intercepted connections that worked and failed until then.
    pub before: (u64, u64),
    /// Those since then.
    pub since: (u64, u64),
}

/// A change of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A host is new.
    Listed(Host),
    /// A host is back, which left at a time.
    Again(Host, Timestamp),
    /// A host's last failure is too old: it is tried again.
    Aged(Host),
    /// A host meets the conditions no longer.
    Withdrawn(Host),
    /// A host that left is intercepted again, and works.
    Works(Host),
    /// All entries, so many, would leave at once by their age, and stay for a day.
    Held(usize),
}

/// Facts of the database that a list depends on beside the entries that are selected.
pub trait Known {
    /// Whether it has a verdict, superseded or not.
    fn has_verdict(&self, id: &str) -> bool;

    /// Returns the numbers of intercepted connections to a host that worked, and that failed.
    fn intercepted(&self, host: &Host) -> (u64, u64);
}

impl Standing {
    /// Returns the time of the last update.
    #[must_use]
    pub const fn updated(&self) -> Option<Timestamp> {
        self.updated
    }

    /// Whether it differs in nothing but the time of its update.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.entries == other.entries
            && self.former == other.former
            && self.held_since == other.held_since
    }

    /// Returns the entries by host.
    pub fn entries(&self) -> impl Iterator<Item = &StandingEntry> {
        self.entries.values()
    }

    /// Returns the hosts that left.
    pub fn former(&self) -> impl Iterator<Item = (&Host, &Former)> {
        self.former.iter()
    }

    /// Follows what was selected at `now` of the database. Entries of the operator's own, which have no age,
    /// are not part of it. Returns the changes.
    pub fn update(
        &mut self,
        selected: &[Entry],
        criteria: &Criteria,
        (now, age): (Timestamp, Duration),
        known: &impl Known,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for entry in selected.iter().filter(|entry| entry.connections > 0) {
            self.insert(entry, now, &mut changes);
        }
        let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
        let oldest = now.checked_sub(age);
        let oldest = oldest.unwrap_or(Timestamp::MIN);
        let is_selected = |host: &Host| selected.iter().any(|it| it.host == *host);
        let mut aged = Vec::new();
        let mut withdrawn = Vec::new();
        for (host, standing) in &self.entries {
            let last = standing
                .entry
                .times
                .map_or(standing.listed, |(_, last)| last);
            if is_selected(host) {
                continue;
            }
            let is_by_hand = criteria.never.contain(host) || criteria.always.contain(host);
            if last < oldest {
                aged.push(host.clone());
            } else if is_by_hand || known.has_verdict(&standing.entry.verdict) {
                // The database knows it: it was judged otherwise since, or the conditions have changed.
                withdrawn.push(host.clone());
            }
        }
        for host in withdrawn {
            self.remove(&host, now, known);
            changes.push(Change::Withdrawn(host));
        }
        if self.holds(aged.len(), now) {
            changes.push(Change::Held(aged.len()));
        } else {
            for host in aged {
                self.remove(&host, now, known);
                changes.push(Change::Aged(host));
            }
        }
        self.follow_former(known, &mut changes);
        self.updated = Some(now);
        changes
    }

    fn insert(&mut self, entry: &Entry, now: Timestamp, changes: &mut Vec<Change>) {
        if let Some(standing) = self.entries.get_mut(&entry.host) {
            standing.entry.clone_from(entry);
            return;
        }
        let former = self.former.remove(&entry.host);
        changes.push(match &former {
            Some(former) => Change::Again(entry.host.clone(), former.left),
            None => Change::Listed(entry.host.clone()),
        });
        let standing = StandingEntry {
            entry: entry.clone(),
            listed: now,
            returns: former.map_or(0, |it| it.times),
        };
        self.entries.insert(entry.host.clone(), standing);
    }

    fn remove(&mut self, host: &Host, now: Timestamp, known: &impl Known) {
        let Some(standing) = self.entries.remove(host) else {
            return;
        };
        let former = Former {
            left: now,
            times: standing.returns.saturating_add(1),
            before: known.intercepted(host),
            since: (0, 0),
        };
        self.former.insert(host.clone(), former);
        while self.former.len() > FORMER_MAX {
            let earliest = self.former.iter().min_by_key(|(_, it)| it.left);
            let Some(earliest) = earliest.map(|(host, _)| host.clone()) else {
                break;
            };
            self.former.remove(&earliest);
        }
    }

    /// Whether `aged` entries, which are all, stay for now.
    fn holds(&mut self, aged: usize, now: Timestamp) -> bool {
        if aged < 2 || aged < self.entries.len() {
            self.held_since = None;
            return false;
        }
        let since = *self.held_since.get_or_insert(now);
        let is_held = now.duration_since(since).unsigned_abs() < HOLD;
        if !is_held {
            self.held_since = None;
        }
        is_held
    }

    fn follow_former(&mut self, known: &impl Known, changes: &mut Vec<Change>) {
        for (host, former) in &mut self.former {
            let (worked, failed) = known.intercepted(host);
            let since = (
                worked.saturating_sub(former.before.0),
                failed.saturating_sub(former.before.1),
            );
            if former.since.0 == 0 && since.0 > 0 {
                changes.push(Change::Works(host.clone()));
            }
            former.since = since;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::outlet::exclusions::Patterns;
    use crate::verdict::Cause;

    const DAY: Duration = Duration::from_secs(86_400);
    const AGE: Duration = Duration::from_secs(30 * 86_400);

    /// A database that knows no verdict, or all, and so many connections that worked.
    #[derive(Default)]
    struct Database {
        knows: bool,
        worked: Cell<u64>,
    }

    impl Known for Database {
        fn has_verdict(&self, _: &str) -> bool {
            self.knows
        }

        fn intercepted(&self, _: &Host) -> (u64, u64) {
            (self.worked.get(), 1)
        }
    }

    fn at(days: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * (20_000 + days))
    }

    fn entry(name: &str, day: i64) -> Entry {
        Entry {
            connections: 2,
            times: Some((at(day), at(day))),
            ..Entry::new(name.parse().unwrap())
        }
    }

    fn criteria(never: &str) -> Criteria {
        Criteria {
            cause: Cause::Pinning,
            min_confidence: 0.8,
            min_connections: 1,
            min_clients: 1,
            min_gateways: 0,
            always: Patterns::default(),
            never: Patterns::parse(never).unwrap(),
            proxies: vec![],
            since: None,
            max: 10,
        }
    }

    fn hosts(standing: &Standing) -> Vec<String> {
        standing
            .entries()
            .map(|it| it.entry.host.to_string())
            .collect()
    }

    #[test]
    fn an_entry_leaves_by_its_age_and_comes_back_with_its_story() {
        let (mut list, database) = (Standing::default(), Database::default());
        let host: Host = "a.test.example".parse().unwrap();
        let changes = list.update(
            &[entry("a.test.example", 0)],
            &criteria(""),
            (at(0), AGE),
            &database,
        );
        assert_eq!(changes, [Change::Listed(host.clone())]);
        assert_eq!(
            list.update(&[], &criteria(""), (at(30), AGE), &database),
            []
        );
        let changes = list.update(&[], &criteria(""), (at(31), AGE), &database);
        assert_eq!(changes, [Change::Aged(host.clone())]);
        assert_eq!(hosts(&list), [""; 0]);
        database.worked.set(3);
        let changes = list.update(&[], &criteria(""), (at(32), AGE), &database);
        assert_eq!(changes, [Change::Works(host.clone())]);
        assert_eq!(list.former().next().unwrap().1.since, (3, 0));
        let again = [entry("a.test.example", 33)];
        let changes = list.update(&again, &criteria(""), (at(33), AGE), &database);
        assert_eq!(changes, [Change::Again(host, at(31))]);
        assert_eq!(list.entries().next().unwrap().returns, 1);
    }

    fn with_one_entry() -> (Standing, Database) {
        let (mut list, database) = (Standing::default(), Database::default());
        let entries = [entry("a.test.example", 0)];
        list.update(&entries, &criteria(""), (at(0), AGE), &database);
        (list, database)
    }

    #[test]
    fn a_lost_database_empties_no_list() {
        let (mut list, database) = with_one_entry();
        assert_eq!(list.update(&[], &criteria(""), (at(1), AGE), &database), []);
        assert_eq!(hosts(&list), ["a.test.example"]);
    }

    #[test]
    fn what_is_judged_otherwise_or_never_listed_leaves_at_once() {
        let both = [entry("a.test.example", 0), entry("b.test.example", 0)];
        for (never, knows) in [("", true), (".test.example", false)] {
            let database = Database {
                knows,
                ..Database::default()
            };
            let mut list = Standing::default();
            list.update(&both, &criteria(""), (at(0), AGE), &database);
            let changes = list.update(&[], &criteria(never), (at(1), AGE), &database);
            assert_eq!(changes.len(), 2, "{changes:?}");
            assert_eq!(hosts(&list), [""; 0]);
        }
    }

    #[test]
    fn a_list_that_would_be_emptied_at_once_stays_for_a_day() {
        let (mut list, database) = (Standing::default(), Database::default());
        let both = [entry("a.test.example", 0), entry("b.test.example", 0)];
        list.update(&both, &criteria(""), (at(0), AGE), &database);
        let changes = list.update(&[], &criteria(""), (at(400), AGE), &database);
        assert_eq!(changes, [Change::Held(2)]);
        assert_eq!(hosts(&list).len(), 2);
        // A clock that is corrected ends it.
        assert_eq!(list.update(&[], &criteria(""), (at(1), AGE), &database), []);
        list.update(&[], &criteria(""), (at(400), AGE), &database);
        let late = at(400) + SignedDuration::try_from(DAY).unwrap();
        let changes = list.update(&[], &criteria(""), (late, AGE), &database);
        assert_eq!(changes.len(), 2, "{changes:?}");
        assert_eq!(hosts(&list), [""; 0]);
    }

    #[test]
    fn it_is_kept_as_json_and_takes_no_other_hosts() {
        let (list, _) = with_one_entry();
        let json = serde_json::to_string(&list).unwrap();
        assert_eq!(serde_json::from_str::<Standing>(&json).unwrap(), list);
        let hostile = json.replace("a.test.example", "a.test.example\\nevil.example");
        assert!(serde_json::from_str::<Standing>(&hostile).is_err());
    }
}
