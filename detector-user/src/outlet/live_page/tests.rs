use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::maker::Making;
use super::*;
use crate::outlet::database::{FILE, Writer};
use crate::outlet::status::{LastVerdict, Report};
use crate::verdict::Verdict;
use crate::verdict::tests::pinning;

const HOSTILE: &str = "<script>alert(1)</script>\u{202e}\r\n\r\nevent: page\r\ndata: x";
/// Nothing measures it.
const PATIENCE: Duration = Duration::from_secs(120);

fn verdict(name: &str) -> Verdict {
    let mut verdict = pinning();
    verdict.sni = Some(name.to_owned());
    verdict.community_id = format!("1:{name}");
    verdict.set_revision(0);
    verdict
}

fn insert(database: &Path, name: &str) {
    let (mut writer, _) = Writer::open(database).unwrap();
    writer.insert(&verdict(name)).unwrap();
    writer.commit().unwrap();
}

fn settings() -> PageSettings {
    PageSettings {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        age: Duration::MAX,
        ..PageSettings::default()
    }
}

fn connected(port: SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(port).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(format!("{head}\r\n\r\n").as_bytes())
        .unwrap();
    stream
}

fn ask(port: SocketAddr, path: &str, host: &str) -> String {
    let mut answer = String::new();
    connected(port, &format!("GET {path} HTTP/1.1\r\nHost: {host}"))
        .read_to_string(&mut answer)
        .unwrap();
    answer
}

/// Asks until the page is there.
fn page(port: SocketAddr) -> String {
    let began = Instant::now();
    loop {
        let answer = ask(port, "/", &port.to_string());
        if !answer.starts_with("HTTP/1.1 503 ") || began.elapsed() > PATIENCE {
            return answer;
        }
    }
}

#[test]
fn the_page_shows_database_and_status_and_nothing_hostile() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join(FILE);
    insert(&database, HOSTILE);
    let latest = Latest::default();
    latest.put(Report {
        last_verdicts: vec![LastVerdict::from(&verdict(HOSTILE))],
        ..Report::default()
    });
    let served = LivePage::start(&settings(), &database, latest).unwrap();
    let served = served.unwrap();
    let page = page(served.port().unwrap());
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    assert!(page.contains("script-src 'self'"), "{page}");
    // In the report and in the status.
    assert!(page.matches("&lt;script&gt;alert(1)").count() > 1, "{page}");
    assert_eq!(page.matches("<script").count(), 1, "{page}");
    assert!(!page.contains('\u{202e}'), "{page}");
}

#[test]
fn events_say_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join(FILE);
    let latest = Latest::default();
    latest.put(Report {
        last_verdicts: vec![LastVerdict::from(&verdict(HOSTILE))],
        ..Report::default()
    });
    let served = LivePage::start(&settings(), &database, latest.clone()).unwrap();
    let served = served.unwrap();
    let port = served.port().unwrap();
    let stream = connected(port, "GET /events HTTP/1.1\r\nHost: localhost");
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let mut next = |prefix: &str, wanted: &str| {
        lines
            .find(|line| line.starts_with(prefix) && line.contains(wanted))
            .unwrap()
    };
    next("data: ", "&lt;script&gt;");
    next("event: ", "page");
    let before = next("data: ", "");
    latest.put(Report {
        flows: 1,
        time: "2026-11-28T10:00:00Z".parse().unwrap(),
        ..Report::default()
    });
    next("data: ", "2026-11-28T10:00:00Z");
    insert(&database, "api.pinned.example");
    next("event: ", "page");
    assert_ne!(next("data: ", ""), before);
    let content = ask(port, "/content", "127.0.0.1");
    assert!(content.contains("api.pinned.example"), "{content}");
}

#[test]
fn strangers_do_not_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join(FILE);
    let start = |settings: &PageSettings| LivePage::start(settings, &database, Latest::default());
    let mut open = settings();
    open.listen = Some("0.0.0.0:0".parse().unwrap());
    let error = start(&open).unwrap_err().to_string();
    assert!(error.contains("page.user"), "{error}");
    let served = start(&settings()).unwrap().unwrap();
    let port = served.port().unwrap();
    page(port);
    // A name that a stranger's site makes resolve to loopback.
    for host in [
        "evil.example",
        "evil.example:80",
        "",
        "127.0.0.1.evil.example",
        "evil-localhost",
        "localhost.evil.example",
    ] {
        let answer = ask(port, "/", host);
        assert!(!answer.contains("<html"), "{host}: {answer}");
    }
    let mut answer = String::new();
    connected(port, "GET / HTTP/1.0")
        .read_to_string(&mut answer)
        .unwrap();
    assert!(answer.starts_with("HTTP/1.0 421 "), "{answer}");
    for host in ["localhost", "LOCALHOST:9747", "[::1]:9747", "127.0.0.1"] {
        let answer = ask(port, "/", host);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
    }
    let missing = ask(port, "/verdicts.db", "localhost");
    assert!(missing.starts_with("HTTP/1.1 404 "), "{missing}");
    // A password makes names safe: a stranger's site has none.
    let password = folder.path().join("password");
    std::fs::write(&password, "sesame").unwrap();
    let mut closed = settings();
    closed.access.user = Some("operator".to_owned());
    closed.access.password_file = Some(password);
    let served = start(&closed).unwrap().unwrap();
    let port = served.port().unwrap();
    let answer = ask(port, "/events", "gateway.example");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    // `operator:sesame`, of one scheme alone.
    for (scheme, status) in [("basic", "404"), ("Bearer", "401"), ("", "401")] {
        let host = format!("gateway.example\r\nAuthorization: {scheme} b3BlcmF0b3I6c2VzYW1l");
        let answer = ask(port, "/none", &host);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{scheme}: {answer}"
        );
    }
    std::fs::write(folder.path().join("password"), "\n").unwrap();
    let error = start(&closed).unwrap_err().to_string();
    assert!(error.ends_with("is empty"), "{error}");
}

#[test]
fn it_is_read_alone_and_by_no_other_site() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join(FILE);
    let served = LivePage::start(&settings(), &database, Latest::default()).unwrap();
    let served = served.unwrap();
    let port = served.port().unwrap();
    let page = page(port).to_ascii_lowercase();
    for header in [
        "cache-control: no-store",
        "x-frame-options: deny",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "frame-ancestors 'none'",
    ] {
        assert!(page.contains(header), "{header}: {page}");
    }
    let answered = |method: &str, path: &str| {
        let mut answer = String::new();
        connected(
            port,
            &format!("{method} {path} HTTP/1.1\r\nHost: localhost"),
        )
        .read_to_string(&mut answer)
        .unwrap();
        answer
    };
    let posted = answered("POST", "/");
    assert!(posted.starts_with("HTTP/1.1 405 "), "{posted}");
    // Nobody reads the events of a HEAD: no stream is kept for it.
    let asked = answered("HEAD", "/events");
    assert!(asked.starts_with("HTTP/1.1 200 "), "{asked}");
    assert!(asked.ends_with("\r\n\r\n"), "{asked}");
}

#[test]
fn it_is_made_when_somebody_looks_and_something_changed() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join(FILE);
    let shelf = Shelf::default();
    let mut making = Making::new(Duration::MAX, database.clone());
    making.turn(&shelf);
    insert(&database, "api.pinned.example");
    making.turn(&shelf);
    // The first look finds what was made before it.
    assert!(
        !shelf
            .visit()
            .unwrap()
            .content
            .contains("api.pinned.example")
    );
    making.turn(&shelf);
    let made = shelf.visit().unwrap();
    assert!(made.content.contains("api.pinned.example"));
    making.turn(&shelf);
    assert!(Arc::ptr_eq(&made, &shelf.visit().unwrap()));
    // A damaged database leaves the page as it is.
    std::fs::write(&database, "no database").unwrap();
    making.turn(&shelf);
    assert_eq!(made.version, shelf.visit().unwrap().version);
}
