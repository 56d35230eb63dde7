//! Against a receiver of these tests' own, which takes nothing that the specification does not name.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use hyper::StatusCode;
use jiff::Timestamp;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::answer::{Answer, Outcome};
use super::*;
use crate::outlet::sink::fold::Repeats;
use crate::verdict::Cause;
use crate::verdict::tests::{injected_reset, pinning};

/// A request that the receiver read: the headers that are not usual, and the only record.
type Received = (BTreeMap<String, String>, Value);

/// Takes connections and answers each request as it is told, the last answer for ever; an empty one ends
/// the connection.
fn receiver(answers: &'static [&'static str]) -> (u16, Receiver<Received>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (to, received) = channel();
    thread::spawn(move || {
        let mut answers = answers.iter().peekable();
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while let Some(request) = request(&mut reader, port) {
                let answer = if answers.len() > 1 {
                    answers.next()
                } else {
                    answers.peek().copied()
                };
                if to.send(request).is_err() {
                    return;
                }
                match answer.copied().unwrap() {
                    "" => break,
                    answer => (&stream).write_all(answer.as_bytes()).unwrap(),
                }
            }
        }
    });
    (port, received)
}

fn request(reader: &mut impl BufRead, port: u16) -> Option<Received> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        Some(line.strip_suffix("\r\n")?.to_owned())
    };
    assert_eq!(line()?, "POST /v1/logs HTTP/1.1");
    let mut headers = BTreeMap::new();
    loop {
        let line = line()?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ").unwrap();
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut expect = |name: &str, value: &str| {
        assert_eq!(headers.remove(name).as_deref(), Some(value), "{name}");
    };
    expect("host", &format!("localhost:{port}"));
    expect("content-type", "application/json");
    expect("user-agent", concat!("tlswhy/", env!("CARGO_PKG_VERSION")));
    let length = headers.remove("content-length").unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    let request: Value = serde_json::from_slice(&body).unwrap();
    Some((headers, record_of(&request)))
}

/// Returns the one record, after a look at every level's names and types.
fn record_of(request: &Value) -> Value {
    let only = |object: &Value, names: &[&str]| {
        for name in object.as_object().unwrap().keys() {
            assert!(names.contains(&name.as_str()), "{name} in {object}");
        }
    };
    let first = |list: &Value| {
        assert_eq!(list.as_array().unwrap().len(), 1);
        list[0].clone()
    };
    only(request, &["resourceLogs"]);
    let resource = first(&request["resourceLogs"]);
    only(&resource, &["resource", "scopeLogs"]);
    only(&resource["resource"], &["attributes"]);
    assert_eq!(values(&resource["resource"])["service.name"], "tlswhy");
    let scope = first(&resource["scopeLogs"]);
    only(&scope, &["scope", "logRecords"]);
    only(&scope["scope"], &["name", "version"]);
    let record = first(&scope["logRecords"]);
    let names = [
        "timeUnixNano",
        "observedTimeUnixNano",
        "severityNumber",
        "severityText",
        "body",
        "attributes",
        "eventName",
    ];
    only(&record, &names);
    for name in &names[..2] {
        record[name].as_str().unwrap().parse::<u64>().unwrap();
    }
    assert!((1..=24).contains(&record["severityNumber"].as_u64().unwrap()));
    record
}

/// Returns attributes by name, which is there once, with plain values.
fn values(of: &Value) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for attribute in of["attributes"].as_array().unwrap() {
        let key = attribute["key"].as_str().unwrap().to_owned();
        let value = plain(&attribute["value"]);
        assert_eq!(values.insert(key, value), None, "{attribute}");
    }
    values
}

fn plain(any: &Value) -> Value {
    let any = any.as_object().unwrap();
    assert_eq!(any.len(), 1, "{any:?}");
    let (kind, value) = any.iter().next().unwrap();
    match kind.as_str() {
        "stringValue" => value.as_str().unwrap().into(),
        "boolValue" => value.as_bool().unwrap().into(),
        "doubleValue" => value.as_f64().unwrap().into(),
        "intValue" => value.as_str().unwrap().parse::<i64>().unwrap().into(),
        "arrayValue" => value["values"]
            .as_array()
            .unwrap()
            .iter()
            .map(plain)
            .collect(),
        "kvlistValue" => {
            let pairs = value["values"].as_array().unwrap().iter();
            pairs
                .map(|it| (it["key"].as_str().unwrap().to_owned(), plain(&it["value"])))
                .collect()
        }
        other => panic!("{other}"),
    }
}

fn sink(port: u16, settings: &OtlpSettings) -> Otlp {
    let endpoint = format!("http://localhost:{port}/v1/logs").parse().unwrap();
    Otlp::new(&endpoint, settings).unwrap()
}

const ACCEPTED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

#[test]
fn a_verdict_is_a_record_with_the_conventions_names() {
    let (port, received) = receiver(&[ACCEPTED]);
    let mut sink = sink(port, &OtlpSettings::default());
    sink.write(&pinning()).unwrap();
    let (_, record) = received.recv().unwrap();
    assert_eq!(record["timeUnixNano"], "1795422601123456789");
    assert_eq!(
        (&record["severityNumber"], &record["severityText"]),
        (&13.into(), &"Warning".into())
    );
    assert_eq!(record["eventName"], "tlswhy.verdict");
    let attributes = values(&record);
    for (name, expected) in [
        ("client.address", serde_json::json!("10.0.1.2")),
        ("client.port", 40112.into()),
        ("server.address", "api.pinned.test".into()),
        ("server.port", 443.into()),
        ("network.peer.address", "10.0.2.2".into()),
        ("network.transport", "tcp".into()),
        ("network.type", "ipv4".into()),
        ("tls.protocol.version", "1.3".into()),
        ("tls.server.issuer", "CN=Inspection CA".into()),
        ("error.type", "pinning".into()),
        ("tlswhy.cause", "pinning".into()),
        ("tlswhy.confidence", 0.97.into()),
        ("tlswhy.alert.code", 46.into()),
        ("tlswhy.alert.encrypted", false.into()),
        ("tlswhy.alpn", serde_json::json!(["h2", "http/1.1"])),
        ("tlswhy.id", "0123456789abcdef".into()),
    ] {
        assert_eq!(attributes[name], expected, "{name}");
    }
    assert_eq!(attributes["tlswhy.evidence"][0]["name"], "client-alert");
    // Each field of the JSON is there, if only by another name, and none that is unknown.
    sink.write(&injected_reset()).unwrap();
    let attributes = values(&received.recv().unwrap().1);
    assert_eq!(attributes["server.address"], "2001:db8::443");
    assert_eq!(attributes["network.type"], "ipv6");
    assert!(!attributes.contains_key("tlswhy.sni"));
}

/// The mapping of syslog's severities (logs data model, appendix B), and times of the verdict and of its sending.
#[test]
fn severity_and_times_are_as_the_data_model_has_them() {
    let (port, received) = receiver(&[ACCEPTED]);
    let mut sink = sink(port, &OtlpSettings::default());
    let before = Timestamp::now().as_nanosecond();
    for (cause, number, text) in [
        (Cause::Pinning, 13, "Warning"),
        (Cause::UnsupportedParameters, 10, "Notice"),
        (Cause::EchRefused, 9, "Informational"),
    ] {
        let mut verdict = pinning();
        verdict.cause = cause;
        sink.write(&verdict).unwrap();
        let (_, record) = received.recv().unwrap();
        assert_eq!(record["severityNumber"], number, "{cause:?}");
        assert_eq!(record["severityText"], text, "{cause:?}");
        let observed = record["observedTimeUnixNano"].as_str().unwrap();
        assert!(observed.parse::<i128>().unwrap() >= before, "{observed}");
        // The verdict's time is the record's.
        let attributes = values(&record);
        assert!(!attributes.contains_key("") && !attributes.contains_key("tlswhy.time"));
    }
}

#[test]
fn repeats_are_a_record_with_their_count() {
    let (port, received) = receiver(&[ACCEPTED]);
    let mut sink = sink(port, &OtlpSettings::default());
    let repeats = Repeats {
        verdict: pinning(),
        count: 41,
        first: "2026-11-23T08:00:00.5Z".parse().unwrap(),
        superseded: vec!["one".to_owned(), "two".to_owned()],
    };
    sink.write_repeats(&repeats).unwrap();
    let (_, record) = received.recv().unwrap();
    let body = record["body"]["stringValue"].as_str().unwrap();
    assert!(body.contains("41"), "{body}");
    let attributes = values(&record);
    assert_eq!(attributes["tlswhy.repeats"], 41);
    assert_eq!(
        attributes["tlswhy.first_time"],
        "2026-11-23T08:00:00.500000000Z"
    );
    assert_eq!(
        attributes["tlswhy.also_supersedes"],
        serde_json::json!(["one", "two"])
    );
}

/// A record is there when the collector says so, and its connection is kept.
#[test]
fn headers_are_sent_and_an_idle_connection_that_ended_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("headers");
    std::fs::write(
        &path,
        "# of the tenant\nAuthorization: Bearer x:y\n\nX-Scope: a\n",
    )
    .unwrap();
    let settings = OtlpSettings {
        headers_file: Some(path.clone()),
        ..OtlpSettings::default()
    };
    let (port, received) = receiver(&[ACCEPTED, ACCEPTED, "", ACCEPTED]);
    let mut sink = sink(port, &settings);
    for _ in 0..3 {
        sink.write(&pinning()).unwrap();
    }
    let sent: Vec<_> = received.try_iter().collect();
    assert_eq!(sent.len(), 4, "the third was sent twice");
    for (headers, _) in sent {
        assert_eq!(headers["authorization"], "Bearer x:y");
        assert_eq!(headers["x-scope"], "a");
    }
    std::fs::write(&path, "secret\n").unwrap();
    sink.reopen().unwrap();
    let error = sink.write(&pinning()).unwrap_err();
    assert!(error.is_temporary());
    let error = error.to_string();
    assert!(
        error.contains("line 1 is not NAME: VALUE") && !error.contains("secret"),
        "{error}"
    );
}

#[test]
fn a_collector_that_is_away_or_busy_gets_the_verdict_later() {
    let (port, received) = receiver(&[
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 600\r\nContent-Length: 0\r\n\r\n",
        ACCEPTED,
    ]);
    let mut away = sink(port, &OtlpSettings::default());
    assert!(away.write(&pinning()).unwrap_err().is_temporary());
    received.recv().unwrap();
    let error = away.write(&pinning()).unwrap_err().to_string();
    assert!(error.contains("it asked to wait"), "{error}");
    assert!(received.try_recv().is_err(), "nothing is sent before");
    away.not_before = Some(Instant::now());
    away.write(&pinning()).unwrap();
    received.recv().unwrap();
    // A port that is taken and not listened on.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    let mut away = sink(port, &OtlpSettings::default());
    let error = away.write(&pinning()).unwrap_err();
    assert!(
        error.is_temporary() && error.kind() == "unreachable",
        "{error}"
    );
}

#[test]
fn an_answer_is_read_as_the_specification_has_it() {
    let now: Timestamp = "2026-11-23T08:30:00Z".parse().unwrap();
    let outcome = |status: u16, retry_after: Option<&str>, body: &str| {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: retry_after.map(str::to_owned),
            body: Some(body.as_bytes().to_vec()),
        };
        answer.outcome_at(now)
    };
    for body in [
        "",
        "{}",
        r#"{"partialSuccess":{}}"#,
        r#"{"partialSuccess":{"rejectedLogRecords":"0","errorMessage":"look here"}}"#,
        "no JSON",
    ] {
        assert_eq!(outcome(200, None, body), Outcome::Accepted, "{body}");
    }
    for body in [
        r#"{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too\nold"}}"#,
        r#"{"partialSuccess":{"rejectedLogRecords":1,"errorMessage":"too\nold"}}"#,
    ] {
        let Outcome::Rejected(reason) = outcome(200, None, body) else {
            panic!("{body}");
        };
        assert!(reason.ends_with("too\\u{a}old"), "{reason}");
    }
    for status in [400, 401, 404, 413, 500, 501, 301] {
        let outcome = outcome(status, Some("1"), "why");
        assert!(matches!(outcome, Outcome::Rejected(_)), "{status}");
    }
    for status in [429, 502, 503, 504] {
        for (given, seconds) in [
            (None, None),
            (Some("7"), Some(7)),
            (Some("Mon, 23 Nov 2026 08:30:05 GMT"), Some(5)),
            (Some("Mon, 23 Nov 2026 08:00:00 GMT"), Some(0)),
            (Some("99999999"), Some(3600)),
            (Some("soon"), None),
        ] {
            let Outcome::Later(_, wait) = outcome(status, given, "") else {
                panic!("{status}");
            };
            assert_eq!(wait, seconds.map(Duration::from_secs), "{given:?}");
        }
    }
}

#[test]
fn addresses_are_read() {
    let read = |given: &str| given.parse::<OtlpEndpoint>();
    for (given, port) in [
        ("http://127.0.0.1:4318/v1/logs", 4318),
        ("https://otel.example.com/v1/logs", 443),
        ("http://[::1]:4318/a/b?c=d", 4318),
    ] {
        let endpoint = read(given).unwrap();
        assert_eq!(
            (endpoint.port, endpoint.to_string()),
            (port, given.to_owned())
        );
        assert!(!endpoint.host.contains('['));
    }
    for wrong in [
        "otel.example.com:4318",
        "grpc://otel.example.com:4317",
        "http://otel.example.com:4318",
        "http://me:secret@otel.example.com/v1/logs",
        "http://:0/v1/logs",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
