//! The configuration file: checked, shown, reloaded.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use aya::programs::{SchedClassifier, TcAttachType};
use lab::host::output;
use nix::sys::signal::Signal;
use tests::gateway::{Gateway, agent, next_verdict};
use tests::wire::{PATIENCE, inside, pair, until};

use crate::{configured, has_line, is_clean, start};

#[test]
fn a_reload_is_taken_whole_or_not_at_all_and_no_tap_is_lost() {
    let (_client, gateway) = pair();
    gateway
        .run("ip link add x0 type veth peer name x1")
        .unwrap();
    let file = configured("[watch]\ninterfaces = [\"g0\"]\n");
    let path = file.path().to_str().unwrap();
    let (mut agent, _) = start(&gateway, &["--config", path]);
    let programs = || {
        inside(&gateway, || {
            let found = SchedClassifier::query_tcx("g0", TcAttachType::Ingress)
                .unwrap()
                .1;
            found.iter().map(|program| program.id()).collect::<Vec<_>>()
        })
    };
    let before = programs();
    let reload = |text: &str, words: &str| {
        std::fs::write(file.path(), text).unwrap();
        agent.signal(Signal::SIGHUP).unwrap();
        agent
            .wait_for(PATIENCE, |line| line.contains(words))
            .unwrap()
    };
    let wrong = "[watch]\ninterfaces = [\"g0\", \"x0\"]\nclient = []\n";
    let said = reload(wrong, "the previous one stays in effect");
    assert!(
        has_line(
            &said,
            ":3:1: unknown key \"client\" in [watch]; did you mean clients?"
        ),
        "{said:?}"
    );
    assert!(is_clean(&gateway, "x0"));
    let said = reload(
        "[watch]\ninterfaces = [\"g0\", \"x0\"]\n[tables]\nflows = 5000\n",
        "a restart is required for tables.flows",
    );
    assert!(has_line(&said, "reloaded: watch.interfaces"), "{said:?}");
    assert!(!is_clean(&gateway, "x0"));
    let said = reload("[watch]\ninterfaces = [\"g*\"]\n", "reloaded: ");
    assert!(
        has_line(&said, "tap x0: removed, as it is no longer configured"),
        "{said:?}"
    );
    until("no program stays", || is_clean(&gateway, "x0"));
    let absent = "tap late0: the interface does not exist yet; waiting for it";
    let said = reload("[watch]\ninterfaces = [\"g0\", \"late0\"]\n", "reloaded: ");
    assert!(has_line(&said, absent), "{said:?}");
    // The number of flows is that of the running agent again since the reload before.
    assert!(!has_line(&said, "a restart is required"), "{said:?}");
    assert_eq!(programs(), before, "the tap that stays was not touched");
    assert!(agent.stop(Signal::SIGTERM).unwrap().0.success());
}

/// A client has said hello, its gateway's agent reloads, and only then the server refuses.
#[test]
fn a_connection_that_is_under_way_at_a_reload_gets_its_verdict() {
    let lab = Gateway::new("reload").unwrap();
    let listener = inside(&lab.server, || TcpListener::bind("0.0.0.0:443").unwrap());
    let file = configured("[watch]\nclients = [\"10.0.0.0/8\"]\n");
    let path = file.path().to_str().unwrap();
    let (agent, _) = lab.watch(&["--output", "json", "--config", path]).unwrap();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| output(&mut lab.curl("10.78.2.2", &[])).unwrap());
        let (mut connection, _) = listener.accept().unwrap();
        let mut hello = [0; 4096];
        assert!(connection.read(&mut hello).unwrap() > 100);
        std::fs::write(file.path(), "[watch]\nclients = [\"10.78.0.0/16\"]\n").unwrap();
        agent.signal(Signal::SIGHUP).unwrap();
        let reloaded = agent.wait_for(PATIENCE, |line| line.contains("reloaded: watch.clients"));
        reloaded.unwrap();
        // A fatal alert: handshake_failure.
        connection.write_all(&[21, 3, 3, 0, 2, 2, 40]).unwrap();
        drop(connection);
        assert!(!client.join().unwrap().status.success());
    });
    let verdict = next_verdict(&agent).unwrap();
    assert_eq!(verdict["sni"], "www.lab.test", "{verdict}");
    assert_eq!(
        verdict["alert"]["description"], "handshake_failure",
        "{verdict}"
    );
    assert_eq!(verdict["ended_by"], "server", "{verdict}");
}

#[test]
fn what_is_out_of_scope_is_not_judged() {
    let lab = Gateway::new("scope").unwrap();
    let _server = lab.serve(&[]).unwrap();
    let file = configured("[ignore]\nnetworks = [\"10.78.2.0/24\"]\n");
    let path = file.path().to_str().unwrap();
    let (mut agent, _) = lab.watch(&["--output", "json", "--config", path]).unwrap();
    for address in ["10.78.2.2", "[fd78:2::2]"] {
        let output = output(&mut lab.curl(address, &[])).unwrap();
        assert!(!output.status.success());
    }
    let verdict = next_verdict(&agent).unwrap();
    assert_eq!(verdict["server"]["ip"], "fd78:2::2", "{verdict}");
    let (_, rest) = agent.stop(Signal::SIGTERM).unwrap();
    assert!(
        has_line(&rest, "2 TLS flows") && has_line(&rest, "1 failed"),
        "{rest:?}"
    );
}

#[test]
fn the_configuration_in_effect_is_shown_with_where_it_came_from() {
    let file = configured("[tables]\nflows = 5000\n");
    let path = file.path().to_str().unwrap();
    let shown = Command::new(agent())
        .args(["run", "--config", path, "-i", "lan0", "--print-config"])
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("interfaces = [\"lan0\"]  # command line\n"),
        "{shown}"
    );
    assert!(
        shown.contains(&format!("flows = 5000  # {path}:2\n")),
        "{shown}"
    );
    assert!(shown.contains("queue = 10000  # default\n"), "{shown}");
}

#[test]
fn a_configuration_is_checked() {
    let right = configured("[tables]\nflows = 5000\n");
    let check = |file: &tempfile::NamedTempFile| {
        Command::new(agent())
            .arg("check-config")
            .arg(file.path())
            .output()
            .unwrap()
    };
    assert!(check(&right).status.success());
    let wrong = check(&configured("[tables]\nflow = 5000\n[x]\n"));
    // As of `tlswhy run`.
    assert_eq!(wrong.status.code(), Some(2));
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(
        said.contains(":2:1: unknown key \"flow\" in [tables]; did you mean flows?"),
        "{said}"
    );
    assert!(said.contains(":3:2: unknown section \"x\""), "{said}");
}

#[test]
fn a_directory_for_state_is_made_or_its_lack_is_said_once() {
    let (_client, gateway) = pair();
    let folder = tempfile::tempdir().unwrap();
    let (made, file) = (folder.path().join("a/state"), folder.path().join("file"));
    std::fs::write(&file, "").unwrap();
    let runtime = file.join("run");
    let options = [
        "-i",
        "g0",
        "--state-directory",
        made.to_str().unwrap(),
        "--runtime-directory",
        runtime.to_str().unwrap(),
    ];
    let (mut agent, said) = start(&gateway, &options);
    assert!(made.join("history.jsonl").exists());
    let lack = format!("cannot make the runtime directory {}: ", runtime.display());
    let about: Vec<_> = said
        .iter()
        .filter(|line| line.contains("cannot "))
        .collect();
    assert!(about.len() == 1 && about[0].contains(&lack), "{said:?}");
    assert!(agent.stop(Signal::SIGTERM).unwrap().0.success());
}

#[test]
fn a_file_is_no_network_namespace() {
    let mut run = Command::new(agent());
    let said = crate::failure(run.args(["run", "--netns", "/etc/passwd"]));
    let expected = "tlswhy: /etc/passwd is no network namespace: `ip netns` lists them\n";
    assert_eq!(said, expected);
}
