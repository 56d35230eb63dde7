use std::collections::HashSet;

use super::*;
use crate::verdict::tests::{injected_reset, pinning};
use crate::verdict::{ServerLeg, Tunnel};

fn received(socket: &UnixDatagram) -> String {
    let mut datagram = vec![0; 64 << 10];
    let length = socket.recv(&mut datagram).unwrap();
    datagram.truncate(length);
    String::from_utf8(datagram).unwrap()
}

fn redacted(entry: &str) -> String {
    entry
        .lines()
        .filter(|line| !line.starts_with("MESSAGE_ID="))
        .fold(String::new(), |all, line| all + line + "\n")
}

#[test]
fn every_field_of_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let journal = UnixDatagram::bind(dir.path().join("socket")).unwrap();
    let mut sink = Journald::open(dir.path().join("socket")).unwrap();
    sink.write(&pinning()).unwrap();
    insta::assert_snapshot!("pinning", redacted(&received(&journal)));
    sink.write(&injected_reset()).unwrap();
    insta::assert_snapshot!("injected_reset", redacted(&received(&journal)));
}

#[test]
fn no_field_of_the_json_is_missing() {
    let mut verdict = injected_reset();
    verdict.alert = pinning().alert;
    verdict.evidence = pinning().evidence;
    for field in [&mut verdict.sni, &mut verdict.ja4, &mut verdict.tls_version] {
        *field = Some("x".into());
    }
    for field in [
        &mut verdict.issuer,
        &mut verdict.advice,
        &mut verdict.revises,
        &mut verdict.supersedes,
    ] {
        *field = Some("x".into());
    }
    verdict.alpn = Some(vec![]);
    verdict.server_leg = Some(ServerLeg {
        tap: "wan0".into(),
        community_id: "x".into(),
        client: verdict.client,
        server: verdict.server,
        tls_version: Some("1.3".into()),
        issuer: Some("x".into()),
    });
    verdict.tunnel = Some(Tunnel {
        kind: "gre".into(),
        id: Some(7),
    });
    let dir = tempfile::tempdir().unwrap();
    let journal = UnixDatagram::bind(dir.path().join("socket")).unwrap();
    Journald::open(dir.path().join("socket"))
        .unwrap()
        .write(&verdict)
        .unwrap();
    let entry = received(&journal);
    let names: HashSet<_> = entry
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();

    let json = serde_json::to_value(&verdict).unwrap();
    for (name, value) in json.as_object().unwrap() {
        let name = format!("TLSWHY_{}", name.to_uppercase());
        match value.as_object() {
            Some(nested) => nested.keys().for_each(|inner| {
                let name = format!("{name}_{}", inner.to_uppercase());
                assert!(names.contains(name.as_str()), "{name}");
            }),
            None => assert!(names.contains(name.as_str()), "{name}"),
        }
    }
}

#[test]
fn a_journald_that_is_not_there_is_reported_in_one_line() {
    let error = Journald::open("/nonexistent/socket").err().unwrap();
    assert_eq!(
        error.to_string(),
        "cannot reach journald at /nonexistent/socket; start systemd-journald or use --output text"
    );
}

#[test]
fn a_journald_that_goes_away_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let journal = UnixDatagram::bind(&path).unwrap();
    let mut sink = Journald::open(&path).unwrap();
    drop(journal);
    assert_eq!(
        sink.write(&pinning()).unwrap_err().kind(),
        "journald-missing"
    );
    std::fs::remove_file(&path).unwrap();
    assert_eq!(
        sink.write(&pinning()).unwrap_err().kind(),
        "journald-missing"
    );
    let journal = UnixDatagram::bind(&path).unwrap();
    sink.write(&pinning()).unwrap();
    assert!(received(&journal).contains("TLSWHY_CAUSE=pinning"));
}

#[test]
fn a_journald_that_is_stuck_is_not_waited_for_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let journal = UnixDatagram::bind(&path).unwrap();
    let mut sink = Journald::open(&path).unwrap();
    let mut taken = 0;
    let error = loop {
        match sink.write(&pinning()) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 1 << 20, "a queue that nobody reads never fills");
    };
    assert_eq!(error.kind(), "journald-busy");
    for _ in 0..taken {
        received(&journal);
    }
    sink.write(&pinning()).unwrap();
    assert!(!sink.stuck);
}
