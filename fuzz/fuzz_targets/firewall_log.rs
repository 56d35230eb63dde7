//! A filter on the first line, then a log of any firewall.
//!
//! Holds: reading ends, no line gives two rows, a filter is parsed or its mistake has a place in it, and a
//! filter selects a row or doesn't: its negation does the opposite.
#![no_main]

use detector_user::firewall::LogReader;
use detector_user::firewall::filter::Filter;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == b'\n');
    let (text, log) = input.split_at(end.map_or(0, |end| end + 1));
    let text = String::from_utf8_lossy(text);
    let filter = text.parse::<Filter>();
    if let Err(error) = &filter {
        assert!(
            (1..=text.chars().count() + 1).contains(&error.at),
            "{error}"
        );
    }
    let filter = filter.ok();
    let opposite = filter
        .as_ref()
        .and_then(|_| format!("not ({text})").parse::<Filter>().ok());
    let lines = log.split(|byte| *byte == b'\n').count();
    let mut reader = LogReader::new(log);
    let mut rows = 0;
    while let Some(row) = reader.next_row().expect("a slice can be read") {
        rows += 1;
        assert!(rows <= lines, "more rows than lines");
        let (Ok(row), Some(filter)) = (row, &filter) else {
            continue;
        };
        let selects = filter.selects(&row);
        if let Some(opposite) = &opposite {
            assert_ne!(selects, opposite.selects(&row));
        }
    }
});
