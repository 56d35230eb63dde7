//! A small set whose members are forgotten as days go by.

/// A fact older than this counts no more.
const FORGOTTEN_S: u64 = 7 * 86_400;
/// A fact loses half of its weight in this time.
const HALF_LIFE_S: f64 = 2.0 * 86_400.0;

/// At most `N` members, each with the time it was last seen; the oldest is evicted.
#[derive(Clone, Debug)]
pub(super) struct Recent<T, const N: usize> {
    members: Vec<(T, u64)>,
}

impl<T, const N: usize> Default for Recent<T, N> {
    fn default() -> Self {
        Self {
            members: Vec::new(),
        }
    }
}

impl<T: PartialEq + Copy, const N: usize> Recent<T, N> {
    /// Inserts `member` as seen at `now_s`, seconds since the UNIX epoch. Returns true if that is news.
    pub(super) fn insert(&mut self, member: T, now_s: u64) -> bool {
        if let Some((_, seen)) = self.members.iter_mut().find(|(known, _)| *known == member) {
            let news = now_s.saturating_sub(*seen) >= FORGOTTEN_S;
            *seen = now_s.max(*seen);
            return news;
        }
        if self.members.len() >= N
            && let Some(oldest) =
                (0..self.members.len()).min_by_key(|at| self.members.get(*at).map(|(_, t)| *t))
        {
            self.members.swap_remove(oldest);
        }
        let len = self.members.len();
        if len == self.members.capacity() {
            // There are very many of these: no room beyond the need.
            self.members.reserve_exact(len.max(1).min(N - len));
        }
        self.members.push((member, now_s));
        true
    }

    /// Returns the time when a member was last seen, seconds since the UNIX epoch.
    pub(super) fn last_seen(&self, member: T) -> Option<u64> {
        let known = self.members.iter().find(|(known, _)| *known == member);
        known.map(|(_, seen)| *seen)
    }

    /// Whether a member was seen and still counts.
    pub(super) fn counts(&self, member: T, now_s: u64) -> bool {
        let seen = self.last_seen(member);
        seen.is_some_and(|seen| now_s.saturating_sub(seen) < FORGOTTEN_S)
    }

    /// Members that still count, each with its worth: 1 if just seen, half of it after two days.
    pub(super) fn at(&self, now_s: u64) -> impl Iterator<Item = (T, f64)> {
        self.members.iter().filter_map(move |(member, seen)| {
            let age_s = now_s.saturating_sub(*seen);
            (age_s < FORGOTTEN_S).then(|| (*member, worth(age_s)))
        })
    }

    /// Returns the same members without their worth.
    pub(super) fn still(&self, now_s: u64) -> impl Iterator<Item = &T> + Clone {
        self.members.iter().filter_map(move |(member, seen)| {
            (now_s.saturating_sub(*seen) < FORGOTTEN_S).then_some(member)
        })
    }

    /// Whether a member that still counts fulfils `wanted`.
    pub(super) fn any(&self, now_s: u64, wanted: impl Fn(&T) -> bool) -> bool {
        self.still(now_s).any(wanted)
    }

    /// Returns the total worth of `wanted` members.
    pub(super) fn weight(&self, now_s: u64, wanted: impl Fn(&T) -> bool) -> f64 {
        self.at(now_s)
            .filter(|(member, _)| wanted(member))
            .map(|(_, worth)| worth)
            .sum()
    }
}

fn worth(age_s: u64) -> f64 {
    match age_s {
        0 => 1.0,
        _ => (-(age_s as f64) / HALF_LIFE_S).exp2(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    #[test]
    fn facts_fade_and_are_forgotten() {
        let mut recent = Recent::<u8, 4>::default();
        assert!(recent.insert(1, 0));
        assert!(!recent.insert(1, 0), "no news");
        assert!((recent.weight(2 * DAY, |_| true) - 0.5).abs() < 1e-9);
        assert!(!recent.any(7 * DAY, |_| true));
        assert!(recent.insert(1, 7 * DAY), "news again");
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut recent = Recent::<u8, 2>::default();
        for (member, now) in [(1, 10), (2, 20), (1, 30), (3, 40)] {
            recent.insert(member, now);
        }
        let mut left: Vec<u8> = recent.at(40).map(|(member, _)| member).collect();
        left.sort_unstable();
        assert_eq!(left, [1, 3]);
    }
}
