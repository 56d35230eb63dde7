//! Every format by its grammar.

mod grammar;

use std::collections::BTreeSet;

use clap::ValueEnum as _;
use regex::RegexBuilder;
use rstest::rstest;

use super::*;
use crate::outlet::exclusions::difference;
use crate::outlet::exclusions::patterns::HostPattern;

fn entry(pattern: &str, servers: &[&str]) -> Entry {
    let HostPattern {
        host,
        with_subdomains,
    } = pattern.parse().unwrap();
    let servers: BTreeSet<std::net::SocketAddr> =
        servers.iter().map(|it| it.parse().unwrap()).collect();
    Entry {
        with_subdomains,
        ports: servers.iter().map(std::net::SocketAddr::port).collect(),
        connections: servers.len(),
        clients: [std::net::IpAddr::from([10, 0, 1, 2])].into(),
        servers,
        ..Entry::new(host)
    }
}

fn entries() -> Vec<Entry> {
    vec![
        entry("192.0.2.7", &["192.0.2.7:8443"]),
        entry("2001:db8::7", &["[2001:db8::7]:443"]),
        entry("api.pinned.test", &["192.0.2.8:443", "[2001:db8::8]:443"]),
        entry(".pay.example", &[]),
    ]
}

fn list(format: Format) -> List {
    format.list(&entries(), Cause::Pinning)
}

fn lines(list: &List) -> Vec<&str> {
    list.text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect()
}

#[test]
fn squid_has_a_name_or_a_name_with_a_dot() {
    let list = list(Format::Squid);
    assert_eq!(
        lines(&list),
        ["192.0.2.7", "api.pinned.test", ".pay.example"]
    );
    assert_eq!(list.notices.len(), 1);
}

#[test]
fn panos_closes_the_host_with_a_slash() {
    let list = list(Format::PanosEdl);
    let expected = "192.0.2.7/\napi.pinned.test/\npay.example/\n*.pay.example/\n";
    assert_eq!(list.text, expected);
    assert_eq!(list.notices.len(), 1);
}

#[test]
fn panos_commands_are_one_for_each_name() {
    let list = list(Format::PanosSet);
    let command = |name: &str, why: &str| {
        format!(
            "set shared ssl-decrypt ssl-exclude-cert {name} description \"tlswhy: {why}\" exclude yes"
        )
    };
    let expected = [
        command("api.pinned.test", "pinning"),
        command("pay.example", "always listed"),
        command("*.pay.example", "always listed"),
    ];
    assert_eq!(lines(&list), expected);
    // Two addresses, and the wildcard that is one label.
    assert_eq!(list.notices.len(), 3);
}

#[test]
fn fortios_groups_its_names() {
    let list = list(Format::Fortios);
    let expected = "\
config firewall wildcard-fqdn custom
    edit \"tlswhy-none\"
        set wildcard-fqdn \"tlswhy.invalid\"
    next
    edit \"tlswhy-api.pinned.test\"
        set wildcard-fqdn \"api.pinned.test\"
    next
    edit \"tlswhy-pay.example\"
        set wildcard-fqdn \"pay.example\"
    next
    edit \"tlswhy-all_.pay.example\"
        set wildcard-fqdn \"*.pay.example\"
    next
end
config firewall wildcard-fqdn group
    edit \"tlswhy\"
        set member \"tlswhy-none\"
        append member \"tlswhy-api.pinned.test\"
        append member \"tlswhy-pay.example\"
        append member \"tlswhy-all_.pay.example\"
    next
end";
    assert_eq!(lines(&list).join("\n"), expected);
}

#[rstest]
#[case(Format::NftablesSet)]
#[case(Format::Sslsplit)]
fn nftables_replaces_both_sets(#[case] format: Format) {
    let list = list(format);
    let expected = "\
table inet tlswhy {
\tset tlswhy_excluded4 { type ipv4_addr . inet_service; }
\tset tlswhy_excluded6 { type ipv6_addr . inet_service; }
}
flush set inet tlswhy tlswhy_excluded4
flush set inet tlswhy tlswhy_excluded6
add element inet tlswhy tlswhy_excluded4 { 192.0.2.7 . 8443 }
add element inet tlswhy tlswhy_excluded6 { 2001:db8::7 . 443 }
add element inet tlswhy tlswhy_excluded4 { 192.0.2.8 . 443 }
add element inet tlswhy tlswhy_excluded6 { 2001:db8::8 . 443 }";
    assert_eq!(lines(&list).join("\n"), expected);
    assert_eq!(
        list.notices,
        ["pay.example is not listed: its address was not seen"]
    );
}

/// The strings that mitmproxy searches: those of versions 8 and 12.
#[rstest]
#[case("api.pinned.test:443", true)]
#[case("api.pinned.test", true)]
#[case("API.pinned.test:443", true)]
#[case("192.0.2.7:8443", true)]
#[case("[2001:db8::7]:443", true)]
#[case("pay.example:8443", true)]
#[case("a.b.pay.example:443", true)]
#[case("api.pinned.test:8443", false)]
#[case("api.pinned.test.evil.example:443", false)]
#[case("evilapi.pinned.test:443", false)]
#[case("apixpinned.test:443", false)]
#[case("evilpay.example:443", false)]
#[case("192.0.2.70:8443", false)]
fn mitmproxy_is_anchored(#[case] host: &str, #[case] expected: bool) {
    let list = list(Format::Mitmproxy);
    let patterns = lines(&list).into_iter().skip(1).map(|line| {
        let quoted = line.trim().strip_prefix("- '").unwrap();
        RegexBuilder::new(quoted.strip_suffix('\'').unwrap())
            .case_insensitive(true)
            .build()
            .unwrap()
    });
    assert_eq!(
        patterns.filter(|it| it.is_match(host)).count(),
        usize::from(expected)
    );
}

#[rstest]
#[case(Format::Plain, "")]
#[case(Format::Squid, "tlswhy.invalid")]
#[case(Format::Mitmproxy, "ignore_hosts: []")]
#[case(Format::PanosEdl, "tlswhy.invalid/")]
#[case(Format::PanosSet, "")]
fn an_empty_list_can_be_loaded(#[case] format: Format, #[case] expected: &str) {
    assert_eq!(
        lines(&format.list(&[], Cause::Pinning)).join("\n"),
        expected
    );
}

/// An entry more is nothing but new lines, wherever it comes among the others.
#[test]
fn lists_differ_by_their_entries() {
    for format in Format::value_variants() {
        let more = entry("a.first.test", &["192.0.2.1:443"]);
        let now = [vec![more], entries()].concat();
        let now = format.list(&now, Cause::Pinning).text;
        let difference = difference(&list(*format).text, &now);
        assert!(!difference.is_empty(), "{format:?}");
        let gone: Vec<&str> = difference
            .lines()
            .filter(|it| it.starts_with('-'))
            .collect();
        assert!(gone.is_empty(), "{format:?}: {gone:?}");
    }
}

#[test]
fn no_list_is_longer_than_its_entries_allow() {
    let long = format!("{}.example.com", ["a"; 60].join("."));
    for format in Format::value_variants() {
        let longest = format.list(&[entry(&format!(".{long}"), &[])], Cause::Pinning);
        let lines = longest.text.lines();
        assert!(
            lines.into_iter().all(|line| line.len() <= 255),
            "{format:?}"
        );
    }
}
