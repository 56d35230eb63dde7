//! `cargo xtask corpus-rewrite`: rewrites of captures on disk, with their labels.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use xtask::commands::{ArgMatches, value, values};

use super::bases::{Base, of_file, of_folder};
use super::random::Random;
use super::variant::Variant;
use super::writer::Writer;
use super::{synthetic, variants, with_honest_resets, with_injected_resets};
use crate::labels::Label;

/// Arguments of `cargo xtask corpus-rewrite`.
pub struct Arguments {
    input: Option<PathBuf>,
    cause: String,
    intercepted: String,
    ended_by: String,
    streams: Vec<usize>,
    out: PathBuf,
    most: usize,
    noise: bool,
}

impl Arguments {
    /// Reads them from the command line.
    #[must_use]
    pub fn of(matches: &ArgMatches) -> Self {
        let text = |name| value(matches, name).unwrap_or_default();
        Self {
            input: value(matches, "in"),
            cause: text("cause"),
            intercepted: text("intercepted"),
            ended_by: text("ended-by"),
            streams: values(matches, "stream"),
            out: value(matches, "out").unwrap_or_default(),
            most: value(matches, "most").unwrap_or_default(),
            noise: matches.get_flag("noise"),
        }
    }
}

/// Writes all rewrites.
///
/// # Errors
/// If a capture can't be read or a rewrite can't be written.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let bases = match &arguments.input {
        Some(input) if input.is_dir() => of_folder(input)?,
        Some(input) => {
            let label = Label {
                intercepted: arguments.intercepted.clone(),
                ..Label::default().ending(&arguments.cause, &arguments.ended_by)
            };
            of_file(input, &label, &arguments.streams)?
        }
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

/// Returns the rewrites of a base, by kind.
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

/// Chooses at most `most` at random: an even step would always meet the same kinds.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Table;

    fn labelled_folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let clients = xtask::root().join("tests/captures/clients.pcap");
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
        let table = Table::parse(&labels, &["file", "cause"]).unwrap();
        for row in table.records() {
            assert!(out.join(row.cell("file")).is_file(), "{row:?}");
        }
        let count = |cause: &str| {
            let rows = table.records();
            rows.filter(|row| row.cell("cause") == cause).count()
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
}
