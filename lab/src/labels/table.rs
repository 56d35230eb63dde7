//! Tab-separated tables whose columns are found by their header.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, bail};

/// A table in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    columns: HashMap<String, usize>,
    rows: Vec<Row>,
}

/// One row and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    line: usize,
    cells: Vec<String>,
}

/// One row of a table, read by the names of its columns.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    table: &'a Table,
    row: &'a Row,
}

impl Table {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is not UTF-8, or has no header with the columns in `needed`.
    pub fn read(path: &Path, needed: &[&str]) -> anyhow::Result<Self> {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| anyhow::anyhow!("{} is not UTF-8", path.display()))?;
        Self::parse(&text, needed).with_context(|| path.display().to_string())
    }

    /// Reads a table: the first line that is neither empty nor a comment (`#`) is the header. A
    /// byte order mark and CRLF are recognised; spaces round a cell are dropped.
    ///
    /// # Errors
    /// If there is no header, it lacks a column in `needed`, or names one twice.
    pub fn parse(text: &str, needed: &[&str]) -> anyhow::Result<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.trim_end_matches('\r')))
            .filter(|(_, line)| !line.trim().is_empty());
        // `#file<TAB>cause` is how many tools write a header.
        let Some((line, header)) = lines.find(|(_, line)| {
            !line.starts_with('#') || needed.iter().all(|name| names(line).any(|n| n == *name))
        }) else {
            bail!("it is empty; its first line has to name the columns");
        };
        let mut columns = HashMap::new();
        for (index, name) in names(header).enumerate() {
            if !name.is_empty() && columns.insert(name.clone(), index).is_some() {
                bail!("line {line}: column `{name}` is there twice");
            }
        }
        if let Some(missing) = needed.iter().find(|name| !columns.contains_key(**name)) {
            bail!(
                "line {line}: the header has no column `{missing}`; columns are separated by tabs"
            );
        }
        let rows = lines
            .filter(|(_, line)| !line.starts_with('#'))
            .map(|(line, text)| Row {
                line,
                cells: text
                    .split('\t')
                    .map(|cell| cell.trim().to_owned())
                    .collect(),
            })
            .collect();
        Ok(Self { columns, rows })
    }

    /// Returns all rows, from the top.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.rows.iter().map(|row| Record { table: self, row })
    }
}

impl<'a> Record<'a> {
    /// Returns the cell under `column`; empty where the row or the table has none.
    #[must_use]
    pub fn cell(&self, column: &str) -> &'a str {
        let index = self.table.columns.get(column);
        let cell = index.and_then(|index| self.row.cells.get(*index));
        cell.map_or("", String::as_str)
    }

    /// Returns the cell under `column`, or `None` where it is empty or `-`.
    #[must_use]
    pub fn known(&self, column: &str) -> Option<&'a str> {
        Some(self.cell(column)).filter(|cell| !cell.is_empty() && *cell != "-")
    }

    /// Returns the line in the file, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.row.line
    }
}

fn names(header: &str) -> impl Iterator<Item = String> {
    let header = header.strip_prefix('#').unwrap_or(header);
    header
        .split('\t')
        .map(|name| name.trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        let text = "\u{feff}# a comment\r\nnote\tCause \tfile\r\n\r\nx y\tpinning\ta.pcap\r\n# no\r\n\tnone\tb.pcap";
        let table = Table::parse(text, &["file", "cause"]).unwrap();
        let rows: Vec<_> = table.records().collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].cell("file"), "a.pcap");
        assert_eq!(rows[0].cell("cause"), "pinning");
        assert_eq!(rows[0].known("note"), Some("x y"));
        assert_eq!(rows[0].line(), 4);
        assert_eq!(rows[1].known("note"), None);
        assert_eq!(rows[1].known("group"), None);
        assert_eq!(rows[1].line(), 6);
    }

    #[test]
    fn a_commented_header_is_a_header() {
        let table = Table::parse("#file\tcause\na.pcap\tnone\n", &["file", "cause"]).unwrap();
        assert_eq!(table.records().count(), 1);
    }

    #[test]
    fn a_missing_column_is_named_with_its_line() {
        let error = Table::parse("\nfile\tcauses\n", &["file", "cause"]).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("line 2: the header has no column `cause`")
        );
        assert!(Table::parse("", &["file"]).is_err());
        assert!(Table::parse("file\tfile\n", &["file"]).is_err());
    }

    fn cell() -> impl Strategy<Value = String> {
        "[a-zA-Z0-9äß.:_/-]{1,12}( [a-z]{1,4})?"
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*|([a-c#\t\r\n\u{feff}]{0,40})") {
            let _ = Table::parse(&text, &["a"]);
        }

        #[test]
        fn what_was_written_is_read(
            rows in proptest::collection::vec((cell(), cell(), cell()), 0..20),
            order in Just(["file", "cause", "note"]).prop_shuffle(),
            ending in prop_oneof![Just("\n"), Just("\r\n")],
            mark in any::<bool>(),
        ) {
            let mut text = String::from(if mark { "\u{feff}" } else { "" });
            text += &order.join("\t");
            text += ending;
            for (file, cause, note) in &rows {
                let cells = order.map(|name| match name { "file" => file, "cause" => cause, _ => note }.as_str());
                text += &cells.join("\t");
                text += ending;
            }
            let table = Table::parse(&text, &["file", "cause"]).unwrap();
            let read: Vec<_> = table
                .records()
                .map(|row| (row.cell("file").to_owned(), row.cell("cause").to_owned(), row.cell("note").to_owned()))
                .collect();
            prop_assert_eq!(read, rows);
        }
    }
}
