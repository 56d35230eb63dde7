//! The installed service: its package, configuration, log and verdicts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use lab::host::Machine;
use serde_json::Value;
use tests::gateway::PATIENCE;
use xtask::package::{self, Build, Packages};

/// Two packages that differ in their revision.
pub(super) fn packages() -> &'static [Packages; 2] {
    static PACKAGES: OnceLock<[Packages; 2]> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        ["1", "2"].map(|revision| package::build(revision, None, Build::Tested).unwrap())
    })
}

pub(super) fn folder() -> &'static Path {
    packages()[0].deb.parent().unwrap()
}

pub(super) fn install(machine: &Machine, package: &Packages) -> Command {
    let name = package.deb.file_name().unwrap().to_str().unwrap();
    machine.command(&format!("apt-get install --yes /shared/{name}"))
}

pub(super) fn configure(machine: &Machine, text: &str) {
    let script = format!("cat > /etc/tlswhy/tlswhy.toml <<'END'\n{text}END\n");
    machine.shell(&script).unwrap();
}

pub(super) fn main_pid(machine: &Machine) -> String {
    let pid = machine.run("systemctl show --property=MainPID --value tlswhy");
    pid.unwrap().trim().to_owned()
}

/// The service's log.
pub(super) fn messages(machine: &Machine) -> String {
    machine
        .run("journalctl --no-pager --output=cat --unit=tlswhy")
        .unwrap()
}

pub(super) fn wait_until(what: &str, machine: &Machine, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}:\n{}", messages(machine));
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn verdicts(machine: &Machine) -> Vec<Value> {
    let journal = machine.run("journalctl --no-pager --output=json --identifier=tlswhy");
    let journal = journal.unwrap();
    let entries = journal
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    entries
        .filter(|entry: &Value| entry.get("TLSWHY_CAUSE").is_some())
        .collect()
}

/// Verdicts by cause. The one in flight may be written twice when its agent is killed, under one identity.
fn causes(machine: &Machine) -> BTreeMap<String, usize> {
    let mut causes = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for verdict in verdicts(machine) {
        if !ids.insert(verdict["TLSWHY_ID"].to_string()) {
            continue;
        }
        let cause = verdict["TLSWHY_CAUSE"].as_str().unwrap();
        *causes.entry(cause.to_owned()).or_default() += 1;
    }
    causes
}

pub(super) fn await_causes(machine: &Machine, expected: &[&str]) {
    let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
    for cause in expected {
        *wanted.entry((*cause).to_owned()).or_default() += 1;
    }
    let all = |found: &BTreeMap<String, usize>| found.values().sum::<usize>();
    wait_until("a verdict is missing", machine, || {
        all(&causes(machine)) >= expected.len()
    });
    let found = verdicts(machine);
    assert_eq!(causes(machine), wanted, "{found:#?}\n{}", messages(machine));
}

pub(super) fn kill(machine: &Machine) {
    machine
        .run("systemctl kill --kill-who=main --signal=KILL tlswhy")
        .unwrap();
}

/// Stops journald with its sockets, or starts it.
pub(super) fn journald(machine: &Machine, verb: &str) {
    let units = "systemd-journald.socket systemd-journald-dev-log.socket \
                 systemd-journald-audit.socket systemd-journald.service";
    machine.run(&format!("systemctl {verb} {units}")).unwrap();
}
