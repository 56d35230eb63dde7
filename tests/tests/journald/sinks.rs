//! Sinks as `tlswhy run` starts them: verdicts wait on disk, repeats are folded.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use detector_user::outlet::sink::{
    DEFAULT_SOCKET, Folds, JsonShape, OtlpSettings, Output, SinkOptions, Sinks, SyslogSettings,
};
use detector_user::verdict::Verdict;
use nix::mount::{MsFlags, mount};
use serde_json::Value;

use crate::private_journal::{DIRECTORY, PATIENCE, PrivateJournal};
use crate::{pinning, sent_fields};

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
        json_shape: JsonShape::Json,
        waits_for_file: false,
        queue: 16,
        fold: Duration::ZERO,
        folds: Folds::default(),
        state_directory: Some(folder.to_owned()),
        spill_max: 1 << 20,
        runtime_directory: None,
        syslog: SyslogSettings::default(),
        otlp: OtlpSettings::default(),
        journal_socket: DEFAULT_SOCKET.into(),
        database: None,
    }
}

fn start(options: SinkOptions) -> Sinks {
    let (sinks, mut warnings) = Sinks::start(&options, Vec::new()).unwrap();
    // A test may have stopped it.
    warnings.retain(|it| !it.contains("cannot reach journald"));
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

#[test]
fn a_journald_that_is_away_at_the_start_is_told_once() {
    let mut journal = PrivateJournal::start();
    let folder = tempfile::tempdir().unwrap();
    journal.stop();
    let (mut sinks, warnings) = Sinks::start(&options(folder.path()), Vec::new()).unwrap();
    let expected = format!(
        "cannot reach journald at {DEFAULT_SOCKET}; start systemd-journald or use --output text; \
         verdicts for it wait"
    );
    assert_eq!(warnings, [expected]);
    let mut told = Vec::new();
    for port in 1..=12 {
        told.extend(sinks.write(&from_port(port)));
    }
    // Which happens only once it was tried.
    until("some wait on disk", || sinks.status()[0].spilled_bytes > 0);
    told.extend(sinks.flush());
    assert!(told.is_empty(), "{told:?}");
    journal.restart();
    journal.entries(12);
    assert!(sinks.close(PATIENCE).is_empty());
}

/// Each agent repeats the verdicts of the one before it, also those on disk.
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

/// Connections of one app to one name, each with an earlier verdict that later facts revised.
#[test]
fn of_a_revised_group_one_is_written_and_a_count_names_what_the_others_replace() {
    let journal = PrivateJournal::start();
    let folder = tempfile::tempdir().unwrap();
    let mut sinks = sinks(folder.path(), Duration::from_secs(3600));
    for port in 1..=5 {
        let revision = Verdict {
            revises: Some(format!("earlier 1:{port}")),
            supersedes: Some(format!("{port:016x}")),
            revision: 1,
            ..from_port(port)
        };
        let _ = sinks.write(&revision);
    }
    until("four are counted", || sinks.status()[0].folded == 4);
    let _ = sinks.close(PATIENCE);
    let entries = journal.entries(2);
    assert_eq!(entries[0]["TLSWHY_SUPERSEDES"], "0000000000000001");
    assert_eq!(entries[1]["TLSWHY_REPEATS"], "4");
    let others = [2, 3, 4, 5].map(|port| format!("{port:016x}"));
    assert_eq!(entries[1]["TLSWHY_ALSO_SUPERSEDES"], others.join(" "));
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
    // The verdicts on disk, and the last ones, for which there is memory.
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
