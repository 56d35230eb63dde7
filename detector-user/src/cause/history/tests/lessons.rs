//! Lessons from other gateways.

use super::*;
use crate::cause::client_identity::ClientIdentity;
use crate::cause::history::{Answer, Lesson};

const PIN: &str = "api.pinned.test";

/// Two gateways: the refusal alone, and the connections beside it.
fn stories() -> [Vec<Story>; 2] {
    let refusal = Story(1, 1, PIN, REFUSED);
    let beside = [
        Story(1, 1, "www.one.test", Accepted),
        Story(1, 1, "www.two.example", Accepted),
        Story(1, 2, PIN, Accepted),
        Story(2, 2, PIN, Accepted),
    ];
    [vec![refusal], beside.into()]
}

fn gateway(identity: &ClientIdentity) -> World {
    let mut world = World::new();
    world.history.share(identity.clone());
    world
}

/// Returns the last verdict on the refusal at one gateway after it heard the other's lessons.
fn heard(here: &ClientIdentity, there: &ClientIdentity) -> Vec<Arc<Verdict>> {
    let [refusal, beside] = stories();
    let (mut here, mut there) = (gateway(here), gateway(there));
    let mut verdicts: Vec<_> = refusal.into_iter().flat_map(|it| here.take(it)).collect();
    for story in beside {
        assert!(there.take(story).is_empty());
    }
    let name: Arc<str> = "gw-b".into();
    let lessons = there.history.take_lessons();
    let now_s = here.time_ns / SECOND + 60;
    for lesson in lessons.iter().chain(&lessons) {
        verdicts.extend(here.history.record_lesson(&name, lesson, now_s));
    }
    let own = here.history.take_lessons();
    assert_eq!(own.len(), 1, "lessons of others do not go on");
    assert_eq!((own[0].answer, &*own[0].name), (Answer::Refused, PIN));
    verdicts
}

#[test]
fn a_pin_is_told_by_what_another_gateway_saw_and_says_so() {
    let verdicts = heard(&ClientIdentity::Clear, &ClientIdentity::Clear);
    let [first, .., last] = verdicts.as_slice() else {
        panic!("{verdicts:?}");
    };
    assert_eq!(first.cause, Cause::CertificateRejected);
    assert_eq!(last.cause, Cause::Pinning);
    let names_b = |it: &crate::verdict::Evidence| it.name == "fleet" && it.detail.contains("gw-b");
    assert!(last.evidence.iter().any(names_b), "{:?}", last.evidence);
    assert!(first.evidence.iter().all(|it| it.name != "fleet"));
}

#[test]
fn one_gateway_that_saw_all_needs_no_other() {
    let mut world = gateway(&ClientIdentity::Clear);
    let [refusal, beside] = stories();
    let mut last = None;
    for story in beside.into_iter().chain(refusal) {
        last = world.take(story).pop().or(last);
    }
    let last = last.unwrap();
    assert_eq!(last.cause, Cause::Pinning);
    assert!(last.evidence.iter().all(|it| it.name != "fleet"));
}

#[test]
fn hashed_clients_are_joined_by_those_who_have_the_key() {
    let [key, other] =
        [b"key of the fleet", b"key of another 1"].map(|it| ClientIdentity::hashed(it));
    let told = |verdicts: Vec<Arc<Verdict>>| verdicts.last().map(|it| it.cause);
    assert_eq!(told(heard(&key, &key)), Some(Cause::Pinning));
    // Without it nothing is known of the app beside the refusal but elsewhere.
    let apart = heard(&key, &other);
    let confidence = apart.last().map(|it| it.confidence);
    let joined = heard(&key, &key).last().map(|it| it.confidence);
    assert!(confidence < joined, "{confidence:?} {joined:?}");
}

#[test]
fn without_a_fleet_there_are_no_lessons() {
    let mut world = World::new();
    world.take(Story(1, 1, PIN, REFUSED));
    assert_eq!(world.history.take_lessons(), Vec::<Lesson>::new());
}
