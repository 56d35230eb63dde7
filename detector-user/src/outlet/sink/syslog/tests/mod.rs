mod strict;

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{ServerConnection, StreamOwned};
use socket2::{Domain, Socket, Type};
use strict::{Parsed, parse};

use super::*;
use crate::outlet::client_tls::ClientTlsFiles;
use crate::outlet::http::tls::TlsFiles;
use crate::outlet::sink::{Folds, JsonShape, OtlpSettings, SinkOptions, Sinks, escaped};
use crate::verdict::tests::pinning;
use crate::verdict::{Cause, Evidence};

const PATIENCE: Duration = Duration::from_secs(60);

fn message(verdict: &Verdict, max: usize) -> Parsed {
    let form = Form::new(&SyslogSettings::default(), max);
    let message = form.verdict(verdict).unwrap();
    assert!(message.len() <= max, "{} bytes", message.len());
    parse(&message)
}

fn numbered(number: u16) -> Verdict {
    let mut verdict = pinning();
    verdict.client.port = number;
    verdict.community_id = format!("1:{number}");
    verdict
}

#[test]
fn a_message_has_the_verdicts_fields() {
    let parsed = message(&pinning(), 1_400);
    assert_eq!(parsed.priority, 3 * 8 + 4);
    let header: Vec<&str> = parsed.header.iter().map(String::as_str).collect();
    assert_eq!(header[0], "2026-11-23T08:30:01.123456Z");
    assert_eq!((header[2], header[4]), ("tlswhy", "pinning"));
    assert_eq!(parsed.elements[0].0, "meta");
    assert_eq!(parsed.elements[1].0, "tlswhy@32473");
    for (name, value) in [
        ("sni", "api.pinned.test"),
        ("client_ip", "10.0.1.2"),
        ("alpn", r#"["h2","http/1.1"]"#),
        ("cause", "pinning"),
        ("alert_code", "46"),
        ("id", "0123456789abcdef"),
        (
            "evidence",
            "client-alert: fatal certificate_unknown (46) after the server's Certificate",
        ),
    ] {
        assert_eq!(parsed.values(name), [value], "{name}");
    }
    assert!(parsed.values("truncated").is_empty());
    assert_eq!(
        parsed.text,
        "10.0.1.2:40112 -> api.pinned.test (10.0.2.2:443): pinning (97 %), client sent fatal \
         certificate_unknown (46); advice: exclude api.pinned.test from decryption"
    );
    let mut other = pinning();
    other.cause = Cause::UnsupportedParameters;
    assert_eq!(message(&other, 1_400).priority, 3 * 8 + 5);
}

#[test]
fn hostile_text_stays_text() {
    for hostile in [
        "a\"] [x@1 y=\"z\"]",
        "two\r\nlines\0 <13>1 - - - - - -",
        "\\",
        "\\\\]\"",
        "\u{1b}[31m\u{202e}\u{feff}Prüfstelle",
    ] {
        let mut verdict = pinning();
        verdict.sni = Some(hostile.to_owned());
        verdict.advice = Some(hostile.to_owned());
        verdict.tap = hostile.to_owned();
        let parsed = message(&verdict, 8_192);
        assert_eq!(parsed.elements.len(), 2, "{hostile:?}");
        assert_eq!(parsed.values("sni"), [escaped(hostile).to_string()]);
        assert_eq!(parsed.values("tap"), [escaped(hostile).to_string()]);
    }
}

#[test]
fn a_message_that_would_be_too_long_says_so_and_keeps_the_verdict() {
    let mut verdict = pinning();
    verdict.sni = Some("]\n".repeat(8_000));
    verdict.advice = Some("ü".repeat(5_000));
    let evidence = |number| Evidence {
        name: format!("evidence-{number}"),
        detail: "long ".repeat(60),
        weight: 1.0,
    };
    verdict.evidence = (0..60).map(evidence).collect();
    for max in [1_400, 8_192] {
        let parsed = message(&verdict, max);
        assert_eq!(parsed.values("truncated"), ["true"]);
        assert_eq!(parsed.values("cause"), ["pinning"]);
        assert_eq!(parsed.values("id"), ["0123456789abcdef"]);
        assert!(parsed.values("sni")[0].ends_with('…'));
        assert!(parsed.text.len() >= max / 4, "{}", parsed.text.len());
    }
    let named = |max| -> Vec<String> {
        let parsed = message(&verdict, max);
        let names = parsed.elements[1].1.iter().map(|(name, _)| name.clone());
        names.collect()
    };
    // The connection and its verdict have room first, advice and evidence last.
    let first = named(650);
    for name in ["id", "cause", "confidence", "client_ip", "client_port"] {
        assert!(first.contains(&name.to_owned()), "{name}: {first:?}");
    }
    for name in ["server_ip", "server_port", "community_id"] {
        assert!(first.contains(&name.to_owned()), "{name}: {first:?}");
    }
    let more = named(1_400);
    for name in ["tap", "ja4", "issuer", "pan_os"] {
        assert!(more.contains(&name.to_owned()), "{name}: {more:?}");
    }
    assert!(!more.contains(&"advice".to_owned()), "{more:?}");
    assert!(!more.contains(&"evidence".to_owned()), "{more:?}");
}

proptest::proptest! {
    #[test]
    fn any_text_makes_one_message(text in "(\\PC|[\\x00-\\x1f\\]\"\\\\])*", name in ".{0,700}") {
        let mut verdict = pinning();
        verdict.advice = Some(text.clone());
        verdict.issuer = Some(text);
        verdict.sni = Some(name);
        for max in [1_400, 8_192] {
            assert_eq!(message(&verdict, max).elements.len(), 2);
        }
    }
}

#[test]
fn servers_and_names_are_read() {
    let shown = |given: &str| given.parse::<SyslogServer>().map(|it| it.to_string());
    for (given, expected) in [
        ("udp://192.0.2.5", "udp://192.0.2.5:514"),
        ("tcp://[2001:db8::5]:601", "tcp://[2001:db8::5]:601"),
        ("tls://logs.example.com", "tls://logs.example.com:6514"),
    ] {
        assert_eq!(shown(given).unwrap(), expected);
    }
    for wrong in [
        "logs.example.com",
        "tcp://192.0.2.5",
        "http://192.0.2.5:514",
        "udp://192.0.2.5:514/x",
        "udp://192.0.2.5:0",
        "tls://me@192.0.2.5:514",
        "",
    ] {
        assert!(shown(wrong).is_err(), "{wrong}");
    }
    for (id, expected) in [
        ("tlswhy@32473", true),
        ("a@32473.1.2", true),
        ("tlswhy", false),
        ("@1", false),
        ("a b@1", false),
        ("a\"@1", false),
        ("a@x", false),
        ("a-name-that-is-longer-than-allowed@1", false),
    ] {
        assert_eq!(is_sd_id(id), expected, "{id}");
    }
}

fn settings(scheme: &str, port: u16) -> SyslogSettings {
    SyslogSettings {
        server: Some(format!("{scheme}://localhost:{port}").parse().unwrap()),
        ..SyslogSettings::default()
    }
}

fn sink(settings: &SyslogSettings) -> Syslog {
    Syslog::new(settings.server.as_ref().unwrap(), settings)
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn accepted(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads a message with its length before it; `None` at the end.
fn framed(from: &mut impl BufRead) -> Option<Parsed> {
    let mut length = Vec::new();
    from.read_until(b' ', &mut length).unwrap();
    if length.is_empty() {
        return None;
    }
    let length = str::from_utf8(&length).unwrap().strip_suffix(' ').unwrap();
    assert!(length.starts_with(|first| ('1'..='9').contains(&first)));
    let mut message = vec![0; length.parse().unwrap()];
    from.read_exact(&mut message).unwrap();
    Some(parse(str::from_utf8(&message).unwrap()))
}

fn port_of(parsed: &Parsed) -> u16 {
    parsed.values("client_port")[0].parse().unwrap()
}

/// Writes as the queue does: again, until the sink takes it.
fn write(sink: &mut Syslog, verdict: &Verdict) {
    let end = Instant::now() + PATIENCE;
    while let Err(error) = sink.write(verdict) {
        assert!(error.is_temporary() && Instant::now() < end, "{error}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_datagram_is_a_message_and_a_port_nobody_listens_on_is_noticed() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = server.local_addr().unwrap().port();
    let mut settings = settings("udp", port);
    settings.server = format!("udp://127.0.0.1:{port}").parse().ok();
    let mut sink = sink(&settings);
    let mut bytes = [0; 2_000];
    for number in 1..=2 {
        sink.write(&numbered(number)).unwrap();
        let length = server.recv(&mut bytes).unwrap();
        let parsed = parse(str::from_utf8(&bytes[..length]).unwrap());
        assert_eq!(port_of(&parsed), number);
        let sequence = [("sequenceId".to_owned(), number.to_string())];
        assert_eq!(parsed.elements[0].1, sequence);
    }
    drop(server);
    let end = Instant::now() + PATIENCE;
    let error = loop {
        match sink.write(&numbered(3)) {
            Err(error) => break error,
            Ok(()) => assert!(Instant::now() < end),
        }
    };
    assert!(error.is_temporary(), "{error}");
}

#[test]
fn a_connection_that_its_server_ended_is_noticed_before_a_verdict_is_lost() {
    let (listener, port) = listener();
    let mut sink = sink(&settings("tcp", port));
    listener.set_nonblocking(true).unwrap();
    for number in 1..=5 {
        write(&mut sink, &numbered(number));
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                // On a busy machine it may notice later.
                Err(_) => drop(sink.tick()),
            }
        };
        stream.set_nonblocking(false).unwrap();
        let mut stream = BufReader::new(stream);
        assert_eq!(port_of(&framed(&mut stream).unwrap()), number);
    }
}

/// Writes long messages until the server's machine takes no more. Returns the number of the one that
/// was refused.
fn fill(sink: &mut Syslog, verdict: &mut Verdict) -> u16 {
    verdict.advice = Some("x".repeat(3_000));
    for number in 1.. {
        verdict.client.port = number;
        if let Err(error) = sink.write(verdict) {
            assert!(error.is_temporary(), "{error}");
            assert_eq!(error.kind(), "unreachable");
            break;
        }
    }
    assert!(sink.unreported() > 0);
    verdict.client.port
}

#[test]
fn a_server_that_stops_reading_delays_nothing_and_loses_nothing() {
    let (listener, port) = listener();
    let mut sink = sink(&settings("tcp", port));
    let mut verdict = pinning();
    let last = fill(&mut sink, &mut verdict);
    let reader = std::thread::spawn(move || {
        let mut stream = BufReader::new(accepted(&listener));
        for number in 1..=last {
            assert_eq!(port_of(&framed(&mut stream).unwrap()), number);
        }
        assert!(framed(&mut stream).is_none());
    });
    write(&mut sink, &verdict);
    sink.flush().unwrap();
    assert_eq!(sink.unreported(), 0);
    reader.join().unwrap();
}

/// Nobody has read those that its machine acknowledged: no protocol of syslog tells.
#[test]
fn messages_that_a_broken_connection_did_not_carry_are_sent_again_in_order() {
    let (listener, port) = listener();
    let mut sink = sink(&settings("tcp", port));
    let mut verdict = pinning();
    let last = fill(&mut sink, &mut verdict);
    let again = sink.unreported();
    // As many as the socket's buffer takes, which the server's machine has not acknowledged.
    assert!(again > 20, "{again}");
    // With bytes that were not read, the end is a reset.
    drop(accepted(&listener));
    let reader = std::thread::spawn(move || {
        let mut stream = BufReader::new(accepted(&listener));
        let mut ports = Vec::new();
        while let Some(parsed) = framed(&mut stream) {
            ports.push(port_of(&parsed));
        }
        ports
    });
    write(&mut sink, &verdict);
    sink.flush().unwrap();
    let ports = reader.join().unwrap();
    assert!(
        ports.len() > 1 && ports.len() as u64 <= again + 1,
        "{again}: {ports:?}"
    );
    assert_eq!(ports, (ports[0]..=last).collect::<Vec<u16>>());
}

/// Files of a CA and of a certificate for localhost.
fn certificates(folder: &Path, name: &str) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let write = |kind: &str, pem: String| {
        std::fs::write(folder.join(format!("{name}-{kind}.pem")), pem).unwrap();
    };
    write("ca", certificate.pem());
    write("certificate", leaf.pem());
    write("key", key.serialize_pem());
}

#[test]
fn over_tls_both_sides_are_checked_before_a_verdict_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["server", "client", "other"] {
        certificates(folder.path(), name);
    }
    let file = |name: &str| folder.path().join(format!("{name}.pem"));
    let server = TlsFiles {
        certificate: file("server-certificate"),
        key: file("server-key"),
        client_ca: Some(file("client-ca")),
    };
    let config = Arc::clone(server.acceptor().unwrap().config());
    let (listener, port) = listener();
    let reader = std::thread::spawn(move || {
        let mut ports = Vec::new();
        while ports.len() < 3 {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, accepted(&listener));
            let refused = stream.conn.complete_io(&mut stream.sock).is_err();
            let mut stream = BufReader::new(stream);
            while !refused && let Some(parsed) = framed(&mut stream) {
                ports.push(port_of(&parsed));
            }
        }
        ports
    });
    let own = |ca: &str, own: Option<&str>| ClientTlsFiles {
        ca: Some(file(&format!("{ca}-ca"))),
        certificate: own.map(|name| file(&format!("{name}-certificate"))),
        key: own.map(|name| file(&format!("{name}-key"))),
    };
    for (tls, reason) in [
        (own("other", Some("client")), "UnknownIssuer"),
        (own("server", None), "CertificateRequired"),
        (own("server", Some("other")), ""),
    ] {
        let settings = SyslogSettings {
            tls,
            ..settings("tls", port)
        };
        let error = sink(&settings).write(&numbered(9)).unwrap_err();
        assert!(error.is_temporary(), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    let settings = SyslogSettings {
        tls: own("server", Some("client")),
        ..settings("tls", port)
    };
    let mut sink = sink(&settings);
    for number in 1..=3 {
        write(&mut sink, &numbered(number));
    }
    sink.flush().unwrap();
    assert_eq!(reader.join().unwrap(), [1, 2, 3]);
}

#[test]
fn verdicts_wait_on_disk_for_a_server_that_is_away() {
    let folder = tempfile::tempdir().unwrap();
    // A port that nobody else takes meanwhile.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    let options = SinkOptions {
        outputs: Vec::new(),
        json_file: None,
        json_shape: JsonShape::Json,
        syslog: settings("tcp", port),
        otlp: OtlpSettings::default(),
        waits_for_file: false,
        queue: 16,
        fold: Duration::ZERO,
        folds: Folds::default(),
        state_directory: Some(folder.path().to_owned()),
        spill_max: 1 << 20,
        runtime_directory: None,
        journal_socket: "/nonexistent".into(),
        database: None,
    };
    let (mut sinks, _) = Sinks::start(&options, Vec::new()).unwrap();
    for number in 1..=100 {
        while sinks.status()[0].queued > 8 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = sinks.write(&numbered(number));
    }
    socket.listen(8).unwrap();
    let listener = TcpListener::from(socket);
    let mut stream = BufReader::new(accepted(&listener));
    for number in 1..=100 {
        assert_eq!(port_of(&framed(&mut stream).unwrap()), number);
    }
    let _ = sinks.close(Duration::from_secs(5));
    let status = &sinks.status()[0];
    assert_eq!((status.output, status.written), ("syslog", 100));
    assert!(status.lost.values().all(|lost| *lost == 0), "{status:?}");
}
