//! A whole folder: real captures, labels made by hand, and an agent that prints prepared verdicts.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::agent::Agent;
use super::{Read, Score, compare, score};
use crate::labels::Folder;
use xtask::{root, setup};

/// tests/captures/README.md, by Wireshark's numbers.
const TRUTHS: [(&str, &[&str]); 2] = [
    (
        "story.pcap",
        &[
            "established",
            "established",
            "pinning",
            "pinning",
            "ca-not-trusted",
            "injected-reset",
        ],
    ),
    (
        "clients.pcap",
        &[
            "ca-not-trusted",
            "established",
            "pinning",
            "ca-not-trusted",
            "established",
            "pinning",
            "unsupported-parameters",
            "ca-not-trusted",
            "ca-not-trusted",
            "ca-not-trusted",
        ],
    ),
];

/// A made-up verdict: tap, client, server, cause, confidence.
const SAID: &[(&str, &str, &str, &str, f64)] = &[
    (
        "story.pcap",
        "10.77.1.2:54016",
        "10.77.3.2:443",
        "abandoned",
        0.4,
    ),
    (
        "story.pcap",
        "10.77.1.2:54032",
        "10.77.3.2:443",
        "pinning",
        0.9,
    ),
    (
        "story.pcap",
        "10.77.1.2:54048",
        "10.77.3.2:443",
        "certificate-rejected",
        0.9,
    ),
    (
        "story.pcap",
        "10.77.1.2:54056",
        "10.77.3.2:443",
        "pinning",
        0.8,
    ),
    (
        "story.pcap",
        "10.77.1.2:39662",
        "10.77.3.3:443",
        "injected-reset",
        0.97,
    ),
    (
        "clients.pcap",
        "127.0.0.1:33092",
        "127.0.0.1:4443",
        "ca-not-trusted",
        0.9,
    ),
    (
        "clients.pcap",
        "127.0.0.1:33154",
        "127.0.0.1:4443",
        "unsupported-parameters",
        0.9,
    ),
];

/// Makes the folder: captures, labels, and a shell script for an agent.
fn folder(group: &str) -> (tempfile::TempDir, Agent) {
    let folder = tempfile::tempdir().unwrap();
    let mut labels = "file\tcause\tintercepted\tgroup\n".to_owned();
    let mut connections = "file\tstream\tcause\n".to_owned();
    for (file, truths) in TRUTHS {
        std::fs::copy(
            root().join("tests/captures").join(file),
            folder.path().join(file),
        )
        .unwrap();
        writeln!(labels, "{file}\tpinning\t\t{group}").unwrap();
        for (stream, cause) in truths.iter().enumerate() {
            writeln!(connections, "{file}\t{stream}\t{cause}").unwrap();
        }
    }
    let mut script = "#!/bin/sh\n".to_owned();
    for (tap, client, server, cause, confidence) in SAID {
        let (client, client_port) = client.rsplit_once(':').unwrap();
        let (server, server_port) = server.rsplit_once(':').unwrap();
        let time = if *tap == "story.pcap" {
            "12:14:03"
        } else {
            "11:48:22"
        };
        writeln!(
            script,
            r#"case "$*" in *{tap}*) echo '{{"time":"2026-11-23T{time}Z","tap":"{tap}","community_id":"1:{client_port}","client":{{"ip":"{client}","port":{client_port}}},"server":{{"ip":"{server}","port":{server_port}}},"sni":null,"cause":"{cause}","confidence":{confidence},"intercepted":"yes","ended_by":"client","evidence":[{{"name":"some-fact","detail":"as seen","weight":1.5}}],"revises":null}}';; esac"#
        )
        .unwrap();
    }
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("labels.tsv", &labels);
    write("connections.tsv", &connections);
    write("agent", &script);
    let path = folder.path().join("agent");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let agent = Agent {
        path,
        inspection_ca: Vec::new(),
        intercepted: None,
    };
    (folder, agent)
}

fn scored(path: &Path, agent: &Agent) -> (Folder, Read, Score) {
    let folder = Folder::read(path).unwrap();
    let read = Read::new(&folder).unwrap();
    let score = score(&folder, &read, agent, false).unwrap();
    (folder, read, score)
}

#[test]
fn a_folder_is_scored() {
    let (folder, agent) = folder("");
    let (_, _, score) = scored(folder.path(), &agent);
    let tally = &score.tally;
    assert_eq!((score.runs, score.verdicts, score.unlabelled), (2, 7, 0));
    // Established: three of four. Told: two pinning, one reset, one CA, one parameters.
    assert_eq!(
        (tally.right.part, tally.right.whole, tally.open),
        (8, 16, 1)
    );
    assert_eq!(
        (tally.successes_failed.part, tally.successes_failed.whole),
        (1, 4)
    );
    assert_eq!(
        (tally.injected_told.part, tally.injected_told.whole),
        (1, 1)
    );
    assert_eq!(tally.false_pinning.len(), 1);
    let text = score.to_string();
    let told = "story.pcap stream 4: truth ca-not-trusted, verdict pinning 0.80 (10.77.1.2:54056 → 10.77.3.2:443)\n  evidence  +1.5 some-fact: as seen";
    assert!(text.contains(told), "{text}");
    assert!(
        text.contains("clients.pcap stream 9: truth ca-not-trusted, no verdict"),
        "{text}"
    );
    assert!(
        text.contains("MISSED    no pinning at 0.8 or more where it isn't: 1"),
        "{text}"
    );
}

#[test]
fn a_group_is_one_run() {
    let (folder, agent) = folder("both");
    let (_, _, score) = scored(folder.path(), &agent);
    assert_eq!((score.runs, score.verdicts), (1, 7));
    assert_eq!((score.tally.right.part, score.tally.open), (7, 0));
}

#[test]
fn other_ways_are_put_beside() {
    if !setup::is_there("tshark") {
        eprintln!("tshark is not there: nothing to compare with");
        return;
    }
    let (folder, agent) = folder("");
    let logs = "file\tinterceptor\tlog\n\
        story.pcap\tproxy\t[10.77.1.2:54032] The client does not trust the proxy's certificate for a.test\n\
        story.pcap\tproxy\t[10.77.1.2:54016] tlsv1 alert protocol version\n";
    std::fs::write(folder.path().join("interceptor-logs.tsv"), logs).unwrap();
    let labels = "file\tcause\tinterceptor\nstory.pcap\tpinning\tproxy\nclients.pcap\tpinning\t\n";
    std::fs::write(folder.path().join("labels.tsv"), labels).unwrap();
    let (folder, read, score) = scored(folder.path(), &agent);
    let rows = compare::compare(&folder, &read.streams, &score.cases).unwrap();
    let numbers: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.right,
                row.open,
                row.wrong,
                row.silent,
                row.successes.part,
            )
        })
        .collect();
    let expected = [
        // The agent.
        (5, 1, 1, 6, 1),
        // Four rejections in the clear and a handshake_failure.
        (5, 4, 0, 7, 0),
        // Every name but blocked.test was used; one connection has no name and stands for itself.
        (0, 0, 2, 10, 0),
        (0, 0, 0, 12, 0),
        // The proxy's two lines: one of four failures, and a success.
        (1, 1, 0, 3, 1),
    ];
    assert_eq!(numbers, expected, "{}", compare::Markdown(&rows));
}
