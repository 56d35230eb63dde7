//! Lists of hosts and verdicts from files: hosts that are never listed up to an empty line, then verdicts, one a
//! line.
//!
//! Holds: a pattern reads back as it is shown, a list has no host that is never listed, and no line of any
//! format is made by a name: each entry has its lines, and no line a control character but tabs.
#![no_main]

use clap::ValueEnum as _;
use detector_user::outlet::exclusions::{
    Criteria, Format, Host, Patterns, Selection, Sighting, difference,
};
use detector_user::verdict::Cause;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    let (never, verdicts) = text.split_once("\n\n").unwrap_or(("", &text));
    let never = match Patterns::parse(never) {
        Ok(patterns) => patterns,
        Err((line, _)) => {
            assert!((1..=never.lines().count()).contains(&line), "{line}");
            Patterns::default()
        }
    };
    for pattern in &never.0 {
        assert_eq!(
            pattern.host.to_string().parse::<Host>().as_ref(),
            Ok(&pattern.host)
        );
        assert!(never.contain(&pattern.host));
    }
    let mut selection = Selection::default();
    for line in verdicts.lines() {
        if let Ok(Some(sighting)) = Sighting::parse(line) {
            selection.record(sighting, Cause::Pinning);
        }
    }
    let criteria = Criteria {
        cause: Cause::Pinning,
        min_confidence: 0.0,
        min_connections: 0,
        min_clients: 0,
        min_gateways: 0,
        always: Patterns::default(),
        never,
        proxies: Vec::new(),
        since: None,
        max: 100,
    };
    let selected = selection.select(&criteria);
    assert!(selected.entries.len() <= criteria.max);
    for entry in &selected.entries {
        assert!(!criteria.never.contain(&entry.host), "{}", entry.host);
        assert_eq!(
            entry.host.to_string().parse::<Host>().as_ref(),
            Ok(&entry.host)
        );
    }
    for notice in &selected.notices {
        assert!(!notice.contains(char::is_control), "{notice:?}");
    }
    for format in Format::value_variants() {
        let list = format.list(&selected.entries, Cause::Pinning);
        let is_hostile = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
        assert!(!list.text.contains(is_hostile), "{:?}", list.text);
        assert_eq!(difference(&list.text, &list.text), "");
    }
    let plain = Format::Plain.list(&selected.entries, Cause::Pinning).text;
    let lines = plain.lines().filter(|line| !line.starts_with('#'));
    assert!(lines.count() <= selected.entries.len(), "{plain}");
});
