//! Groups of connections, and the history's verdicts on them.

mod lessons;
mod origins;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rstest::rstest;

use super::History;
use crate::cause::interception::{Interception, Mark};
use crate::cause::judge::subject::{Outcome, Subject};
use crate::cause::judge::{Judged, Judgement};
use crate::flow::tls::app::{App, Versions, app};
use crate::flow::tls::client_hello::ClientHello;
use crate::verdict::tests::pinning;
use crate::verdict::{Cause, Intercepted, Verdict};

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;

/// An app by a number.
fn app_number(number: u16) -> App {
    let mut hello = ClientHello::default();
    hello.complete = true;
    hello.cipher_suites = vec![number];
    app(&hello).unwrap()
}

/// A connection: client, app, name, and what became of it.
#[derive(Clone, Copy)]
struct Story(u8, u16, &'static str, Outcome);

const REFUSED: Outcome = Outcome::Refused { probability: 0.95 };
use Outcome::Accepted;

struct World {
    history: History,
    time_ns: u64,
    intercepted: Intercepted,
    marks: crate::cause::interception::Marks,
    recognized: Vec<Mark>,
    in_order: Option<bool>,
    alert: Option<crate::verdict::AlertDescription>,
    quiet: bool,
}

impl World {
    fn new() -> Self {
        Self {
            history: History::default(),
            time_ns: 1_800_000_000 * SECOND,
            intercepted: Intercepted::Yes,
            marks: [None; 3],
            recognized: vec![],
            in_order: Some(true),
            alert: None,
            quiet: false,
        }
    }

    fn take(&mut self, Story(client, number, name, outcome): Story) -> Vec<Arc<Verdict>> {
        self.time_ns += 10 * SECOND;
        let subject = Subject {
            client: IpAddr::V4(Ipv4Addr::new(10, 0, 1, client)),
            app: Some(app_number(number)),
            versions: Versions::Both,
            name: name.into(),
            server: SocketAddr::from(([10, 0, 2, name.len() as u8], 443)),
            by_proxy: false,
            ech: None,
            time_ns: self.time_ns,
            ended_ns: self.time_ns + SECOND / 100,
            unanswered: false,
            quiet: self.quiet,
            after_handshake: false,
            interception: Interception {
                status: self.intercepted,
                evidence: None,
                marks: self.marks,
                recognized: std::mem::take(&mut self.recognized),
            },
            certificate_shown: true,
            certificate_in_order: self.in_order,
            certificate: None,
            alert: self.alert,
            outcome,
        };
        let judgement = match outcome {
            Accepted => Judgement::Established,
            _ => {
                let mut verdict = pinning();
                verdict.cause = Cause::CertificateRejected;
                verdict.confidence = 0.95;
                verdict.sni = Some(name.to_owned());
                verdict.intercepted = self.intercepted;
                verdict.time = jiff::Timestamp::from_nanosecond(i128::from(self.time_ns)).unwrap();
                verdict.community_id = format!("1:{}", self.time_ns);
                verdict.evidence.clear();
                verdict.set_revision(0);
                Judgement::Failed(Box::new(verdict))
            }
        };
        let mut judged = Judged {
            judgement,
            subject,
            resets_without_effect: 0,
            if_intercepted: None,
            ech_refused: None,
            offer: None,
            possible: None,
        };
        if self.intercepted == Intercepted::Unknown && outcome != Accepted {
            let mut known = judged.clone();
            known.subject.interception.status = Intercepted::Yes;
            if let Judgement::Failed(verdict) = &mut known.judgement {
                verdict.intercepted = Intercepted::Yes;
            }
            judged.if_intercepted = Some(Box::new(known));
        }
        self.history.record(judged, self.time_ns)
    }

    /// Records all, and returns the last verdict on each connection that failed.
    fn last_said(&mut self, stories: &[Story]) -> Vec<(Cause, f64)> {
        let mut said: Vec<(String, Cause, f64)> = Vec::new();
        for story in stories {
            for verdict in self.take(*story) {
                let entry = (
                    verdict.community_id.clone(),
                    verdict.cause,
                    verdict.confidence,
                );
                match said.iter_mut().find(|(id, ..)| *id == verdict.community_id) {
                    Some(earlier) => {
                        assert!(verdict.revises.is_some(), "said twice without revising");
                        *earlier = entry;
                    }
                    None => said.push(entry),
                }
            }
        }
        said.into_iter()
            .map(|(_, cause, sure)| (cause, sure))
            .collect()
    }
}

const A: &str = "api.bank.test";
const B: &str = "www.shop.example";
const C: &str = "news.site.invalid";

/// Orders in which the same facts may come: the last word is the same.
fn orders(stories: &[Story]) -> Vec<Vec<Story>> {
    let mut reversed = stories.to_vec();
    reversed.reverse();
    let mut turned = stories.to_vec();
    turned.rotate_left(stories.len() / 2);
    vec![stories.to_vec(), reversed, turned]
}

#[rstest]
#[case::app_accepts_others_and_others_accept_the_name(
    &[Story(2, 1, B, Accepted), Story(2, 1, C, Accepted), Story(2, 9, A, Accepted), Story(2, 1, A, REFUSED)],
    Cause::Pinning, 0.7
)]
#[case::an_app_refuses_one_name_on_two_clients(
    &[Story(2, 1, B, Accepted), Story(2, 1, C, Accepted), Story(3, 1, A, REFUSED), Story(3, 1, B, Accepted),
      Story(2, 1, A, REFUSED), Story(3, 1, C, Accepted)],
    Cause::Pinning, 0.7
)]
#[case::an_app_that_accepts_nothing(
    &[Story(2, 1, A, REFUSED), Story(2, 1, B, REFUSED), Story(2, 1, C, REFUSED)],
    Cause::CaNotTrusted, 0.8
)]
#[case::an_apps_own_store(
    &[Story(2, 1, A, REFUSED), Story(2, 1, B, REFUSED), Story(2, 1, C, REFUSED),
      Story(2, 9, A, Accepted), Story(2, 9, B, Accepted)],
    Cause::CaNotTrusted, 0.7
)]
#[case::an_apps_own_store_on_two_clients(
    &[Story(2, 9, A, Accepted), Story(3, 9, B, Accepted), Story(2, 1, A, REFUSED), Story(3, 1, A, REFUSED),
      Story(2, 1, B, REFUSED), Story(3, 1, B, REFUSED), Story(2, 1, C, REFUSED), Story(3, 1, C, REFUSED)],
    Cause::CaNotTrusted, 0.7
)]
#[case::no_app_of_a_client(
    &[Story(2, 1, A, REFUSED), Story(2, 9, B, REFUSED), Story(2, 1, B, REFUSED), Story(2, 9, C, REFUSED)],
    Cause::CaNotTrusted, 0.75
)]
#[case::accepted_by_the_same_app_elsewhere(
    &[Story(2, 1, A, REFUSED), Story(3, 1, A, Accepted)],
    Cause::CaNotTrusted, 0.8
)]
#[case::a_service_that_all_its_apps_pin(
    &[Story(2, 1, B, Accepted), Story(2, 9, B, Accepted), Story(2, 5, B, Accepted),
      Story(2, 1, A, REFUSED), Story(2, 9, A, REFUSED), Story(2, 5, A, REFUSED)],
    Cause::Pinning, 0.7
)]
fn groups(#[case] stories: &[Story], #[case] cause: Cause, #[case] least: f64) {
    for order in orders(stories) {
        for (said, sure) in World::new().last_said(&order) {
            assert_eq!(said, cause);
            assert!(sure >= least, "{sure}");
        }
    }
}

#[rstest]
#[case::one_refusal(&[Story(2, 1, A, REFUSED)])]
#[case::two_apps_refuse_one_name_and_nothing_else(&[Story(2, 1, A, REFUSED), Story(3, 9, A, REFUSED)])]
#[case::the_app_took_the_name_before(&[Story(2, 1, A, Accepted), Story(2, 1, B, Accepted), Story(2, 1, A, REFUSED)])]
fn too_little_to_decide(#[case] stories: &[Story]) {
    for (said, _) in World::new().last_said(stories) {
        assert_eq!(said, Cause::CertificateRejected);
    }
}

/// Related names that one app refuses, all of them: it may pin its service as well.
#[test]
fn an_app_that_only_talks_to_its_own_service_is_not_sure_to_lack_the_ca() {
    let own = ["a.bank.test", "b.bank.test", "c.bank.test"];
    let stories = own.map(|name| Story(2, 1, name, REFUSED));
    for (said, sure) in World::new().last_said(&stories) {
        assert!(said != Cause::Pinning && (said == Cause::CertificateRejected || sure < 0.8));
    }
}

#[rstest]
#[case(Intercepted::No)]
#[case(Intercepted::Unknown)]
fn pinning_is_not_said_of_what_was_not_intercepted(#[case] intercepted: Intercepted) {
    let mut world = World::new();
    world.intercepted = intercepted;
    let stories = [
        Story(2, 1, B, Accepted),
        Story(2, 1, C, Accepted),
        Story(2, 9, A, Accepted),
        Story(2, 1, A, REFUSED),
    ];
    assert_eq!(
        world.last_said(&stories),
        [(Cause::CertificateRejected, 0.95)]
    );
}

/// Without an interceptor no CA of one is missing: clients that have nothing in common refuse the origin's own
/// certificate. One alone may have an old store or a wrong clock.
#[rstest]
#[case::two_clients(&[Story(2, 1, A, REFUSED), Story(3, 1, A, REFUSED)], Some(1))]
#[case::one_client(&[Story(2, 1, A, REFUSED)], None)]
#[case::one_client_refuses_all(
    &[Story(2, 1, B, REFUSED), Story(2, 1, C, REFUSED), Story(2, 9, A, REFUSED)],
    None
)]
#[case::others_accept_it(
    &[Story(4, 1, A, Accepted), Story(5, 9, A, Accepted), Story(2, 1, A, REFUSED), Story(3, 1, A, REFUSED)],
    None
)]
fn an_origin_that_several_clients_refuse_directly_is_invalid(
    #[case] stories: &[Story],
    #[case] told_at: Option<usize>,
) {
    let mut world = World::new();
    world.intercepted = Intercepted::No;
    world.in_order = None;
    for (at, (said, sure)) in world.last_said(stories).into_iter().enumerate() {
        let is_told = told_at.is_some_and(|it| it <= at);
        let expected = [Cause::CertificateRejected, Cause::ServerCertInvalid][usize::from(is_told)];
        // The first may be revised later.
        assert!(said == expected || told_at.is_some(), "{at}: {said} {sure}");
        assert!(!is_told || said == expected, "{at}: {said} {sure}");
    }
}

/// The confidence in a pin is capped while others have not accepted the certificate; whether it replaces an
/// earlier verdict depends on how likely it is.
#[test]
fn a_likely_pin_replaces_an_open_verdict_though_it_is_told_with_caution() {
    let mut world = World::new();
    let stories = [
        Story(2, 1, A, REFUSED),
        Story(3, 1, A, REFUSED),
        Story(2, 1, B, Accepted),
        Story(2, 1, C, Accepted),
        Story(2, 1, "x.test", Accepted),
        Story(3, 1, B, Accepted),
        Story(3, 1, C, Accepted),
    ];
    for (said, sure) in world.last_said(&stories) {
        assert_eq!(said, Cause::Pinning);
        assert!(sure < 0.8, "{sure}");
    }
}

/// A certificate that one cannot see may be invalid itself: with one app only that is not ruled out.
#[test]
fn an_unseen_certificate_keeps_one_apps_refusal_below_certainty() {
    let mut world = World::new();
    world.in_order = None;
    let stories = [
        Story(2, 1, B, Accepted),
        Story(2, 1, C, Accepted),
        Story(2, 1, "x.test", Accepted),
        Story(2, 1, A, REFUSED),
    ];
    for (said, sure) in world.last_said(&stories) {
        assert!(said != Cause::Pinning || sure < 0.8, "{sure}");
    }
}

/// Several hosts behind one address, some without the CA: their refusals are no pins for sure.
#[test]
fn behind_a_shared_address_no_pin_is_sure() {
    let mut world = World::new();
    let names = [A, B, C, "d.test", "e.test"];
    let accepted = names.map(|name| Story(2, 1, name, Accepted));
    let refused = names.map(|name| Story(2, 1, name, REFUSED));
    let mut stories = vec![];
    for (accepted, refused) in accepted.into_iter().zip(refused.into_iter().rev()) {
        stories.extend([refused, accepted]);
    }
    for (said, sure) in world.last_said(&stories) {
        assert!(said != Cause::Pinning || sure < 0.8, "{said:?} {sure}");
    }
}

/// An app that refuses several unrelated names is no witness for a pin of one.
#[test]
fn names_refused_weigh_as_names_accepted_do() {
    let mut world = World::new();
    let stories = [
        Story(2, 1, B, Accepted),
        Story(2, 1, A, REFUSED),
        Story(2, 1, C, REFUSED),
        Story(2, 1, "d.test", REFUSED),
        Story(2, 9, A, Accepted),
    ];
    for (said, sure) in world.last_said(&stories) {
        assert!(said != Cause::Pinning || sure < 0.8, "{said:?} {sure}");
    }
}

/// One plaintext unknown_ca to a known interceptor is nearly always a missing CA.
#[test]
fn unknown_ca_tells_by_itself_where_interception_is_known() {
    let mut world = World::new();
    world.alert = Some(crate::verdict::AlertDescription::UnknownCa);
    world.in_order = None;
    let said = world.last_said(&[Story(2, 1, A, REFUSED)]);
    let (cause, sure) = said[0];
    assert_eq!(cause, Cause::CaNotTrusted);
    assert!((0.68..0.82).contains(&sure), "{sure}");
    world.intercepted = Intercepted::Unknown;
    let said = world.last_said(&[Story(3, 7, B, REFUSED)]);
    assert_eq!(said[0].0, Cause::CertificateRejected);
}

/// A verdict is given three times at most, and never with a cause it had before.
#[test]
fn a_verdict_does_not_waver() {
    let mut world = World::new();
    let mut given: Vec<(String, Cause, f64)> = Vec::new();
    for round in 0..40_u8 {
        let name = [A, B, C, "d.test", "e.test"][usize::from(round % 5)];
        let outcome = if round % 3 == 0 { REFUSED } else { Accepted };
        for verdict in world.take(Story(
            2 + round % 2,
            1 + u16::from(round % 4),
            name,
            outcome,
        )) {
            let id = verdict.community_id.clone();
            given.push((id, verdict.cause, verdict.confidence));
        }
    }
    for (id, ..) in &given {
        let of_it: Vec<_> = given.iter().filter(|(other, ..)| other == id).collect();
        assert!(of_it.len() <= 3, "{of_it:?}");
        for (at, (_, cause, _)) in of_it.iter().enumerate().skip(2) {
            let before = of_it[..at - 1]
                .iter()
                .any(|(_, earlier, _)| earlier == cause);
            assert!(!before || of_it[at - 1].1 == *cause, "{of_it:?}");
        }
    }
}

#[test]
fn a_revision_names_what_it_revises() {
    let mut world = World::new();
    let first = world.take(Story(2, 1, A, REFUSED)).pop().unwrap();
    assert_eq!(first.revises, None);
    let more = [Story(2, 1, B, Accepted), Story(2, 9, A, Accepted)];
    let mut revisions: Vec<Arc<Verdict>> = more.into_iter().flat_map(|it| world.take(it)).collect();
    let revision = revisions.remove(0);
    assert_eq!(revision.cause, Cause::Pinning);
    let revised = revision.revises.as_deref().unwrap();
    assert!(revised.ends_with(&first.community_id), "{revised}");
    assert_eq!(revision.time, first.time, "it is the same connection");
    assert_eq!((first.revision, revision.revision), (0, 1));
    assert_eq!(revision.supersedes.as_ref(), Some(&first.id));
}

/// An interceptor recognized late revises earlier verdicts.
#[test]
fn an_interceptor_recognized_late() {
    let mark = Mark::of_number(7);
    let mut world = World::new();
    world.intercepted = Intercepted::Unknown;
    world.marks = [Some(mark), None, None];
    for story in [
        Story(2, 1, B, Accepted),
        Story(2, 1, C, Accepted),
        Story(2, 9, A, Accepted),
    ] {
        assert!(world.take(story).is_empty());
    }
    let verdict = world.take(Story(2, 1, A, REFUSED)).pop().unwrap();
    assert_eq!(verdict.cause, Cause::CertificateRejected);
    world.recognized = vec![mark];
    let revisions = world.take(Story(7, 3, "else.test", Accepted));
    let last = revisions.last().unwrap();
    assert_eq!(
        (last.cause, last.intercepted),
        (Cause::Pinning, Intercepted::Yes)
    );
}

#[test]
fn facts_are_forgotten_after_days() {
    let mut world = World::new();
    for story in [
        Story(2, 1, B, Accepted),
        Story(2, 1, C, Accepted),
        Story(2, 9, A, Accepted),
    ] {
        world.take(story);
    }
    world.time_ns += 8 * DAY;
    let verdict = world.take(Story(2, 1, A, REFUSED)).pop().unwrap();
    assert_eq!(verdict.cause, Cause::CertificateRejected);
}

/// A browser opens several connections to one server and drops those it does not need.
#[test]
fn a_spare_connection_is_no_failure_and_no_evidence() {
    let mut world = World::new();
    world.quiet = true;
    assert!(
        world.take(Story(2, 1, A, REFUSED)).is_empty(),
        "it waits for a sibling"
    );
    assert!(world.history.next_deadline().is_some());
    world.quiet = false;
    assert!(world.take(Story(2, 1, A, Accepted)).is_empty());
    assert!(world.history.advance(u64::MAX).is_empty());
    assert_eq!(world.history.take_reclassified().to.unused, 1);
}

#[test]
fn what_has_no_sibling_is_said_after_a_while() {
    let mut world = World::new();
    world.quiet = true;
    assert!(world.take(Story(2, 1, A, REFUSED)).is_empty());
    let deadline = world.history.next_deadline().unwrap();
    assert!(world.history.advance(deadline - 1).is_empty());
    assert_eq!(world.history.advance(deadline).len(), 1);
}

/// Memory stays bounded, whichever hosts talk to each other.
#[test]
fn many_strangers_do_not_fill_the_memory() {
    let mut world = World::new();
    for number in 0..17_000_u32 {
        let name: &'static str = Box::leak(format!("n{number}.test").into_boxed_str());
        world.take(Story((number % 250) as u8, number as u16, name, REFUSED));
    }
    assert!(world.history.refusals.len() <= super::REFUSALS_MAX);
}

/// Begins again with the facts that are on disk.
fn restart(world: &mut World, directory: &std::path::Path) -> super::Remembered {
    world.history = History::default();
    let week = std::time::Duration::from_secs(7 * 86_400);
    world
        .history
        .restore(directory, week, world.time_ns / SECOND)
}

/// Before a restart the app accepted two names of the interceptor's; after it, it refuses a third.
#[test]
fn what_was_learned_before_a_restart_decides_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let restarted = |world: &mut World| restart(world, directory.path());
    let mut world = World::new();
    assert_eq!(restarted(&mut world).facts, 0);
    world.recognized = vec![Mark::of_number(5)];
    world.last_said(&[
        Story(1, 1, B, Accepted),
        Story(1, 1, C, Accepted),
        Story(2, 2, A, Accepted),
    ]);
    let remembered = restarted(&mut world);
    assert_eq!(
        (remembered.facts, remembered.marks),
        (3, vec![Mark::of_number(5)])
    );
    let said = world.last_said(&[Story(1, 1, A, REFUSED)]);
    assert_eq!(said[0].0, Cause::Pinning, "{said:?}");
    let mut forgetful = World::new();
    let said = forgetful.last_said(&[Story(1, 1, A, REFUSED)]);
    assert_eq!(said[0].0, Cause::CertificateRejected, "{said:?}");
}

/// A pin is sure once an app refuses the name and accepts others on several clients, and others accept the name: but
/// not where it accepts nothing on as many.
#[test]
fn a_pin_is_told_surely_only_by_several_clients() {
    let of_client = |client| {
        let others =
            ["one.test", "two.test", "three.test"].map(|name| Story(client, 1, name, Accepted));
        let by_another = [Story(client, 2, A, Accepted), Story(client, 2, B, Accepted)];
        [
            others.to_vec(),
            by_another.to_vec(),
            vec![Story(client, 1, A, REFUSED)],
        ]
        .concat()
    };
    let [mut one, mut several] = [World::new(), World::new()];
    let said = one.last_said(&of_client(1));
    let (cause, sure) = *said.last().unwrap();
    assert!(cause == Cause::Pinning && sure < 0.8, "{said:?}");
    let stories: Vec<Story> = (1..=4).flat_map(of_client).collect();
    let said = several.last_said(&stories);
    let (cause, sure) = *said.last().unwrap();
    assert!(cause == Cause::Pinning && sure >= 0.95, "{said:?}");
    let refusing_alone = [5, 6].map(|client| Story(client, 1, A, REFUSED));
    let stories = [refusing_alone.to_vec(), stories].concat();
    let said = World::new().last_said(&stories);
    let (_, sure) = *said.last().unwrap();
    assert!(sure < 0.8, "{said:?}");
}

/// A connection of a client to a name, before anything else is known of it.
pub(super) fn judged(client: u8, name: &str, outcome: Outcome) -> Judged {
    let began_ns = 1_800_000_000 * SECOND;
    Judged {
        judgement: Judgement::Unused,
        subject: Subject {
            client: IpAddr::V4(Ipv4Addr::new(10, 0, 1, client)),
            app: Some(app_number(1)),
            versions: Versions::Both,
            name: name.into(),
            server: SocketAddr::from(([10, 0, 2, 2], 443)),
            by_proxy: false,
            ech: None,
            time_ns: began_ns,
            ended_ns: began_ns + SECOND / 200,
            unanswered: false,
            quiet: true,
            after_handshake: true,
            interception: Interception {
                status: Intercepted::Unknown,
                evidence: None,
                marks: [None; 3],
                recognized: vec![],
            },
            certificate_shown: true,
            certificate_in_order: None,
            certificate: None,
            alert: None,
            outcome,
        },
        resets_without_effect: 0,
        if_intercepted: None,
        ech_refused: None,
        offer: None,
        possible: None,
    }
}
