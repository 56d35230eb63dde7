use super::*;
use crate::firewall::reader::LogReader;

/// A row of PAN-OS 8.1, with syslog's header.
const ROW: &str = "<14>Nov 23 09:30:05 fw-1 1,2026/11/23 09:30:05,001801010101,TRAFFIC,deny,2049,\
    2026/11/23 09:30:05,10.0.1.2,10.0.2.2,192.0.2.7,0.0.0.0,Decrypt web,corp\\user,,ssl,vsys1,trust,untrust,\
    ethernet1/1,ethernet1/2,default,2026/11/23 09:30:05,33751,1,40112,443,61002,0,0x1400064,tcp,allow,\
    4012,1200,2812,14,2026/11/23 09:30:01,1,private-ip-addresses,0,99,0x0,10.0.0.0-10.255.255.255,US,0,7,7,\
    policy-deny,0,0,0,0,,fw-1,from-policy";

fn row(line: &str) -> Row {
    by_position(line, 1).unwrap().unwrap()
}

#[test]
fn a_row_is_read_by_position() {
    let row = row(ROW);
    assert_eq!(row.kind, "PAN-OS traffic");
    assert_eq!(row.ends.client, "10.0.1.2:40112".parse().unwrap());
    assert_eq!(row.ends.server, "10.0.2.2:443".parse().unwrap());
    let behind = row.translated.unwrap();
    assert_eq!(behind.client, "192.0.2.7:61002".parse().unwrap());
    assert_eq!(behind.server, row.ends.server, "it was not translated");
    assert_eq!(row.decrypted, Some(true));
    assert_eq!(row.words(), "allow / deny / policy-deny");
    assert_eq!(row.field("rule"), "Decrypt web");
    assert_eq!(row.began, RowTime::parse("2026/11/23 09:30:01"));
}

#[rstest::rstest]
#[case("1,2026/11/23 09:30:05")]
#[case("<14>1 2026-11-23T09:30:05+01:00 fw-1 - - - - 1,2026/11/23 09:30:05")]
#[case("Nov 23 09:30:05 1,2026/11/23 09:30:05")]
#[case("<190>1,2026/11/23 09:30:05")]
fn the_header_of_syslog_may_be_any(#[case] head: &str) {
    let body = ROW.split_once("1,2026/11/23 09:30:05").unwrap().1;
    let row = row(&format!("{head}{body}"));
    assert_eq!(row.field("receive_time"), "2026/11/23 09:30:05");
    assert_eq!(row.ends.client, "10.0.1.2:40112".parse().unwrap());
}

#[test]
fn quoted_fields_and_hostile_names_shift_nothing() {
    let body = ROW.split_once("fw-1 ").unwrap().1;
    let quoted: Vec<_> = body.split(',').map(|it| format!("\"{it}\"")).collect();
    assert_eq!(row(&quoted.join(",")).ends, row(ROW).ends);
    for rule in ["\"a,DECRYPTION,b\"", "{a", "\"{a, \"\"b\"\"}\""] {
        let named = row(&ROW.replace("Decrypt web", rule));
        assert_eq!(named.ends, row(ROW).ends, "{rule}");
        assert_eq!(named.kind, "PAN-OS traffic", "{rule}");
    }
}

#[test]
fn link_switches_in_braces_shift_no_later_field() {
    let fields: Vec<_> = (55..=102).map(|number| number.to_string()).collect();
    let plain = fields.join(",");
    let braced = plain.replacen(",70,", ",{1, 2, 3},", 1);
    let time = "2026-11-23T09:30:05.250+01:00";
    for middle in [plain, braced] {
        let row = row(&format!("{ROW},{middle},{time}"));
        assert_eq!(row.field("high_res_timestamp"), time);
        // The same moment, with the zone that the precise time shows.
        let expected = RowTime::parse("2026-11-23T09:30:01+01:00");
        assert_eq!(row.began, expected);
    }
}

#[test]
fn a_decryption_row_has_its_error() {
    let mut fields: Vec<String> = vec![String::new(); 90];
    for (position, value) in [
        (1, "1"),
        (2, "2026/11/23 09:30:05"),
        (4, "DECRYPTION"),
        (7, "2026/11/23 09:30:05"),
        (8, "2001:db8::2"),
        (9, "2001:db8:2::2"),
        (25, "40112"),
        (26, "443"),
        (31, "allow"),
        (46, "Protocol"),
        (64, "api.pinned.test"),
        (65, "Received fatal alert CertificateUnknown from client"),
    ] {
        fields[position - 1] = value.to_owned();
    }
    let row = row(&fields.join(","));
    assert_eq!(row.kind, "PAN-OS decryption");
    assert_eq!(row.ends.client, "[2001:db8::2]:40112".parse().unwrap());
    assert_eq!(row.field("sni"), "api.pinned.test");
    assert!(row.words().ends_with("CertificateUnknown from client"));
    assert_eq!(row.decrypted, None);
}

#[test]
fn an_export_is_read_by_its_header() {
    let text = "\u{feff}Domain,Receive Time,Type,Threat/Content Type,Source address,Destination address,\
        Rule,Source Port,Destination Port,Flags,Action,Start Time,Session End Reason\n\
        1,2026/11/23 09:30:05,TRAFFIC,deny,10.0.1.2,10.0.2.2,\"a, b\",40112,443,0x400000,allow,\
        2026/11/23 09:30:01,policy-deny\n\
        1,2026/11/23 09:30:05,TRAFFIC,deny,10.0.1.2\n\
        1,2026/11/23 09:30:06,TRAFFIC,end,10.0.1.3,10.0.2.2,x,1,443,,allow,,aged-out\n";
    let mut reader = LogReader::new(text.as_bytes());
    let row = reader.next_row().unwrap().unwrap().unwrap();
    assert_eq!((row.line, row.field("rule")), (2, "a, b"));
    assert_eq!(row.words(), "allow / deny / policy-deny");
    assert_eq!(row.decrypted, Some(false));
    let broken = reader.next_row().unwrap().unwrap().unwrap_err();
    assert_eq!(
        (broken.line, broken.error),
        (3, RowError::Missing("port.src"))
    );
    let last = reader.next_row().unwrap().unwrap().unwrap();
    assert_eq!((last.line, last.field("subtype")), (4, "end"));
    assert!(reader.next_row().unwrap().is_none());
}

#[rstest::rstest]
#[case(&ROW.replace("40112", "port"), "port.src")]
#[case(&ROW.replace("10.0.2.2", "server"), "addr.dst")]
#[case(&ROW.replace("0x1400064", "0xnone"), "flags")]
fn a_broken_row_names_its_field(#[case] line: &str, #[case] field: &str) {
    let error = by_position(line, 1).unwrap().unwrap_err();
    assert!(
        matches!(error, RowError::Wrong { field: it, .. } if it == field),
        "{error}"
    );
}

#[test]
fn what_is_no_row_is_named_and_the_rest_is_read() {
    let text = format!(
        "{ROW}\nnonsense\n\n# comment\n{ROW}\n{}\n",
        "x".repeat(1 << 20)
    );
    let mut reader = LogReader::new(text.as_bytes());
    let mut rows = Vec::new();
    while let Some(row) = reader.next_row().unwrap() {
        rows.push(row.map(|row| row.line).map_err(|unread| unread.line));
    }
    assert_eq!(rows, [Ok(1), Err(2), Ok(5), Err(6)]);
}

proptest::proptest! {
    #[test]
    fn no_line_is_too_strange(line in ".{0,300}") {
        let text = format!("{line}\n1,a,b,TRAFFIC,{line}\n{line},DECRYPTION,\n");
        let mut reader = LogReader::new(text.as_bytes());
        while reader.next_row().unwrap().is_some() {}
    }
}
