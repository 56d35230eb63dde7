//! An agent that is killed, stopped and started again over pinned programs: no verdict is lost.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use detector_user::source::tap::TapError;
use detector_user::source::tap::hook::{Abilities, Hook};
use detector_user::source::tap::kernel_tap::KernelTap;
use detector_user::source::tap::load::Origin;
use detector_user::source::tap::object::ObjectOptions;
use detector_user::source::tap::pins::{Pins, Root};
use lab::host::{Namespace, Process, output};
use lab::rewrite::random::Random;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::Value;
use tests::foreign::{Foreign, Place};
use tests::gateway::{Gateway, PATIENCE, agent, next_verdict};
use tests::memory_group::MemoryGroup;
use tests::wire::{inside, interface, until};

/// A BPF file system of a test's own, and a runtime directory.
struct Kept {
    folder: tempfile::TempDir,
}

impl Kept {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kept = Self { folder };
        std::fs::create_dir(kept.bpffs()).unwrap();
        std::fs::create_dir(kept.runtime()).unwrap();
        let none: Option<&str> = None;
        mount(
            Some("bpf"),
            &kept.bpffs(),
            Some("bpf"),
            MsFlags::empty(),
            none,
        )
        .unwrap();
        kept
    }

    fn bpffs(&self) -> PathBuf {
        self.folder.path().join("bpf")
    }

    fn pins(&self) -> PathBuf {
        self.bpffs().join("tlswhy")
    }

    fn runtime(&self) -> PathBuf {
        self.folder.path().join("run")
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = umount2(&self.bpffs(), MntFlags::MNT_DETACH);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Starts the agent on `lan0` over the kept state; returns its messages until it was ready.
fn start(lab: &Gateway, kept: &Kept, more: &[&str]) -> (Process, Vec<String>) {
    let (pins, runtime) = (kept.pins(), kept.runtime());
    let mut arguments = vec!["--output", "json", "--pins", text(&pins)];
    arguments.extend(["--runtime-directory", text(&runtime)]);
    arguments.extend(more);
    lab.watch(&arguments).unwrap()
}

fn try_to_detach(lab: &Gateway, kept: &Kept) -> Output {
    let mut command = lab.gateway.command(agent());
    output(command.arg("detach").arg("--pins").arg(kept.pins())).unwrap()
}

fn detach(lab: &Gateway, kept: &Kept) -> String {
    let output = try_to_detach(lab, kept);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn is_tapped(lab: &Gateway) -> bool {
    inside(&lab.gateway, || {
        let at = aya::programs::TcAttachType::Ingress;
        let found = aya::programs::SchedClassifier::query_tcx("lan0", at).unwrap();
        !found.1.is_empty() || interface("lan0").xdp.is_some()
    })
}

/// A client that does not know the server's CA, from a port of its own.
fn refusal(lab: &Gateway, port: u16) -> Command {
    let port = port.to_string();
    lab.curl("10.78.2.2", &["--local-port", &port])
}

/// The client ports of verdicts that know the server's name.
fn ports<'a>(lines: impl IntoIterator<Item = &'a String>) -> BTreeSet<u16> {
    let verdicts = lines.into_iter().filter(|line| line.starts_with('{'));
    verdicts
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|verdict| verdict["sni"] == "www.lab.test")
        .map(|verdict| verdict["client"]["port"].as_u64().unwrap() as u16)
        .collect()
}

fn has_line(lines: &[String], words: &str) -> bool {
    lines.iter().any(|line| line.contains(words))
}

/// The number of connections that an agent judged as failed, by its own account.
fn failures(rest: &[String]) -> usize {
    let judged = rest.iter().find(|line| line.starts_with("judged: "));
    let failed = judged.and_then(|line| line.split(", ").find(|it| it.contains(" failed")));
    let number = failed.and_then(|it| it.split(' ').next());
    number.unwrap().parse().unwrap()
}

/// The identities of verdicts that revise none.
fn ids_of_new(lines: &[String]) -> Vec<String> {
    let verdicts = lines.iter().filter(|line| line.starts_with('{'));
    verdicts
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|verdict| verdict["revises"].is_null())
        .map(|verdict| verdict["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Connections fail all the while; in their midst the agent ends and another begins. A kill may come
/// between writing a verdict and noting that it was written: that one comes twice, under one identity.
#[rstest]
#[case("kill", Signal::SIGKILL, 1)]
#[case("term", Signal::SIGTERM, 0)]
fn every_verdict_comes_though_the_agent_ends_in_the_midst(
    #[case] name: &str,
    #[case] signal: Signal,
    #[case] in_flight: usize,
) {
    const FIRST: u16 = 41_000;
    /// Far more than even a slow agent lets pass before it tells of the first ones.
    const LIMIT: u16 = 45_000;
    /// Connections that fail while nobody is there.
    const ALONE: usize = 20;
    let lab = Gateway::new(name).unwrap();
    let kept = Kept::new();
    let _server = lab.serve(&[]).unwrap();
    let (mut first, _) = start(&lab, &kept, &[]);
    let mut lines = Vec::new();
    let has_ended = AtomicBool::new(false);
    let last = std::thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let mut alone = 0;
            for port in FIRST..LIMIT {
                alone += usize::from(has_ended.load(Ordering::Relaxed));
                assert!(!output(&mut refusal(&lab, port)).unwrap().status.success());
                if alone == ALONE {
                    return port;
                }
            }
            panic!("the agent neither told of the first connections nor ended");
        });
        // Some have failed, one is in its midst, more will while nobody is there.
        lines = first
            .wait_for(PATIENCE, |line| {
                line.contains(&format!("\"port\":{}}}", FIRST + 20))
            })
            .unwrap();
        let (_, rest) = first.stop(signal).unwrap();
        lines.extend(rest);
        has_ended.store(true, Ordering::Relaxed);
        clients.join().unwrap()
    });
    let all = usize::from(last - FIRST + 1);
    assert!(ports(&lines).len() <= all - ALONE);
    let (mut second, said) = start(&lab, &kept, &[]);
    assert!(
        has_line(&said, "adopted the programs of an earlier agent"),
        "{said:?}"
    );
    lines.extend(said);
    lines.extend(
        second
            .wait_for(PATIENCE, |line| {
                line.contains(&format!("\"port\":{last}}}"))
            })
            .unwrap(),
    );
    // Its verdict need not be the last.
    until("the last verdict", || {
        lines.extend(second.lines());
        ports(&lines).len() >= all
    });
    assert_eq!(ports(&lines), (FIRST..=last).collect());
    let ids = ids_of_new(&lines);
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), all, "a connection has two identities");
    assert!(
        ids.len() - distinct.len() <= in_flight,
        "written twice: {ids:?}"
    );
    let (_, rest) = second.stop(Signal::SIGTERM).unwrap();
    assert!(
        failures(&rest) < all,
        "what the first agent counted is counted again: {rest:?}"
    );
    detach(&lab, &kept);
}

/// Groups of the database: connections that failed and worked.
fn numbers_of_groups(state: &Path) -> Vec<(u64, u64)> {
    let mut command = Command::new(agent());
    command.args(["groups", "--all", "--output", "json", "--database"]);
    let asked = output(command.arg(state.join("verdicts.db"))).unwrap();
    let groups = String::from_utf8(asked.stdout).unwrap();
    let groups = groups
        .lines()
        .map(|line| -> Value { serde_json::from_str(line).unwrap() });
    let number = |value: &Value| value.as_u64().unwrap();
    groups
        .map(|group| (number(&group["failed"]), number(&group["worked"])))
        .collect()
}

/// The items that an agent had read are read again by the next one.
#[test]
fn a_restart_counts_no_connection_again() {
    let lab = Gateway::new("again").unwrap();
    let kept = Kept::new();
    let state = kept.folder.path().join("state");
    let more = ["--state-directory", text(&state)];
    let _server = lab.serve(&[]).unwrap();
    let (mut first, _) = start(&lab, &kept, &more);
    let ca = lab.origin_ca.certificate();
    let mut trusting = lab.curl("10.78.2.2", &["--cacert", text(&ca)]);
    assert!(output(&mut trusting).unwrap().status.success());
    let refused = output(&mut refusal(&lab, 41_000)).unwrap();
    assert!(!refused.status.success());
    let is_counted = || {
        let groups = numbers_of_groups(&state);
        let [failed, worked] = groups.iter().fold([0, 0], |[failed, worked], group| {
            [failed + group.0, worked + group.1]
        });
        (failed, worked) == (1, 1)
    };
    until("both are in the database", is_counted);
    let (_, rest) = first.stop(Signal::SIGTERM).unwrap();
    assert!(
        has_line(&rest, "judged: 1 established, 1 failed"),
        "{rest:?}"
    );
    for _ in 0..2 {
        let (mut next, said) = start(&lab, &kept, &more);
        assert!(has_line(&said, "adopted the programs"), "{said:?}");
        let (_, rest) = next.stop(Signal::SIGTERM).unwrap();
        let nothing = "judged: 0 established, 0 failed, 0 unused, 0 unfinished";
        assert!(has_line(&rest, nothing), "{rest:?}");
        assert!(has_line(&rest, "0 TLS flows"), "{rest:?}");
        assert!(is_counted(), "{:?}", numbers_of_groups(&state));
    }
    detach(&lab, &kept);
}

#[test]
fn other_tables_replace_what_is_pinned_and_detach_takes_it_away() {
    let lab = Gateway::new("replace").unwrap();
    let kept = Kept::new();
    let (mut first, said) = start(&lab, &kept, &["--flows", "1000"]);
    assert!(!has_line(&said, "earlier agent"), "{said:?}");
    let (_, rest) = first.stop(Signal::SIGTERM).unwrap();
    assert!(has_line(&rest, "`tlswhy detach` detaches them"), "{rest:?}");
    assert!(is_tapped(&lab), "programs go on");
    let (mut second, said) = start(&lab, &kept, &["--flows", "2000"]);
    assert!(
        has_line(&said, "connections in progress are not tracked"),
        "{said:?}"
    );
    assert_eq!(std::fs::read_dir(kept.pins()).unwrap().count(), 1);
    second.stop(Signal::SIGTERM).unwrap();
    assert_eq!(
        detach(&lab, &kept),
        "detached 2 programs from their interfaces\n"
    );
    assert!(!kept.pins().exists());
    until("no program stays", || !is_tapped(&lab));
    assert!(detach(&lab, &kept).starts_with("no programs were attached"));
}

#[test]
fn detach_takes_nothing_from_an_agent_that_runs_and_nothing_of_others() {
    let lab = Gateway::new("beside").unwrap();
    let kept = Kept::new();
    let _server = lab.serve(&[]).unwrap();
    let (mut first, _) = start(&lab, &kept, &[]);
    let refused = try_to_detach(&lab, &kept);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("another tlswhy uses") && said.contains("stop it first"),
        "{said}"
    );
    assert!(is_tapped(&lab));
    output(&mut refusal(&lab, 41_000)).unwrap();
    assert_eq!(next_verdict(&first).unwrap()["sni"], "www.lab.test");
    first.stop(Signal::SIGTERM).unwrap();
    let others = kept.pins().join("tc");
    std::fs::create_dir(&others).unwrap();
    assert!(detach(&lab, &kept).starts_with("detached 2 programs"));
    assert!(others.exists());
    until("no program stays", || !is_tapped(&lab));
}

/// The kernel's modes of attaching, with XDP also on the lab's virtual interfaces.
fn with_xdp() -> Abilities {
    Abilities {
        virtual_xdp: true,
        ..Abilities::of_this_kernel()
    }
}

/// Taps interfaces of the gateway over the kept state.
fn tap_all(names: &[&str], kept: &Kept, abilities: Abilities) -> Result<KernelTap, TapError> {
    let options = ObjectOptions::default();
    let pins = Pins::new(Root::lock(&kept.pins()).unwrap(), &options);
    let listed: Vec<_> = names.iter().map(|it| interface(it)).collect();
    KernelTap::attach_pinned(&listed, &options, abilities, pins).map(|(tap, _)| tap)
}

#[test]
fn an_interface_that_cannot_be_tapped_on_both_sides_keeps_nothing() {
    let lab = Gateway::new("sides").unwrap();
    let kept = Kept::new();
    inside(&lab.gateway, || {
        let index = interface("lan0").index;
        // The kernel has room for 63 programs at one hook.
        let foreign = || Foreign::attach(Place::TcxEgress, index, -1).ok();
        let others: Vec<_> = std::iter::from_fn(foreign).take(100).collect();
        assert!(others.len() < 100);
        assert!(tap_all(&["lan0"], &kept, with_xdp()).is_err());
        until("XDP is gone", || interface("lan0").xdp.is_none());
        drop(others);
        assert!(tap_all(&["lan0"], &kept, with_xdp()).is_ok());
    });
    detach(&lab, &kept);
}

#[test]
fn programs_without_xdp_go_on_new_interfaces_too() {
    let lab = Gateway::new("without").unwrap();
    let kept = Kept::new();
    let without_xdp = Abilities {
        xdp: false,
        ..with_xdp()
    };
    inside(&lab.gateway, || {
        drop(tap_all(&["lan0"], &kept, without_xdp).unwrap());
        let tap = tap_all(&["lan0", "wan0"], &kept, with_xdp()).unwrap();
        let new = tap.tapped.iter().find(|it| it.name == "wan0").unwrap();
        assert_eq!((new.ingress, new.egress), (Hook::Tcx, Some(Hook::Tcx)));
        assert!(new.no_xdp.is_some());
    });
    detach(&lab, &kept);
}

/// An agent's tap: how it came to be, where it sees incoming frames, why not by XDP, and which program
/// is there.
type Taken = (Origin, Hook, Option<String>, Option<u32>);

/// Taps an interface as an agent would that ends at once, with XDP although it is virtual.
fn tap(namespace: &Namespace, name: &str, kept: &Kept, watched_flows: u32) -> Taken {
    inside(namespace, || {
        let options = ObjectOptions {
            watched_flows,
            ..ObjectOptions::default()
        };
        let pins = Pins::new(Root::lock(&kept.pins()).unwrap(), &options);
        let listed = [interface(name)];
        let (tap, origin) = KernelTap::attach_pinned(&listed, &options, with_xdp(), pins).unwrap();
        let tapped = &tap.tapped[0];
        let program = interface(name).xdp.and_then(|it| it.id);
        (origin, tapped.ingress, tapped.no_xdp.clone(), program)
    })
}

#[test]
fn xdp_of_an_earlier_agent_is_no_others() {
    let lab = Gateway::new("xdp").unwrap();
    let kept = Kept::new();
    let (origin, hook, _, first) = tap(&lab.gateway, "lan0", &kept, 1000);
    assert_eq!((origin, hook), (Origin::New, Hook::XdpNative));
    let again = tap(&lab.gateway, "lan0", &kept, 1000);
    assert_eq!(again, (Origin::Adopted, Hook::XdpNative, None, first));
    let (origin, hook, no_xdp, other) = tap(&lab.gateway, "lan0", &kept, 2000);
    assert_eq!(
        (origin, hook, no_xdp),
        (Origin::Replaced, Hook::XdpNative, None)
    );
    assert!(other.is_some() && other != first);
    detach(&lab, &kept);
}

/// Interfaces' numbers mean something in one network namespace only.
#[test]
fn what_is_pinned_in_another_namespace_is_not_taken_over() {
    let lab = Gateway::new("spaces").unwrap();
    let kept = Kept::new();
    let index = |namespace| inside(namespace, || interface("eth0").index);
    assert_eq!(index(&lab.client), index(&lab.server));
    assert_eq!(tap(&lab.client, "eth0", &kept, 1000).0, Origin::New);
    assert_eq!(tap(&lab.server, "eth0", &kept, 1000).0, Origin::Replaced);
    detach(&lab, &kept);
}

#[test]
fn an_interface_that_went_meanwhile_leaves_nothing_and_a_new_one_is_taken() {
    let lab = Gateway::new("meanwhile").unwrap();
    let kept = Kept::new();
    lab.gateway
        .run("ip link add x0 type veth peer name x1")
        .unwrap();
    let (mut first, _) = start(&lab, &kept, &["-i", "x0"]);
    first.stop(Signal::SIGKILL).unwrap();
    lab.gateway.run("ip link delete x0").unwrap();
    lab.gateway
        .run("ip link add x0 type veth peer name x1")
        .unwrap();
    let (mut second, said) = start(&lab, &kept, &["-i", "x0"]);
    assert!(
        has_line(&said, "adopted the programs") && has_line(&said, "tap x0: "),
        "{said:?}"
    );
    second.stop(Signal::SIGKILL).unwrap();
    assert_eq!(
        detach(&lab, &kept),
        "detached 4 programs from their interfaces\n"
    );
}

#[test]
fn two_agents_do_not_share_pins() {
    let lab = Gateway::new("share").unwrap();
    let kept = Kept::new();
    let (_first, _) = start(&lab, &kept, &[]);
    let mut command = lab.gateway.command(agent());
    command
        .args(["run", "-i", "lan0", "--pins"])
        .arg(kept.pins());
    let said = String::from_utf8(output(&mut command).unwrap().stderr).unwrap();
    assert!(said.contains("another tlswhy uses"), "{said}");
}

#[test]
fn pins_elsewhere_than_on_a_bpf_file_system_are_refused() {
    let lab = Gateway::new("elsewhere").unwrap();
    let kept = Kept::new();
    let mut command = lab.gateway.command(agent());
    command
        .args(["run", "-i", "lan0", "--pins"])
        .arg(kept.runtime());
    let output = output(&mut command).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("mount -t bpf bpf /sys/fs/bpf"), "{said}");
}

/// A service may not list the machine's programs, by which the library finds the ring of messages.
#[test]
fn adopted_programs_whose_messages_cannot_be_read_are_watched_all_the_same() {
    let lab = Gateway::new("mute").unwrap();
    let kept = Kept::new();
    let (mut first, _) = start(&lab, &kept, &["--log", "info"]);
    assert!(first.stop(Signal::SIGTERM).unwrap().0.success());
    let mut command = lab.gateway.command("setpriv");
    command.args([
        "--bounding-set=-all,+bpf,+net_admin,+perfmon",
        "--inh-caps=-all",
    ]);
    command
        .arg(agent())
        .args(["run", "-i", "lan0", "--log", "info", "--pins"]);
    let second = Process::start(command.arg(kept.pins())).unwrap();
    let said = second.wait_for(PATIENCE, |line| line == "ready").unwrap();
    assert!(
        has_line(&said, "adopted the programs of an earlier agent"),
        "{said:?}"
    );
    let lack = "cannot read the messages of adopted eBPF programs: ";
    assert!(has_line(&said, lack), "{said:?}");
}

/// Kills of the long run; `TLSWHY_KILLS` asks for another number.
const KILLS: u16 = 100;
/// Exit code of curl if it does not trust the certificate.
const UNTRUSTED: i32 = 60;

/// Ends agents, one after another, while connections fail all the time: each of these gets its verdict from one agent
/// or another. An end between writing a verdict and noting that gives it twice, under one identity. `end` returns an
/// agent's remaining lines.
fn ends_lose_no_verdict(name: &str, ends: u16, mut end: impl FnMut(&mut Process) -> Vec<String>) {
    const FIRST: u16 = 20_000;
    let lab = Gateway::new(name).unwrap();
    let kept = Kept::new();
    let _server = lab.serve(&[]).unwrap();
    // Connections before the first agent are nobody's.
    let (mut agent, mut lines) = start(&lab, &kept, &[]);
    let is_over = AtomicBool::new(false);
    let last = std::thread::scope(|scope| {
        let clients = scope.spawn(|| {
            for port in FIRST.. {
                let refused = output(&mut refusal(&lab, port)).unwrap();
                let code = refused.status.code();
                assert_eq!(code, Some(UNTRUSTED), "{port}: {refused:?}");
                if is_over.load(Ordering::Relaxed) {
                    return port;
                }
            }
            panic!("ports ran out");
        });
        for _ in 0..ends {
            lines.extend(end(&mut agent));
            let (next, said) = start(&lab, &kept, &[]);
            assert!(
                has_line(&said, "adopted the programs of an earlier agent"),
                "{said:?}"
            );
            lines.extend(said);
            agent = next;
        }
        is_over.store(true, Ordering::Relaxed);
        clients.join().unwrap()
    });
    let all = usize::from(last - FIRST + 1);
    let deadline = std::time::Instant::now() + PATIENCE;
    while ports(&lines).len() < all && std::time::Instant::now() < deadline {
        lines.extend(agent.lines());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let (_, rest) = agent.stop(Signal::SIGTERM).unwrap();
    assert!(has_line(&rest, "lost: nothing"), "{rest:?}");
    let missing: Vec<_> = (FIRST..=last)
        .filter(|port| !ports(&lines).contains(port))
        .collect();
    assert!(
        missing.is_empty(),
        "of {all} connections after {ends} ends these have no verdict: {missing:?}"
    );
    let ids = ids_of_new(&lines);
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!(ports(&lines), (FIRST..=last).collect());
    assert_eq!(distinct.len(), all, "a connection has two identities");
    println!(
        "{ends} ends, {all} failed connections, {all} with a verdict, {} written twice",
        ids.len() - distinct.len()
    );
    assert!(ids.len() - distinct.len() <= usize::from(ends));
    detach(&lab, &kept);
}

#[test]
#[ignore = "minutes; `cargo xtask chaos --only kills`"]
fn a_hundred_kills_lose_no_verdict() {
    let kills = std::env::var("TLSWHY_KILLS").map_or(KILLS, |it| it.parse().expect("a number"));
    let mut random = Random::new(1);
    ends_lose_no_verdict("kills", kills, |agent| {
        let wait = random.between(0, 400);
        std::thread::sleep(std::time::Duration::from_millis(wait));
        agent.stop(Signal::SIGKILL).unwrap().1
    });
}

/// Agents that reach their memory limit.
const LIMITED: u16 = 5;

/// The limit is that of the unit, `MemoryMax=`: a cgroup's. The kernel ends a process in it that needs more.
#[test]
#[ignore = "half a minute; `cargo xtask chaos --only memory`"]
fn a_memory_limit_loses_no_verdict() {
    ends_lose_no_verdict("memory", LIMITED, |agent| {
        let group = MemoryGroup::with(agent.id());
        group.limit();
        let rest = agent.ended(PATIENCE).unwrap();
        assert_eq!(
            group.kills(),
            1,
            "another than the kernel ended it: {rest:?}"
        );
        rest
    });
}
