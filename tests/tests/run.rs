//! `tlswhy run` as its users meet it: real handshakes, signals, and everything that goes wrong.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use aya::programs::{SchedClassifier, TcAttachType};
use detector_user::source::tap::hook::Abilities;
use lab::host::{Namespace, Process, output};
use nix::sys::signal::Signal;
use rstest::rstest;
use tests::gateway::{Gateway, agent, next_verdict};
use tests::wire::{PATIENCE, inside, interface, namespace, pair, until};

/// Starts the agent in a namespace and waits until it is ready; returns what it said up to then.
fn start(namespace: &Namespace, arguments: &[&str]) -> (Process, Vec<String>) {
    let agent = Process::start(namespace.command(agent()).arg("run").args(arguments)).unwrap();
    let said = agent.wait_for(PATIENCE, |line| line == "ready").unwrap();
    (agent, said)
}

/// Runs the agent, which is to fail at once; returns the one line it says.
fn failure(command: &mut Command) -> String {
    let output = output(command).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(output.stdout.is_empty());
    said
}

/// The place of classifiers on this kernel.
fn classifier() -> &'static str {
    if Abilities::of_this_kernel().tcx {
        "TCX"
    } else {
        "clsact"
    }
}

fn has_line(lines: &[String], words: &str) -> bool {
    lines.iter().any(|line| line.contains(words))
}

/// Whether an interface of the namespace has no program of ours any more.
fn is_clean(namespace: &Namespace, name: &str) -> bool {
    let qdiscs = namespace.run(&format!("tc qdisc show dev {name}")).unwrap();
    inside(namespace, || {
        interface(name).xdp.is_none()
            && [TcAttachType::Ingress, TcAttachType::Egress]
                .into_iter()
                .filter(|_| Abilities::of_this_kernel().tcx)
                .all(|at| SchedClassifier::query_tcx(name, at).is_ok_and(|it| it.1.is_empty()))
    }) && !qdiscs.contains("clsact")
}

/// A client that does not know the server's CA, and what the two taps say about it.
#[test]
fn both_taps_of_a_gateway_tell_of_one_refusal() {
    let lab = Gateway::new("both").unwrap();
    let _server = lab.serve(&[]).unwrap();
    let (mut agent, said) = lab.watch(&["-i", "wan0", "--output", "json"]).unwrap();
    for tap in ["lan0", "wan0"] {
        let line = format!("tap {tap}: ingress {0}, egress {0}", classifier());
        assert!(said.contains(&line), "{said:?}");
    }
    assert!(
        !output(&mut lab.curl("10.78.2.2", &[]))
            .unwrap()
            .status
            .success()
    );
    // Two flows, one connection: it was only forwarded.
    let verdict = next_verdict(&agent).unwrap();
    assert_eq!(verdict["tap"], "lan0", "{verdict}");
    assert_eq!(verdict["server_leg"]["tap"], "wan0", "{verdict}");
    assert_eq!(verdict["intercepted"], "no", "{verdict}");
    assert_eq!(verdict["ended_by"], "client", "{verdict}");
    assert_eq!(verdict["alert"]["description"], "unknown_ca", "{verdict}");
    let (status, rest) = agent.stop(Signal::SIGTERM).unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(
        has_line(&rest, "2 TLS flows")
            && has_line(&rest, "1 failed (1 certificate-rejected)")
            && has_line(&rest, "lost: nothing"),
        "{rest:?}"
    );
}

#[rstest]
#[case(Signal::SIGTERM)]
#[case(Signal::SIGINT)]
fn a_signal_ends_it_with_a_summary_and_nothing_stays(#[case] signal: Signal) {
    let (_client, gateway) = pair();
    let (mut agent, said) = start(&gateway, &["-i", "g0"]);
    assert!(has_line(&said, "verdicts go to text"));
    assert!(
        has_line(&said, "MiB of kernel memory") && !has_line(&said, " 0 MiB"),
        "{said:?}"
    );
    assert!(!is_clean(&gateway, "g0"));
    let (status, rest) = agent.stop(signal).unwrap();
    assert_eq!(status.code(), Some(0));
    for words in ["seen: ", "judged: ", "lost: nothing"] {
        assert!(has_line(&rest, words), "{rest:?}");
    }
    until("no program stays", || is_clean(&gateway, "g0"));
}

#[test]
fn without_names_it_watches_what_carries_traffic() {
    let (_client, gateway) = pair();
    let (_agent, said) = start(&gateway, &[]);
    assert!(
        has_line(&said, "tap g0: ") && !has_line(&said, "tap lo: "),
        "{said:?}"
    );
}

#[test]
fn interfaces_vanish_come_back_and_are_called_something_else() {
    let (client, gateway) = pair();
    gateway
        .run("ip link add x0 type veth peer name x1")
        .unwrap();
    let (mut agent, _) = start(&gateway, &["-i", "g0", "-i", "x0"]);
    let says = |words: &str| {
        agent
            .wait_for(PATIENCE, |line| line.contains(words))
            .unwrap()
    };
    gateway.run("ip link delete x0").unwrap();
    says("tap x0: the interface is gone");
    assert!(!is_clean(&gateway, "g0"), "the other one is watched on");
    for change in ["down", "up", "mtu 1400"] {
        gateway.run(&format!("ip link set g0 {change}")).unwrap();
    }
    gateway.run("ip link set g0 down").unwrap();
    gateway.run("ip link set g0 name h0").unwrap();
    says("tap g0: the interface was renamed to h0");
    assert!(!is_clean(&gateway, "h0"));
    client.run("ip link delete c0").unwrap();
    says("no tapped interface is left; waiting for one");
    gateway
        .run("ip link add x0 type veth peer name x1")
        .unwrap();
    says("tap x0: ingress");
    assert!(!is_clean(&gateway, "x0"));
    let (status, _) = agent.stop(Signal::SIGTERM).unwrap();
    assert_eq!(status.code(), Some(0));
}

/// A configuration file in a folder of its own.
fn configured(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn a_configured_interface_is_awaited_and_globs_take_what_comes() {
    let gateway = namespace("awaited");
    let file = configured("[watch]\ninterfaces = [\"late0\", \"lan*\"]\n");
    let path = file.path().to_str().unwrap();
    let (agent, said) = start(&gateway, &["--config", path]);
    assert!(
        has_line(&said, "tap late0: the interface does not exist yet"),
        "{said:?}"
    );
    assert!(has_line(&said, "no interface to watch yet"), "{said:?}");
    gateway
        .run("ip link add late0 type veth peer name lan0")
        .unwrap();
    for name in ["late0", "lan0"] {
        gateway.run(&format!("ip link set {name} up")).unwrap();
    }
    // In whichever order.
    let tapped = |name| agent.wait_for(PATIENCE, move |line| line.contains(name));
    tapped("tap l").unwrap();
    tapped("tap l").unwrap();
    assert!(!is_clean(&gateway, "late0") && !is_clean(&gateway, "lan0"));
}

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
fn lost_verdicts_are_said_with_their_number() {
    let lab = Gateway::new("full").unwrap();
    let _server = lab.serve(&[]).unwrap();
    let file = configured("[output]\njson_file = \"/dev/full\"\nqueue = 16\nfold = \"0s\"\n");
    let path = file.path().to_str().unwrap();
    let (agent, _) = lab.watch(&["--config", path]).unwrap();
    for _ in 0..30 {
        output(&mut lab.curl("10.78.2.2", &[])).unwrap();
    }
    agent
        .wait_for(PATIENCE, |line| {
            line.contains("lost ") && line.contains(" verdicts for ") && line.contains(" in total)")
        })
        .unwrap();
}

#[test]
fn auto_takes_what_a_default_route_leads_to_when_it_comes() {
    let (_client, gateway) = pair();
    let file = configured("[watch]\ninterfaces = [\"auto\"]\n");
    let path = file.path().to_str().unwrap();
    let (agent, said) = start(&gateway, &["--config", path]);
    assert!(has_line(&said, "no interface to watch yet"), "{said:?}");
    gateway.run("ip route add 192.0.2.0/24 dev g0").unwrap();
    gateway.run("ip route add default dev g0").unwrap();
    let tapped = agent.wait_for(PATIENCE, |line| line.contains("tap g0: "));
    tapped.unwrap();
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
fn a_namespace_is_entered_by_its_name() {
    let (_client, gateway) = pair();
    let mut command = Command::new(agent());
    command.args(["run", "-i", "g0", "--netns", gateway.name()]);
    let agent = Process::start(&mut command).unwrap();
    let said = agent.wait_for(PATIENCE, |line| line == "ready").unwrap();
    assert!(has_line(&said, "tap g0: "), "{said:?}");
    let said = failure(Command::new(tests::gateway::agent()).args(["run", "--netns", "nope"]));
    assert!(
        said.contains("there is no network namespace /run/netns/nope"),
        "{said}"
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
fn an_interface_that_moves_away_is_let_go() {
    let (client, gateway) = pair();
    gateway
        .run("ip link add x0 type veth peer name x1")
        .unwrap();
    let (agent, _) = start(&gateway, &["-i", "g0", "-i", "x0"]);
    gateway
        .run(&format!("ip link set x0 netns {}", client.name()))
        .unwrap();
    agent
        .wait_for(PATIENCE, |line| {
            line.contains("tap x0: the interface is gone")
        })
        .unwrap();
    until("no program stays on it", || is_clean(&client, "x0"));
}

#[test]
fn an_interface_that_is_not_there_is_one_line() {
    let gateway = namespace("missing");
    let said = failure(gateway.command(agent()).args(["run", "-i", "nope0"]));
    assert!(said.contains("no interface is called nope0"), "{said}");
}

#[test]
fn an_interface_that_is_down_is_a_warning() {
    let (_client, gateway) = pair();
    gateway.run("ip link set g0 down").unwrap();
    let (_agent, said) = start(&gateway, &["-i", "g0"]);
    assert!(
        has_line(&said, "tlswhy: tap g0: the interface is down"),
        "{said:?}"
    );
}

/// A command that gives up all capabilities but these.
fn with_capabilities(namespace: &Namespace, capabilities: &str) -> Command {
    let mut command = namespace.command("setpriv");
    command.arg(format!("--bounding-set=-all{capabilities}"));
    command.arg("--inh-caps=-all").arg(agent());
    command
}

#[test]
fn the_three_capabilities_suffice() {
    let (_client, gateway) = pair();
    let mut command = with_capabilities(&gateway, ",+bpf,+net_admin,+perfmon");
    let agent = Process::start(command.args(["run", "-i", "g0"])).unwrap();
    agent.wait_for(PATIENCE, |line| line == "ready").unwrap();
}

/// Another namespace takes CAP_SYS_ADMIN to enter, and nothing of it stays; nor what loading takes.
#[test]
fn an_ordinary_user_is_left_with_two_capabilities() {
    let (_client, gateway) = pair();
    let held = "+bpf,+net_admin,+perfmon,+sys_admin,+dac_override";
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(format!("--inh-caps={held}"));
    command.arg(format!("--ambient-caps={held}"));
    command.arg(agent());
    command.args(["run", "-i", "g0", "--netns", gateway.name()]);
    let agent = Process::start(&mut command).unwrap();
    agent.wait_for(PATIENCE, |line| line == "ready").unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
    // CAP_NET_ADMIN and CAP_BPF.
    let expected = format!("{:016x}", 1u64 << 12 | 1 << 39);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        let line = status.lines().find(|line| line.starts_with(set)).unwrap();
        assert!(line.ends_with(&expected), "{line}");
    }
}

#[rstest]
#[case("")]
#[case(",+bpf,+perfmon")]
#[case(",+net_admin")]
fn missing_privileges_are_one_line_that_names_them(#[case] capabilities: &str) {
    let (_client, gateway) = pair();
    let mut command = with_capabilities(&gateway, capabilities);
    let said = failure(command.args(["run", "-i", "g0"]));
    assert!(
        said.contains("run as root, or grant CAP_BPF, CAP_NET_ADMIN"),
        "{said}"
    );
}

#[test]
fn two_agents_watch_one_interface() {
    let (_client, gateway) = pair();
    let (_first, _) = start(&gateway, &["-i", "g0"]);
    let (_second, said) = start(&gateway, &["-i", "g0"]);
    let line = format!("tap g0: ingress {0}, egress {0}", classifier());
    assert!(has_line(&said, &line), "{said:?}");
    // Nobody would have it on a virtual interface.
    assert!(!has_line(&said, "tap g0: no XDP"), "{said:?}");
}

#[test]
fn the_programs_speak_when_asked_to() {
    let lab = Gateway::new("speak").unwrap();
    let _server = lab.serve(&[]).unwrap();
    let (agent, _) = lab.watch(&["--log", "trace"]).unwrap();
    assert!(
        !output(&mut lab.curl("10.78.2.2", &[]))
            .unwrap()
            .status
            .success()
    );
    agent
        .wait_for(PATIENCE, |line| line.starts_with("eBPF TRACE: tc "))
        .unwrap();
}

/// Without XDP, tags that the device took off are still known.
#[test]
fn vlans_tell_flows_apart_where_classifiers_see_them() {
    let (_client, gateway) = pair();
    let (_agent, said) = start(&gateway, &["-i", "g0"]);
    assert!(!has_line(&said, "VLAN tags are stripped"), "{said:?}");
}

#[test]
fn a_killed_agent_leaves_nothing() {
    let (_client, gateway) = pair();
    let (mut agent, _) = start(&gateway, &["-i", "g0"]);
    assert!(!is_clean(&gateway, "g0"));
    agent.stop(Signal::SIGKILL).unwrap();
    until("no program stays", || is_clean(&gateway, "g0"));
}

#[test]
fn a_standard_error_that_nobody_reads_stops_nothing() {
    let (_client, gateway) = pair();
    let mut child = gateway
        .command(agent())
        .args(["run", "-i", "g0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    until("it is attached", || !is_clean(&gateway, "g0"));
    // More to say, to nobody.
    gateway.run("ip link set g0 down").unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
