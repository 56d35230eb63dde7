//! Verdicts on labelled captures, held against their labels: the committed corpus, and rewrites of it
//! that no rule can know.

use std::path::{Path, PathBuf};

use lab::labels::{Cause, Folder};
use lab::rewrite::command::rewrite_folder;
use lab::score::agent::Agent;
use lab::score::controls::{self, Outcomes, Without};
use lab::score::goals::Goal;
use lab::score::{Read, Score, score};
use tests::gateway::agent;

/// The goal that TLS 1.3 hides from everybody but the peers (see docs/accuracy.md).
const HIDDEN: &str = "recall of decrypt-error";

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/corpus")
}

/// The agent without hints.
fn unhinted() -> Agent {
    Agent {
        path: agent().to_owned(),
        inspection_ca: vec![],
        intercepted: None,
    }
}

fn scored(folder: &Path) -> Score {
    let folder = Folder::read(folder).unwrap();
    score(&folder, &Read::new(&folder).unwrap(), &unhinted(), false).unwrap()
}

/// Every goal but those about `out_of_reach`.
fn assert_reached(score: &Score, out_of_reach: &[&str]) {
    let is_missed = |goal: &&Goal| {
        goal.met == Some(false) && !out_of_reach.iter().any(|part| goal.goal.contains(part))
    };
    let missed: Vec<_> = score.goals.iter().filter(is_missed).collect();
    assert!(missed.is_empty(), "{missed:?}\n{score}");
    assert!(score.unread.is_empty(), "{:?}", score.unread);
}

#[test]
fn the_corpus_is_judged_rightly() {
    let score = scored(&corpus());
    assert!(score.captures >= 600);
    assert_reached(&score, &[HIDDEN]);
    let shown = score.goals.iter().filter(|goal| goal.met == Some(true));
    // All but the two about injected resets and hidden damage: those need rewrites, or cannot be.
    assert_eq!(shown.count(), score.goals.len() - 2, "{score}");
}

#[test]
fn refusals_without_their_controls_are_told_rightly_or_left_open() {
    let folder = Folder::read(&corpus()).unwrap();
    let read = Read::new(&folder).unwrap();
    // The pins and the missing CAs told at least (see docs/accuracy.md).
    for (without, told) in [
        (Without::NameAccepted, [29, 168]),
        (Without::OtherNames, [0, 18]),
        (Without::All, [0, 0]),
    ] {
        let score = controls::score(&folder, &read, &unhinted(), without).unwrap();
        assert!(score.unread.is_empty(), "{:?}", score.unread);
        assert_eq!(score.cases.len(), 204);
        let controls = score.controls.as_ref().unwrap();
        assert_eq!(controls.wrong_told(), 0, "{score}");
        for (cause, told) in [Cause::Pinning, Cause::CaNotTrusted].into_iter().zip(told) {
            let of = controls.outcomes.get(cause).copied();
            let of: Outcomes = of.unwrap_or_default();
            assert!(of.told >= told, "{cause}\n{score}");
        }
    }
}

/// Every third capture, so that it takes no minutes.
fn some_of_the_corpus() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let labels = std::fs::read_to_string(corpus().join("labels.tsv")).unwrap();
    let mut rows = labels.lines();
    let mut some = format!("{}\n", rows.next().unwrap());
    for row in rows.step_by(3) {
        let file = row.split('\t').next().unwrap();
        std::fs::copy(corpus().join(file), folder.path().join(file)).unwrap();
        some.push_str(row);
        some.push('\n');
    }
    std::fs::write(folder.path().join("labels.tsv"), some).unwrap();
    folder
}

#[test]
fn rewrites_of_the_corpus_are_judged_rightly() {
    let some = some_of_the_corpus();
    let folder = tempfile::tempdir().unwrap();
    let count = rewrite_folder(some.path(), folder.path(), 1).unwrap();
    assert!(count >= 300, "{count}");
    // Among the rewrites are some that lose the client's alert, and each is judged alone: a
    // handshake that was never used is then no failure, though it may be a refusal.
    let out_of_reach = [HIDDEN, "recall of pinning", "recall of ca-not-trusted"];
    assert_reached(&scored(folder.path()), &out_of_reach);
}
