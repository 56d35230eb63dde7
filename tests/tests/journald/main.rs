//! Verdicts through a real systemd-journald, read back with `journalctl`.
//!
//! Each test runs its own journald in a mount namespace of its own, so that the machine's journal
//! neither sees nor disturbs it. Needs root and the package `systemd`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod private_journal;
mod sinks;

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;

use detector_user::outlet::sink::{DEFAULT_SOCKET, Journald, Sink};
use detector_user::verdict::{Evidence, Verdict};
use private_journal::PrivateJournal;
use serde_json::Value;

const PINNING: &str = concat!(
    r#"{"time":"2026-11-23T08:30:01.123456789Z","tap":"lan0","community_id":"1:LQU9qZlK+B5F3KDmev6m5PMibrg=","#,
    r#""client":{"ip":"10.0.1.2","port":40112},"server":{"ip":"2001:db8::443","port":443},"vlan":[100,7],"#,
    r#""sni":"api.pinned.test","alpn":["h2","http/1.1"],"ja4":"t13d1516h2_8daaf6152771_02713d6af862","tls_version":"1.3","#,
    r#""cause":"pinning","confidence":0.97,"intercepted":"yes","issuer":"CN=Prüfstelle 検査","#,
    r#""ended_by":"client","alert":{"from":"client","level":"fatal","code":46,"description":"certificate_unknown","encrypted":false},"#,
    r#""reset":{"from":"middlebox","injected":true,"tells":["the server went on","ttl 61, the server's were 52"]},"duration_ms":14.2,"pan_os":"policy-deny","#,
    r#""evidence":[{"name":"client-alert","detail":"after the server's Certificate","weight":2.5},{"name":"other-apps","detail":"3 of 3 succeed","weight":1.25}],"#,
    r#""advice":"exclude api.pinned.test from decryption","revises":"an earlier one","#,
    r#""id":"0123456789abcdef","revision":1,"supersedes":"fedcba9876543210"}"#,
);

/// The fields the agent sent, each with its values in a fixed order: the journal keeps none.
fn sent_fields(entry: &Value) -> BTreeMap<String, Vec<String>> {
    let is_ours = |name: &str| {
        name.starts_with("TLSWHY_")
            || ["MESSAGE", "MESSAGE_ID", "PRIORITY", "SYSLOG_IDENTIFIER"].contains(&name)
    };
    let fields = entry
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| is_ours(name));
    fields
        .map(|(name, value)| (name.clone(), values(value)))
        .collect()
}

/// journalctl gives a repeated field as an array, and one that is not printable as an array of
/// bytes.
fn values(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(bytes) if bytes.iter().all(Value::is_u64) => {
            let bytes = bytes
                .iter()
                .map(|b| u8::try_from(b.as_u64().unwrap()).unwrap());
            vec![String::from_utf8(bytes.collect()).unwrap()]
        }
        Value::Array(several) => {
            let mut all: Vec<_> = several.iter().flat_map(values).collect();
            all.sort();
            all
        }
        other => panic!("journalctl never writes {other}"),
    }
}

fn pinning() -> Verdict {
    serde_json::from_str(PINNING).unwrap()
}

#[test]
fn every_field_is_read_back() {
    let journal = PrivateJournal::start();
    Journald::open(DEFAULT_SOCKET)
        .unwrap()
        .write(&pinning())
        .unwrap();
    let [entry] = &journal.entries(1)[..] else {
        unreachable!()
    };
    insta::assert_json_snapshot!(sent_fields(entry));
    // journald's own field: the entry came through it and from this process.
    assert_eq!(entry["_PID"], std::process::id().to_string());
}

#[test]
fn what_is_unknown_is_no_field() {
    let journal = PrivateJournal::start();
    let known = pinning();
    let ends = [known.client, known.server];
    let unknown = Verdict::new(
        known.time,
        &known.tap,
        &known.community_id,
        ends,
        known.cause,
    );
    Journald::open(DEFAULT_SOCKET)
        .unwrap()
        .write(&unknown)
        .unwrap();
    let names: Vec<_> = sent_fields(&journal.entries(1)[0]).into_keys().collect();
    insta::assert_snapshot!(names.join("\n"));
}

#[test]
fn a_hostile_name_forges_no_field() {
    let journal = PrivateJournal::start();
    let name = "two\nlines\nPRIORITY=0\nTLSWHY_CAUSE=established\n\u{1b}[31m";
    let verdict = Verdict {
        sni: Some(name.into()),
        ..pinning()
    };
    Journald::open(DEFAULT_SOCKET)
        .unwrap()
        .write(&verdict)
        .unwrap();
    let fields = sent_fields(&journal.entries(1)[0]);
    assert_eq!(fields["TLSWHY_SNI"], [name]);
    assert_eq!(fields["PRIORITY"], ["4"]);
    assert_eq!(fields["TLSWHY_CAUSE"], ["pinning"]);
    let [message] = &fields["MESSAGE"][..] else {
        panic!("{:?}", fields["MESSAGE"])
    };
    assert!(!message.contains(char::is_control), "{message:?}");
}

#[test]
fn more_than_a_datagram_holds_arrives_whole() {
    let journal = PrivateJournal::start();
    let detail = "ein längerer Grund\n".repeat(400_000);
    let socket = UnixDatagram::unbound().unwrap();
    let refused = socket
        .send_to(detail.as_bytes(), DEFAULT_SOCKET)
        .unwrap_err();
    assert_eq!(
        refused.raw_os_error(),
        Some(libc::EMSGSIZE),
        "the test's size is too small"
    );

    let evidence = Evidence {
        name: "long".into(),
        detail: detail.clone(),
        weight: 1.0,
    };
    let verdict = Verdict {
        evidence: vec![evidence],
        ..pinning()
    };
    let mut sink = Journald::open(DEFAULT_SOCKET).unwrap();
    sink.write(&verdict).unwrap();
    sink.write(&pinning()).unwrap();

    let entries = journal.entries(2);
    let fields = sent_fields(&entries[0]);
    let [evidence] = &fields["TLSWHY_EVIDENCE"][..] else {
        panic!("one evidence was sent")
    };
    let evidence: Evidence = serde_json::from_str(evidence).unwrap();
    assert!(
        evidence.detail == detail,
        "{} bytes came back",
        evidence.detail.len()
    );
    assert_eq!(fields["TLSWHY_CAUSE"], ["pinning"]);
    assert_eq!(sent_fields(&entries[1])["TLSWHY_EVIDENCE"].len(), 2);
}

#[test]
fn a_restarted_journald_gets_the_next_verdict() {
    let mut journal = PrivateJournal::start();
    let mut sink = Journald::open(DEFAULT_SOCKET).unwrap();
    sink.write(&pinning()).unwrap();
    journal.entries(1);
    journal.stop();
    let error = sink.write(&pinning()).unwrap_err();
    assert_eq!(error.kind(), "journald-missing");
    journal.restart();
    sink.write(&pinning()).unwrap();
    journal.entries(2);
}
