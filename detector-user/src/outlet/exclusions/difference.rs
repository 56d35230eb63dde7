//! Changes since the last list.

use std::collections::BTreeSet;

/// Returns the lines of a list that the last one lacked, after `+`, and those it lacks now, after `-`.
/// Comments and empty lines are no entries.
///
/// ```
/// use detector_user::outlet::exclusions::difference;
///
/// assert_eq!(difference("# old\na.test\nb.test\n", "b.test\nc.test\n"), "- a.test\n+ c.test\n");
/// ```
pub fn difference(last: &str, now: &str) -> String {
    let (last, now) = (entries(last), entries(now));
    let gone = last.difference(&now).map(|line| format!("- {line}\n"));
    let new = now.difference(&last).map(|line| format!("+ {line}\n"));
    gone.chain(new).collect()
}

fn entries(list: &str) -> BTreeSet<&str> {
    let lines = list.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}
