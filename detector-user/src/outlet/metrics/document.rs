//! The reference of metrics, made from their table.

use std::fmt::Write as _;

use super::families::FAMILIES;
use super::family::{Kind, Unit};

/// Returns the table in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut text = "| metric | type | labels | unit | meaning |\n".to_owned();
    text.push_str("| --- | --- | --- | --- | --- |\n");
    for family in FAMILIES {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let unit = match family.unit {
            None => "",
            Some(Unit::Bytes) => "bytes",
            Some(Unit::Seconds) => "seconds",
        };
        let labels: Vec<_> = family.labels.iter().map(|it| format!("`{it}`")).collect();
        let _ = writeln!(
            text,
            "| `{}` | {kind} | {} | {unit} | {} |",
            family.name(),
            labels.join(", "),
            family.help
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Updates the file with `UPDATE_DOCUMENTS=1`.
    #[test]
    fn the_document_has_the_table_of_metrics() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
        let found = std::fs::read_to_string(&path).unwrap();
        let mark = "<!-- made from the table of metrics -->\n";
        let head = found.split(mark).next().unwrap_or_default();
        let expected = format!("{head}{mark}{}", reference());
        if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
            std::fs::write(&path, &expected).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            found, expected,
            "run the test with UPDATE_DOCUMENTS=1 to update it"
        );
    }
}
