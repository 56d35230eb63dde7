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

/// Whether a list loses all its entries at once, which are several. `bare` is a list of the format without
/// entries: its lines are none.
///
/// ```
/// use detector_user::outlet::exclusions::empties;
///
/// let bare = "tlswhy.invalid/\n";
/// assert!(empties("a.test/\nb.test/\n", bare, bare));
/// assert!(!empties("a.test/\nb.test/\n", "c.test/\n", bare));
/// assert!(!empties("a.test/\n", bare, bare));
/// ```
pub fn empties(last: &str, now: &str, bare: &str) -> bool {
    let (last, now, bare) = (entries(last), entries(now), entries(bare));
    now.is_subset(&bare) && last.difference(&bare).nth(1).is_some()
}

fn entries(list: &str) -> BTreeSet<&str> {
    let lines = list.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}
