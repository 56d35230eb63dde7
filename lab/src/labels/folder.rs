//! A folder of captures and their labels.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::cause::{Cause, parse_cause};
use super::table::{Record, Table};
use super::{CONNECTIONS, INTERCEPTOR_LOGS, LABELS};

/// The truth about a capture, or about one connection in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// The cause of its end.
    pub cause: Cause,
    /// Whether an interceptor terminated it, where that is labelled: `yes` or `no`.
    pub intercepted: Option<String>,
    /// The side that ended it, where that is labelled.
    pub ended_by: Option<String>,
    /// For people.
    pub note: Option<String>,
}

/// One capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// As the label names it, relative to the folder.
    pub file: String,
    /// Its path.
    pub path: PathBuf,
    /// True of the capture as a whole.
    pub truth: Truth,
    /// True of its connections by Wireshark's stream number, where they are labelled one by one.
    pub connections: Vec<(u64, Truth)>,
    /// The client program, where that is labelled.
    pub client: Option<String>,
    /// The interceptor in between, where that is labelled.
    pub interceptor: Option<String>,
    /// Captures of one group are given to the agent together.
    pub group: Option<String>,
    /// Issuer of re-signed certificates, told to the agent.
    pub inspection_ca: Option<String>,
    /// It is cut or corrupt on purpose: the agent has to say so.
    pub damaged: bool,
}

/// A line of an interceptor's own log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The capture it belongs to.
    pub file: String,
    /// The interceptor's name.
    pub interceptor: String,
    /// The line.
    pub text: String,
}

/// A folder of labelled captures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its path.
    pub path: PathBuf,
    /// In the order of `labels.tsv`.
    pub captures: Vec<Capture>,
    /// Empty where the folder has none.
    pub logs: Vec<LogLine>,
}

impl Folder {
    /// Reads a folder's tables.
    ///
    /// # Errors
    /// If a table cannot be read or contradicts itself, or a capture is missing: which line.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let labels = path.join(LABELS);
        let table = Table::read(&labels, &["file", "cause"])?;
        let mut captures = Vec::new();
        let mut known = HashSet::new();
        for row in table.records() {
            let capture = capture(&row, path)
                .with_context(|| format!("{} line {}", labels.display(), row.line()))?;
            if !known.insert(capture.file.clone()) {
                bail!(
                    "{} line {}: `{}` is there twice",
                    labels.display(),
                    row.line(),
                    capture.file
                );
            }
            captures.push(capture);
        }
        if captures.is_empty() {
            bail!("{} labels no capture", labels.display());
        }
        let mut folder = Self {
            path: path.to_owned(),
            captures,
            logs: Vec::new(),
        };
        folder.read_connections()?;
        folder.read_logs()?;
        Ok(folder)
    }

    /// Groups captures by their place, in the runs that are made of them: alone, or with their
    /// group.
    #[must_use]
    pub fn runs(&self, ignore_groups: bool) -> Vec<Vec<usize>> {
        let mut runs: Vec<Vec<usize>> = Vec::new();
        let mut of_group: HashMap<&str, usize> = HashMap::new();
        for (index, capture) in self.captures.iter().enumerate() {
            let group = capture.group.as_deref().filter(|_| !ignore_groups);
            let Some(group) = group else {
                runs.push(vec![index]);
                continue;
            };
            let run = *of_group.entry(group).or_insert_with(|| {
                runs.push(Vec::new());
                runs.len() - 1
            });
            if let Some(run) = runs.get_mut(run) {
                run.push(index);
            }
        }
        runs
    }

    fn read_connections(&mut self) -> anyhow::Result<()> {
        let path = self.path.join(CONNECTIONS);
        if !path.exists() {
            return Ok(());
        }
        let table = Table::read(&path, &["file", "stream", "cause"])?;
        for row in table.records() {
            self.connection(&row)
                .with_context(|| format!("{} line {}", path.display(), row.line()))?;
        }
        Ok(())
    }

    fn connection(&mut self, row: &Record<'_>) -> anyhow::Result<()> {
        let file = row.cell("file");
        let Some(capture) = self.captures.iter_mut().find(|one| one.file == file) else {
            bail!("`{file}` is not in {LABELS}");
        };
        let cell = row.cell("stream");
        let Ok(stream) = cell.parse() else {
            bail!("stream `{cell}` is no number; it is Wireshark's tcp.stream");
        };
        if capture
            .connections
            .iter()
            .any(|(known, _)| *known == stream)
        {
            bail!("stream {stream} of `{file}` is there twice");
        }
        let mut truth = truth(row)?;
        // Labels of the whole file hold for each connection without a label of its own.
        if truth.intercepted.is_none() {
            truth.intercepted.clone_from(&capture.truth.intercepted);
        }
        capture.connections.push((stream, truth));
        Ok(())
    }

    fn read_logs(&mut self) -> anyhow::Result<()> {
        let path = self.path.join(INTERCEPTOR_LOGS);
        if !path.exists() {
            return Ok(());
        }
        let table = Table::read(&path, &["file", "interceptor", "log"])?;
        for row in table.records() {
            let line = LogLine {
                file: row.cell("file").to_owned(),
                interceptor: row.cell("interceptor").to_owned(),
                text: row.cell("log").to_owned(),
            };
            if !self.captures.iter().any(|one| one.file == line.file) {
                bail!(
                    "{} line {}: `{}` is not in {LABELS}",
                    path.display(),
                    row.line(),
                    line.file
                );
            }
            self.logs.push(line);
        }
        Ok(())
    }
}

fn capture(row: &Record<'_>, folder: &Path) -> anyhow::Result<Capture> {
    let file = row.cell("file");
    if file.is_empty() {
        bail!("no file is named");
    }
    let path = folder.join(file);
    if !path.is_file() {
        bail!("{} is not there", path.display());
    }
    let owned = |column| row.known(column).map(str::to_owned);
    Ok(Capture {
        file: file.to_owned(),
        path,
        truth: truth(row)?,
        connections: Vec::new(),
        client: owned("client"),
        interceptor: owned("interceptor").filter(|name| name != "none"),
        group: owned("group"),
        inspection_ca: owned("inspection_ca"),
        damaged: row.known("damaged").is_some_and(|word| word != "no"),
    })
}

fn truth(row: &Record<'_>) -> anyhow::Result<Truth> {
    // `unknown` is no label.
    let labelled = |column| {
        row.known(column)
            .filter(|word| *word != "unknown")
            .map(str::to_owned)
    };
    Ok(Truth {
        cause: parse_cause(row.cell("cause"))?,
        intercepted: labelled("intercepted"),
        ended_by: labelled("ended_by"),
        note: labelled("note"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(labels: &str, connections: Option<&str>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in ["a.pcap", "b.pcap", "c.pcap"] {
            std::fs::write(folder.path().join(file), b"").unwrap();
        }
        std::fs::write(folder.path().join(LABELS), labels).unwrap();
        if let Some(connections) = connections {
            std::fs::write(folder.path().join(CONNECTIONS), connections).unwrap();
        }
        folder
    }

    fn error(labels: &str, connections: Option<&str>) -> String {
        let folder = folder(labels, connections);
        format!("{:#}", Folder::read(folder.path()).unwrap_err())
    }

    #[test]
    fn groups_run_together_in_their_order() {
        let labels =
            "file\tcause\tgroup\na.pcap\tpinning\tg\nb.pcap\tnone\nc.pcap\testablished\tg\n";
        let folder = folder(labels, None);
        let folder = Folder::read(folder.path()).unwrap();
        assert_eq!(folder.runs(false), [vec![0, 2], vec![1]]);
        assert_eq!(folder.runs(true), [vec![0], vec![1], vec![2]]);
    }

    #[test]
    fn a_connection_inherits_whether_its_file_is_intercepted() {
        let labels = "file\tcause\tintercepted\na.pcap\tpinning\tyes\n";
        let connections =
            "stream\tfile\tcause\tintercepted\n3\ta.pcap\tpinning\t\n4\ta.pcap\testablished\tno\n";
        let folder = folder(labels, Some(connections));
        let folder = Folder::read(folder.path()).unwrap();
        let words: Vec<_> = folder.captures[0]
            .connections
            .iter()
            .map(|(stream, truth)| (*stream, truth.intercepted.as_deref()))
            .collect();
        assert_eq!(words, [(3, Some("yes")), (4, Some("no"))]);
    }

    #[test]
    fn errors_name_the_line() {
        let said = error("file\tcause\na.pcap\tnone\nb.pcap\tpinned\n", None);
        assert!(
            said.contains("labels.tsv line 3: `pinned` is no cause"),
            "{said}"
        );
        let said = error("file\tcause\nz.pcap\tnone\n", None);
        assert!(
            said.contains("labels.tsv line 2:") && said.contains("z.pcap is not there"),
            "{said}"
        );
        let said = error("file\tcause\na.pcap\tnone\na.pcap\tnone\n", None);
        assert!(said.contains("line 3: `a.pcap` is there twice"), "{said}");
        let labels = "file\tcause\na.pcap\tnone\n";
        let said = error(labels, Some("file\tstream\tcause\na.pcap\tx\tnone\n"));
        assert!(
            said.contains("connections.tsv line 2: stream `x` is no number"),
            "{said}"
        );
        let said = error(labels, Some("file\tstream\tcause\nb.pcap\t1\tnone\n"));
        assert!(said.contains("`b.pcap` is not in labels.tsv"), "{said}");
    }
}
