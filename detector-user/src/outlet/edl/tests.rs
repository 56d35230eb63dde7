use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Instant;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::keeper::Keeping;
use super::*;
use crate::outlet::database::{FILE, Writer};
use crate::verdict::Verdict;
use crate::verdict::tests::pinning;

/// A database and what is served of it.
struct Place {
    folder: tempfile::TempDir,
    settings: EdlSettings,
}

impl Place {
    fn new() -> Self {
        let settings = EdlSettings {
            listen: Some(ANY_PORT.parse().unwrap()),
            min_connections: 1,
            min_clients: 1,
            age: Duration::from_secs(365 * 86_400 * 100),
            ..EdlSettings::default()
        };
        Self {
            folder: tempfile::tempdir().unwrap(),
            settings,
        }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    fn insert(&self, names: &[&str]) {
        let (mut writer, _) = Writer::open(&self.database()).unwrap();
        for name in names {
            writer.insert(&verdict(name)).unwrap();
        }
        writer.commit().unwrap();
    }

    fn serve(&self) -> (ServedLists, SocketAddr) {
        let served = ServedLists::start(&self.settings, &self.database(), self.folder.path());
        let served = served.unwrap().unwrap();
        let port = served.port().unwrap();
        (served, port)
    }

    fn keeping(&self) -> Keeping {
        let file = self.folder.path().join("exclusions.json");
        Keeping::new(self.settings.clone(), self.database(), file)
    }
}

fn verdict(name: &str) -> Verdict {
    let mut verdict = pinning();
    verdict.sni = Some(name.to_owned());
    verdict.community_id = format!("1:{name}");
    verdict.set_revision(0);
    verdict
}

/// Sends a request's head and returns everything that comes.
fn ask(port: SocketAddr, head: &str) -> String {
    exchange(TcpStream::connect(port).unwrap(), head)
}

fn exchange(mut stream: impl Read + Write, head: &str) -> String {
    let request = format!("{head}\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A server that ends without close_notify is none of this test.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

/// Asks until a list is there.
fn ask_list(port: SocketAddr, head: &str) -> String {
    let began = Instant::now();
    loop {
        let answer = ask(port, head);
        if !answer.starts_with("HTTP/1.1 503 ") || began.elapsed() > Duration::from_secs(60) {
            return answer;
        }
    }
}

fn body(answer: &str) -> &str {
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn lists_are_served_in_their_formats_with_reasons_beside() {
    let place = Place::new();
    place.insert(&["api.pinned.example", "evil.example\n.com", "<b>.example"]);
    let (_served, port) = place.serve();
    let list = ask_list(port, "GET /edl/pinning HTTP/1.1");
    assert_eq!(body(&list), "api.pinned.example/\n");
    let squid = ask(port, "GET /edl/pinning/squid HTTP/1.1");
    assert!(
        body(&squid).ends_with("client\napi.pinned.example\n"),
        "{squid}"
    );
    // PAN-OS would go on with its last list.
    let empty = ask(port, "GET /edl/client-auth HTTP/1.1");
    assert_eq!(body(&empty), "tlswhy.invalid/\n");
    let sources = ask(port, "GET /edl/sources HTTP/1.1");
    assert_eq!(body(&sources), "192.0.2.0 tlswhy: none\n");
    let why = ask(port, "GET /why HTTP/1.1");
    let reason =
        "\napi.pinned.example: pinning: 1 connection of 1 client, from 2026-11-23T08:30:01Z";
    assert!(body(&why).contains(reason), "{why}");
    assert!(!why.contains("evil") && !why.contains("<b>"), "{why}");
}

#[test]
fn an_unchanged_list_is_not_sent_again() {
    let place = Place::new();
    place.insert(&["api.pinned.example"]);
    let (_served, port) = place.serve();
    let list = ask_list(port, "GET /edl/pinning HTTP/1.1");
    let tag = list
        .lines()
        .find_map(|it| it.strip_prefix("etag: "))
        .unwrap();
    for known in [tag.to_owned(), format!("\"x\", W/{tag}"), "*".to_owned()] {
        let again = ask(
            port,
            &format!("GET /edl/pinning HTTP/1.1\r\nIf-None-Match: {known}"),
        );
        assert!(
            again.starts_with("HTTP/1.1 304 ") && again.ends_with("\r\n\r\n"),
            "{again}"
        );
    }
    let other = ask(port, "GET /edl/pinning HTTP/1.1\r\nIf-None-Match: \"x\"");
    assert_eq!(body(&other), "api.pinned.example/\n");
}

#[test]
fn no_list_is_served_before_there_is_one_and_nothing_else_ever() {
    let place = Place::new();
    let (_served, port) = place.serve();
    let none = ask(port, "GET /edl/pinning HTTP/1.1");
    assert!(
        none.starts_with("HTTP/1.1 503 ") && none.contains("retry-after: 10"),
        "{none}"
    );
    for path in [
        "/",
        "/edl",
        "/edl/",
        "/edl/pinning/",
        "/edl/../why",
        "/why/x",
        "/edl/pinning/html",
        "/%2e",
    ] {
        let answer = ask(port, &format!("GET {path} HTTP/1.1"));
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    let refused = ask(port, "POST /why HTTP/1.1\r\nContent-Length: 0");
    assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
    for nonsense in [
        "nonsense",
        "GET /why HTTP/1.1\r\nX: \u{0}",
        &"x".repeat(1 << 20),
    ] {
        let mut stream = TcpStream::connect(port).unwrap();
        // The server may have hung up before all of it was sent.
        let _ = stream.write_all(format!("{nonsense}\r\n\r\n").as_bytes());
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert!(ask(port, "GET /edl/pinning HTTP/1.1").starts_with("HTTP/1.1 503 "));
}

#[test]
fn a_password_opens() {
    let mut place = Place::new();
    place.insert(&["api.pinned.example"]);
    let file = place.folder.path().join("password");
    fs::write(&file, "open: sesame\n").unwrap();
    place.settings.access.user = Some("firewall".to_owned());
    assert!(ServedLists::start(&place.settings, &place.database(), place.folder.path()).is_err());
    place.settings.access.password_file = Some(file);
    let (_served, port) = place.serve();
    // base64 of firewall:open: sesame, and of firewall:sesame.
    let right = "Authorization: basic ZmlyZXdhbGw6b3Blbjogc2VzYW1l";
    let list = ask_list(port, &format!("GET /edl/pinning HTTP/1.1\r\n{right}"));
    assert_eq!(body(&list), "api.pinned.example/\n");
    for wrong in [
        "X: y",
        "Authorization: Basic ZmlyZXdhbGw6c2VzYW1l",
        "Authorization: Basic",
        "Authorization: Bearer x",
    ] {
        let refused = ask(port, &format!("GET /edl/pinning HTTP/1.1\r\n{wrong}"));
        assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
        assert!(
            refused.contains("www-authenticate: Basic realm"),
            "{refused}"
        );
    }
}

struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

fn authority(folder: &Path, name: &str) -> (Issuer<'static, KeyPair>, PathBuf) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let file = folder.join(name);
    fs::write(&file, certificate.pem()).unwrap();
    (Issuer::new(params, key), file)
}

fn issued(issuer: &Issuer<'_, KeyPair>) -> Identity {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["lists.example".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    Identity { certificate, key }
}

#[test]
fn tls_serves_those_with_a_certificate_of_the_clients_ca() {
    let mut place = Place::new();
    place.insert(&["api.pinned.example"]);
    let folder = place.folder.path().to_owned();
    let (servers, servers_ca) = authority(&folder, "ca.pem");
    let (clients, clients_ca) = authority(&folder, "clients.pem");
    let server = issued(&servers);
    let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
    fs::write(&certificate, server.certificate.pem()).unwrap();
    fs::write(&key, server.key.serialize_pem()).unwrap();
    place.settings.access.certificate = Some(certificate);
    place.settings.access.key = Some(key);
    place.settings.access.client_ca = Some(clients_ca);
    let (_served, port) = place.serve();
    let ask = |identity: Option<Identity>| {
        let mut roots = RootCertStore::empty();
        let pem = fs::read(&servers_ca).unwrap();
        let root = rustls::pki_types::pem::PemObject::from_pem_slice(&pem).unwrap();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some(it) => {
                let key = PrivateKeyDer::try_from(it.key.serialize_der()).unwrap();
                let chain = vec![it.certificate.der().clone()];
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let name = ServerName::try_from("lists.example").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, TcpStream::connect(port).unwrap());
        let mut answer = Vec::new();
        let _ = stream.write_all(b"GET /edl/client-auth HTTP/1.1\r\nHost: x\r\n\r\n");
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    };
    let began = Instant::now();
    let mut answer = ask(Some(issued(&clients)));
    while answer.starts_with("HTTP/1.1 503 ") && began.elapsed() < Duration::from_secs(60) {
        answer = ask(Some(issued(&clients)));
    }
    assert_eq!(body(&answer), "tlswhy.invalid/\n");
    assert_eq!(ask(None), "");
    assert_eq!(ask(Some(issued(&servers))), "");
}

#[test]
fn settings_that_cannot_work_are_told() {
    let mut place = Place::new();
    let told = |settings: &EdlSettings| {
        let folder = place.folder.path();
        let served = ServedLists::start(settings, &place.database(), folder);
        served.unwrap_err().to_string()
    };
    let mut settings = place.settings.clone();
    settings.access.certificate = Some("/nonexistent/server.pem".into());
    assert!(told(&settings).contains("edl.certificate needs key"));
    settings.access.key = Some("/nonexistent/server.key".into());
    assert!(told(&settings).contains("cannot read /nonexistent/"));
    settings = place.settings.clone();
    settings.access.client_ca = Some("/nonexistent/ca.pem".into());
    assert!(told(&settings).contains("edl.client_ca needs certificate and key"));
    place.settings.listen = None;
    let none = ServedLists::start(&place.settings, &place.database(), place.folder.path());
    assert!(none.unwrap().is_none());
}

#[test]
fn a_damaged_or_lost_database_leaves_the_list_as_it_is() {
    let place = Place::new();
    place.insert(&["api.pinned.example", "two.pinned.example"]);
    let shelf = Shelf::default();
    let mut keeping = place.keeping();
    keeping.refresh(&shelf);
    let hosts = || -> Vec<String> {
        let published = shelf.get().unwrap();
        let entries = published.pinning.entries.iter();
        entries.map(|it| it.host.to_string()).collect()
    };
    let both = ["api.pinned.example", "two.pinned.example"];
    assert_eq!(hosts(), both);
    fs::remove_file(place.database()).unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(place.folder.path().join(format!("{FILE}{suffix}")));
    }
    keeping.refresh(&shelf);
    assert_eq!(hosts(), both);
    // A new agent with a new database.
    place.insert(&["third.pinned.example"]);
    let mut keeping = place.keeping();
    keeping.refresh(&shelf);
    assert_eq!(
        hosts(),
        [
            "api.pinned.example",
            "third.pinned.example",
            "two.pinned.example"
        ]
    );
    fs::write(place.database(), b"nonsense".repeat(1000)).unwrap();
    keeping.refresh(&shelf);
    assert_eq!(hosts().len(), 3);
}
