//! The documents' commands, executed as written.

use lab::host::Machine;

/// The commands that a document has under a heading, a block each.
pub(super) fn commands(document: &str, heading: &str) -> Vec<String> {
    let path = xtask::root().join("docs").join(document);
    let text = std::fs::read_to_string(path).unwrap();
    let (_, section) = text
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("{document} has no {heading:?}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("\n```sh\n").skip(1);
    let blocks: Vec<String> = blocks
        .filter_map(|block| Some(block.split_once("\n```")?.0.to_owned()))
        .collect();
    assert!(
        !blocks.is_empty(),
        "{document} has no command under {heading:?}"
    );
    blocks
}

/// Executes a document's commands under a heading, as written.
pub(super) fn follow(machine: &Machine, document: &str, heading: &str) {
    for block in commands(document, heading) {
        machine.shell(&format!("cd /shared\n{block}")).unwrap();
    }
}

pub(super) fn follow_all(machine: &Machine, document: &str) {
    let path = xtask::root().join("docs").join(document);
    let text = std::fs::read_to_string(path).unwrap();
    for section in text.split("\n## ").skip(1) {
        if section.contains("\n```sh\n") {
            let heading = section.lines().next().unwrap_or_default();
            follow(machine, document, heading);
        }
    }
}
