//! Every client of the corpus serves its purpose, against a real server on loopback.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lab::clients::{Client, Pin, Request, Trust, Version, all};
use lab::host::certificate::{Authority, pin};
use lab::host::{Namespace, Process, output, run};
use nix::sys::signal::Signal;

const HOST: &str = "app.tlswhy.example";
/// Servers by port: TLS 1.2 only, TLS 1.3 only, one that wants a client certificate, and one that
/// tells its handshake messages.
const TLS12: u16 = 4412;
const TLS13: u16 = 4413;
const CLIENT_CERTIFICATE: u16 = 4414;
const TELLS_MESSAGES: u16 = 4415;
/// A server that answers every request with an error, and a port on which nothing listens.
const REFUSES: u16 = 4416;
const CLOSED: u16 = 4417;
const PATIENCE: Duration = Duration::from_secs(10);

/// A namespace in which HOST is loopback, with the servers in it.
struct Lab {
    namespace: Namespace,
    servers: Vec<Process>,
    names: PathBuf,
    folder: tempfile::TempDir,
    authority: Authority,
    good: Pin,
    wrong: Pin,
    client: (PathBuf, PathBuf),
    server: (PathBuf, PathBuf),
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.servers.clear();
        std::fs::remove_dir_all(&self.names).unwrap();
    }
}

impl Lab {
    fn new() -> Self {
        let namespace = Namespace::new("tlswhy-clients").unwrap();
        // `ip netns exec` lays these over those in /etc.
        let names = Path::new("/etc/netns").join(namespace.name());
        std::fs::create_dir_all(&names).unwrap();
        std::fs::write(
            names.join("hosts"),
            format!("127.0.0.1 localhost\n127.0.0.1 {HOST}\n"),
        )
        .unwrap();
        std::fs::write(names.join("resolv.conf"), "").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path(), "ca", "Lab CA").unwrap();
        let server = authority.issue("server", &[HOST]).unwrap();
        let (other, _) = authority.issue("other", &[HOST]).unwrap();
        let client = authority.issue("client", &["client.example"]).unwrap();
        let mut lab = Self {
            namespace,
            servers: Vec::new(),
            names,
            authority,
            good: pin_of(&server.0),
            wrong: pin_of(&other),
            client,
            server,
            folder,
        };
        // With -HTTP a file is the whole answer.
        std::fs::write(
            lab.folder.path().join("index.html"),
            "HTTP/1.0 502 Bad Gateway\r\nContent-Type: text/plain\r\n\r\nno origin\n",
        )
        .unwrap();
        lab.servers = vec![
            lab.serve(REFUSES, &["-HTTP"]),
            lab.serve(TLS12, &["-www", "-tls1_2"]),
            lab.serve(TLS13, &["-www", "-tls1_3"]),
            lab.serve(
                CLIENT_CERTIFICATE,
                &["-www", "-Verify", "1", "-verify_return_error"],
            ),
        ];
        lab
    }

    fn serve(&self, port: u16, options: &[&str]) -> Process {
        let mut command = self.namespace.command("openssl");
        command.args(["s_server", "-accept", &port.to_string()]);
        command.args(options);
        command.current_dir(self.folder.path());
        command
            .arg("-cert")
            .arg(&self.server.0)
            .arg("-key")
            .arg(&self.server.1)
            .arg("-CAfile")
            .arg(self.authority.certificate());
        let server = Process::start(&mut command).unwrap();
        self.namespace.wait_until_listening(port).unwrap();
        server
    }

    fn request(&self, port: u16) -> Request {
        Request {
            host: HOST.to_owned(),
            port,
            path: "/index.html".to_owned(),
            trust: Trust::Only(self.authority.certificate()),
            pin: Pin::None,
            version: Version::Any,
            client_certificate: None,
            times: 1,
        }
    }

    /// Runs a client; Err is the reason that it gave.
    fn ask(&self, client: &dyn Client, request: &Request) -> Result<(), String> {
        let command = client.command(request);
        let mut inside = self.namespace.command(command.get_program());
        let output = output(inside.args(command.get_args())).unwrap();
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        assert_eq!(
            said.lines().count(),
            1,
            "{} gives one line of reason: {said}",
            client.name()
        );
        Err(said)
    }
}

fn pin_of(certificate: &Path) -> Pin {
    let fingerprint = run(Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(certificate))
    .unwrap();
    let (_, hex) = fingerprint.split_once('=').unwrap();
    Pin::Key {
        spki_sha256_base64: pin(certificate).unwrap(),
        certificate_sha256_hex: hex.trim().replace(':', "").to_lowercase(),
    }
}

fn check(lab: &Lab, client: &dyn Client) {
    let name = client.name();
    for (port, own, other) in [
        (TLS12, Version::Tls12, Version::Tls13),
        (TLS13, Version::Tls13, Version::Tls12),
    ] {
        let plain = lab.request(port);
        for version in [Version::Any, own] {
            let request = Request {
                version,
                ..plain.clone()
            };
            assert_eq!(lab.ask(client, &request), Ok(()), "{name} {request:?}");
        }
        let fails = |request: &Request| {
            let reason = lab.ask(client, request);
            println!("{name:12} {port} {:?}: {reason:?}", request.version);
            assert!(reason.is_err(), "{name} {request:?}");
        };
        fails(&Request {
            version: other,
            ..plain.clone()
        });
        fails(&Request {
            trust: Trust::Default,
            ..plain.clone()
        });
        fails(&Request {
            host: "localhost".to_owned(),
            ..plain.clone()
        });
        check_resumption(lab, client, own);
        let pinned = Request {
            pin: lab.good.clone(),
            ..plain.clone()
        };
        if client.can(&pinned) {
            assert_eq!(lab.ask(client, &pinned), Ok(()), "{name} {pinned:?}");
            fails(&Request {
                pin: lab.wrong.clone(),
                ..plain.clone()
            });
        }
    }
    for port in [REFUSES, CLOSED] {
        let reason = lab.ask(client, &lab.request(port));
        println!("{name:12} {port}: {reason:?}");
        let reason = reason.unwrap_err();
        assert_eq!(reason.contains("502"), port == REFUSES, "{name}: {reason}");
    }
    let certified = Request {
        client_certificate: Some(lab.client.clone()),
        ..lab.request(CLIENT_CERTIFICATE)
    };
    if client.can(&certified) {
        for version in [Version::Tls12, Version::Tls13] {
            let request = Request {
                version,
                ..certified.clone()
            };
            assert_eq!(lab.ask(client, &request), Ok(()), "{name} {request:?}");
            let reason = lab.ask(
                client,
                &Request {
                    client_certificate: None,
                    ..request
                },
            );
            println!("{name:12} no client certificate, {version:?}: {reason:?}");
            assert!(reason.is_err(), "{name} without a client certificate");
        }
    }
}

/// The number of tries that a client has to show that it resumes: on a busy machine a browser that opens connections
/// ahead may begin its second before the first brought a ticket, or one more that resumes.
const CHANCES: u32 = 8;

/// Connections in a row: a session is resumed if and only if the client says that it does so.
fn check_resumption(lab: &Lab, client: &dyn Client, version: Version) {
    let name = client.name();
    let as_it_says = |_| resumes_once(lab, client, version) == client.resumes();
    assert!(
        (0..CHANCES).any(as_it_says),
        "{name} {version:?}: resumes: {}",
        !client.resumes()
    );
}

/// Whether one of two connections in a row showed no certificate.
fn resumes_once(lab: &Lab, client: &dyn Client, version: Version) -> bool {
    let option = match version {
        Version::Tls12 => "-tls1_2",
        _ => "-tls1_3",
    };
    let mut server = lab.serve(TELLS_MESSAGES, &["-www", "-msg", option]);
    let request = Request {
        times: 2,
        ..lab.request(TELLS_MESSAGES)
    };
    let name = client.name();
    assert_eq!(lab.ask(client, &request), Ok(()), "{name} {request:?}");
    let sent = |line: &str, message| line.starts_with(">>>") && line.ends_with(message);
    let finished = Cell::new(0);
    let mut lines = server
        .wait_for(PATIENCE, |line| {
            finished.set(finished.get() + u32::from(sent(line, ", Finished")));
            finished.get() == request.times
        })
        .unwrap();
    let (_, rest) = server.stop(Signal::SIGTERM).unwrap();
    lines.extend(rest);
    let count = |message| lines.iter().filter(|line| sent(line, message)).count();
    let (hellos, certificates) = (count(", ServerHello"), count(", Certificate"));
    println!("{name:12} {option} twice: {hellos} handshakes, {certificates} with a certificate");
    assert!(hellos >= 2 && certificates >= 1, "{name} {option}");
    certificates < hellos
}

#[test]
fn clients_do_what_they_are_asked_for() {
    let only = std::env::var("TLSWHY_CLIENT").ok();
    let lab = Lab::new();
    for mut client in all() {
        if only.as_ref().is_some_and(|only| client.name() != only) {
            continue;
        }
        let version = client.version().unwrap();
        println!("{} {version}", client.name());
        client.prepare(lab.folder.path()).unwrap();
        check(&lab, client.as_ref());
    }
    drop(lab);
}
