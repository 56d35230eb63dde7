//! Promises that every verdict keeps.

use detector_user::outlet::sink::{JsonLines, Sink, Text};
use detector_user::verdict::Verdict;

/// Checks one verdict as it is and as it is written.
///
/// # Panics
/// If a promise is broken.
pub fn check_verdict(verdict: &Verdict) {
    assert!((0.0..=1.0).contains(&verdict.confidence), "{verdict:?}");
    assert!(verdict.revision <= 2, "more than three verdicts");
    let text = written(|to| Text::new(to, false).write(verdict));
    let is_hostile = |letter: char| letter.is_control() && letter != '\n';
    assert!(!text.contains(is_hostile), "{text:?}");
    let json = written(|to| JsonLines::new(to).write(verdict));
    assert_eq!(json.trim_end().lines().count(), 1, "{json}");
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(value["id"], verdict.id);
}

fn written<E: std::fmt::Debug>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> String {
    let mut bytes = Vec::new();
    write(&mut bytes).expect("a vector takes everything");
    String::from_utf8(bytes).expect("UTF-8")
}
