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
        let by_age = self.members.iter().enumerate();
        if self.members.len() >= N
            && let Some((oldest, _)) = by_age.min_by_key(|(_, (_, seen))| *seen)
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

    /// Returns `wanted` members that still count, each with its worth: 1 if just seen, half of it after two days.
    fn worths(&self, now_s: u64, wanted: impl Fn(&T) -> bool) -> impl Iterator<Item = (T, f64)> {
        self.members.iter().filter_map(move |(member, seen)| {
            let age_s = now_s.saturating_sub(*seen);
            (age_s < FORGOTTEN_S && wanted(member)).then(|| (*member, worth(age_s)))
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

    /// Whether the total worth of `wanted` members is at least so much, which is more than nothing.
    pub(super) fn weighs(&self, now_s: u64, least: f64, wanted: impl Fn(&T) -> bool) -> bool {
        let mut total = 0.0;
        self.worths(now_s, wanted).any(|(_, worth)| {
            total += worth;
            total >= least
        })
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

    /// Returns the total worth of `wanted` members.
    fn weight(recent: &Recent<u8, 4>, now_s: u64, wanted: impl Fn(&u8) -> bool) -> f64 {
        recent.worths(now_s, wanted).map(|(_, worth)| worth).sum()
    }

    #[test]
    fn facts_fade_and_are_forgotten() {
        let mut recent = Recent::<u8, 4>::default();
        assert!(recent.insert(1, 0));
        assert!(!recent.insert(1, 0), "no news");
        assert!((weight(&recent, 2 * DAY, |_| true) - 0.5).abs() < 1e-9);
        assert!(!recent.any(7 * DAY, |_| true));
        assert!(recent.insert(1, 7 * DAY), "news again");
    }

    #[test]
    fn a_sum_is_enough_once_it_is_reached() {
        let mut recent = Recent::<u8, 4>::default();
        for (member, day) in [(1, 0), (2, 2), (3, 4)] {
            recent.insert(member, day * DAY);
        }
        let is_odd = |member: &u8| member % 2 == 1;
        for hundredths in 1..300 {
            let least = f64::from(hundredths) / 100.0;
            let is_enough = weight(&recent, 4 * DAY, is_odd) >= least;
            assert_eq!(recent.weighs(4 * DAY, least, is_odd), is_enough, "{least}");
        }
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut recent = Recent::<u8, 2>::default();
        for (member, now) in [(1, 10), (2, 20), (1, 30), (3, 40)] {
            recent.insert(member, now);
        }
        let mut left: Vec<u8> = recent
            .worths(40, |_| true)
            .map(|(member, _)| member)
            .collect();
        left.sort_unstable();
        assert_eq!(left, [1, 3]);
    }
}
