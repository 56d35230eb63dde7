//! Two hellos of one program on one client: it offers TLS 1.3 alone, and where that fails, a lower version.
//!
//! The two have no suites or extensions in common by which they could be told to be one app's. Their turns
//! show it: the lower version comes only for names that the other has just failed at.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use hashlink::LruCache;

use crate::cause::judge::Judged;
use crate::cause::judge::subject::{Outcome, Subject};
use crate::flow::tls::app::{App, Versions};

/// Clients remembered that offered TLS 1.3 alone.
const CLIENTS_MAX: usize = 16_384;
/// Connections remembered of a client that offered it alone, and pairs of apps that may be one.
const LATEST_MAX: usize = 16;
const PAIRS_MAX: usize = 8;
/// The lower version comes within this time after the other's end.
const TURN_NS: u64 = 10_000_000_000;
/// Turns that show it, and different names among them.
const TURNS_MIN: u32 = 3;
const NAMES_MIN: usize = 2;

/// Hellos of clients that may be of one program.
pub(super) struct Turns {
    clients: LruCache<IpAddr, Client>,
}

#[derive(Default)]
struct Client {
    /// Connections that offered TLS 1.3 alone.
    latest: VecDeque<Attempt>,
    pairs: VecDeque<Pair>,
    /// Apps that offer lower versions and came without the other's failure.
    alone: VecDeque<App>,
}

/// A connection that offered TLS 1.3 alone.
struct Attempt {
    app: App,
    groups: u64,
    name: Arc<str>,
    failed: bool,
    ended_ns: u64,
    /// Whether a lower version followed it.
    followed: bool,
}

/// An app that offers TLS 1.3 alone, and one that offers lower versions in turn.
struct Pair {
    only_tls13: App,
    lower: App,
    turns: u32,
    names: Vec<String>,
    /// Failures of the first.
    failures: u32,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            clients: LruCache::new(CLIENTS_MAX),
        }
    }
}

impl Turns {
    /// Records a connection, and gives it the app of the program's other hello once their turns have shown
    /// that they are of one.
    pub(super) fn record(&mut self, judged: &mut Judged) {
        let Some(app) = judged.subject.app else {
            return;
        };
        match judged.subject.versions {
            Versions::Both => {}
            Versions::OnlyTls13 { groups } => {
                let client = self.clients.entry(judged.subject.client);
                let client = client.or_insert_with(Client::default);
                client.record_only_tls13(app, groups, &judged.subject);
            }
            Versions::Lower { groups } => {
                let Some(client) = self.clients.get_mut(&judged.subject.client) else {
                    return;
                };
                if let Some(joined) = client.record_lower(app, groups, &judged.subject) {
                    judged.subject.app = Some(joined);
                    if let Some(known) = &mut judged.if_intercepted {
                        known.subject.app = Some(joined);
                    }
                }
            }
        }
    }
}

impl Client {
    fn record_only_tls13(&mut self, app: App, groups: u64, subject: &Subject) {
        let failed = subject.outcome != Outcome::Accepted;
        for pair in &mut self.pairs {
            pair.failures += u32::from(failed && pair.only_tls13 == app);
        }
        let attempt = Attempt {
            app,
            groups,
            name: Arc::clone(&subject.name),
            failed,
            ended_ns: subject.ended_ns,
            followed: false,
        };
        push(&mut self.latest, attempt, LATEST_MAX);
    }

    /// Records a connection that offers lower versions. Returns the app that its program has in TLS 1.3.
    fn record_lower(&mut self, app: App, groups: u64, subject: &Subject) -> Option<App> {
        if self.alone.contains(&app) {
            return None;
        }
        let latest = self.latest.iter_mut().rev();
        let mut of_name = latest.filter(|it| it.name == subject.name && it.groups == groups);
        let before = of_name.next().filter(|it| {
            let until = it.ended_ns.saturating_add(TURN_NS);
            it.failed && (it.ended_ns..=until).contains(&subject.time_ns)
        });
        let Some(before) = before else {
            // It comes by itself: a program of its own.
            self.pairs.retain(|pair| pair.lower != app);
            push(&mut self.alone, app, PAIRS_MAX);
            return None;
        };
        let is_new = !std::mem::replace(&mut before.followed, true);
        let only_tls13 = before.app;
        let known = self.pairs.iter().position(|pair| pair.lower == app);
        let at = known.unwrap_or_else(|| {
            push(&mut self.pairs, Pair::new(only_tls13, app), PAIRS_MAX);
            self.pairs.len() - 1
        });
        let pair = self.pairs.get_mut(at)?;
        if pair.only_tls13 == only_tls13 {
            pair.record(&subject.name, is_new);
            return pair.is_shown().then_some(only_tls13);
        }
        // After failures of two programs: it is neither's.
        self.pairs.remove(at);
        push(&mut self.alone, app, PAIRS_MAX);
        None
    }
}

impl Pair {
    /// Begins with a failure of the first.
    const fn new(only_tls13: App, lower: App) -> Self {
        Self {
            only_tls13,
            lower,
            turns: 0,
            names: Vec::new(),
            failures: 1,
        }
    }

    fn record(&mut self, name: &str, is_new: bool) {
        self.turns = self.turns.saturating_add(u32::from(is_new));
        if self.names.len() < NAMES_MIN && self.names.iter().all(|known| known != name) {
            self.names.push(name.to_owned());
        }
    }

    /// Whether turns show one program: several, for several names, after most of the first's failures.
    fn is_shown(&self) -> bool {
        self.turns >= TURNS_MIN
            && self.names.len() >= NAMES_MIN
            && self.turns.saturating_mul(2) > self.failures
    }
}

fn push<T>(latest: &mut VecDeque<T>, new: T, most: usize) {
    if latest.len() >= most {
        latest.pop_front();
    }
    latest.push_back(new);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::history::tests::judged;

    const SECOND: u64 = 1_000_000_000;
    const REFUSED: Outcome = Outcome::Refused { probability: 0.95 };
    const NAMES: [&str; 3] = ["a.example.com", "b.example.net", "c.example.org"];
    const ONLY: Versions = Versions::OnlyTls13 { groups: 1 };
    const LOWER: Versions = Versions::Lower { groups: 1 };

    /// A client's connections, by turns.
    struct Client {
        turns: Turns,
        now_ns: u64,
    }

    impl Client {
        fn new() -> Self {
            Self {
                turns: Turns::default(),
                now_ns: 1_800_000_000 * SECOND,
            }
        }

        /// Returns the number of the app that a connection counts for.
        fn connect(
            &mut self,
            number: u64,
            versions: Versions,
            name: &str,
            outcome: Outcome,
        ) -> App {
            let mut judged = judged(1, name, outcome);
            judged.subject.app = Some(App::of_number(number));
            judged.subject.versions = versions;
            judged.subject.time_ns = self.now_ns;
            judged.subject.ended_ns = self.now_ns + SECOND / 10;
            self.turns.record(&mut judged);
            self.now_ns += SECOND;
            judged.subject.app.unwrap()
        }

        /// A name is tried with TLS 1.3 alone, and in the next second with a lower version.
        fn turn(&mut self, name: &str, outcome: Outcome) -> App {
            self.connect(13, ONLY, name, outcome);
            let app = self.connect(12, LOWER, name, outcome);
            self.now_ns += 60 * SECOND;
            app
        }
    }

    #[test]
    fn a_program_that_falls_back_after_failures_is_one_app() {
        let mut client = Client::new();
        assert_eq!(client.turn(NAMES[0], REFUSED), App::of_number(12));
        assert_eq!(client.turn(NAMES[0], REFUSED), App::of_number(12));
        assert_eq!(client.turn(NAMES[1], REFUSED), App::of_number(13));
        assert_eq!(client.turn(NAMES[2], REFUSED), App::of_number(13));
        // It works with the lower version, too, which the other did not reach.
        client.connect(13, ONLY, NAMES[0], Outcome::Nothing);
        let worked = client.connect(12, LOWER, NAMES[0], Outcome::Accepted);
        assert_eq!(worked, App::of_number(13));
        // Once it comes by itself, it is one of its own.
        client.now_ns += 60 * SECOND;
        let alone = client.connect(12, LOWER, NAMES[0], REFUSED);
        assert_eq!(alone, App::of_number(12));
        assert_eq!(client.turn(NAMES[1], REFUSED), App::of_number(12));
    }

    #[test]
    fn repeated_turns_for_one_name_show_nothing() {
        let mut client = Client::new();
        for _ in 0..6 {
            assert_eq!(client.turn(NAMES[0], REFUSED), App::of_number(12));
        }
    }

    /// A monitor that looks at a name with each version does so no matter what became of the first.
    #[test]
    fn programs_that_visit_the_same_names_in_turn_stay_two() {
        let mut client = Client::new();
        client.turn(NAMES[0], Outcome::Accepted);
        for name in NAMES.iter().cycle().take(9) {
            assert_eq!(client.turn(name, REFUSED), App::of_number(12));
        }
    }

    #[test]
    fn programs_that_run_on_one_client_stay_two() {
        let mut client = Client::new();
        for (at, name) in NAMES.iter().cycle().take(30).enumerate() {
            client.connect(13, ONLY, name, REFUSED);
            let app = client.connect(12, LOWER, NAMES[at * 7 % 5 % 3], REFUSED);
            assert_eq!(app, App::of_number(12));
        }
        // Or long after one another, or with other libraries.
        let mut client = Client::new();
        for name in NAMES.iter().cycle().take(9) {
            client.connect(13, ONLY, name, REFUSED);
            client.now_ns += 30 * SECOND;
            assert_eq!(client.connect(12, LOWER, name, REFUSED), App::of_number(12));
            client.connect(13, ONLY, name, REFUSED);
            let other = Versions::Lower { groups: 2 };
            assert_eq!(client.connect(14, other, name, REFUSED), App::of_number(14));
        }
    }

    #[test]
    fn most_failures_go_without_a_second_attempt_of_another_program() {
        let mut client = Client::new();
        for name in NAMES.iter().cycle().take(9) {
            client.turn(name, REFUSED);
            for _ in 0..3 {
                client.connect(13, ONLY, "d.example.edu", REFUSED);
            }
        }
        let last = client.connect(12, LOWER, NAMES[0], REFUSED);
        assert_eq!(last, App::of_number(12));
    }
}
