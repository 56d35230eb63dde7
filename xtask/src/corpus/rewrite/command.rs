//! `cargo xtask corpus-rewrite`: rewrites of captures on disk, with their labels.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::capture::{Capture, ETHERNET, Frame};
use super::flow::Flows;
use super::label::{COLUMNS, Label};
use super::random::Random;
use super::{Variant, synthetic, variants, with_honest_resets, with_injected_resets};

const CONNECTION_COLUMNS: &str = "file\tstream\tcause\tintercepted\tended_by\tsni\tnote";

/// What to rewrite.
#[derive(clap::Args)]
pub struct Arguments {
    /// A capture (classic pcap, Ethernet), or a folder with labels.tsv and perhaps connections.tsv
    #[arg(long = "in", value_name = "FILE-OR-FOLDER")]
    input: Option<PathBuf>,
    /// Truth of a single capture
    #[arg(long, default_value = "established")]
    cause: String,
    /// Whether an interceptor was in it: yes, no, or nothing if unknown
    #[arg(long, default_value = "")]
    intercepted: String,
    /// Who ended it: client, server, middlebox, or nothing if unknown
    #[arg(long, default_value = "", value_name = "SIDE")]
    ended_by: String,
    /// Take only this TCP connection of a capture (Wireshark's tcp.stream); repeatable
    #[arg(long = "stream", value_name = "N")]
    streams: Vec<usize>,
    /// Where rewrites and their labels.tsv go; rows are added to what is there
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Of each base and kind of rewrite, at most so many, drawn by lot; 0 means all
    #[arg(long, default_value_t = 0, value_name = "N")]
    most: usize,
    /// Also write traffic that isn't TLS
    #[arg(long)]
    noise: bool,
}

/// A base capture with its truth.
struct Base {
    name: String,
    frames: Vec<Frame>,
    label: Label,
    /// Rows of connections.tsv without the file name.
    connections: Vec<String>,
}

/// Writes all rewrites.
///
/// # Errors
/// If a capture can't be read or a rewrite can't be written.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let bases = match &arguments.input {
        Some(input) if input.is_dir() => of_folder(input)?,
        Some(input) => of_file(input, arguments)?,
        None if arguments.noise => Vec::new(),
        None => bail!("nothing to rewrite: name a capture with --in, or ask for --noise"),
    };
    let out = &arguments.out;
    let count = write(&bases, out, arguments.most, arguments.noise)?;
    println!(
        "{count} rewrites of {} captures in {}",
        bases.len(),
        out.display()
    );
    Ok(())
}

/// Rewrites all captures of a labelled folder, each in at most `most` ways of each kind, and adds
/// traffic that isn't TLS; returns how many captures that makes.
///
/// # Errors
/// If a capture can't be read or a rewrite can't be written.
pub fn rewrite_folder(folder: &Path, out: &Path, most: usize) -> anyhow::Result<usize> {
    write(&of_folder(folder)?, out, most, true)
}

fn write(bases: &[Base], out: &Path, most: usize, noise: bool) -> anyhow::Result<usize> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let mut writer = Writer::new(out);
    for base in bases {
        for kind in kinds(base) {
            for variant in some_of(kind, most, &base.name) {
                writer.write(&base.name, &variant, &base.connections)?;
            }
        }
    }
    if noise {
        for variant in synthetic() {
            writer.write("", &variant, &[])?;
        }
    }
    writer.finish()
}

/// The rewrites of a base, by kind.
fn kinds(base: &Base) -> Vec<Vec<Variant>> {
    let mut kinds = vec![variants(&base.frames, &base.label)];
    let single = base.connections.len() <= 1;
    // In a capture of many connections one truth for all would be a guess.
    if base.label.cause == "established" && single {
        let injected = with_injected_resets(&base.frames, &base.label);
        let (ending, ignored): (Vec<_>, Vec<_>) = injected
            .into_iter()
            .partition(|variant| variant.label.cause == "injected-reset");
        kinds.extend([
            ending,
            ignored,
            with_honest_resets(&base.frames, &base.label),
        ]);
    }
    kinds
}

/// At most `most`, drawn by lot: an even step would always meet the same kinds.
fn some_of(all: Vec<Variant>, most: usize, seed: &str) -> Vec<Variant> {
    if most == 0 || all.len() <= most {
        return all;
    }
    let mut random = Random::named(seed);
    let mut chosen = HashSet::new();
    while chosen.len() < most {
        chosen.insert(random.below(all.len()));
    }
    let numbered = all.into_iter().enumerate();
    numbered
        .filter(|(number, _)| chosen.contains(number))
        .map(|(_, variant)| variant)
        .collect()
}

fn of_file(path: &Path, arguments: &Arguments) -> anyhow::Result<Vec<Base>> {
    let capture = read(path)?;
    let label = Label {
        intercepted: arguments.intercepted.clone(),
        ..Label::default().ending(&arguments.cause, &arguments.ended_by)
    };
    let name = stem(path);
    if arguments.streams.is_empty() {
        return Ok(vec![Base {
            name,
            frames: capture.frames,
            label,
            connections: Vec::new(),
        }]);
    }
    let flows = Flows::of(&capture.frames);
    let bases = arguments.streams.iter().map(|stream| {
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

/// All captures of a labelled folder; where one holds several connections, also each that worked alone.
fn of_folder(folder: &Path) -> anyhow::Result<Vec<Base>> {
    let labels = folder.join("labels.tsv");
    let table =
        fs::read_to_string(&labels).with_context(|| format!("cannot read {}", labels.display()))?;
    let connections = fs::read_to_string(folder.join("connections.tsv")).unwrap_or_default();
    let rows = rows(&connections);
    let mut bases = Vec::new();
    for (cells, label) in labelled(&table) {
        let Some(file) = cells.first().filter(|file| is_pcap(file)) else {
            continue;
        };
        let path = folder.join(file);
        let capture = match read(&path) {
            Ok(capture) => capture,
            Err(error) => {
                eprintln!("left out: {error:#}");
                continue;
            }
        };
        let own: Vec<_> = rows.iter().filter(|row| row.file == *file).collect();
        let flows = Flows::of(&capture.frames);
        for row in &own {
            let Some(flow) = flows.flows.get(row.stream) else {
                continue;
            };
            let mut label = label.clone();
            label.cause.clone_from(&row.label.cause);
            label.intercepted.clone_from(&row.label.intercepted);
            label.ended_by.clone_from(&row.label.ended_by);
            label.group.clear();
            if label.cause == "established" && own.len() > 1 {
                bases.push(Base {
                    name: format!("{}-s{}", stem(&path), row.stream),
                    frames: Flows::only(flow.clone()).frames(),
                    label,
                    connections: Vec::new(),
                });
            }
        }
        // A group needs its other files beside it, which a rewrite hasn't.
        let mut label = label;
        label.group.clear();
        bases.push(Base {
            name: stem(&path),
            frames: capture.frames,
            label,
            connections: own.iter().map(|row| row.rest.clone()).collect(),
        });
    }
    Ok(bases)
}

struct Row {
    file: String,
    stream: usize,
    label: Label,
    /// The row in the order of [`CONNECTION_COLUMNS`], without the file.
    rest: String,
}

fn rows(table: &str) -> Vec<Row> {
    let header: Vec<&str> = table
        .lines()
        .next()
        .unwrap_or_default()
        .split('\t')
        .collect();
    let place = |name: &str| header.iter().position(|column| *column == name);
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |name| place(name).and_then(|place| cells.get(place)).copied();
        let columns = CONNECTION_COLUMNS.split('\t').skip(1);
        let rest: Vec<&str> = columns.map(|name| cell(name).unwrap_or_default()).collect();
        Some(Row {
            file: cell("file")?.to_owned(),
            stream: cell("stream")?.trim().parse().ok()?,
            label: Label::read(&header, &cells),
            rest: rest.join("\t"),
        })
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// Rows of labels.tsv: the file's name first, then what is true of it.
fn labelled(table: &str) -> Vec<(Vec<&str>, Label)> {
    let mut lines = table.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let file = header.iter().position(|column| *column == "file");
    let row = |line| {
        let cells: Vec<&str> = str::split(line, '\t').collect();
        let name = file.and_then(|place| cells.get(place).copied())?;
        Some((vec![name], Label::read(&header, &cells)))
    };
    lines.filter_map(row).collect()
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

/// The file's name without what says its format.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = EXTENSIONS
        .iter()
        .find_map(|extension| name.strip_suffix(extension));
    stem.unwrap_or(&name).to_owned()
}

struct Writer<'a> {
    folder: &'a Path,
    labels: String,
    connections: String,
    count: usize,
}

impl<'a> Writer<'a> {
    fn new(folder: &'a Path) -> Self {
        let before = |name: &str, header: String| {
            fs::read_to_string(folder.join(name)).unwrap_or_else(|_| header + "\n")
        };
        Self {
            folder,
            labels: before("labels.tsv", COLUMNS.join("\t")),
            connections: before("connections.tsv", CONNECTION_COLUMNS.to_owned()),
            count: 0,
        }
    }

    fn write(&mut self, base: &str, variant: &Variant, rows: &[String]) -> anyhow::Result<()> {
        let separator = if base.is_empty() { "" } else { "-" };
        let extension = variant.capture.format.extension();
        let name = format!("{base}{separator}{}.{extension}", variant.suffix);
        let path = self.folder.join(&name);
        fs::write(&path, variant.capture.to_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
        let start = format!("{name}\t");
        if !self.labels.lines().any(|line| line.starts_with(&start)) {
            self.labels.push_str(&variant.label.line(&name));
            self.labels.push('\n');
            for row in rows.iter().filter(|_| variant.keeps_connections) {
                writeln!(self.connections, "{name}\t{row}")?;
            }
        }
        self.count += 1;
        Ok(())
    }

    fn finish(self) -> anyhow::Result<usize> {
        for (name, table) in [
            ("labels.tsv", &self.labels),
            ("connections.tsv", &self.connections),
        ] {
            let path = self.folder.join(name);
            fs::write(&path, table).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled_folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let clients = crate::root().join("tests/captures/clients.pcap");
        fs::copy(clients, folder.path().join("clients.pcap")).unwrap();
        let labels = "note\tfile\tcause\nn\tclients.pcap\tcertificate-rejected\n";
        fs::write(folder.path().join("labels.tsv"), labels).unwrap();
        let rows =
            "file\tstream\tcause\nclients.pcap\t0\tca-not-trusted\nclients.pcap\t4\testablished\n";
        fs::write(folder.path().join("connections.tsv"), rows).unwrap();
        folder
    }

    #[test]
    fn a_labelled_folder_gives_a_labelled_folder() {
        let folder = labelled_folder();
        let out = folder.path().join("out");
        let arguments = Arguments {
            input: Some(folder.path().to_owned()),
            cause: String::new(),
            intercepted: String::new(),
            ended_by: String::new(),
            streams: Vec::new(),
            out: out.clone(),
            most: 5,
            noise: true,
        };
        run(&arguments).unwrap();
        let labels = fs::read_to_string(out.join("labels.tsv")).unwrap();
        for (cells, label) in labelled(&labels) {
            assert!(out.join(cells[0]).is_file(), "{}", cells[0]);
            assert!(!label.cause.is_empty());
        }
        let count = |cause: &str| {
            let rows = labelled(&labels);
            rows.iter()
                .filter(|(_, label)| label.cause == cause)
                .count()
        };
        assert_eq!(count("certificate-rejected"), 5);
        assert_eq!(count("injected-reset"), 5);
        assert!(count("established") >= 10 && count("none") > 20);
        let connections = fs::read_to_string(out.join("connections.tsv")).unwrap();
        assert_eq!(connections.lines().count(), 1 + 5 * 2);
        // Run again, it adds nothing twice.
        run(&arguments).unwrap();
        assert_eq!(fs::read_to_string(out.join("labels.tsv")).unwrap(), labels);
    }

    #[test]
    fn a_base_of_another_link_type_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("raw.pcap");
        let capture = Capture {
            link_type: 101,
            ..Capture::ethernet(Vec::new())
        };
        fs::write(&path, capture.to_bytes()).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("link type 101"), "{error}");
    }
}
