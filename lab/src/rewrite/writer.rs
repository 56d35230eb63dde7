//! Writes rewrites and their tables to a folder.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context;

use super::bases::CONNECTION_COLUMNS;
use super::variant::Variant;
use crate::labels::{COLUMNS, CONNECTIONS, LABELS};

pub(super) struct Writer<'a> {
    folder: &'a Path,
    labels: String,
    connections: String,
    count: usize,
}

impl<'a> Writer<'a> {
    /// Starts in a folder; rows that its tables have are kept.
    pub(super) fn new(folder: &'a Path) -> Self {
        let before = |name: &str, header: String| {
            fs::read_to_string(folder.join(name)).unwrap_or_else(|_| header + "\n")
        };
        Self {
            folder,
            labels: before(LABELS, COLUMNS.join("\t")),
            connections: before(
                CONNECTIONS,
                format!("file\t{}", CONNECTION_COLUMNS.join("\t")),
            ),
            count: 0,
        }
    }

    /// Writes a rewrite, and its rows unless they are there.
    ///
    /// # Errors
    /// If its capture can't be written.
    pub(super) fn write(
        &mut self,
        base: &str,
        variant: &Variant,
        rows: &[String],
    ) -> anyhow::Result<()> {
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

    /// Writes the tables; returns the number of rewrites.
    ///
    /// # Errors
    /// If one can't be written.
    pub(super) fn finish(self) -> anyhow::Result<usize> {
        for (name, table) in [(LABELS, &self.labels), (CONNECTIONS, &self.connections)] {
            let path = self.folder.join(name);
            fs::write(&path, table).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(self.count)
    }
}
