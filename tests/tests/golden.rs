//! The verdicts on the committed corpus, byte for byte as they were.
//!
//! A wanted change is blessed by `TLSWHY_BLESS=1 cargo test -p tests --test golden`, which writes
//! the file again; `git diff` of it is of no use, so the commit says which verdicts changed and why.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use lab::labels::Folder;
use lab::score::agent::Agent;
use tests::gateway::agent;

/// Differing lines that a failure shows.
const SHOWN: usize = 5;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/corpus")
}

/// One JSON object a line, in the order of labels.tsv; captures of a group are judged together.
fn verdicts() -> String {
    let folder = Folder::read(&corpus()).unwrap();
    let agent = Agent {
        path: agent().to_owned(),
        inspection_ca: vec![],
        intercepted: None,
    };
    let mut all = String::new();
    for run in folder.runs(false) {
        let captures = run.iter().map(|index| &folder.captures[*index]);
        let paths: Vec<&Path> = captures.map(|one| one.path.as_path()).collect();
        let (lines, failure) = agent.lines(&paths, &[]).unwrap();
        assert_eq!(failure, None, "{paths:?}");
        all.push_str(&lines);
    }
    all
}

fn read(path: &Path) -> String {
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text
}

fn write(path: &Path, text: &str) {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(text.as_bytes()).unwrap();
    std::fs::write(path, packed.finish().unwrap()).unwrap();
}

/// Pairs of lines that differ, with their number; a missing line is empty.
fn differences<'a>(golden: &'a str, now: &'a str) -> Vec<(usize, &'a str, &'a str)> {
    let count = golden.lines().count().max(now.lines().count());
    let padded = |text: &'a str| text.lines().chain(std::iter::repeat(""));
    padded(golden)
        .zip(padded(now))
        .take(count)
        .enumerate()
        .filter(|(_, (golden, now))| golden != now)
        .map(|(index, (golden, now))| (index + 1, golden, now))
        .collect()
}

#[test]
fn the_corpus_is_judged_as_it_was() {
    let path = corpus().join("verdicts.jsonl.gz");
    let now = verdicts();
    if std::env::var_os("TLSWHY_BLESS").is_some() {
        write(&path, &now);
        return;
    }
    let golden = read(&path);
    let differences = differences(&golden, &now);
    let mut shown = String::new();
    for (line, golden, now) in differences.iter().take(SHOWN) {
        shown.push_str(&format!("line {line}\n- {golden}\n+ {now}\n"));
    }
    assert!(
        differences.is_empty() && golden == now,
        "{} of {} lines differ; the first:\n{shown}\
         if that is wanted: TLSWHY_BLESS=1 cargo test -p tests --test golden",
        differences.len(),
        golden.lines().count(),
    );
}

#[test]
fn every_differing_line_is_reported() {
    assert_eq!(differences("a\nb\n", "a\nb\n"), []);
    assert_eq!(
        differences("a\nb\n", "a\nc\nd\n"),
        [(2, "b", "c"), (3, "", "d")]
    );
    assert_eq!(differences("a\nb\n", "a\n"), [(2, "b", "")]);
}
