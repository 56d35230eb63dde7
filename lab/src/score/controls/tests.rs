//! Captures of the corpus and of the laboratory's story, and an agent that prints prepared verdicts.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::names::names;
use super::{Named, Outcomes, Without, runs_of};
use crate::labels::{Capture, Cause, Folder, Truth};
use crate::score::agent::Agent;
use crate::score::{Read, Score};
use xtask::root;

fn truth(cause: Cause) -> Truth {
    Truth {
        cause,
        intercepted: None,
        ended_by: None,
        note: None,
    }
}

fn capture(path: &Path, app: Option<&str>, cause: Cause) -> Capture {
    Capture {
        file: path.display().to_string(),
        path: path.to_owned(),
        truth: truth(cause),
        connections: Vec::new(),
        client: app.map(str::to_owned),
        interceptor: None,
        group: Some("g".to_owned()),
        inspection_ca: None,
        damaged: false,
    }
}

#[test]
fn names_are_the_hellos_or_else_the_destinations() {
    let of = |file: &str| {
        let path = root().join("tests/captures").join(file);
        names(&capture(&path, None, Cause::Established))
    };
    let story = [
        "api.pinned.test",
        "www.works.test",
        "api.pinned.test",
        "api.pinned.test",
        "api.pinned.test",
        "blocked.test",
    ];
    assert_eq!(of("story.pcap"), story);
    let mut clients = ["api.pinned.test"; 10];
    clients[9] = "127.0.0.1:4443";
    assert_eq!(of("clients.pcap"), clients);
}

/// A group by app, cause and names; the places of the captures that its first is judged with.
fn kept(group: &[(&str, Cause, &[&str])], without: Without) -> Vec<usize> {
    let captures: Vec<Capture> = group
        .iter()
        .map(|(app, cause, _)| capture(&PathBuf::new(), Some(*app), *cause))
        .collect();
    let named = captures
        .iter()
        .zip(group)
        .map(|(capture, (.., names))| Named {
            capture,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        });
    let named: Vec<_> = named.enumerate().collect();
    let (index, _, run) = runs_of(&named, without).swap_remove(0);
    assert_eq!(index, 0);
    run
}

#[test]
fn captures_are_left_out_by_app_cause_and_name() {
    let group: [(&str, Cause, &[&str]); 6] = [
        ("one", Cause::Pinning, &["a"]),
        ("other", Cause::Established, &["a"]),
        ("other", Cause::Established, &["b"]),
        ("other", Cause::Pinning, &["a"]),
        ("one", Cause::Established, &["a"]),
        ("other", Cause::Established, &["b", "a"]),
    ];
    assert_eq!(kept(&group, Without::NameAccepted), [0, 2, 3, 4]);
    assert_eq!(kept(&group, Without::OtherNames), [0, 1, 3, 4, 5]);
    assert_eq!(kept(&group, Without::All), [0]);
}

#[test]
fn connections_with_labels_of_their_own_are_refusals_one_by_one() {
    let mut refused = capture(&PathBuf::new(), Some("one"), Cause::Established);
    refused.connections = vec![
        (0, truth(Cause::Established)),
        (1, truth(Cause::Pinning)),
        (2, truth(Cause::CaNotTrusted)),
    ];
    let other = capture(&PathBuf::new(), Some("other"), Cause::Established);
    let named = |capture, names: &[&str]| Named {
        capture,
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    let group = [
        (7, named(&refused, &["a", "b", "c"])),
        (8, named(&other, &["b"])),
    ];
    let runs = runs_of(&group, Without::NameAccepted);
    let runs: Vec<_> = runs
        .into_iter()
        .map(|(index, refused, run)| (index, refused.stream, run))
        .collect();
    assert_eq!(runs, [(7, Some(1), vec![7]), (7, Some(2), vec![7, 8])]);
}

const GROUP: &str = "pin-curl-sslsplit-1.2";

/// One group of the corpus, and an agent that pins where another app's acceptance is there, blames
/// the CA where other names are, and where nothing is blames it first and leaves it open then.
fn folder() -> (tempfile::TempDir, Agent) {
    let folder = tempfile::tempdir().unwrap();
    let mut labels = "file\tcause\tclient\tgroup\n".to_owned();
    for (scenario, cause, app) in [
        ("pins-pinned-curl", "pinning", "curl"),
        ("accepts-shop-curl", "established", "curl"),
        ("accepts-pinned-go", "established", "go"),
    ] {
        let file = format!("{GROUP}.{scenario}-sslsplit-tls12.pcap.gz");
        let from = root().join("tests/captures/corpus").join(&file);
        std::fs::copy(from, folder.path().join(&file)).unwrap();
        labels += &format!("{file}\t{cause}\t{app}\t{GROUP}\n");
    }
    std::fs::write(folder.path().join("labels.tsv"), labels).unwrap();
    let verdict = |cause: &str, confidence: f64, revises: &str| {
        format!(
            r#"echo '{{"time":"2026-11-23T12:14:03Z","tap":"{GROUP}.pins-pinned-curl-sslsplit-tls12.pcap.gz","community_id":"1:1","client":{{"ip":"10.0.0.1","port":1}},"server":{{"ip":"10.0.0.2","port":443}},"sni":null,"cause":"{cause}","confidence":{confidence},"intercepted":"yes","ended_by":"client","revises":{revises}}}'"#
        )
    };
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *accepts-pinned-go*) {};; *accepts-shop*) {};; *) {}; {};; esac\n",
        verdict("pinning", 0.9, "null"),
        verdict("ca-not-trusted", 0.69, "null"),
        verdict("ca-not-trusted", 0.7, "null"),
        verdict("certificate-rejected", 0.8, r#""2026-11-23T12:14:03Z 1:1""#),
    );
    let path = folder.path().join("agent");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let agent = Agent {
        path,
        inspection_ca: Vec::new(),
        intercepted: None,
    };
    (folder, agent)
}

#[test]
fn a_wrong_cause_counts_from_0_7_on_also_if_it_is_revised() {
    let (folder, agent) = folder();
    let folder = Folder::read(folder.path()).unwrap();
    let read = Read::new(&folder).unwrap();
    let scored = |without| super::score(&folder, &read, &agent, without).unwrap();
    let outcomes = |score: &Score| {
        assert_eq!((score.cases.len(), score.runs), (1, 1));
        let of = &score.controls.as_ref().unwrap().outcomes;
        *of.get(Cause::Pinning).unwrap()
    };

    let told = scored(Without::OtherNames);
    let expected = Outcomes {
        told: 1,
        ..Outcomes::default()
    };
    assert_eq!(outcomes(&told), expected);
    assert_eq!(told.goals[0].met, Some(true));

    let unsure = scored(Without::NameAccepted);
    let expected = Outcomes {
        wrong: 1,
        ..Outcomes::default()
    };
    assert_eq!(outcomes(&unsure), expected);
    assert_eq!(unsure.goals[0].met, Some(true));

    let alone = scored(Without::All);
    let expected = Outcomes {
        open: 1,
        wrong_told: 1,
        ..Outcomes::default()
    };
    assert_eq!(outcomes(&alone), expected);
    assert_eq!(alone.goals[0].met, Some(false));
    let text = alone.to_string();
    assert!(
        text.contains("MISSED    no wrong cause at 0.7 or more: 1"),
        "{text}"
    );
    assert!(text.contains("without all"), "{text}");
    let json = serde_json::to_value(&alone).unwrap();
    assert_eq!(json["controls"]["outcomes"]["pinning"]["open"], 1);
}
