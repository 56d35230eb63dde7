//! Origins that are asked, and what their answers change.

use super::*;
use crate::cause::history::{OriginAnswer, Question};

/// A browser that accepts many names refuses one whose certificate is hidden: a bad origin or a pin.
const BROWSER: [Story; 6] = [
    Story(2, 1, B, Accepted),
    Story(2, 1, C, Accepted),
    Story(2, 1, "d.test", Accepted),
    Story(2, 1, "e.example", Accepted),
    Story(2, 1, "f.invalid", Accepted),
    Story(2, 1, A, REFUSED),
];

fn asking() -> World {
    let mut world = World::new();
    world.in_order = None;
    world.history.set_asks(true);
    world
}

fn answered(world: &mut World, answer: OriginAnswer) -> Vec<Arc<Verdict>> {
    world
        .history
        .record_origin(A, answer, world.time_ns / SECOND)
}

#[test]
fn an_origin_is_asked_where_its_answer_would_decide() {
    let mut world = asking();
    let said = world.last_said(&BROWSER);
    assert_eq!(said, [(Cause::CertificateRejected, 0.95)]);
    let question = Question {
        name: A.to_owned(),
        address: Some(
            world
                .history
                .refusals
                .iter()
                .next()
                .unwrap()
                .1
                .last_open(Intercepted::Yes)
                .unwrap()
                .server
                .ip,
        ),
        port: 443,
    };
    assert_eq!(world.history.take_questions(), [question]);
    assert_eq!(world.history.take_questions(), []);
    let again = world.take(BROWSER[5]).pop().unwrap();
    let decides = again
        .evidence
        .iter()
        .find(|it| it.name == "would-decide")
        .unwrap();
    assert!(
        decides.detail.contains("`tlswhy probe api.bank.test:443`"),
        "{}",
        decides.detail
    );
}

#[rstest]
#[case::one_refusal_alone(&[Story(2, 1, A, REFUSED)])]
#[case::a_cause_that_is_told(&[Story(2, 1, A, REFUSED), Story(2, 1, B, REFUSED), Story(2, 1, C, REFUSED),
    Story(2, 9, B, REFUSED)])]
fn none_is_asked_where_it_would_not(#[case] stories: &[Story]) {
    let mut world = asking();
    world.last_said(stories);
    world.history.take_questions();
    world.take(*stories.last().unwrap());
    assert_eq!(world.history.take_questions(), []);
}

#[test]
fn none_is_asked_unless_it_is_allowed() {
    let mut world = asking();
    world.history.set_asks(false);
    world.last_said(&BROWSER);
    assert_eq!(world.history.take_questions(), []);
}

#[rstest]
#[case(OriginAnswer::Valid, "origin-valid", Cause::Pinning)]
#[case(OriginAnswer::Invalid, "origin-invalid", Cause::ServerCertInvalid)]
fn an_answer_revises_and_is_evidence(
    #[case] answer: OriginAnswer,
    #[case] name: &str,
    #[case] cause: Cause,
) {
    let mut world = asking();
    world.last_said(&BROWSER);
    let revised = answered(&mut world, answer).pop().unwrap();
    assert_eq!(revised.cause, cause);
    assert!(revised.supersedes.is_some());
    let weight = revised
        .evidence
        .iter()
        .find(|it| it.name == name)
        .unwrap()
        .weight;
    assert!(weight > 0.5, "{weight}");
    assert!(
        cause != Cause::Pinning || revised.confidence < 0.8,
        "nobody was seen to accept it"
    );
}

#[rstest]
#[case(OriginAnswer::Intercepted, "met the interceptor")]
#[case(OriginAnswer::None, "had no answer")]
fn an_interceptor_or_nobody_proves_nothing(#[case] answer: OriginAnswer, #[case] words: &str) {
    let mut world = asking();
    world.last_said(&BROWSER);
    world.history.take_questions();
    assert!(answered(&mut world, answer).is_empty());
    let again = world.take(BROWSER[5]).pop().unwrap();
    assert_eq!(again.cause, Cause::CertificateRejected);
    assert!(
        again.evidence.iter().any(|it| it.detail.contains(words)),
        "{:?}",
        again.evidence
    );
    assert_eq!(world.history.take_questions(), [], "not within a day");
    world.time_ns += DAY;
    world.take(BROWSER[5]);
    assert_eq!(world.history.take_questions().len(), 1);
}

#[test]
fn an_answer_outlives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = asking();
    restart(&mut world, directory.path());
    world.last_said(&BROWSER);
    answered(&mut world, OriginAnswer::Invalid);
    restart(&mut world, directory.path());
    world.history.set_asks(true);
    let said = world.take(BROWSER[5]).pop().unwrap();
    assert_eq!(said.cause, Cause::ServerCertInvalid);
    assert_eq!(world.history.take_questions(), []);
}

/// A browser's refusal says nothing about the browser where the name's origin is known to be bad.
#[test]
fn a_bad_origin_explains_refusals_of_its_name_alone() {
    let mut world = asking();
    world.last_said(&BROWSER);
    answered(&mut world, OriginAnswer::Invalid);
    let other = world.take(Story(2, 1, "g.test", REFUSED)).pop().unwrap();
    assert_ne!(other.cause, Cause::ServerCertInvalid);
}
