//! The packages, installed on a clean Debian that runs systemd.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod documents;
mod service;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use documents::{commands, follow, follow_all};
use lab::demo::story::{Scene, Story};
use lab::host::{Machine, Namespace, output, run, words};
use serde_json::Value;
use service::{
    await_causes, configure, folder, install, journald, kill, main_pid, messages, packages,
    wait_until,
};

/// A refusal that others decide is told two seconds after it at the latest.
const VERDICT_DUE: Duration = Duration::from_secs(3);
/// CAP_NET_ADMIN and CAP_BPF (capabilities(7)).
const KEPT: u64 = 1 << 12 | 1 << 39;

/// Plays a scene to its end.
fn play(mut scene: Scene) {
    let result = output(&mut scene.command).unwrap();
    let expected = scene.cause.is_none();
    assert_eq!(
        scene.worked(&result),
        expected,
        "{}: {result:?}",
        scene.title
    );
}

/// Plays a scene in which a connection is reset by a third party. On a busy machine the forged segment
/// may come too late, and then it changes nothing.
fn play_until_reset(mut scene: Scene) {
    const CHANCES: u32 = 40;
    let mut is_reset = || {
        let result = output(&mut scene.command).unwrap();
        !scene.worked(&result)
    };
    assert!((0..CHANCES).any(|_| is_reset()), "no reset came in time");
}

#[test]
fn the_service_tells_the_story_through_kills_and_an_upgrade() {
    let tools = lab::build::build_lab().unwrap();
    let files = tempfile::tempdir().unwrap();
    let story = Story::new("tw-install", files.path(), &tools).unwrap();
    let machine = Machine::boot(story.gateway(), folder()).unwrap();
    let [_, second] = packages();
    follow(&machine, "install.md", "Install");
    follow(&machine, "install.md", "Name the interfaces");
    wait_until("the configuration was not taken", &machine, || {
        messages(&machine).contains("reloaded: watch.interfaces, inspection.ca")
    });

    let mut scenes = story.scenes().into_iter();
    for _ in 0..4 {
        play(scenes.next().unwrap());
    }
    await_causes(&machine, &["pinning"]);

    // The connection failed, and nothing was said of it yet.
    play(scenes.next().unwrap());
    kill(&machine);
    await_causes(&machine, &["pinning", "pinning"]);

    follow(&machine, "operate.md", "Verdicts in a file");
    // Nobody is there when it fails: the kernel keeps it.
    kill(&machine);
    play(scenes.next().unwrap());
    await_causes(&machine, &["pinning", "pinning", "ca-not-trusted"]);

    // The verdict waits for the journal when its agent is killed.
    let again = story.scenes().swap_remove(4);
    journald(&machine, "stop");
    play(again);
    std::thread::sleep(VERDICT_DUE);
    kill(&machine);
    journald(&machine, "start");
    let pinned_thrice = ["pinning", "pinning", "ca-not-trusted", "pinning"];
    await_causes(&machine, &pinned_thrice);

    let old = main_pid(&machine);
    let mut upgrade = install(&machine, second)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    play_until_reset(scenes.next().unwrap());
    assert!(upgrade.wait().unwrap().success());
    assert_ne!(main_pid(&machine), old, "the new version runs");
    await_causes(
        &machine,
        &[&pinned_thrice[..], &["injected-reset"]].concat(),
    );
    assert!(scenes.next().is_none());

    let file = machine.run("cat /var/log/tlswhy/verdicts.json").unwrap();
    // It was new, and began with the verdicts that its agent repeated.
    let all = [&pinned_thrice[..], &["injected-reset"]].concat();
    assert_eq!(causes_of(&file), all, "{file}");

    let said = messages(&machine);
    let adopted = "adopted the programs of an earlier agent";
    assert_eq!(said.matches(adopted).count(), 5, "{said}");
    let explained = machine
        .shell(&commands("journal-fields.md", "Queries")[0])
        .unwrap();
    assert!(
        explained.contains("Exclude this destination"),
        "{explained}"
    );
    for document in ["operate.md", "journal-fields.md"] {
        follow_all(&machine, document);
    }
}

/// The causes in a file of verdicts; one in flight at a kill may be there twice, under one identity.
fn causes_of(lines: &str) -> Vec<String> {
    let mut ids = BTreeSet::new();
    let mut once = Vec::new();
    for line in lines.lines() {
        let verdict: Value = serde_json::from_str(line).unwrap();
        if ids.insert(verdict["id"].to_string()) {
            once.push(verdict["cause"].as_str().unwrap().to_owned());
        }
    }
    once
}

#[test]
fn the_service_is_a_good_citizen_and_leaves_nothing_behind() {
    let network = Namespace::new("tw-citizen").unwrap();
    let peer = Namespace::new("tw-citizen-peer").unwrap();
    lab::host::connect((&network, "lan0", &[]), (&peer, "eth0", &[])).unwrap();
    let machine = Machine::boot(&network, folder()).unwrap();
    packages();
    follow(&machine, "install.md", "Install");
    wait_until("an interface is not tapped", &machine, || {
        messages(&machine).contains("tap lan0: ingress")
    });

    refuses_a_wrong_configuration(&machine);
    does_not_start_with_a_wrong_configuration(&machine);
    has_few_rights(&machine);
    // A warning does not change its exit code.
    let said = machine
        .shell("systemd-analyze verify --man=no tlswhy.service 2>&1")
        .unwrap();
    assert!(said.is_empty(), "{said}");
    is_restarted_when_it_hangs(&machine);
    goes_away(&machine);
}

fn has_few_rights(machine: &Machine) {
    let status = machine.shell(&format!("cat /proc/{}/status", main_pid(machine)));
    let status = status.unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {status}"))
            .trim()
            .to_owned()
    };
    assert_ne!(of("Uid:").split_whitespace().next(), Some("0"));
    let kept = u64::from_str_radix(&of("CapPrm:"), 16).unwrap();
    assert_eq!(kept, KEPT, "{kept:x}");
    assert_eq!(of("NoNewPrivs:"), "1");
    assert_eq!(of("Seccomp:"), "2", "system calls are filtered");
    let threads = machine.shell(&format!(
        "cd /proc/{}/task; for it in *; do echo $(cat $it/comm) $(grep CapPrm $it/status); done",
        main_pid(machine)
    ));
    let threads = threads.unwrap();
    let others: Vec<&str> = threads
        .lines()
        .filter(|it| !it.starts_with("tlswhy "))
        .collect();
    for name in ["sink-journald ", "history ", "metrics "] {
        assert!(others.iter().any(|it| it.starts_with(name)), "{threads}");
    }
    assert!(
        others.iter().all(|it| it.ends_with(" 0000000000000000")),
        "{threads}"
    );
}

fn refuses_a_wrong_configuration(machine: &Machine) {
    let before = main_pid(machine);
    configure(machine, "[watch]\ninterfcaes = [\"lan0\"]\n");
    let refused = machine.run("systemctl reload tlswhy");
    assert!(refused.is_err(), "a wrong file is not taken");
    wait_until("the mistake is not named", machine, || {
        messages(machine).contains("/etc/tlswhy/tlswhy.toml:2:1")
    });
    follow(machine, "install.md", "Name the interfaces");
    assert_eq!(main_pid(machine), before);
}

fn does_not_start_with_a_wrong_configuration(machine: &Machine) {
    configure(machine, "[watch]\ninterfcaes = [\"lan0\"]\n");
    assert!(machine.run("systemctl restart tlswhy").is_err());
    let state = machine.run("systemctl is-failed tlswhy").unwrap();
    assert_eq!(state.trim(), "failed", "it is not started again and again");
    configure(
        machine,
        "[watch]\ninterfaces = [\"lan0\"]\n[metrics]\nlisten = \"127.0.0.1:9745\"\n",
    );
    machine.run("systemctl start tlswhy").unwrap();
    wait_until("metrics are not served", machine, || {
        messages(machine).contains("metrics are served on 127.0.0.1:9745")
    });
}

fn is_restarted_when_it_hangs(machine: &Machine) {
    let drop_in = "mkdir -p /run/systemd/system/tlswhy.service.d
        printf '[Service]\\nWatchdogSec=5\\n' > /run/systemd/system/tlswhy.service.d/watchdog.conf
        systemctl daemon-reload
        systemctl restart tlswhy";
    machine.shell(drop_in).unwrap();
    let hung = main_pid(machine);
    machine.shell(&format!("kill -STOP {hung}")).unwrap();
    wait_until("it was not restarted", machine, || {
        let now = main_pid(machine);
        now != hung && now != "0"
    });
    wait_until("it does not run", machine, || {
        machine.run("systemctl is-active --quiet tlswhy").is_ok()
    });
    let said = machine.run("journalctl --no-pager --unit=tlswhy").unwrap();
    assert!(said.contains("Watchdog timeout"), "{said}");
    machine
        .run("rm -r /run/systemd/system/tlswhy.service.d")
        .unwrap();
}

/// Everything on the machine that has tlswhy in its name.
fn traces(machine: &Machine) -> Vec<String> {
    let script =
        "find / -xdev \\( -path /proc -o -path /shared \\) -prune -o -name '*tlswhy*' -print
        find /run /sys/fs/bpf /tmp -name '*tlswhy*' -print
        getent passwd tlswhy || true
        getent group tlswhy || true";
    let found = machine.shell(script).unwrap();
    found.lines().map(str::to_owned).collect()
}

fn goes_away(machine: &Machine) {
    assert!(pins(machine) > 0, "programs were pinned");
    let remove = commands("install.md", "Remove");
    machine.shell(&remove[0]).unwrap();
    // Records of dpkg and of systemd's helper for it stay until the configuration goes.
    let records = ["/var/lib/dpkg/info/", "/var/lib/systemd/deb-systemd-helper"];
    let mut left = traces(machine);
    left.retain(|path| !records.iter().any(|record| path.starts_with(record)));
    // The configuration of logrotate names the user.
    left.retain(|line| !line.starts_with("tlswhy:x:"));
    assert!(
        left.iter().all(|path| path.starts_with("/etc/")),
        "{left:#?}"
    );
    assert!(
        left.contains(&"/etc/tlswhy/tlswhy.toml".to_owned()),
        "{left:#?}"
    );
    assert_eq!(pins(machine), 0, "programs stay on interfaces");

    machine.shell(&remove[1]).unwrap();
    let left = traces(machine);
    assert!(left.is_empty(), "{left:#?}");
}

/// The pinned objects, as root of this machine sees them.
fn pins(machine: &Machine) -> usize {
    let directory = machine.bpffs().join("tlswhy");
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    entries.count()
}

#[test]
fn the_unit_exposes_little() {
    let unit = xtask::root().join("packaging/systemd/tlswhy.service");
    let mut command = words("systemd-analyze security --offline=true --no-pager --threshold=20");
    let said = run(command.arg(unit)).unwrap();
    assert!(said.contains("Overall exposure level"), "{said}");
}

#[test]
fn both_packages_bring_the_same() {
    let packages = &packages()[0];
    let list = |command: &mut Command| -> Vec<String> {
        let said = run(command).unwrap();
        let mut paths: Vec<String> = said
            .lines()
            .filter(|line| !line.ends_with('/'))
            .map(|line| {
                let path = line.split_whitespace().last().unwrap_or_default();
                path.trim_start_matches('.')
                    .trim_end_matches(".gz")
                    .replace("vendor-completions", "site-functions")
            })
            .collect();
        paths.sort();
        paths
    };
    let mut deb = list(words("dpkg-deb --contents").arg(&packages.deb));
    // Debian asks for it by this name; an RPM has its licence in its header.
    deb.retain(|path| path != "/usr/share/doc/tlswhy/copyright");
    let rpm = list(words("rpm --query --package --list").arg(&packages.rpm));
    assert_eq!(deb, rpm);
    for page in [
        "tlswhy.8",
        "tlswhy-run.8",
        "tlswhy-check-config.8",
        "tlswhy-detach.8",
        "tlswhy-exclusions.8",
        "tlswhy-probe.8",
        "tlswhy-status.8",
    ] {
        assert!(
            deb.contains(&format!("/usr/share/man/man8/{page}")),
            "{deb:#?}"
        );
    }
    assert!(deb.contains(&"/usr/share/man/man5/tlswhy.toml.5".to_owned()));
}
