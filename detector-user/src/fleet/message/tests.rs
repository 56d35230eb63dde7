use std::net::IpAddr;

use super::*;
use crate::cause::client_identity::ClientIdentity;
use crate::cause::history::Answer;
use crate::flow::tls::app::App;
use crate::verdict::tests::pinning;

fn fact(number: u64) -> SharedFact {
    SharedFact {
        key: FactKey {
            client: IpAddr::from([10, 0, 0, 1]),
            app: AppId(App::of_number(u64::MAX - number)),
            name: "api.pinned.test".into(),
            issuer: Some("CN=Inspection CA".into()),
            intercepted: true,
            outcome: Answer::Refused,
        },
        seen: Seen {
            last_s: 1_800_000_000,
            count: 3,
            sure: 0.97,
        },
    }
}

fn batch(facts: usize) -> FactBatch {
    let facts = (0..facts as u64).map(fact).collect();
    FactBatch::new("clear".to_owned(), facts)
}

/// Written forms are a contract with other versions.
#[test]
fn a_batch_is_read_as_it_was_written() {
    let written = write(&batch(1)).unwrap();
    let expected = r#"{"version":1,"clients":"clear","facts":[{"client":"10.0.0.1","app":"ffffffffffffffff","name":"api.pinned.test","issuer":"CN=Inspection CA","intercepted":true,"outcome":"refused","last_s":1800000000,"count":3,"sure":0.97}]}"#;
    assert_eq!(String::from_utf8(written.clone()).unwrap(), expected);
    assert_eq!(FactBatch::read(&written, "clear"), Ok(batch(1)));
}

#[test]
fn other_versions_and_other_things_are_skipped_each_by_its_reason() {
    let mut newer = batch(1);
    newer.version = VERSION + 1;
    let mut unsure = batch(1);
    unsure.facts[0].seen.sure = 2.0;
    let mut long = batch(1);
    long.facts[0].key.name = "x".repeat(600);
    let read = |batch: &FactBatch| FactBatch::read(&write(batch).unwrap(), "clear").err();
    assert_eq!(read(&newer), Some(Skipped::Version));
    assert_eq!(read(&unsure), Some(Skipped::Malformed));
    assert_eq!(read(&long), Some(Skipped::Malformed));
    assert_eq!(read(&batch(1_025)), Some(Skipped::TooMany));
    let hashed = FactBatch::read(&write(&batch(1)).unwrap(), "hashed:01020304");
    assert_eq!(hashed, Err(Skipped::Clients));
    // A later version may have any other content.
    let later = br#"{"version":7,"facts":{"columns":[]}}"#;
    assert_eq!(FactBatch::read(later, "clear"), Err(Skipped::Version));
    for wrong in [
        "",
        "[]",
        "{}",
        "{\"version\":1}",
        "{\"version\":\"1\"}",
        "\u{0}",
    ] {
        assert_eq!(
            FactBatch::read(wrong.as_bytes(), "clear"),
            Err(Skipped::Malformed)
        );
    }
}

#[test]
fn a_snapshot_is_read_back_in_parts() {
    let facts = batch(2_500).facts;
    let snapshot = parts("clear", 42, false, &facts);
    assert_eq!(snapshot.len(), 3);
    let mut again = Vec::new();
    for part in &snapshot {
        let stored = part.compressed().unwrap();
        assert!(stored.len() < 256 << 10);
        let read = SnapshotPart::read(&stored, "clear").unwrap();
        assert_eq!((read.parts, read.sequence), (3, 42));
        again.extend(read.batch.facts);
    }
    assert_eq!(again, facts);
    assert_eq!(parts("clear", 1, true, &[]).len(), 1);
    assert_eq!(
        SnapshotPart::read(b"no zstd", "clear"),
        Err(Skipped::Malformed)
    );
}

#[test]
fn a_verdict_is_read_back_with_its_gateway_and_tells_no_hashed_client() {
    let shared = GatewayVerdict::new("gw-a", pinning());
    let written = write(&shared).unwrap();
    assert_eq!(read(&written), Ok(shared));
    let identity = ClientIdentity::hashed(b"key");
    let mut told = pinning();
    told.evidence[0].detail = format!("{} refused", told.client.ip);
    let hidden = with_clients(&told, &identity);
    assert!(hidden.community_id.is_empty() && hidden.revises.is_none());
    let text = serde_json::to_string(&hidden).unwrap();
    assert!(!text.contains(&told.client.ip.to_string()), "{text}");
    assert_eq!(with_clients(&told, &ClientIdentity::Clear), told);
}

#[test]
fn subjects_name_their_gateway_and_identifiers_their_content() {
    assert_eq!(gateway_of(&fact_subject("gw-a")), Some("gw-a"));
    assert_eq!(
        gateway_of(&verdict_subject("gw-a", "pinning")),
        Some("gw-a")
    );
    assert_eq!(gateway_of(&gateway_subject("gw-a")), Some("gw-a"));
    assert_eq!(gateway_of("tlswhy.other.gw-a"), None);
    assert_eq!(gateway_of("tlswhy.fact"), None);
    assert_eq!(gateway_of("tlswhy.fact.*"), None);
    let id = message_id("a", b"bc");
    assert_eq!(id, message_id("a", b"bc"));
    assert_ne!(id, message_id("ab", b"c"));
    assert_eq!(id.len(), 32);
}

#[test]
fn health_is_read_within_limits() {
    let health = Health::new(
        jiff::Timestamp::UNIX_EPOCH,
        u64::MAX,
        "hashed:01020304".to_owned(),
    );
    let read = |change: fn(&mut Health)| {
        let mut health = health.clone();
        change(&mut health);
        Health::read(&write(&health).unwrap()).err()
    };
    assert_eq!(read(|_| {}), None);
    assert_eq!(read(|it| it.version += 1), Some(Skipped::Version));
    let taps = |it: &mut Health| it.taps = vec!["eth0".to_owned(); 2_000];
    assert_eq!(read(taps), Some(Skipped::TooMany));
    let long = |it: &mut Health| it.agent = "1".repeat(1 << 20);
    assert_eq!(read(long), Some(Skipped::Malformed));
    let coloured = |it: &mut Health| it.taps = vec!["\u{1b}[31m".to_owned()];
    assert_eq!(read(coloured), Some(Skipped::Malformed));
}
