//! The configuration's documents, made from the table of keys.

use std::fmt::Write as _;

use super::{Key, keys};

/// Maximum columns of the commented file.
const WIDTH: usize = 96;

/// Returns the packaged file: every key with its meaning, commented out.
#[must_use]
pub fn commented_file() -> String {
    let mut file = "\
# Configuration of `tlswhy run`: the interfaces it watches and the outputs of its verdicts.
#
# Every value below is the default. `tlswhy check-config` lists mistakes; `tlswhy run --print-config`
# prints the effective configuration with the origin of each value. `systemctl reload tlswhy` applies
# the keys marked as such; the others require a restart.
"
    .to_owned();
    let mut section = "";
    for key in keys() {
        if key.section() != section {
            section = key.section();
            let _ = writeln!(file, "\n[{section}]");
        }
        let _ = writeln!(file);
        let about = format!("{}. Value: {}.{}", key.about, key.expected, when(key));
        for line in wrapped(&about, WIDTH) {
            let _ = writeln!(file, "# {line}");
        }
        let _ = writeln!(file, "#{}", default(key));
    }
    file
}

/// Returns the reference in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut text = String::new();
    let mut section = "";
    for key in keys() {
        if key.section() != section {
            section = key.section();
            let _ = writeln!(text, "\n## `[{section}]`\n");
            let _ = writeln!(text, "| key | meaning | value | default | on reload |");
            let _ = writeln!(text, "| --- | --- | --- | --- | --- |");
        }
        let default = key
            .default()
            .map_or_else(|| "not set".to_owned(), |value| format!("`{value}`"));
        let reload = if key.live {
            "applied"
        } else {
            "requires a restart"
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {default} | {reload} |",
            key.name(),
            key.about,
            key.expected
        );
    }
    text
}

const fn when(key: &Key) -> &'static str {
    if key.live { " Applied on reload." } else { "" }
}

fn default(key: &Key) -> String {
    match key.default() {
        Some(value) => format!("{} = {value}", key.name()),
        None => format!("{} =", key.name()),
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::operate::config::Config;
    use crate::operate::config::file::parsed;

    /// Updates the file with `UPDATE_DOCUMENTS=1`.
    fn assert_is(path: &str, expected: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
            std::fs::write(&path, expected).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            found, expected,
            "run the test with UPDATE_DOCUMENTS=1 to update it"
        );
    }

    #[test]
    fn the_packaged_file_is_that_of_the_table() {
        assert_is("packaging/tlswhy.toml", &commented_file());
    }

    #[test]
    fn the_packaged_file_is_in_order_and_so_it_is_with_its_defaults_taken_in() {
        let file = commented_file();
        assert_eq!(parsed(&file, Path::new("x")).unwrap(), Config::default());
        let uncommented: Vec<&str> = file
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if !rest.starts_with(' ') && !rest.ends_with('=') => rest,
                _ => line,
            })
            .collect();
        let config = parsed(&uncommented.join("\n"), Path::new("x")).unwrap();
        assert_eq!(config.settings, Config::default().settings);
    }

    #[test]
    fn the_document_has_the_reference_of_the_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        let document = std::fs::read_to_string(path).unwrap();
        let mark = "<!-- made from the table of keys -->\n";
        let head = document.split(mark).next().unwrap_or_default();
        assert_is(
            "docs/configuration.md",
            &format!("{head}{mark}{}", reference()),
        );
    }
}
