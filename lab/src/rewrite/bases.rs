//! Captures to rewrite, with their truth.

use std::path::Path;

use anyhow::{Context, bail};

use super::flow::Flows;
use crate::capture::{Capture, ETHERNET, Frame};
use crate::labels::{CONNECTIONS, LABELS, Label, Record, Table};

/// The columns of `connections.tsv` as rewrites have them, behind the file's name.
pub(super) const CONNECTION_COLUMNS: [&str; 6] =
    ["stream", "cause", "intercepted", "ended_by", "sni", "note"];

/// A base capture with its truth.
pub(super) struct Base {
    /// The capture's name without its extension.
    pub(super) name: String,
    pub(super) frames: Vec<Frame>,
    pub(super) label: Label,
    /// Rows of connections.tsv without the file name.
    pub(super) connections: Vec<String>,
}

/// Returns a capture as one base, or those of its connections that are in `streams`.
///
/// # Errors
/// If it can't be read or has no such connection.
pub(super) fn of_file(path: &Path, label: &Label, streams: &[usize]) -> anyhow::Result<Vec<Base>> {
    let capture = read(path)?;
    let name = stem(&path.to_string_lossy()).to_owned();
    if streams.is_empty() {
        return Ok(vec![Base {
            name,
            frames: capture.frames,
            label: label.clone(),
            connections: Vec::new(),
        }]);
    }
    let flows = Flows::of(&capture.frames);
    let bases = streams.iter().map(|stream| {
        let flow = flows.flows.get(*stream);
        let flow = flow.with_context(|| format!("{} has no stream {stream}", path.display()))?;
        Ok(Base {
            name: format!("{name}-s{stream}"),
            frames: Flows::only(flow.clone()).frames(),
            label: label.clone(),
            connections: Vec::new(),
        })
    });
    bases.collect()
}

/// Returns all captures of a labelled folder that can be rewritten; where one holds several
/// connections, also each that worked alone.
///
/// # Errors
/// If a table can't be read.
pub(super) fn of_folder(folder: &Path) -> anyhow::Result<Vec<Base>> {
    let labels = Table::read(&folder.join(LABELS), &["file"])?;
    let connections = folder.join(CONNECTIONS);
    let connections = if connections.exists() {
        Table::read(&connections, &["file", "stream"])?
    } else {
        Table::default()
    };
    let mut bases = Vec::new();
    for row in labels.records() {
        let file = row.cell("file");
        if !is_pcap(file) {
            continue;
        }
        match read(&folder.join(file)) {
            Ok(capture) => {
                let own = connections.records().filter(|row| row.cell("file") == file);
                bases.extend(of_capture(file, capture, &row, &own.collect::<Vec<_>>()));
            }
            Err(error) => eprintln!("left out: {error:#}"),
        }
    }
    Ok(bases)
}

/// Returns a capture and, where it holds several connections, each that worked alone.
fn of_capture(file: &str, capture: Capture, row: &Record, connections: &[Record]) -> Vec<Base> {
    let name = stem(file);
    let mut whole = Label::read(row);
    // A group needs its other files beside it, which a rewrite hasn't.
    whole.group.clear();
    let flows = Flows::of(&capture.frames);
    let single = |row: &Record| {
        let stream: usize = row.cell("stream").parse().ok()?;
        let one = Label::read(row);
        if one.cause != "established" || connections.len() == 1 {
            return None;
        }
        Some(Base {
            name: format!("{name}-s{stream}"),
            frames: Flows::only(flows.flows.get(stream)?.clone()).frames(),
            label: Label {
                cause: one.cause,
                intercepted: one.intercepted,
                ended_by: one.ended_by,
                ..whole.clone()
            },
            connections: Vec::new(),
        })
    };
    let mut bases: Vec<Base> = connections.iter().filter_map(single).collect();
    let cells = |row: &Record| CONNECTION_COLUMNS.map(|name| row.cell(name)).join("\t");
    bases.push(Base {
        name: name.to_owned(),
        frames: capture.frames,
        label: whole,
        connections: connections.iter().map(cells).collect(),
    });
    bases
}

fn read(path: &Path) -> anyhow::Result<Capture> {
    let capture = Capture::read(path)?;
    if capture.link_type != ETHERNET {
        bail!(
            "{} has link type {}; only Ethernet can be rewritten",
            path.display(),
            capture.link_type
        );
    }
    Ok(capture)
}

const EXTENSIONS: [&str; 2] = [".pcap", ".pcap.gz"];

fn is_pcap(file: &str) -> bool {
    EXTENSIONS.iter().any(|extension| file.ends_with(extension))
}

/// Returns the file's name without folder and extension.
fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    let mut stems = EXTENSIONS.iter();
    let stem = stems.find_map(|extension| name.strip_suffix(extension));
    stem.unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_of_another_link_type_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("raw.pcap");
        let capture = Capture {
            link_type: 101,
            ..Capture::ethernet(Vec::new())
        };
        std::fs::write(&path, capture.to_bytes()).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("link type 101"), "{error}");
    }
}
