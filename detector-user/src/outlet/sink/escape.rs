//! Escaping of text from the network for terminals.

use std::fmt;

/// Displays `text` with every character escaped that could move the cursor, change a colour, start a
/// line or turn the reading direction: the sender chooses names in a ClientHello or certificate.
#[must_use]
pub fn escaped(text: &str) -> impl fmt::Display + '_ {
    Escaped(text)
}

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((at, bad)) = rest.char_indices().find(|&(_, c)| is_unsafe(c)) {
            let (clean, tail) = rest.split_at(at);
            write!(f, "{clean}{}", bad.escape_unicode())?;
            rest = tail.get(bad.len_utf8()..).unwrap_or_default();
        }
        f.write_str(rest)
    }
}

fn is_unsafe(c: char) -> bool {
    // Controls (C0, DEL, C1), then line ends, marks and overrides of direction, and characters
    // of no width, with which one name can pass for another.
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("api.example.test", "api.example.test")]
    #[case("CN=Prüfstelle 検査", "CN=Prüfstelle 検査")]
    #[case("\u{1b}[31mred", "\\u{1b}[31mred")]
    #[case("two\r\nlines", "two\\u{d}\\u{a}lines")]
    #[case("\u{9b}2J", "\\u{9b}2J")]
    #[case("a\u{202e}moc.b", "a\\u{202e}moc.b")]
    #[case("\u{7f}\u{2028}", "\\u{7f}\\u{2028}")]
    #[case("", "")]
    fn only_what_harms_is_escaped(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(escaped(text).to_string(), shown);
    }

    proptest::proptest! {
        #[test]
        fn nothing_harmful_is_left(text in "\\PC*|.*") {
            let shown = escaped(&text).to_string();
            proptest::prop_assert!(!shown.chars().any(is_unsafe));
        }
    }
}
