//! AWS Network Firewall: the TLS log, one JSON object a line.
//!
//! Source: AWS, "Logging for TLS inspection in AWS Network Firewall".

use std::collections::HashMap;

use serde_json::Value;

use super::row::{Row, RowError, ends};
use super::time::RowTime;

/// Keys of an event, and the names that filters use for them.
const KEYS: [(&str, &str); 5] = [
    ("src_ip", "addr.src"),
    ("src_port", "port.src"),
    ("dest_ip", "addr.dst"),
    ("dest_port", "port.dst"),
    ("sni", "sni"),
];

/// Reads a line; `None` if it is no log of this firewall.
pub(super) fn by_keys(line: &str, number: u64) -> Option<Result<Row, RowError>> {
    // A relay may have put a header before it.
    let object = line.get(line.find('{')?..)?;
    if !object.contains("\"firewall_name\"") {
        return None;
    }
    let row: Value = serde_json::from_str(object).ok()?;
    let event = row.get("event")?;
    let (subtype, error) = match (event.get("tls_error"), event.get("revocation_check")) {
        (Some(error), _) => ("tls_error", text(error.get("error_message"))),
        (None, Some(check)) => {
            let status = text(
                check
                    .get("revocation_status")
                    .or_else(|| check.get("status")),
            );
            ("revocation_check", status)
        }
        (None, None) => return None,
    };
    let mut fields = HashMap::from([
        ("device_name", text(row.get("firewall_name"))),
        ("subtype", subtype.to_owned()),
        ("error", error),
        ("proto", "tcp".to_owned()),
    ]);
    let check = event.get("revocation_check");
    fields.insert("action", text(check.and_then(|it| it.get("action"))));
    for (key, name) in KEYS {
        let value = event.get(key).or_else(|| check.and_then(|it| it.get(key)));
        let value = text(value);
        // An unknown name is a hyphen.
        if !value.is_empty() && value != "-" {
            fields.insert(name, value);
        }
    }
    let began = event.get("timestamp").and_then(Value::as_str);
    let began = began.and_then(RowTime::parse).or_else(|| {
        let seconds = row.get("event_timestamp")?;
        let seconds = text(Some(seconds)).parse::<i64>().ok()?;
        RowTime::zoned(i128::from(seconds) * 1_000_000_000)
    });
    Some(
        ends(&fields, ["addr.src", "port.src", "addr.dst", "port.dst"]).map(|ends| Row {
            line: number,
            kind: "AWS Network Firewall TLS",
            ends,
            translated: None,
            began,
            decrypted: None,
            fields,
        }),
    )
}

/// Returns a text or number as text; ports are written as either.
fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = r#"{"firewall_name":"egress","availability_zone":"us-east-1d","event_timestamp":1795422602,
        "event":{"timestamp":"2026-11-23T08:30:01.412778Z","src_ip":"10.0.1.2","src_port":"40112",
        "dest_ip":"10.0.2.2","dest_port":"443","sni":"api.pinned.test",
        "tls_error":{"error_message":"SNI: api.pinned.test Match Failed"}}}"#;

    #[test]
    fn an_error_is_read_by_its_keys() {
        let row = by_keys(ROW, 3).unwrap().unwrap();
        assert_eq!(row.ends.client, "10.0.1.2:40112".parse().unwrap());
        assert_eq!(row.ends.server, "10.0.2.2:443".parse().unwrap());
        assert_eq!(row.words(), "tls_error / SNI: api.pinned.test Match Failed");
        assert_eq!(row.field("sni"), "api.pinned.test");
        assert_eq!(row.firewall(), "egress");
        assert_eq!(row.began, Some(RowTime::Zoned(1_795_422_601_412_778_000)));
    }

    #[test]
    fn a_name_that_is_not_there_is_none() {
        let row = by_keys(
            &ROW.replace(r#""sni":"api.pinned.test""#, r#""sni":"-""#),
            1,
        );
        assert_eq!(row.unwrap().unwrap().field("sni"), "");
    }

    #[test]
    fn other_events_are_none_and_broken_ones_are_named() {
        assert_eq!(by_keys(&ROW.replace("tls_error", "netflow"), 1), None);
        assert_eq!(by_keys("{\"firewall_name\": ", 1), None);
        assert_eq!(by_keys("{\"ip\": 1}", 1), None);
        let broken = by_keys(&ROW.replace("\"40112\"", "\"http\""), 1).unwrap();
        assert_eq!(
            broken,
            Err(RowError::Wrong {
                field: "port.src",
                value: "http".to_owned()
            })
        );
    }
}
