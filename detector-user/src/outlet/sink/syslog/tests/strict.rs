//! A reader of RFC 5424 that takes nothing else.

/// A message, taken apart.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) priority: u8,
    /// Timestamp, host, app, process, kind.
    pub(super) header: Vec<String>,
    pub(super) elements: Vec<(String, Vec<(String, String)>)>,
    pub(super) text: String,
}

impl Parsed {
    /// Returns the values of a parameter of the verdict's element.
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        let parameters = self.elements[1].1.iter();
        parameters
            .filter(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

/// Reads `NAME`: printable ASCII without those in `without`.
fn name<'a>(rest: &mut &'a str, max: usize, without: &str) -> &'a str {
    let is_name = |c: char| c.is_ascii_graphic() && !without.contains(c);
    let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
    assert!((1..=max).contains(&end), "{rest:?}");
    let (name, after) = rest.split_at(end);
    *rest = after;
    name
}

fn expect(rest: &mut &str, text: &str) {
    *rest = rest
        .strip_prefix(text)
        .unwrap_or_else(|| panic!("{text:?} was expected at {rest:?}"));
}

fn value(rest: &mut &str) -> String {
    let mut value = String::new();
    let mut characters = rest.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                *rest = &rest[at..];
                return value;
            }
            '\\' => {
                let (_, escaped) = characters.next().unwrap();
                assert!("\"\\]".contains(escaped), "{rest:?}");
                value.push(escaped);
            }
            ']' => panic!("a bracket that is not escaped: {rest:?}"),
            other => value.push(other),
        }
    }
    panic!("a value without an end: {rest:?}");
}

/// Takes a message apart.
pub(super) fn parse(message: &str) -> Parsed {
    let mut rest = message;
    expect(&mut rest, "<");
    let priority = name(&mut rest, 3, ">").parse().unwrap();
    assert!(priority <= 191);
    expect(&mut rest, ">1 ");
    let mut header = Vec::new();
    for max in [32, 255, 48, 128, 32] {
        header.push(name(&mut rest, max, "").to_owned());
        expect(&mut rest, " ");
    }
    let time: jiff::Timestamp = header[0].parse().unwrap();
    assert_eq!(format!("{time:.6}"), header[0]);
    let mut elements = Vec::new();
    while rest.starts_with('[') {
        expect(&mut rest, "[");
        let id = name(&mut rest, 32, "=]\"").to_owned();
        let mut parameters = Vec::new();
        while rest.starts_with(' ') {
            expect(&mut rest, " ");
            let given = name(&mut rest, 32, "=]\"").to_owned();
            expect(&mut rest, "=\"");
            parameters.push((given, value(&mut rest)));
            expect(&mut rest, "\"");
        }
        expect(&mut rest, "]");
        elements.push((id, parameters));
    }
    expect(&mut rest, " ");
    let text = match rest.strip_prefix('\u{feff}') {
        Some(text) => text,
        None => {
            assert!(rest.is_ascii(), "{rest:?}");
            rest
        }
    };
    // Beyond the grammar: no line and no sequence for a terminal can be hidden anywhere.
    assert!(!message.chars().any(char::is_control), "{message:?}");
    Parsed {
        priority,
        header,
        elements,
        text: text.to_owned(),
    }
}
