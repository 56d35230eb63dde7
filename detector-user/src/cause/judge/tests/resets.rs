//! Resets and their tells.

use super::*;

/// A forged reset that loses the race changes nothing.
#[test]
fn a_reset_that_lost_is_no_failure() {
    let steps = [
        app(C, 53),
        OddReset(S),
        app(C, 300),
        app(S, 4000),
        SpeaksOn(S),
        Fin(S),
        Fin(C),
    ];
    assert_eq!(judged(true, &[&FLIGHT_13, &steps]), Judgement::Established);
}

#[rstest]
#[case::odd_ttl_after_fin(&[Fin(S), OddReset(S)])]
#[case::odd_ttl_after_alert(&[alert(S, 40), OddReset(S)])]
#[case::repeated(&[Reset(C), Reset(C), Reset(C)])]
fn honest_resets_are_not_called_injected(#[case] end: &[Step]) {
    if let Judgement::Failed(verdict) = judged(false, &[&[HELLO], end]) {
        assert_ne!(verdict.cause, Cause::InjectedReset, "{verdict:?}");
    }
}

/// The story: the reset that follows a client's own refusal changes nothing about the cause.
#[test]
fn a_reset_after_the_refusal_stands_beside_it() {
    let end = [alert(C, 46), Fin(C), OddReset(S), SpeaksOn(S)];
    let verdict = verdict(judged(false, &[&FLIGHT_12, &end]));
    assert_eq!(verdict.cause, Cause::CertificateRejected);
    assert!(verdict.reset.unwrap().injected);
}

/// Data that the capture lost but the peer acknowledged had been sent.
#[test]
fn a_gap_in_the_capture_is_no_guess_at_the_sequence_number() {
    let mut timeline = timeline(false, &[&FLIGHT_12[..], &[Reset(C)]].concat());
    let set = |timeline: &mut Timeline, acknowledged: u32| {
        let close = timeline.closes.last_mut().unwrap();
        close.measured.seq_ahead = 7;
        close.sides[0].next_seq = 100;
        close.sides[1].ack = acknowledged;
    };
    let tells = |timeline: &Timeline| match judge(timeline, &Knowledge::default()) {
        Judgement::Failed(verdict) => verdict.reset.unwrap().tells,
        other => panic!("{other:?}"),
    };
    set(&mut timeline, 100);
    assert_eq!(tells(&timeline), ["sequence-ahead"]);
    set(&mut timeline, 107);
    assert_eq!(tells(&timeline), [""; 0]);
}

/// The evidence says from how far away a reset came and how far the connection was by then.
#[rstest]
#[case::on_the_hello(&[HELLO, OddReset(S)], "it came upon the ClientHello")]
#[case::in_the_flight(&[HELLO, SERVER_HELLO, app(S, 900), OddReset(S)], "it came within the server's flight or right after it")]
fn a_resets_place_is_told(#[case] steps: &[Step], #[case] stage: &str) {
    let verdict = verdict(judged(true, &[steps]));
    let detail = |name: &str| {
        let mut all = verdict.evidence.iter();
        all.find(|it| it.name == name).map(|it| it.detail.as_str())
    };
    assert_eq!(detail("reset-stage"), Some(stage));
    let distance = detail("reset-distance").unwrap();
    assert!(
        distance.contains("the server is about 7 hops away"),
        "{distance}"
    );
}

/// Forged, but behind the data that had gone by, or far beyond any window: nobody takes such a reset.
#[rstest]
#[case::behind(-44)]
#[case::far_beyond(364_625_207)]
fn a_reset_out_of_the_window_broke_nothing(#[case] ahead: i32) {
    let used = [
        CLIENT_CCS,
        app(C, 53),
        app(C, 300),
        app(S, 4000),
        OddReset(S),
    ];
    let mut timeline = timeline(true, &[&FLIGHT_13[..], &used].concat());
    let judged = |timeline: &Timeline| judge(timeline, &Knowledge::default());
    assert_eq!(verdict(judged(&timeline)).cause, Cause::InjectedReset);
    timeline.closes[0].measured.seq_ahead = ahead;
    assert_eq!(judged(&timeline), Judgement::Established);
}

/// Data of the receiver's that were under way when a forged reset came do not show that it went on; its
/// answers as for an unknown socket show that it did not.
#[rstest]
#[case::under_way(&[OddReset(S), app(C, 31), SpeaksOn(S)])]
#[case::lost_its_socket(&[OddReset(S), SpeaksOn(S), BareReset(C), app(C, 31), app(C, 31), app(C, 31), app(C, 31)])]
#[case::lost_it_to_a_second_one(&[OddReset(S), app(C, 31), app(C, 31), OddReset(S), BareReset(C), app(C, 31)])]
#[case::both_sides_are_reset(&[OddReset(S), SpeaksOn(S), SpeaksOn(S), OddReset(C)])]
#[case::and_the_client_knows_no_socket(&[OddReset(S), SpeaksOn(S), OddReset(C), SpeaksOn(S), BareReset(C)])]
fn a_reset_amid_data_is_told(#[case] end: &[Step]) {
    let used = [CLIENT_CCS, app(C, 53), app(C, 300), app(S, 4000)];
    let mut timeline = timeline(true, &[&FLIGHT_13[..], &used, end].concat());
    // Sooner than the client ever answered.
    if let Some(last) = timeline.records.last_mut() {
        last.at_us -= 600;
    }
    let verdict = verdict(judge(&timeline, &Knowledge::default()));
    assert_eq!(verdict.cause, Cause::InjectedReset);
    let mut evidence = verdict.evidence.iter();
    let stage = evidence.find(|it| it.name == "reset-stage").unwrap();
    assert_eq!(stage.detail, "it came amid data");
}

/// A client that answers data in its own time, or resets the connection with an ACK flag and from where it
/// always was, still had its socket.
#[rstest]
#[case::answers(&[OddReset(S), SpeaksOn(S), app(C, 31)])]
#[case::resets(&[OddReset(S), SpeaksOn(S), Fin(S), Reset(C)])]
#[case::closes_in_order(&[OddReset(S), SpeaksOn(S), Fin(C), Fin(S)])]
#[case::answers_and_has_closed_later(&[OddReset(S), SpeaksOn(S), app(C, 31), Fin(S), BareReset(C)])]
fn a_receiver_that_lives_on_was_not_reset(#[case] end: &[Step]) {
    let used = [CLIENT_CCS, app(C, 53), app(C, 300), app(S, 4000)];
    assert_eq!(
        judged(true, &[&FLIGHT_13, &used, end]),
        Judgement::Established
    );
}

/// The client's own reset was under way already.
#[test]
fn a_reset_that_crossed_another_shows_no_life() {
    let used = [CLIENT_CCS, app(C, 53), app(C, 300), app(S, 4000)];
    let end = [OddReset(S), SpeaksOn(S), Reset(C)];
    let mut timeline = timeline(true, &[&FLIGHT_13[..], &used, &end].concat());
    assert_eq!(
        judge(&timeline, &Knowledge::default()),
        Judgement::Established
    );
    timeline.closes[2].time_ns = timeline.closes[0].time_ns + 400_000;
    let verdict = verdict(judge(&timeline, &Knowledge::default()));
    assert_eq!(verdict.cause, Cause::InjectedReset);
}

/// Of two forged ones the second fits.
#[test]
fn a_reset_in_the_window_behind_one_out_of_it_counts() {
    let used = [CLIENT_CCS, app(C, 53), app(C, 300), app(S, 4000)];
    let end = [OddReset(S), OddReset(S)];
    let mut timeline = timeline(true, &[&FLIGHT_13[..], &used, &end].concat());
    timeline.closes[0].measured.seq_ahead = -44;
    let told = verdict(judge(&timeline, &Knowledge::default()));
    assert_eq!(told.cause, Cause::InjectedReset);
    timeline.closes[1].measured.seq_ahead = -44;
    assert_eq!(
        judge(&timeline, &Knowledge::default()),
        Judgement::Established
    );
}

/// Resets after which new data were acknowledged are only counted.
#[test]
fn a_reset_without_effect_is_counted() {
    let used = [CLIENT_CCS, app(C, 53), app(C, 300), app(S, 4000), Fin(C)];
    let mut timeline = timeline(true, &[&FLIGHT_13[..], &used].concat());
    timeline.resets_outlived = 2;
    let connection = Connection {
        client_leg: Box::new(timeline),
        server_leg: None,
        goes_on: false,
        newly_complete: true,
    };
    let interception = Interceptors::default().record(&connection, &Knowledge::default());
    let judged = crate::cause::judge::judge(&connection, interception);
    assert_eq!(judged.judgement, Judgement::Established);
    assert_eq!(judged.resets_without_effect, 2);
}

/// An alert in the segment of the reset is an alert, and its bytes are no tell.
#[test]
fn an_alert_in_the_segment_of_a_reset_is_read() {
    let mut timeline = timeline(false, &[&FLIGHT_12[..], &[alert(C, 48), Reset(C)]].concat());
    timeline.closes[0].measured.payload_len = 7;
    timeline.closes[0].time_ns -= 1_000_000;
    let verdict = verdict(judge(&timeline, &Knowledge::default()));
    assert_eq!(verdict.cause, Cause::CertificateRejected);
    assert_eq!(verdict.reset.unwrap().tells, [""; 0]);
}

fn bare_tells(end: &[Step]) -> Vec<String> {
    let steps = [&FLIGHT_12[..], end].concat();
    match judge(&timeline(false, &steps), &Knowledge::default()) {
        Judgement::Failed(verdict) => verdict.reset.map_or(vec![], |reset| reset.tells),
        other => panic!("{other:?}"),
    }
}

/// A host resets a connection that it knows with an ACK flag. Alone this proves nothing: a server that
/// restarted knows no connection any more.
#[test]
fn a_first_reset_without_ack_is_a_tell_and_no_proof() {
    assert_eq!(bare_tells(&[BareReset(S)]), ["unknown-socket"]);
    let steps = [&FLIGHT_12[..], &[BareReset(S)]].concat();
    let verdict = verdict(judged(false, &[&steps]));
    assert_eq!(verdict.cause, Cause::EndpointReset);
    assert!(verdict.confidence < 0.85, "{}", verdict.confidence);
}

/// Bytes that were not seen may have closed it, and another number is no answer to what its peer sent. A third party
/// that came in vain before is at work all the same.
#[test]
fn a_socket_is_unknown_where_all_before_is_known() {
    let steps = [&FLIGHT_12[..], &[BareReset(S)]].concat();
    let tells = |change: fn(&mut Timeline)| {
        let mut timeline = timeline(false, &steps);
        change(&mut timeline);
        verdict(judge(&timeline, &Knowledge::default()))
            .reset
            .unwrap()
            .tells
    };
    assert_eq!(tells(|_| ()), ["unknown-socket"]);
    let gap = |timeline: &mut Timeline| timeline.closes[0].sides[0].flags |= side_flags::GAP;
    assert_eq!(tells(gap), [""; 0]);
    let elsewhere = |timeline: &mut Timeline| timeline.closes[0].measured.seq = 7;
    assert_eq!(tells(elsewhere), [""; 0]);
    let in_vain = |timeline: &mut Timeline| {
        timeline.closes[0].sides[0].flags |= side_flags::GAP;
        timeline.resets_outlived = 1;
    };
    assert_eq!(tells(in_vain), ["unknown-socket", "forged-before"]);
}

/// A mirror shows the acknowledgement before a reset once more behind it.
#[test]
fn a_copy_of_what_came_before_a_reset_is_no_tell() {
    let steps = [&FLIGHT_12[..], &[Reset(S), SpeaksOn(S)]].concat();
    let mut timeline = timeline(false, &steps);
    let tells = |timeline: &Timeline| {
        verdict(judge(timeline, &Knowledge::default()))
            .reset
            .unwrap()
            .tells
    };
    assert_eq!(tells(&timeline), ["sender-speaks-on"]);
    timeline.closes[1].measured.since_same_ns = 500_000;
    assert_eq!(tells(&timeline), [""; 0]);
    timeline.closes[1].measured.ip_id = 1;
    assert_eq!(tells(&timeline), ["sender-speaks-on"]);
}

/// A third party that resets one side in vain has reset the other behind this tap, whose host then knows no connection.
#[test]
fn a_reset_as_of_an_unknown_socket_behind_vain_ones_is_a_third_partys() {
    let steps = [&FLIGHT_12[..], &[BareReset(S)]].concat();
    let mut timeline = timeline(false, &steps);
    timeline.resets_outlived = 1;
    let verdict = verdict(judge(&timeline, &Knowledge::default()));
    assert_eq!(verdict.cause, Cause::InjectedReset);
    let tells = verdict.reset.unwrap().tells;
    assert_eq!(tells, ["unknown-socket", "forged-before"]);
}

/// Its socket is gone for a reason that the tap saw.
#[rstest]
#[case::closed_before(&[Fin(C), BareReset(C)])]
#[case::reset_before(&[Reset(S), BareReset(S)])]
#[case::was_reset(&[Reset(S), BareReset(C)])]
fn a_reset_of_a_socket_that_is_gone_has_no_ack(#[case] end: &[Step]) {
    assert_eq!(bare_tells(end), [""; 0]);
}

/// A forger one hop away, and the answer of the host that it reset: neither alone is far off.
#[test]
fn resets_from_two_distances_are_not_of_one_host() {
    let mut timeline = timeline(false, &[&FLIGHT_12[..], &[Reset(S), BareReset(S)]].concat());
    timeline.closes[0].measured.ttl += 1;
    let injected = verdict(judge(&timeline, &Knowledge::default()));
    assert_eq!(injected.cause, Cause::InjectedReset);
    assert_eq!(injected.reset.unwrap().tells, ["ttls-differ"]);
    // The route itself varies.
    timeline.sides[1].ttl_max += 1;
    let honest = verdict(judge(&timeline, &Knowledge::default()));
    assert_eq!(honest.cause, Cause::EndpointReset);
}

/// A timeline whose server was reset upon the hello, its other segments being a SYN,ACK of TTL 57 only.
fn reset_upon_hello(ttl: u8, after_us: u64) -> Timeline {
    let mut timeline = timeline(true, &[HELLO, Reset(S)]);
    let started_ns = timeline.started_ns;
    let syn = |before_ns: u64, ttl: u8| Syn {
        time_ns: started_ns - before_ns,
        next_seq: 1000,
        count: 1,
        ttl,
        ..Syn::default()
    };
    timeline.syns = [syn(31_000_000, 64), syn(1_000_000, 57)];
    timeline.sides[0].flags |= side_flags::STARTED;
    timeline.sides[0].start_seq = 1000;
    timeline.sides[1] = Side::default();
    let sides = timeline.sides;
    let reset = timeline.closes.last_mut().unwrap();
    reset.sides = sides;
    reset.time_ns = started_ns + after_us * 1000;
    reset.measured.ttl = ttl;
    reset.measured.seq = 1000;
    reset.measured.ack = 1517;
    reset.measured.baseline = 0;
    timeline
}

/// A reset upon the hello is compared with the SYN,ACK, and its time with the round trip of 30 ms.
#[rstest]
#[case::of_the_gateway(64, 100, Cause::InjectedReset, &["ttl", "too-soon"])]
#[case::from_another_distance(64, 31_000, Cause::InjectedReset, &["ttl"])]
#[case::one_hop_away_and_too_soon(58, 100, Cause::InjectedReset, &["ttl", "too-soon"])]
#[case::one_hop_away(58, 31_000, Cause::EndpointReset, &[])]
#[case::too_soon(57, 100, Cause::EndpointReset, &["too-soon"])]
#[case::of_the_server(57, 31_000, Cause::EndpointReset, &[])]
fn a_reset_upon_the_hello_is_compared_with_the_syn_ack(
    #[case] ttl: u8,
    #[case] after_us: u64,
    #[case] cause: Cause,
    #[case] tells: &[&str],
) {
    let timeline = reset_upon_hello(ttl, after_us);
    let verdict = verdict(judge(&timeline, &Knowledge::default()));
    assert_eq!(verdict.cause, cause, "{verdict:?}");
    assert_eq!(verdict.reset.unwrap().tells, tells);
}

/// An answer too soon says less for the server than one in time.
#[test]
fn an_answer_in_time_is_likelier_the_servers() {
    let confidence = |after_us| {
        let timeline = reset_upon_hello(57, after_us);
        verdict(judge(&timeline, &Knowledge::default())).confidence
    };
    assert!(confidence(31_000) > confidence(100));
}

/// A gateway's own reset, of a server one router behind it. A route that changes by a hop leads nobody's
/// segments here without any.
#[rstest]
#[case::made_here(63, 64, true, Cause::InjectedReset, Party::Gateway)]
#[case::made_next_door(63, 64, false, Cause::InjectedReset, Party::Middlebox)]
#[case::two_hops(126, 128, false, Cause::InjectedReset, Party::Middlebox)]
#[case::another_route(62, 63, true, Cause::EndpointReset, Party::Server)]
#[case::of_a_neighbour(64, 64, true, Cause::EndpointReset, Party::Server)]
fn a_reset_without_a_hop_is_not_of_a_server_behind_a_router(
    #[case] server: u8,
    #[case] ttl: u8,
    #[case] egress: bool,
    #[case] cause: Cause,
    #[case] by: Party,
) {
    let mut timeline = reset_upon_hello(ttl, 31_000);
    timeline.syns[1].ttl = server;
    timeline.closes[0].egress = egress;
    let verdict = verdict(judge(&timeline, &Knowledge::default()));
    assert_eq!(
        (verdict.cause, verdict.ended_by),
        (cause, by),
        "{verdict:?}"
    );
}

/// A reset that the tap nearer to its alleged sender never saw was made between both taps.
#[rstest]
#[case::made_between("lan0", &[HELLO, Reset(S)], &[HELLO], true)]
#[case::it_passed_both("lan0", &[HELLO, Reset(S)], &[HELLO, Reset(S)], false)]
#[case::it_was_dropped_on_its_way("lan0", &[HELLO], &[HELLO, Reset(S)], false)]
#[case::made_between_for_the_server("wan0", &[HELLO], &[HELLO, Reset(C)], true)]
fn a_reset_that_the_nearer_tap_never_saw_is_the_gateways(
    #[case] seen_at: &str,
    #[case] at_lan: &[Step],
    #[case] at_wan: &[Step],
    #[case] is_made: bool,
) {
    let at_lan = timeline(false, at_lan);
    let mut at_wan = timeline(false, at_wan);
    at_wan.tap = Arc::from("wan0");
    // The hello arrives there later.
    at_wan.started_ns += 50_000;
    for (here, there) in [(&at_lan, &at_wan), (&at_wan, &at_lan)] {
        let facts = crate::cause::judge::resets::resets(here, Some(there));
        let made = facts
            .tells
            .iter()
            .find(|tell| tell.name() == "never-arrived");
        assert_eq!(made.is_some(), is_made);
        assert_eq!(facts.injected(), is_made);
        if let Some(made) = made {
            let seen = format!("it was seen at {seen_at} and never at ");
            assert!(made.to_string().starts_with(&seen), "{made}");
            assert_eq!(facts.injector(), Party::Gateway);
        }
    }
}
