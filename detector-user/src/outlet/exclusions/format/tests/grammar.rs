//! Lists of vendors' formats, read by readers that follow the vendors' grammar and know nothing of the writers.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// An object of a FortiOS table: its settings, each with its values.
type Object = BTreeMap<String, Vec<String>>;

/// Splits a FortiOS command: words, or quoted ones in which a backslash escapes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut letters = line.trim().chars().peekable();
    while let Some(&first) = letters.peek() {
        if first == ' ' {
            letters.next();
            continue;
        }
        let mut word = String::new();
        let quoted = first == '"';
        if quoted {
            letters.next();
        }
        loop {
            match letters.next() {
                Some('"') if quoted => break,
                Some('\\') => word.extend(letters.next()),
                Some(' ') | None if !quoted => break,
                Some(letter) => word.push(letter),
                None => panic!("an open quote: {line}"),
            }
        }
        words.push(word);
    }
    words
}

/// Reads FortiOS commands: tables by path, each with its objects.
fn fortios(text: &str) -> BTreeMap<String, BTreeMap<String, Object>> {
    let mut tables: BTreeMap<String, BTreeMap<String, Object>> = BTreeMap::new();
    let mut table = None;
    let mut object: Option<String> = None;
    let commands = text.lines().map(words).filter(|words| !words.is_empty());
    for command in commands.filter(|words| !words[0].starts_with('#')) {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        match (command.as_slice(), &table, &object) {
            (["config", path @ ..], None, None) => {
                let path = path.join(" ");
                tables.entry(path.clone()).or_default();
                table = Some(path);
            }
            (["edit", name], Some(table), None) => {
                let objects = tables.get_mut(table).unwrap();
                objects.entry((*name).to_owned()).or_default();
                object = Some((*name).to_owned());
            }
            (["set", key, values @ ..], Some(table), Some(object)) if !values.is_empty() => {
                let values = values.iter().map(|it| (*it).to_owned()).collect();
                let settings = tables.get_mut(table).unwrap().get_mut(object).unwrap();
                settings.insert((*key).to_owned(), values);
            }
            (["append", key, values @ ..], Some(table), Some(object)) => {
                let settings = tables.get_mut(table).unwrap().get_mut(object).unwrap();
                let old = settings.get_mut(*key).expect("append to what is set");
                old.extend(values.iter().map(|it| (*it).to_owned()));
            }
            (["next"], Some(_), Some(_)) => object = None,
            (["end"], Some(_), None) => table = None,
            (command, ..) => panic!("{command:?} in {table:?}, {object:?}"),
        }
    }
    assert_eq!((table, object), (None, None), "everything is closed");
    tables
}

/// The names that a group of FortiOS matches, `*.` for all below.
fn fortios_names(text: &str) -> Vec<String> {
    let tables = fortios(text);
    let objects = &tables["firewall wildcard-fqdn custom"];
    let group = &tables["firewall wildcard-fqdn group"]["tlswhy"]["member"];
    assert_eq!(group.len(), objects.len(), "each object is a member once");
    let fqdn = |member: &String| {
        assert!(member.len() <= 79);
        match objects[member]["wildcard-fqdn"].as_slice() {
            [fqdn] => fqdn.clone(),
            other => panic!("{other:?}"),
        }
    };
    group.iter().map(fqdn).collect()
}

/// Whether an entry of a PAN-OS list of URLs matches a URL without scheme: tokens end at separators, `*` stands
/// for one or more of them, and what follows an entry without a slash is not looked at.
fn panos_matches(entry: &str, url: &str) -> bool {
    const SEPARATORS: [char; 6] = ['.', '/', '?', '&', '=', ';'];
    fn tokens(text: &str) -> Vec<&str> {
        text.split_inclusive(SEPARATORS).collect()
    }
    fn matches(entry: &[&str], url: &[&str]) -> bool {
        let text = |token: &str| token.trim_end_matches(SEPARATORS).to_owned();
        let separator = |token: &str| token.chars().last().filter(|it| SEPARATORS.contains(it));
        match (entry, url) {
            ([], _) => true,
            (_, []) => false,
            ([first, rest @ ..], [at, after @ ..]) => {
                let ends = separator(first).is_none() || separator(first) == separator(at);
                let is_any = text(first) == "*";
                let here = ends && (is_any || text(first) == text(at)) && matches(rest, after);
                here || (is_any && separator(at) == Some('.') && matches(entry, after))
            }
        }
    }
    assert!(entry.len() <= 255 && !entry.contains("://") && !entry.contains(' '));
    let alone = |token: &&str| !token.contains('*') || token.trim_end_matches(SEPARATORS) == "*";
    assert!(tokens(entry).iter().all(alone), "{entry}");
    matches(&tokens(entry), &tokens(url))
}

/// A host name below a domain that is no public suffix, whatever the list of those says some day.
fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9-]{0,8}[a-z0-9](\\.[a-z][a-z0-9]{1,6}){0,2}\\.host\\.example"
}

#[test]
fn the_readers_know_what_they_read() {
    assert!(panos_matches("example.com", "example.com.evil.net/"));
    assert!(!panos_matches("example.com/", "example.com.evil.net/"));
    assert!(panos_matches("*.example.com/", "a.b.example.com/"));
    assert!(!panos_matches("*.example.com/", "example.com/"));
    assert_eq!(words("set a \"b \\\" c\" d"), ["set", "a", "b \" c", "d"]);
}

#[test]
fn an_object_stands_for_one_name() {
    let entries = [entry("all.pay.example", &[]), entry(".pay.example", &[])];
    let names = fortios_names(&Format::Fortios.list(&entries, Cause::Pinning).text);
    let expected = [
        "tlswhy.invalid",
        "all.pay.example",
        "pay.example",
        "*.pay.example",
    ];
    assert_eq!(names, expected);
}

proptest! {
    #[test]
    fn vendors_lists_match_what_is_listed_and_nothing_beside(
        names in proptest::collection::btree_map(name(), any::<bool>(), 0..5),
        other in name(),
    ) {
        let entries: Vec<Entry> = names
            .iter()
            .map(|(name, below)| entry(&format!("{}{name}", if *below { "." } else { "" }), &[]))
            .collect();
        let is_listed = |host: &str| {
            let below = |(name, below): (&String, &bool)| {
                host == name || *below && host.ends_with(&format!(".{name}"))
            };
            names.iter().any(below)
        };
        let panos = Format::PanosEdl.list(&entries, Cause::Pinning).text;
        let fortios = fortios_names(&Format::Fortios.list(&entries, Cause::Pinning).text);
        let listed = names.keys().flat_map(|name| {
            [name.clone(), format!("a.b.{name}"), format!("{name}.evil.net"), format!("x{name}")]
        });
        for host in listed.chain([other]) {
            let expected = is_listed(&host);
            let by_panos = panos.lines().any(|it| panos_matches(it, &format!("{host}/path")));
            prop_assert_eq!(by_panos, expected, "{} in {}", &host, &panos);
            let by_fortios = fortios.iter().any(|fqdn| match fqdn.strip_prefix('*') {
                Some(end) => host.ends_with(end),
                None => host == *fqdn,
            });
            prop_assert_eq!(by_fortios, expected, "{} in {:?}", &host, &fortios);
        }
    }
}
