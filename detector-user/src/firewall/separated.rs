//! Fields of a line that are separated by commas, as firewalls write them.

/// Splits a line at its commas. Those in quotes and in braces separate nothing: PAN-OS writes the link
/// switches of SD-WAN as `{a, b}` without quotes, and some relays write quotes as `\"`. Quotes are
/// removed, and doubled ones are one.
pub(super) fn fields(line: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut in_quotes = false;
    let mut in_braces = false;
    // A name may begin with a brace that nothing closes.
    let mut to_close = line.matches('}').count();
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        to_close -= usize::from(c == '}');
        match c {
            '\\' if rest.peek() == Some(&'"') => {}
            '"' if in_quotes && rest.peek() == Some(&'"') => {
                field.push('"');
                rest.next();
            }
            '"' if in_quotes || field.is_empty() => in_quotes = !in_quotes,
            '{' if !in_quotes && field.is_empty() && to_close > 0 => {
                in_braces = true;
                field.push(c);
            }
            '}' if in_braces => {
                in_braces = false;
                field.push(c);
            }
            ',' if !in_quotes && !in_braces => fields.push(std::mem::take(&mut field)),
            _ => field.push(c),
        }
    }
    fields.push(field);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("a,b,,c", &["a", "b", "", "c"])]
    #[case("a,\"b,c\",d", &["a", "b,c", "d"])]
    #[case("a,{b, c},d", &["a", "{b, c}", "d"])]
    #[case("a,{b,c,d", &["a", "{b", "c", "d"])]
    #[case("a,\\\"b,c\\\",d", &["a", "b,c", "d"])]
    #[case("a,\"say \"\"no\"\"\",d", &["a", "say \"no\"", "d"])]
    #[case("a,corp\\user,d", &["a", "corp\\user", "d"])]
    #[case("a,5\" disk,d", &["a", "5\" disk", "d"])]
    #[case("", &[""])]
    fn commas_separate_outside_of_quotes_and_braces(#[case] line: &str, #[case] expected: &[&str]) {
        assert_eq!(fields(line), expected);
    }
}
