//! Verdicts through a real systemd-journald, read back with `journalctl`.
//!
//! Each test runs its own journald in a mount namespace of its own, so that the machine's journal
//! neither sees nor disturbs it. Needs root and the package `systemd`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use detector_user::outlet::sink::{DEFAULT_SOCKET, Journald, Output, Sink, SinkOptions, Sinks};
use detector_user::verdict::{Evidence, Verdict};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

const JOURNALD: &str = "/lib/systemd/systemd-journald";
const DIRECTORY: &str = "/run/log/journal";
const CONFIG: &str = "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\nReadKMsg=no\nAudit=no\n";
/// The longest that a test waits before it calls an entry lost; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);

const PINNING: &str = concat!(
    r#"{"time":"2026-11-23T08:30:01.123456789Z","tap":"lan0","community_id":"1:LQU9qZlK+B5F3KDmev6m5PMibrg=","#,
    r#""client":{"ip":"10.0.1.2","port":40112},"server":{"ip":"2001:db8::443","port":443},"vlan":[100,7],"#,
    r#""sni":"api.pinned.test","alpn":["h2","http/1.1"],"ja4":"t13d1516h2_8daaf6152771_02713d6af862","tls_version":"1.3","#,
    r#""cause":"pinning","confidence":0.97,"intercepted":"yes","issuer":"CN=Prüfstelle 検査","#,
    r#""ended_by":"client","alert":{"from":"client","level":"fatal","code":46,"description":"certificate_unknown","encrypted":false},"#,
    r#""reset":{"from":"middlebox","injected":true,"tells":["the server went on","ttl 61, the server's were 52"]},"duration_ms":14.2,"pan_os":"policy-deny","#,
    r#""evidence":[{"name":"client-alert","detail":"after the server's Certificate","weight":2.5},{"name":"other-apps","detail":"3 of 3 succeed","weight":1.25}],"#,
    r#""advice":"exclude api.pinned.test from decryption","revises":"an earlier one","#,
    r#""id":"0123456789abcdef","revision":1,"supersedes":"fedcba9876543210"}"#,
);

/// A journald that this thread, and what it starts, sees in place of the machine's own.
struct PrivateJournal {
    journald: Child,
}

impl PrivateJournal {
    fn start() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test needs root: run it with sudo"
        );
        assert!(
            Path::new(JOURNALD).exists(),
            "{JOURNALD} is missing: apt-get install systemd"
        );
        assert!(
            std::fs::read_to_string("/etc/machine-id").is_ok_and(|id| id.trim().len() == 32),
            "journald needs /etc/machine-id: run systemd-machine-id-setup"
        );
        // Of this thread only: other tests keep the machine's view.
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private mounts");
        let none = MsFlags::empty();
        mount(Some("tmpfs"), "/run", Some("tmpfs"), none, None::<&str>).expect("tmpfs on /run");
        std::fs::create_dir_all("/run/systemd/journal").unwrap();
        std::fs::create_dir_all("/run/systemd/journald.conf.d").unwrap();
        std::fs::write("/run/systemd/journald.conf.d/99-test.conf", CONFIG).unwrap();
        Self {
            journald: start_journald(),
        }
    }

    fn stop(&mut self) {
        self.journald.kill().unwrap();
        self.journald.wait().unwrap();
        let _ = std::fs::remove_file(DEFAULT_SOCKET);
    }

    fn restart(&mut self) {
        self.journald = start_journald();
    }

    /// The entries the agent wrote, once there are `count`.
    fn entries(&self, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let entries = read_journal();
            if entries.len() >= count {
                assert_eq!(entries.len(), count, "{entries:#?}");
                return entries;
            }
            assert!(
                Instant::now() < deadline,
                "{} of {count} entries arrived",
                entries.len()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for PrivateJournal {
    fn drop(&mut self) {
        let _ = self.journald.kill();
        let _ = self.journald.wait();
    }
}

fn start_journald() -> Child {
    let journald = Command::new(JOURNALD)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("systemd-journald starts");
    let deadline = Instant::now() + PATIENCE;
    let probe = UnixDatagram::unbound().unwrap();
    while probe.connect(DEFAULT_SOCKET).is_err() {
        assert!(
            Instant::now() < deadline,
            "journald never listened on {DEFAULT_SOCKET}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    journald
}

fn read_journal() -> Vec<Value> {
    let output = Command::new("journalctl")
        .args([
            "--directory",
            DIRECTORY,
            "--output=json",
            "--all",
            "--quiet",
            "-t",
            "tlswhy",
        ])
        .output()
        .expect("journalctl runs");
    // Before the first entry there may be no journal file to read.
    let text = String::from_utf8(output.stdout).expect("journalctl writes UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect()
}

/// The fields the agent sent, each with its values in a fixed order: the journal keeps none.
fn sent_fields(entry: &Value) -> BTreeMap<String, Vec<String>> {
    let is_ours = |name: &str| {
        name.starts_with("TLSWHY_")
            || ["MESSAGE", "MESSAGE_ID", "PRIORITY", "SYSLOG_IDENTIFIER"].contains(&name)
    };
    let fields = entry
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| is_ours(name));
    fields
        .map(|(name, value)| (name.clone(), values(value)))
        .collect()
}

/// journalctl gives a repeated field as an array, and what is not printable as an array of bytes.
fn values(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(bytes) if bytes.iter().all(Value::is_u64) => {
            let bytes = bytes
                .iter()
                .map(|b| u8::try_from(b.as_u64().unwrap()).unwrap());
            vec![String::from_utf8(bytes.collect()).unwrap()]
        }
        Value::Array(several) => {
            let mut all: Vec<_> = several.iter().flat_map(values).collect();
            all.sort();
            all
        }
        other => panic!("journalctl never writes {other}"),
    }
}

fn pinning() -> Verdict {
    serde_json::from_str(PINNING).unwrap()
}

#[test]
fn every_field_is_read_back() {
    let journal = PrivateJournal::start();
    Journald::open(DEFAULT_SOCKET)
        .unwrap()
        .write(&pinning())
        .unwrap();
    let [entry] = &journal.entries(1)[..] else {
        unreachable!()
    };
    insta::assert_json_snapshot!(sent_fields(entry));
    // journald's own field: the entry came through it and from this process.
    assert_eq!(entry["_PID"], std::process::id().to_string());
}

#[test]
fn what_is_unknown_is_no_field() {
    let journal = PrivateJournal::start();
    let unknown = Verdict {
        sni: None,
        alpn: None,
        ja4: None,
        tls_version: None,
        issuer: None,
        alert: None,
        reset: None,
        duration_ms: None,
        pan_os: None,
        evidence: vec![],
        advice: None,
        revises: None,
        supersedes: None,
        ..pinning()
    };
    Journald::open(DEFAULT_SOCKET)
        .unwrap()
        .write(&unknown)
        .unwrap();
    let names: Vec<_> = sent_fields(&journal.entries(1)[0]).into_keys().collect();
    insta::assert_snapshot!(names.join("\n"));
}

#[test]
fn a_hostile_name_forges_no_field() {
    let journal = PrivateJournal::start();
    let name = "two\nlines\nPRIORITY=0\nTLSWHY_CAUSE=established\n\u{1b}[31m";
    let verdict = Verdict {
        sni: Some(name.into()),
        ..pinning()
    };
    Journald::open(DEFAULT_SOCKET)
        .unwrap()
        .write(&verdict)
        .unwrap();
    let fields = sent_fields(&journal.entries(1)[0]);
    assert_eq!(fields["TLSWHY_SNI"], [name]);
    assert_eq!(fields["PRIORITY"], ["4"]);
    assert_eq!(fields["TLSWHY_CAUSE"], ["pinning"]);
    let [message] = &fields["MESSAGE"][..] else {
        panic!("{:?}", fields["MESSAGE"])
    };
    assert!(!message.contains(char::is_control), "{message:?}");
}

#[test]
fn more_than_a_datagram_holds_arrives_whole() {
    let journal = PrivateJournal::start();
    let detail = "ein längerer Grund\n".repeat(400_000);
    let socket = UnixDatagram::unbound().unwrap();
    let refused = socket
        .send_to(detail.as_bytes(), DEFAULT_SOCKET)
        .unwrap_err();
    assert_eq!(
        refused.raw_os_error(),
        Some(libc::EMSGSIZE),
        "the test's size is too small"
    );

    let evidence = Evidence {
        name: "long".into(),
        detail: detail.clone(),
        weight: 1.0,
    };
    let verdict = Verdict {
        evidence: vec![evidence],
        ..pinning()
    };
    let mut sink = Journald::open(DEFAULT_SOCKET).unwrap();
    sink.write(&verdict).unwrap();
    sink.write(&pinning()).unwrap();

    let entries = journal.entries(2);
    let fields = sent_fields(&entries[0]);
    let [evidence] = &fields["TLSWHY_EVIDENCE"][..] else {
        panic!("one evidence was sent")
    };
    let evidence: Evidence = serde_json::from_str(evidence).unwrap();
    assert!(
        evidence.detail == detail,
        "{} bytes came back",
        evidence.detail.len()
    );
    assert_eq!(fields["TLSWHY_CAUSE"], ["pinning"]);
    assert_eq!(sent_fields(&entries[1])["TLSWHY_EVIDENCE"].len(), 2);
}

#[test]
fn a_restarted_journald_gets_the_next_verdict() {
    let mut journal = PrivateJournal::start();
    let mut sink = Journald::open(DEFAULT_SOCKET).unwrap();
    sink.write(&pinning()).unwrap();
    journal.entries(1);
    journal.stop();
    let error = sink.write(&pinning()).unwrap_err();
    assert_eq!(error.kind(), "journald-missing");
    journal.restart();
    sink.write(&pinning()).unwrap();
    journal.entries(2);
}

/// Sinks as `tlswhy run` starts them, with the journal alone.
fn sinks(folder: &Path, fold: Duration) -> Sinks {
    start(SinkOptions {
        fold,
        ..options(folder)
    })
}

fn options(folder: &Path) -> SinkOptions {
    SinkOptions {
        outputs: vec![Output::Journald],
        json_file: None,
        waits_for_file: false,
        queue: 16,
        fold: Duration::ZERO,
        state_directory: Some(folder.to_owned()),
        spill_max: 1 << 20,
        runtime_directory: None,
        journal_socket: DEFAULT_SOCKET.into(),
    }
}

fn start(options: SinkOptions) -> Sinks {
    let (sinks, warnings) = Sinks::start(&options).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    sinks
}

fn from_port(port: u16) -> Verdict {
    let mut verdict = pinning();
    (verdict.revises, verdict.client.port) = (None, port);
    verdict.community_id = format!("1:{port}");
    verdict
}

fn ports(entries: &[Value]) -> Vec<u16> {
    let port = |entry: &Value| {
        entry["TLSWHY_CLIENT_PORT"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    };
    entries.iter().map(port).collect()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn while_journald_is_away_verdicts_wait_on_disk_and_follow_in_order_each_once() {
    let mut journal = PrivateJournal::start();
    let folder = tempfile::tempdir().unwrap();
    let mut first = sinks(folder.path(), Duration::ZERO);
    journal.stop();
    let mut told = Vec::new();
    for port in 1..=60 {
        told.extend(first.write(&from_port(port)));
        until("there is room", || first.status()[0].queued < 16);
    }
    until("some spilled", || first.status()[0].spilled_bytes > 0);
    // The agent ends, and another begins, while journald is still away.
    told.extend(first.close(Duration::ZERO));
    assert!(first.losses().is_empty(), "{:?}", first.losses());
    assert_eq!(told.len(), 1, "told once: {told:?}");
    let mut second = sinks(folder.path(), Duration::ZERO);
    for port in 61..=65 {
        let _ = second.write(&from_port(port));
    }
    journal.restart();
    let entries = journal.entries(65);
    assert_eq!(ports(&entries), (1..=65).collect::<Vec<u16>>());
    until("nothing waits any more", || {
        second.status()[0].spilled_bytes == 0
    });
    let _ = second.close(PATIENCE);
    journal.entries(65);
    // A third has nothing left to write: the next entry is its own.
    let mut third = sinks(folder.path(), Duration::ZERO);
    let _ = third.write(&from_port(66));
    let _ = third.close(PATIENCE);
    assert_eq!(ports(&journal.entries(66)), (1..=66).collect::<Vec<u16>>());
}

/// Each agent goes again through what the one before it had taken, also what waits on disk.
#[test]
fn what_waits_on_disk_and_is_come_to_again_is_written_once() {
    let mut journal = PrivateJournal::start();
    let (state, runtime) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let begin = || {
        start(SinkOptions {
            runtime_directory: Some(runtime.path().to_owned()),
            ..options(state.path())
        })
    };
    journal.stop();
    let mut spilled = Vec::new();
    for _ in 0..3 {
        let mut sinks = begin();
        for port in 1..=40 {
            let _ = sinks.write(&from_port(port));
            until("there is room", || sinks.status()[0].queued < 16);
        }
        let _ = sinks.close(Duration::ZERO);
        assert!(sinks.losses().is_empty(), "{:?}", sinks.losses());
        spilled.push(sinks.status()[0].spilled_bytes);
    }
    assert!(spilled[0] > 0);
    assert_eq!(spilled, [spilled[0]; 3], "it waits once");
    journal.restart();
    for last in [45, 50] {
        let mut sinks = begin();
        for port in 1..=last {
            let _ = sinks.write(&from_port(port));
            until("there is room", || sinks.status()[0].queued < 16);
        }
        let _ = sinks.close(PATIENCE);
        let written = journal.entries(usize::from(last));
        assert_eq!(ports(&written), (1..=last).collect::<Vec<u16>>());
    }
}

/// One that takes an entry now and then is never away, and still falls behind.
#[test]
fn for_a_journald_that_is_slow_verdicts_wait_on_disk_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let journald = UnixDatagram::bind(&socket).unwrap();
    let mut sinks = start(SinkOptions {
        journal_socket: socket,
        ..options(folder.path())
    });
    let next = || {
        let mut entry = vec![0; 64 << 10];
        let length = journald.recv(&mut entry).unwrap();
        let text = String::from_utf8_lossy(&entry[..length]).into_owned();
        let mut fields = text.lines();
        let port = fields.find_map(|field| field.strip_prefix("TLSWHY_CLIENT_PORT="));
        port.unwrap().parse::<u16>().unwrap()
    };
    journald.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut given, mut taken) = (0, Vec::new());
    while sinks.status()[0].spilled_bytes == 0 || given < 1500 {
        given += 1;
        let _ = sinks.write(&from_port(given));
        until("there is room", || sinks.status()[0].queued < 16);
        if given % 3 == 0 {
            taken.push(next());
        }
        assert!(given < u16::MAX, "nothing ever waited on disk");
    }
    while taken.len() < usize::from(given) {
        taken.push(next());
    }
    assert!(taken.into_iter().eq(1..=given));
    assert!(sinks.losses().is_empty(), "{:?}", sinks.losses());
}

#[test]
fn a_journald_that_takes_nothing_is_waited_for() {
    let journal = PrivateJournal::start();
    let folder = tempfile::tempdir().unwrap();
    let mut sinks = sinks(folder.path(), Duration::ZERO);
    let pid = nix::unistd::Pid::from_raw(journal.journald.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    // More than its socket holds.
    for port in 1..=300 {
        let _ = sinks.write(&from_port(port));
        until("there is room", || sinks.status()[0].queued < 16);
    }
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap();
    let entries = journal.entries(300);
    assert_eq!(ports(&entries), (1..=300).collect::<Vec<u16>>());
    assert!(sinks.losses().is_empty(), "{:?}", sinks.losses());
}

/// The explanation that `journalctl -x` shows beside an entry, with the packaged catalog installed here alone.
fn explained() -> String {
    let catalogs = "/usr/lib/systemd/catalog";
    let none = None::<&str>;
    mount(
        Some("tmpfs"),
        catalogs,
        Some("tmpfs"),
        MsFlags::empty(),
        none,
    )
    .unwrap();
    mount(
        Some("tmpfs"),
        "/var/lib/systemd",
        Some("tmpfs"),
        MsFlags::empty(),
        none,
    )
    .unwrap();
    std::fs::create_dir_all("/var/lib/systemd/catalog").unwrap();
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/tlswhy.catalog");
    std::fs::copy(ours, Path::new(catalogs).join("tlswhy.catalog")).unwrap();
    let updated = Command::new("journalctl")
        .arg("--update-catalog")
        .status()
        .unwrap();
    assert!(updated.success());
    let shown = Command::new("journalctl")
        .args([
            "--directory",
            DIRECTORY,
            "--catalog",
            "--quiet",
            "--no-pager",
            "-t",
            "tlswhy",
        ])
        .output()
        .unwrap();
    String::from_utf8(shown.stdout).unwrap()
}

#[test]
fn repeats_are_counted_and_the_catalog_says_what_to_do() {
    let journal = PrivateJournal::start();
    let folder = tempfile::tempdir().unwrap();
    let mut sinks = sinks(folder.path(), Duration::from_secs(3600));
    for port in 1..=5 {
        let _ = sinks.write(&from_port(port));
    }
    until("four are counted", || sinks.status()[0].folded == 4);
    let _ = sinks.close(PATIENCE);
    let entries = journal.entries(2);
    let [count] = &sent_fields(&entries[1])["TLSWHY_REPEATS"][..] else {
        panic!("{entries:#?}")
    };
    assert_eq!(count, "4");
    assert_eq!(ports(&entries), [1, 5]);
    let message = entries[1]["MESSAGE"].as_str().unwrap();
    assert!(
        message.contains("pinning 4 more times since 2026-11-23T08:30:01Z"),
        "{message}"
    );
    let explained = explained();
    for words in [
        "An app accepts no certificate but its own: api.pinned.test",
        "Exclude this destination\nfrom decryption",
        "A verdict was repeated 4 times",
    ] {
        let words = words.replace('\n', "\n░░ ");
        assert!(explained.contains(&words), "{words:?} in {explained}");
    }
}

/// Nothing can be written where verdicts are to wait, or only a little.
#[test]
fn a_full_disk_loses_what_it_must_and_says_how_much() {
    let mut journal = PrivateJournal::start();
    let folder = tempfile::tempdir().unwrap();
    let size = Some("size=16k");
    mount(
        Some("tmpfs"),
        folder.path(),
        Some("tmpfs"),
        MsFlags::empty(),
        size,
    )
    .unwrap();
    let mut sinks = sinks(folder.path(), Duration::ZERO);
    journal.stop();
    let mut told = Vec::new();
    for port in 1..=100 {
        told.extend(sinks.write(&from_port(port)));
        until("there is room, or will be none", || {
            let status = &sinks.status()[0];
            status.queued < 8 || status.lost.contains_key("spill")
        });
    }
    told.extend(sinks.flush());
    let words: Vec<String> = told.iter().map(ToString::to_string).collect();
    assert!(
        words
            .iter()
            .any(|it| it.contains("output to disk: No space left")),
        "{words:?}"
    );
    // What is on disk, and the last ones, for which there is memory.
    until("none is in between", || sinks.status()[0].queued == 16);
    let [loss] = sinks.losses()[..] else {
        panic!("{:?}", sinks.losses())
    };
    assert_eq!((loss.output, loss.kind), ("journald", "spill"));
    let kept = 100 - loss.verdicts as u16;
    journal.restart();
    let entries = journal.entries(kept.into());
    let on_disk = kept - 16;
    let expected: Vec<u16> = (1..=on_disk).chain(85..=100).collect();
    assert!(on_disk > 0, "{expected:?}");
    assert_eq!(ports(&entries), expected);
    let _ = sinks.close(PATIENCE);
    assert_eq!(sinks.losses(), [loss], "nothing more");
}
