//! Numbers with their nouns.

use std::fmt;

/// Returns a number with its words: `one` after 1, `many` after all others.
pub(crate) fn counted<N>(number: N, one: &str, many: &str) -> String
where
    N: fmt::Display + PartialEq + From<u8>,
{
    let words = if number == N::from(1) { one } else { many };
    format!("{number} {words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_all_others_are_plural() {
        let words = [0_u64, 1, 2].map(|number| counted(number, "flow", "flows"));
        assert_eq!(words, ["0 flows", "1 flow", "2 flows"]);
    }
}
