//! Documents made of the table of causes.

use std::fmt::Write as _;
use std::path::Path;

use super::{Cause, Scope, Severity};

/// Entries of the journal's catalog.
fn catalog() -> String {
    let entries = Cause::ALL.into_iter().filter_map(|cause| {
        let entry = cause.row().catalog.as_ref()?;
        Some(format!(
            "\n-- {}\nSubject: {}\nDefined-By: tlswhy\n\
             Support: https://github.com/tlswhy/tlswhy/issues\n\n{}",
            cause.message_id(),
            entry.subject,
            entry.text
        ))
    });
    entries.collect()
}

/// Returns the rows of the reference for causes that so many connections show.
fn reference(scope: Scope) -> String {
    let mut rows = String::new();
    for cause in Cause::ALL {
        let row = &cause.row().reference;
        if row.scope == scope {
            let (signs, confidence, advice) = (row.signs, row.confidence, row.advice);
            let line = format!("| `{cause}` | {signs} | {confidence} | {advice} |");
            let _ = writeln!(rows, "{}", line.replace("|  |", "| |"));
        }
    }
    rows
}

/// Causes that are written, by severity.
fn priorities() -> String {
    let of = |severity| {
        let causes = Cause::ALL.into_iter();
        let causes = causes.filter(|it| it.severity() == severity && it.row().catalog.is_some());
        let names: Vec<String> = causes.map(|cause| format!("`{cause}`")).collect();
        let (last, others) = names.split_last().unwrap();
        format!("{} and {last}", others.join(", "))
    };
    format!(
        "4 (warning) for {}; 5 (notice) for {}; 6 (info) for {} |\n",
        of(Severity::Warning),
        of(Severity::Notice),
        of(Severity::Informational)
    )
}

fn message_ids() -> String {
    let written = Cause::ALL.into_iter();
    let written = written.filter(|cause| cause.row().catalog.is_some());
    written
        .map(|cause| format!("| `{}` | `{cause}` |\n", cause.message_id()))
        .collect()
}

/// Asserts that `expected` stands between two marks of a document; writes it there with
/// `UPDATE_DOCUMENTS=1`.
fn assert_stands(path: &str, begin: &str, end: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    let document = std::fs::read_to_string(&file).unwrap();
    let (head, rest) = document.split_once(begin).expect(begin);
    let at = rest.find(end).expect(end);
    let (found, tail) = rest.split_at(at);
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(&file, format!("{head}{begin}{expected}{tail}")).unwrap();
        return;
    }
    assert_eq!(
        found, expected,
        "{path}: run the test with UPDATE_DOCUMENTS=1 to rewrite it"
    );
}

#[test]
fn the_catalog_explains_every_cause_that_is_written() {
    assert_stands(
        "packaging/tlswhy.catalog",
        "# Verdicts: made from the table of causes.\n",
        "\n# Other messages.\n",
        &catalog(),
    );
}

#[test]
fn the_reference_has_the_table_of_causes() {
    const COLUMNS: &str = "confidence | advice |\n| --- | --- | --- | --- |\n";
    for (scope, signs) in [
        (Scope::OneConnection, "| cause | on the wire | "),
        (Scope::ManyConnections, "| cause | pattern | "),
    ] {
        let begin = format!("{signs}{COLUMNS}");
        assert_stands(
            "docs/verdicts.md",
            &begin,
            "\n\n",
            reference(scope).trim_end(),
        );
    }
}

#[test]
fn the_journals_fields_are_documented_as_the_table_has_them() {
    let path = "docs/journal-fields.md";
    assert_stands(path, "| `PRIORITY` | ", "| `SYSLOG", &priorities());
    let begin = "| `MESSAGE_ID` | means |\n| --- | --- |\n";
    assert_stands(path, begin, "| `3c5f6b0a", &message_ids());
}

#[test]
fn the_schema_has_the_names_of_all_causes() {
    let names = Cause::ALL
        .map(|cause| format!("        \"{cause}\""))
        .join(",\n");
    let begin = "docs/verdicts.md explains each.\",\n      \"enum\": [\n";
    assert_stands("docs/verdict.schema.json", begin, "\n      ]", &names);
}
