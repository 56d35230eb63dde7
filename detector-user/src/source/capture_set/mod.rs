//! Several captures in one command: which of them are taps of one gateway.
//!
//! Two captures are taken for taps of one gateway if they overlap in time and show a connection in
//! common; see `kinship`. Such captures are read together, in the order of their frames' times. All
//! others are read one after another, in the order of their beginnings: a shell sorts `cap.pcap10` before
//! `cap.pcap2`. A capture that follows another is of the same tap.

mod kinship;
mod lanes;
mod outline;
mod repeats;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use self::kinship::relatives;
use self::lanes::Lanes;
use self::outline::Outline;
use self::repeats::Ends;

pub use self::repeats::{Repeat, remove_repeats};

/// Maximum number of interfaces of a tap: those of a pcapng file.
const INTERFACES: u32 = 1 << 16;
/// Maximum overlap of captures of one tap that follow each other, nanoseconds.
pub const OVERLAP_NS: u64 = 1_000_000_000;

/// A capture, and the tap that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapCapture {
    /// The file; `-` is standard input.
    pub path: PathBuf,
    /// Number of its tap.
    pub tap: u32,
    /// The tap's name, if the operator gave it one.
    pub name: Option<String>,
    /// Name of the capture among those of the command: that of its file, with folders if another has the same.
    pub label: String,
}

impl TapCapture {
    /// Returns the number among all taps' interfaces of an interface of the file.
    #[must_use]
    pub fn interface(&self, number: u32) -> u32 {
        self.tap.saturating_mul(INTERFACES).saturating_add(number)
    }
}

/// Captures that are read together, in the order of their frames' times.
pub type Round = Vec<TapCapture>;

/// Returns the captures in rounds. `named` are those of named taps of one gateway; of `files` taps of one
/// gateway are recognised, and rounds are in the order of their beginnings, whatever the number of threads that
/// look at the files.
#[must_use]
pub fn rounds(named: &[(String, PathBuf)], files: &[PathBuf], threads: usize) -> Vec<Round> {
    let mut rounds = Vec::new();
    let mut taps: Vec<&str> = Vec::new();
    let mut of_names = Round::new();
    for (name, path) in named {
        let tap = taps.iter().position(|tap| tap == name).unwrap_or_else(|| {
            taps.push(name);
            taps.len() - 1
        });
        of_names.push(TapCapture {
            path: path.clone(),
            tap: tap as u32,
            name: Some(name.clone()),
            label: String::new(),
        });
    }
    if !of_names.is_empty() {
        rounds.push(of_names);
    }
    rounds.extend(guessed(files, taps.len() as u32, threads));
    let named = named.iter().map(|(_, path)| path);
    let ends = Ends::new(named.chain(files).cloned());
    for capture in rounds.iter_mut().flatten() {
        capture.label = ends.label(&capture.path);
    }
    rounds
}

/// Recognises taps of one gateway, and numbers them from `first_tap`.
fn guessed(files: &[PathBuf], first_tap: u32, threads: usize) -> Vec<Round> {
    if files.len() < 2 {
        return files
            .iter()
            .map(|path| vec![alone(path, first_tap)])
            .collect();
    }
    let outlines = outlines(files, threads);
    let related = relatives(&outlines);
    let mut lanes = Lanes::default();
    let mut rounds = Vec::new();
    for group in in_order(related.groups(), &outlines) {
        if let [file] = group.as_slice() {
            let Some(path) = files.get(*file) else {
                continue;
            };
            if let Some(Some(outline)) = outlines.get(*file) {
                lanes.follow(outline);
            }
            rounds.push(vec![alone(path, first_tap)]);
            continue;
        }
        let assigned = lanes.assign(&group, &outlines, &related);
        let captures = assigned.into_iter().filter_map(|(file, lane)| {
            Some(TapCapture {
                path: files.get(file)?.clone(),
                tap: first_tap + lane,
                name: None,
                label: String::new(),
            })
        });
        rounds.push(captures.collect());
    }
    rounds
}

/// Reads the outlines of captures, of several at the same time. A stream has none: it can be read once only.
fn outlines(files: &[PathBuf], threads: usize) -> Vec<Option<Outline>> {
    let outlines: Vec<OnceLock<Outline>> = files.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let read = || {
        while let at = next.fetch_add(1, Ordering::Relaxed)
            && let (Some(path), Some(outline)) = (files.get(at), outlines.get(at))
        {
            let read = path.is_file().then(|| Outline::read(path)).flatten();
            read.map(|read| outline.set(read));
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(files.len()) {
            // Without another thread, this one reads all.
            let _ = thread::Builder::new().spawn_scoped(scope, read);
        }
        read();
    });
    outlines.into_iter().map(OnceLock::into_inner).collect()
}

/// Sorts groups by their beginnings. One without a time, such as a stream, keeps its place behind the one before.
fn in_order(mut groups: Vec<Vec<usize>>, outlines: &[Option<Outline>]) -> Vec<Vec<usize>> {
    let first_ns = |file: &usize| Some(outlines.get(*file)?.as_ref()?.first_ns);
    let mut before_ns = 0;
    let mut begin_ns = HashMap::new();
    for group in &groups {
        before_ns = group.iter().filter_map(first_ns).min().unwrap_or(before_ns);
        begin_ns.insert(group.first().copied(), before_ns);
    }
    groups.sort_by_key(|group| begin_ns.get(&group.first().copied()).copied());
    groups
}

fn alone(path: &std::path::Path, tap: u32) -> TapCapture {
    TapCapture {
        path: path.to_owned(),
        tap,
        name: None,
        label: String::new(),
    }
}
