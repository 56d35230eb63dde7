use super::*;
use crate::firewall::LogReader;

const ROW: &str = "1,2026/11/23 09:30:05,0018,TRAFFIC,deny,2049,2026/11/23 09:30:05,10.0.1.2,10.0.2.2,192.0.2.7,\
    0.0.0.0,Decrypt web,,,ssl,vsys1,trust,untrust,e1,e2,default,,33751,1,40112,443,61002,0,0x1400064,tcp,allow,\
    4012,1200,2812,14,2026/11/23 09:30:01,1,any,0,99,0x0,,,0,7,7,policy-deny";

fn row() -> Row {
    let mut reader = LogReader::new(ROW.as_bytes());
    reader.next_row().unwrap().unwrap().unwrap()
}

#[rstest::rstest]
#[case(DEFAULT, true)]
#[case("(subtype eq deny)", true)]
#[case("subtype eq deny and action eq drop", false)]
#[case("action eq drop or subtype eq deny", true)]
#[case("action eq drop or subtype eq deny and port.dst eq 80", false)]
#[case("not (action eq allow)", false)]
#[case("(ACTION EQ allow) AND NOT (Addr.Src IN 10.9.0.0/16)", true)]
#[case("!(addr in 10.0.9.0/24)", true)]
#[case("(addr.src in 10.0.0.0/16) and (addr.dst notin 10.0.1.0/24)", true)]
#[case("addr eq 10.0.2.2", true)]
#[case("addr neq 10.0.2.2", false)]
#[case("(addr.src eq 10.0.1.3)", false)]
#[case("( port.dst eq 443 )", true)]
#[case("( port geq 40000 )", true)]
#[case("( port.src leq 9999 )", false)]
#[case("( bytes geq 4012 ) and ( bytes leq 4012 )", true)]
#[case("( proto eq 6 )", true)]
#[case("( proto eq TCP )", true)]
#[case("( flags has nat )", true)]
#[case("( flags has 0x01000000 )", true)]
#[case("( flags has captive-portal )", false)]
#[case("( rule eq 'Decrypt web' )", true)]
#[case("( rule contains \"WEB\" )", true)]
#[case("( session_end_reason neq policy-deny )", false)]
#[case(
    "( receive_time geq '2026/11/23 00:00:00' ) and ( receive_time leq '2026/11/23 23:59:59' )",
    true
)]
#[case("( receive_time leq '2026/11/22 23:59:59' )", false)]
#[case("(from eq trust) and (to eq untrust) and (zone eq trust)", true)]
#[case("( natsrc in 192.0.2.0/24 ) and ( natdport eq 0 )", true)]
#[case("( error neq '' )", false)]
#[case("( user.src eq '' )", true)]
fn rows_are_selected(#[case] filter: &str, #[case] selected: bool) {
    let filter: Filter = filter.parse().unwrap();
    assert_eq!(filter.selects(&row()), selected);
}

#[rstest::rstest]
#[case("", "a field is missing at character 1")]
#[case("( subtype eq end", "a closing parenthesis is missing at character 17")]
#[case("subtype eq end )", "unexpected \")\" at character 16")]
#[case("colour eq red", "unknown field \"colour\" at character 1")]
#[case("action is allow", "unknown operator \"is\"")]
#[case("action eq", "a value is missing at character 10")]
#[case(
    "addr.src in 10.0.0/8",
    "\"10.0.0/8\" is no address or network at character 13"
)]
#[case("flags has colour", "unknown flag \"colour\" at character 11")]
#[case("rule eq 'open", "a quote is not closed at character 9")]
#[case("action eq and", "")]
fn mistakes_have_their_place(#[case] filter: &str, #[case] expected: &str) {
    match filter.parse::<Filter>() {
        Err(error) => assert!(
            !expected.is_empty() && error.to_string().starts_with(expected),
            "{error}"
        ),
        // A value may be any word.
        Ok(_) => assert_eq!(expected, ""),
    }
}

#[test]
fn nesting_has_an_end() {
    let deep = format!(
        "{}action eq allow{}",
        "(".repeat(100_000),
        ")".repeat(100_000)
    );
    let error = deep.parse::<Filter>().unwrap_err();
    assert!(
        error.to_string().starts_with("too many parentheses"),
        "{error}"
    );
}

proptest::proptest! {
    #[test]
    fn no_filter_is_too_strange(filter in "[ ()!'a-z.0-9/]{0,80}|.{0,40}") {
        if let Ok(filter) = filter.parse::<Filter>() {
            let _ = filter.selects(&row());
        }
    }
}
