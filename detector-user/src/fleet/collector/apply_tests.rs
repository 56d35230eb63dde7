use std::path::Path;

use super::*;
use crate::fleet::message::{fact_subject, gateway_subject, mute_subject, verdict_subject};
use crate::outlet::database::{FLEET_FILE, Gateway, Past, Query};
use crate::verdict::tests::pinning;

/// When the servers took the messages, seconds since the UNIX epoch.
const TAKEN_S: i64 = 1_800_000_000;

fn applier(folder: &Path) -> Applier {
    let (writer, _) = FleetWriter::open(&folder.join(FLEET_FILE)).unwrap();
    Applier::new(writer, "clear".to_owned(), Muted::default())
}

fn past(folder: &Path) -> Past {
    Past::open(&folder.join(FLEET_FILE)).unwrap()
}

fn apply(applier: &mut Applier, stream: &'static str, subject: &str, texts: &[String]) {
    let messages = texts.iter().zip(1..).map(|(text, sequence)| Message {
        subject: subject.to_owned(),
        payload: text.clone().into_bytes(),
        sequence,
        time_s: TAKEN_S + i64::try_from(sequence).unwrap(),
    });
    let batch = Batch {
        stream,
        created: "now".to_owned(),
        messages: messages.collect(),
    };
    applier.apply(batch).unwrap();
    applier.commit().unwrap();
}

fn health(instance: u64, time: &str, more: &str) -> String {
    let mut health = Health::new(Timestamp::UNIX_EPOCH, instance, "clear".to_owned());
    health.time = time.parse().unwrap();
    let text = serde_json::to_string(&health).unwrap();
    format!("{}{more}}}", text.strip_suffix('}').unwrap())
}

fn facts(client: u8, last_s: u64, count: u64) -> String {
    format!(
        r#"{{"version":1,"clients":"clear","facts":[{{"client":"10.0.0.{client}","app":"aa","name":"a.test","issuer":null,"intercepted":true,"outcome":"accepted","last_s":{last_s},"count":{count},"sure":1}}]}}"#
    )
}

fn gateways(folder: &Path) -> Vec<Gateway> {
    past(folder).gateways().unwrap()
}

/// A message that fails each time would be read again for ever, and nothing behind it.
#[test]
fn facts_of_any_size_and_time_end_no_database() {
    let folder = tempfile::tempdir().unwrap();
    let mut applier = applier(folder.path());
    for gateway in ["a", "b", "c"] {
        let subject = fact_subject(gateway);
        apply(
            &mut applier,
            FACTS,
            &subject,
            &[facts(1, u64::MAX, u64::MAX)],
        );
        for other in 1..20 {
            let subject = fact_subject(&format!("{gateway}{other}"));
            apply(&mut applier, FACTS, &subject, &[facts(other, 7, u64::MAX)]);
        }
    }
    let query = Query {
        all: true,
        limit: 100,
        ..Query::default()
    };
    let past = past(folder.path());
    let groups = past.groups(&query).unwrap();
    assert_eq!(groups.len(), 19);
    let latest = groups.iter().map(|it| it.last.as_second()).max();
    assert_eq!(latest, Some(TAKEN_S + 1 + AHEAD_S), "it is never too old");
    past.totals(&query).unwrap();
}

#[test]
fn verdicts_are_of_no_future_and_have_a_probability() {
    let folder = tempfile::tempdir().unwrap();
    let mut applier = applier(folder.path());
    let mut verdict = pinning();
    verdict.time = Timestamp::MAX;
    let mut text = serde_json::to_value(GatewayVerdict::new("another", verdict)).unwrap();
    let first = text.to_string();
    text["id"] = "other".into();
    text["confidence"] = 40.into();
    let texts = [first, text.to_string()];
    apply(
        &mut applier,
        VERDICTS,
        &verdict_subject("a", "pinning"),
        &texts,
    );
    let query = Query {
        limit: 100,
        ..Query::default()
    };
    let stored = past(folder.path()).verdicts(&query).unwrap();
    let times = stored.iter().map(|it| it.verdict.time.as_second());
    assert_eq!(times.collect::<Vec<_>>(), [TAKEN_S + 1 + AHEAD_S]);
    assert_eq!(stored[0].gateway.as_deref(), Some("a"), "by the subject");
}

/// One gateway's message must not hide the others from `tlswhy fleet`.
#[test]
fn health_is_shown_whatever_else_it_says_and_whatever_its_clock_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut applier = applier(folder.path());
    let deep = format!(r#","x":{}{}"#, "[".repeat(5_000), "]".repeat(5_000));
    for (gateway, more) in [
        ("deep", deep.as_str()),
        ("number", r#","x":1e999"#),
        ("text", r#","x":"\ud800""#),
    ] {
        let text = health(1, "9000-01-01T00:00:00Z", more);
        let later = health(1, "1980-01-01T00:00:00Z", more);
        apply(
            &mut applier,
            GATEWAYS,
            &gateway_subject(gateway),
            &[text, later],
        );
    }
    for gateway in gateways(folder.path()) {
        assert_eq!(gateway.seen.as_second(), TAKEN_S + 2, "{}", gateway.name);
        let health: Health = serde_json::from_value(gateway.health).unwrap();
        assert_eq!(health.time.to_string(), "1980-01-01T00:00:00Z");
    }
    assert_eq!(gateways(folder.path()).len(), 3);
}

#[test]
fn two_agents_of_one_name_are_in_doubt_and_a_restart_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut applier = applier(folder.path());
    let time = "2027-01-01T00:00:00Z";
    let restarted = [1, 1, 2, 2].map(|instance| health(instance, time, ""));
    apply(
        &mut applier,
        GATEWAYS,
        &gateway_subject("restarted"),
        &restarted,
    );
    let twice = [1, 2, 1, 2].map(|instance| health(instance, time, ""));
    apply(&mut applier, GATEWAYS, &gateway_subject("twice"), &twice);
    let doubts = applier.doubt().unwrap();
    assert_eq!(doubts, [("twice".to_owned(), Doubt::SharedName)]);
    assert_eq!(applier.doubt().unwrap(), [], "once");
    applier.commit().unwrap();
    let shown = gateways(folder.path());
    assert_eq!(shown[1].doubt, Some(Doubt::SharedName));
}

#[test]
fn the_operators_word_is_passed_on_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = applier(folder.path());
    let heard = first.heard.clone();
    let word = |muted: bool| serde_json::to_string(&Mute::new(muted)).unwrap();
    apply(&mut first, MUTES, &mute_subject("a"), &[word(true)]);
    apply(
        &mut first,
        MUTES,
        &mute_subject("b"),
        &[word(true), word(false)],
    );
    assert!(heard.contains("a") && !heard.contains("b"));
    drop(first);
    let again = applier(folder.path()).heard;
    assert!(again.contains("a") && !again.contains("b"));
}
