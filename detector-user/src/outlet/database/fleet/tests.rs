use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::outlet::database::{Past, Query};
use crate::outlet::exclusions::{Criteria, Patterns, Selection, record_past};
use crate::verdict::Cause;
use crate::verdict::tests::pinning;

/// A message of a gateway.
#[derive(Debug, Clone)]
enum Message {
    Verdict(&'static str, Box<Verdict>),
    Fact(&'static str, Fact),
}

fn verdict(client: u8, port: u16, name: &str, revision: u32) -> Verdict {
    let mut verdict = pinning();
    verdict.client.ip = [10, 0, 1, client].into();
    verdict.client.port = port;
    verdict.sni = Some(name.to_owned());
    verdict.community_id = format!("1:{client}-{port}");
    if revision == 0 {
        verdict.cause = Cause::CertificateRejected;
        // Another group than the verdict that replaces it.
        verdict.intercepted = Intercepted::Unknown;
    }
    verdict.set_revision(revision);
    verdict
}

fn worked(client: u8, name: &str, connections: u64) -> Fact {
    Fact {
        client: [10, 0, 1, client].into(),
        app: "00000000000000aa".to_owned(),
        name: name.to_owned(),
        intercepted: Intercepted::Yes,
        issuer: pinning().issuer,
        outcome: Outcome::Accepted,
        connections,
        last_ns: 1_000 * connections,
    }
}

/// Messages of three gateways: verdicts that replace others, and counts that grow.
fn messages() -> Vec<Message> {
    let mut messages = Vec::new();
    for gateway in ["a", "b", "c"] {
        for port in 1..4 {
            for revision in 0..=u32::from(port % 2) {
                let verdict = verdict(2, port, "api.pinned.example", revision);
                messages.push(Message::Verdict(gateway, Box::new(verdict)));
            }
            messages.push(Message::Fact(
                gateway,
                worked(3, "www.example", port.into()),
            ));
        }
        let other = verdict(4, 9, "other.example", 1);
        messages.push(Message::Verdict(gateway, Box::new(other)));
    }
    messages
}

fn take(writer: &mut FleetWriter, message: &Message) {
    match message {
        Message::Verdict(gateway, verdict) => writer.insert(gateway, verdict).unwrap(),
        Message::Fact(gateway, fact) => writer.record(gateway, fact).unwrap(),
    }
}

fn all() -> Query {
    Query {
        all: true,
        limit: 100,
        ..Query::default()
    }
}

/// Returns all that a database answers.
fn answers(past: &Past) -> String {
    let mut verdicts = past.verdicts(&all()).unwrap();
    // The order of writing is that of no other database.
    verdicts.iter_mut().for_each(|it| it.number = 0);
    let groups = past.groups(&all()).unwrap();
    format!(
        "{verdicts:#?}{groups:#?}{:#?}",
        past.totals(&all()).unwrap()
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn order_and_repetition_do_not_matter(
        order in Just(messages()).prop_shuffle(),
        again in proptest::collection::vec(0_usize..20, 0..10),
        commits in 1_usize..8,
    ) {
        let mut expected = FleetWriter::in_memory().unwrap();
        messages().iter().for_each(|it| take(&mut expected, it));
        expected.commit().unwrap();
        let mut writer = FleetWriter::in_memory().unwrap();
        let repeated = again.iter().filter_map(|place| order.get(*place));
        for (number, message) in order.iter().chain(repeated).enumerate() {
            take(&mut writer, message);
            if number % commits == 0 {
                writer.commit().unwrap();
            }
        }
        writer.commit().unwrap();
        prop_assert_eq!(answers(&Past::of_fleet(writer)), answers(&Past::of_fleet(expected)));
    }
}

#[test]
fn a_gateway_cannot_replace_the_verdict_of_another() {
    let mut writer = FleetWriter::in_memory().unwrap();
    let theirs = verdict(2, 1, "api.pinned.example", 1);
    writer.insert("a", &theirs).unwrap();
    let mut forged = verdict(2, 1, "forged.example", 2);
    forged.id.clone_from(&theirs.id);
    writer.insert("b", &forged).unwrap();
    forged.id = "f".to_owned();
    forged.supersedes = Some(theirs.id.clone());
    writer.insert("b", &forged).unwrap();
    writer.commit().unwrap();
    let past = Past::of_fleet(writer);
    let of_a = Query {
        gateways: vec!["a".to_owned()],
        limit: 10,
        ..Query::default()
    };
    let found = past.verdicts(&of_a).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].verdict, theirs);
    assert_eq!(found[0].gateway.as_deref(), Some("a"));
    assert_eq!(past.verdict(&theirs.id).unwrap().unwrap().verdict, theirs);
}

fn selected(past: &Past) -> Vec<String> {
    let mut selection = Selection::default();
    record_past(past, Cause::Pinning, &mut selection).unwrap();
    let entries = selection.select(&Criteria {
        cause: Cause::Pinning,
        min_confidence: 0.8,
        min_connections: 1,
        min_clients: 2,
        min_gateways: 2,
        always: Patterns::default(),
        never: Patterns::default(),
        proxies: vec![],
        since: None,
        max: 10,
    });
    let entries = entries.entries.iter();
    entries.map(|it| it.host.to_string()).collect()
}

#[test]
fn clients_behind_one_gateway_list_nothing_for_all() {
    let mut writer = FleetWriter::in_memory().unwrap();
    // A compromised client that takes many addresses, and refuses its bank's certificate again and again.
    for client in 2..60 {
        for port in 1..10 {
            let refused = verdict(client, port, "bank.example", 1);
            writer.insert("a", &refused).unwrap();
        }
    }
    // The same client, roaming: behind another gateway, and alone there with its own name.
    for port in 1..10 {
        let refused = verdict(2, 20 + port, "roaming.example", 1);
        writer.insert("a", &refused).unwrap();
        writer.insert("b", &refused).unwrap();
    }
    for (gateway, client) in [("a", 2), ("b", 3)] {
        let refused = verdict(client, 77, "api.pinned.example", 1);
        writer.insert(gateway, &refused).unwrap();
    }
    writer.commit().unwrap();
    assert_eq!(selected(&Past::of_fleet(writer)), ["api.pinned.example"]);
}

#[test]
fn a_muted_gateway_counts_for_nobody_until_it_is_heard_again() {
    let mut writer = FleetWriter::in_memory().unwrap();
    messages().iter().for_each(|it| take(&mut writer, it));
    writer.commit().unwrap();
    let before = |writer: &mut FleetWriter| {
        writer.commit().unwrap();
        let groups = writer.connection.query_row(
            "SELECT group_concat(name || failed || '/' || worked) FROM (SELECT * FROM groups ORDER BY name, failed)",
            [],
            |row| row.get::<_, String>(0),
        );
        groups.unwrap()
    };
    let all = before(&mut writer);
    writer.mute(&["b".to_owned()]).unwrap();
    let without = before(&mut writer);
    assert_ne!(all, without);
    // As if it had never been heard.
    let mut expected = FleetWriter::in_memory().unwrap();
    for message in messages() {
        if !matches!(message, Message::Verdict("b", _) | Message::Fact("b", _)) {
            take(&mut expected, &message);
        }
    }
    assert_eq!(before(&mut expected), without);
    writer.mute(&[]).unwrap();
    assert_eq!(before(&mut writer), all);
}

fn refused(name: &str) -> Fact {
    Fact {
        outcome: Outcome::Refused,
        ..worked(2, name, 1)
    }
}

#[test]
fn a_gateway_that_contradicts_all_others_is_told_once() {
    let mut writer = FleetWriter::in_memory().unwrap();
    for number in 0..6 {
        let name = format!("{number}.example");
        for gateway in ["a", "b", "c"] {
            writer.record(gateway, &worked(9, &name, 3)).unwrap();
        }
        writer.record("liar", &refused(&name)).unwrap();
        // An app that refuses behind one gateway alone, and that others have not seen.
        let name = format!("pinned-{number}.example");
        writer.record("a", &refused(&name)).unwrap();
    }
    let doubted = writer.doubt(&BTreeMap::new()).unwrap();
    let expected = Doubt::Contradicted { refusals: 6, of: 6 };
    assert_eq!(doubted, [("liar".to_owned(), expected.clone())]);
    assert_eq!(writer.doubt(&BTreeMap::new()).unwrap(), []);
    let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1);
    writer
        .record_health("liar", now, r#"{"version":"1"}"#)
        .unwrap();
    writer.commit().unwrap();
    let gateways = Past::of_fleet(writer).gateways().unwrap();
    let liar = gateways.iter().find(|it| it.name == "liar").unwrap();
    assert_eq!((liar.seen, &liar.doubt), (now, &Some(expected)));
}

#[test]
fn the_oldest_rows_go_and_groups_follow() {
    let mut writer = FleetWriter::in_memory().unwrap();
    let old = verdict(2, 1, "old.example", 1);
    let mut new = verdict(2, 2, "new.example", 1);
    new.time += SignedDuration::from_hours(48);
    let now_ns = i64::try_from(new.time.as_nanosecond()).unwrap();
    writer.insert("a", &old).unwrap();
    writer.insert("a", &new).unwrap();
    writer.commit().unwrap();
    let retention = Retention {
        age: Duration::from_secs(86_400),
        bytes: u64::MAX,
    };
    writer.remove_old(retention, now_ns).unwrap();
    let groups = Past::of_fleet(writer).groups(&all()).unwrap();
    let names: Vec<_> = groups.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["new.example"]);
}
