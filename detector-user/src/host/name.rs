//! The name of this machine.

/// Returns the name of this machine, printable ASCII and at most 255 characters; `None` if it has none.
pub(crate) fn machine_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    printable(&name)
}

fn printable(name: &str) -> Option<String> {
    let printable = name.chars().filter(char::is_ascii_graphic);
    let name: String = printable.take(255).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_is_one_word() {
        let printable = |name: &str| super::printable(name);
        assert_eq!(printable("gateway\n").as_deref(), Some("gateway"));
        assert_eq!(printable("a b\u{1b}ü").as_deref(), Some("ab"));
        assert_eq!(printable("x".repeat(300).as_str()), Some("x".repeat(255)));
        assert_eq!(printable("\n"), None);
    }
}
