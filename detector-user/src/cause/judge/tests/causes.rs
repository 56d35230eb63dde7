//! One connection for each cause by its plainest sign, and any connection at all.

use super::*;

#[rstest]
#[case::no_common_version(&[HELLO, alert(S, 70), Fin(S)], Cause::UnsupportedParameters)]
#[case::no_common_cipher(&[HELLO, alert(S, 40), Fin(S)], Cause::UnsupportedParameters)]
#[case::no_common_alpn(&[HELLO, alert(S, 120)], Cause::UnsupportedParameters)]
#[case::unknown_name(&[HELLO, alert(S, 112)], Cause::UnsupportedParameters)]
#[case::bad_record_mac(&[HELLO, SERVER_HELLO, alert(C, 20)], Cause::DecryptError)]
#[case::decode_error(&[HELLO, alert(S, 50)], Cause::DecryptError)]
#[case::server_refuses_client(&[HELLO, SERVER_HELLO, alert(S, 42)], Cause::ClientAuth)]
#[case::certificate_required(&[HELLO, SERVER_HELLO, alert(S, 116)], Cause::ClientAuth)]
#[case::expired(&[HELLO, SERVER_HELLO, alert(C, 45), Fin(C)], Cause::ServerCertInvalid)]
#[case::server_closes(&[HELLO, Fin(S), Fin(C)], Cause::Abandoned)]
#[case::client_closes(&[HELLO, Fin(C), Fin(S)], Cause::Abandoned)]
#[case::reset_on_the_hello(&[HELLO, Reset(S)], Cause::EndpointReset)]
#[case::injected(&[HELLO, OddReset(S), SpeaksOn(S)], Cause::InjectedReset)]
fn other_causes(#[case] steps: &[Step], #[case] cause: Cause) {
    let verdict = verdict(judged(false, &[steps]));
    assert_eq!(verdict.cause, cause, "{verdict:?}");
}

fn steps() -> impl Strategy<Value = Step> {
    let sender = prop_oneof![Just(C), Just(S)];
    prop_oneof![
        (sender.clone(), 20u8..25, any::<u16>(), any::<[u8; 2]>())
            .prop_map(|(sender, kind, length, detail)| Record(sender, kind, length, detail)),
        (
            sender.clone(),
            prop_oneof![Just(19u16), Just(35), Just(53), Just(300)]
        )
            .prop_map(|(sender, length)| app(sender, length)),
        (sender.clone(), any::<u8>()).prop_map(|(sender, code)| alert(sender, code)),
        sender.clone().prop_map(Fin),
        sender.clone().prop_map(Reset),
        sender.clone().prop_map(OddReset),
        sender.prop_map(SpeaksOn),
    ]
}

proptest! {
    #[test]
    fn any_timeline_is_judged_soberly(
        tls13: bool,
        steps in proptest::collection::vec(steps(), 0..20),
        always: bool,
    ) {
        let knowledge = if always { intercepted() } else { Knowledge::default() };
        if let Judgement::Failed(verdict) = judge(&timeline(tls13, &steps), &knowledge) {
            prop_assert!(verdict.confidence > 0.0 && verdict.confidence < 1.0);
            // One connection alone shows neither.
            prop_assert!(!matches!(verdict.cause, Cause::Pinning | Cause::CaNotTrusted));
            prop_assert!(!verdict.evidence.is_empty());
            let mut evidence = verdict.evidence.iter();
            prop_assert!(evidence.all(|it| !it.name.is_empty() && !it.detail.is_empty()));
        }
    }
}
