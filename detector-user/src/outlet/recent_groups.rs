//! Groups of connections by client, app and server name: which fail now, how often, and since when.
//!
//! In: verdicts and connections that worked. Out: [`RecentGroup`]s for the status and `tlswhy top`. Bounded: the
//! group that was quiet for longest is forgotten.

use std::net::IpAddr;

use hashlink::LruCache;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::outlet::database::Acceptance;
use crate::verdict::Verdict;

/// Maximum groups.
const GROUPS_MAX: usize = 4_096;
/// Maximum length of names and advice, characters: a stranger chooses them.
const NAME_MAX: usize = 300;
/// Time that rates are of.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// Minutes of that, counted one by one.
const MINUTES: usize = 10;
/// Time for which a group counts as newly broken.
const NEW: SignedDuration = SignedDuration::from_mins(30);

/// A group that fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecentGroup {
    /// Address of the client.
    pub client: IpAddr,
    /// JA4 of the app, if known.
    pub app: Option<String>,
    /// Server name, or the server's address.
    pub name: String,
    /// The tap of the latest failure.
    pub tap: String,
    /// Cause of the latest failure.
    pub cause: String,
    /// Probability of the cause, 0 to 1.
    pub confidence: f64,
    /// Whether the latest failure's connection was intercepted.
    pub intercepted: String,
    /// Issuer of the certificate that the client was shown.
    pub issuer: Option<String>,
    /// Advice.
    pub advice: Option<String>,
    /// Connections that failed.
    pub failed: u64,
    /// Connections that worked.
    pub worked: u64,
    /// Failures per minute of the last ten.
    pub per_minute: f64,
    /// First failure.
    pub first: Timestamp,
    /// Latest failure.
    pub last: Timestamp,
    /// Beginning of the failures that came after the app worked with this name, or of those of a name that is new,
    /// if it was less than half an hour ago.
    pub broken_since: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    client: IpAddr,
    app: String,
    name: String,
}

#[derive(Debug, Default)]
struct Entry {
    worked: u64,
    failed: u64,
    first: Option<Timestamp>,
    /// First failure since the last connection that worked.
    failing_since: Option<Timestamp>,
    /// Failures of the latest minutes, each at its number modulo ten.
    minutes: [(i64, u32); MINUTES],
    latest: Option<Latest>,
}

#[derive(Debug)]
struct Latest {
    time: Timestamp,
    tap: String,
    cause: &'static str,
    confidence: f64,
    intercepted: &'static str,
    issuer: Option<String>,
    advice: Option<String>,
}

/// Groups, of which the latest are kept.
pub struct RecentGroups {
    groups: LruCache<Key, Entry>,
    began: Option<Timestamp>,
}

impl Default for RecentGroups {
    fn default() -> Self {
        Self {
            groups: LruCache::new(GROUPS_MAX),
            began: None,
        }
    }
}

impl RecentGroups {
    /// Records a verdict; one that replaces another changes the cause alone.
    pub fn record(&mut self, verdict: &Verdict) {
        let key = Key {
            client: verdict.client.ip,
            app: verdict.ja4.clone().unwrap_or_default(),
            name: server_of(verdict),
        };
        let is_revision = verdict.revises.is_some();
        // Its connection failed before the group was kept.
        if is_revision && self.groups.peek(&key).is_none_or(|it| it.failed == 0) {
            return;
        }
        self.began.get_or_insert(verdict.time);
        let entry = self.entry(key);
        if is_revision
            && entry
                .latest
                .as_ref()
                .is_some_and(|latest| verdict.time < latest.time)
        {
            return;
        }
        if !is_revision {
            entry.failed += 1;
            entry.first = entry.first.or(Some(verdict.time));
            entry.failing_since = entry.failing_since.or(Some(verdict.time));
            entry.count(minute(verdict.time));
        }
        entry.latest = Some(Latest {
            time: verdict.time,
            tap: cut(&verdict.tap),
            cause: verdict.cause.name(),
            confidence: (verdict.confidence * 100.0).round() / 100.0,
            intercepted: verdict.intercepted.name(),
            issuer: verdict.issuer.as_deref().map(cut),
            advice: verdict.advice.as_deref().map(cut),
        });
    }

    /// Records a connection that worked.
    pub fn record_acceptance(&mut self, acceptance: &Acceptance) {
        let time = Timestamp::from_nanosecond(i128::from(acceptance.time_ns)).unwrap_or_default();
        self.began.get_or_insert(time);
        let entry = self.entry(Key {
            client: acceptance.client,
            app: acceptance.app.clone().unwrap_or_default(),
            name: cut(&acceptance.name.to_ascii_lowercase()),
        });
        entry.worked += 1;
        entry.failing_since = None;
    }

    fn entry(&mut self, key: Key) -> &mut Entry {
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&key) {
            self.groups.remove_lru();
        }
        self.groups.entry(key).or_insert_with(Entry::default)
    }

    /// Returns the groups that failed, those with the highest rate at `now` first, at most so many.
    #[must_use]
    pub fn failing(&self, now: Timestamp, max: usize) -> Vec<RecentGroup> {
        let groups = self.groups.iter();
        let mut failing: Vec<_> = groups
            .filter_map(|(key, entry)| self.group(key, entry, now))
            .collect();
        failing.sort_by(|a, b| {
            let order = b.per_minute.total_cmp(&a.per_minute);
            order
                .then(b.last.cmp(&a.last))
                .then(b.failed.cmp(&a.failed))
        });
        failing.truncate(max);
        failing
    }

    fn group(&self, key: &Key, entry: &Entry, now: Timestamp) -> Option<RecentGroup> {
        let latest = entry.latest.as_ref()?;
        let recent = entry.recent(minute(now));
        let seen = self.began.map_or(WINDOW, |began| now.duration_since(began));
        let of = seen.clamp(SignedDuration::from_mins(1), WINDOW);
        let per_minute = f64::from(recent) * 60.0 / of.as_secs_f64();
        let first = entry.first.unwrap_or(latest.time);
        Some(RecentGroup {
            client: key.client,
            app: Some(key.app.clone()).filter(|app| !app.is_empty()),
            name: key.name.clone(),
            tap: latest.tap.clone(),
            cause: latest.cause.to_owned(),
            confidence: latest.confidence,
            intercepted: latest.intercepted.to_owned(),
            issuer: latest.issuer.clone(),
            advice: latest.advice.clone(),
            failed: entry.failed,
            worked: entry.worked,
            per_minute: (per_minute * 100.0).round() / 100.0,
            first,
            last: latest.time,
            broken_since: entry
                .failing_since
                .filter(|since| now.duration_since(*since) <= NEW),
        })
    }
}

impl Entry {
    /// Counts a failure of a minute; one that is older than those that are counted is left out.
    fn count(&mut self, minute: i64) {
        let place = minute.rem_euclid(MINUTES as i64) as usize;
        if let Some((of, count)) = self.minutes.get_mut(place) {
            if *of < minute {
                (*of, *count) = (minute, 0);
            }
            if *of == minute {
                *count += 1;
            }
        }
    }

    /// Returns the failures of the latest minutes.
    fn recent(&self, now: i64) -> u32 {
        let recent = self.minutes.iter();
        let recent = recent.filter(|(of, _)| (now - MINUTES as i64 + 1..=now).contains(of));
        recent.map(|(_, count)| count).sum()
    }
}

/// Returns a time's minute since the UNIX epoch.
fn minute(time: Timestamp) -> i64 {
    time.as_second().div_euclid(60)
}

/// Returns a verdict's server name in lower case, or the server's address.
pub(in crate::outlet) fn server_of(verdict: &Verdict) -> String {
    let name = verdict
        .server_name()
        .map(|name| cut(&name.to_ascii_lowercase()));
    name.unwrap_or_else(|| verdict.server.ip.to_string())
}

/// Returns a text's beginning, which is of a stranger's choice and length.
pub(in crate::outlet) fn cut(text: &str) -> String {
    text.chars().take(NAME_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::pinning;
    use crate::verdict::{Cause, Intercepted};

    fn failure(seconds: i64) -> Verdict {
        let mut verdict = pinning();
        verdict.time += SignedDuration::from_secs(seconds);
        verdict.set_revision(0);
        verdict
    }

    fn acceptance(seconds: i64) -> Acceptance {
        let verdict = failure(seconds);
        Acceptance {
            client: verdict.client.ip,
            app: verdict.ja4.clone(),
            name: verdict.sni.clone().unwrap(),
            intercepted: Intercepted::Yes,
            issuer: None,
            tap: verdict.tap.clone(),
            time_ns: verdict.time.as_nanosecond() as u64,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        failure(seconds).time
    }

    #[test]
    fn a_rate_is_of_the_last_ten_minutes() {
        let mut groups = RecentGroups::default();
        for seconds in [0, 10, 700, 710] {
            groups.record(&failure(seconds));
        }
        let [group] = groups.failing(at(720), 10).try_into().unwrap();
        assert_eq!((group.failed, group.per_minute), (4, 0.2));
        assert_eq!((group.first, group.last), (at(0), at(710)));
        assert_eq!(groups.failing(at(5_000), 10)[0].per_minute, 0.0);
    }

    #[test]
    fn a_group_breaks_when_it_fails_after_it_worked() {
        let mut groups = RecentGroups::default();
        groups.record(&failure(0));
        groups.record_acceptance(&acceptance(60));
        groups.record(&failure(120));
        groups.record(&failure(180));
        let group = |now| groups.failing(at(now), 1).remove(0);
        assert_eq!(group(200).broken_since, Some(at(120)));
        assert_eq!((group(200).failed, group(200).worked), (3, 1));
        assert_eq!(group(4_000).broken_since, None, "no news any more");
    }

    #[test]
    fn a_revision_changes_the_cause_and_no_number() {
        let mut groups = RecentGroups::default();
        groups.record(&failure(0));
        let mut revision = failure(0);
        revision.cause = Cause::CaNotTrusted;
        revision.revises = Some("before".to_owned());
        groups.record(&revision);
        let [group] = groups.failing(at(1), 10).try_into().unwrap();
        assert_eq!((group.failed, group.cause.as_str()), (1, "ca-not-trusted"));
        // Of a connection that an earlier agent counted.
        let mut groups = RecentGroups::default();
        groups.record(&revision);
        assert_eq!(groups.failing(at(1), 10), []);
    }

    #[test]
    fn the_number_of_groups_and_their_names_are_bounded() {
        let mut groups = RecentGroups::default();
        for number in 0..GROUPS_MAX + 10 {
            let mut verdict = failure(0);
            verdict.sni = Some(format!("{number}{}", "x".repeat(1_000)));
            groups.record(&verdict);
        }
        let failing = groups.failing(at(1), usize::MAX);
        assert_eq!(failing.len(), GROUPS_MAX);
        assert!(failing.iter().all(|it| it.name.chars().count() <= NAME_MAX));
        assert_eq!(groups.failing(at(1), 3).len(), 3);
    }
}
