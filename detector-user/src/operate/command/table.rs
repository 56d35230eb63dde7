//! Rows of text as a table for people, or as comma-separated values.

use std::fmt::Write as _;

use crate::outlet::sink::escaped;

/// Returns rows below their heads, in columns as wide as their longest cell but for the last.
pub(super) fn table(heads: &[&str], rows: &[impl AsRef<[String]>]) -> String {
    let shown = |row: &[String]| row.iter().map(|cell| escaped(cell).to_string()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| shown(row.as_ref())).collect();
    let mut widths: Vec<usize> = heads.iter().map(|head| head.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let heads = heads.iter().map(|&head| head.to_owned()).collect();
    for row in std::iter::once(&heads).chain(&rows) {
        let mut line = String::new();
        for (cell, &width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Returns rows below their heads as comma-separated values.
///
/// # Errors
/// None that memory does not cause.
pub(super) fn csv(
    heads: Option<&[&str]>,
    rows: &[impl AsRef<[String]>],
) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if let Some(heads) = heads {
        writer.write_record(heads)?;
    }
    for row in rows {
        writer.write_record(row.as_ref().iter().map(|cell| harmless(cell)))?;
    }
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns a cell that no spreadsheet takes for a formula: strangers choose server names.
fn harmless(cell: &str) -> String {
    let shown = escaped(cell).to_string();
    if shown.starts_with(['=', '+', '-', '@']) {
        return format!("'{shown}");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> [[String; 2]; 2] {
        [
            ["a\u{1b}[2J".to_owned(), "=1+1".to_owned()],
            ["wide name".to_owned(), "two\nlines, \"quoted\"".to_owned()],
        ]
    }

    #[test]
    fn columns_are_aligned_and_cells_stay_in_their_line() {
        let text = table(&["NAME", "CAUSE"], &rows());
        assert_eq!(
            text,
            "NAME        CAUSE\na\\u{1b}[2J  =1+1\nwide name   two\\u{a}lines, \"quoted\"\n"
        );
    }

    #[test]
    fn a_cell_is_no_formula_and_no_second_row() {
        let text = csv(Some(&["name", "cause"]), &rows()).unwrap();
        assert_eq!(
            text,
            "name,cause\na\\u{1b}[2J,'=1+1\nwide name,\"two\\u{a}lines, \"\"quoted\"\"\"\n"
        );
    }
}
