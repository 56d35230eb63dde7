//! FortiGate: SSL rows of the UTM log, as `key=value` pairs.
//!
//! Source: docs.fortinet.com, "FortiOS Log Message Reference", log IDs 62004 to 62309.

use std::collections::HashMap;

use super::row::{Row, RowError, ends};
use super::time::RowTime;

/// Keys, and the names that filters use for them.
const KEYS: [(&str, &str); 18] = [
    ("srcip", "addr.src"),
    ("srcport", "port.src"),
    ("dstip", "addr.dst"),
    ("dstport", "port.dst"),
    ("type", "type"),
    ("eventtype", "subtype"),
    ("eventsubtype", "eventsubtype"),
    ("action", "action"),
    ("reason", "session_end_reason"),
    ("msg", "error"),
    ("sni", "sni"),
    ("hostname", "hostname"),
    ("profile", "policy_name"),
    ("policyid", "rule"),
    ("tlsver", "tls-version"),
    ("sessionid", "sessionid"),
    ("proto", "proto"),
    ("logid", "logid"),
];
/// Event times of old releases are seconds.
const SECONDS_MAX: i64 = 100_000_000_000;

/// Reads a line; `None` if it is no row about SSL.
pub(super) fn by_keys(line: &str, number: u64) -> Option<Result<Row, RowError>> {
    if !line.contains("subtype=\"ssl\"") && !line.contains("subtype=ssl") {
        return None;
    }
    let pairs = pairs(line);
    let mut fields = HashMap::new();
    for (key, name) in KEYS {
        if let Some(value) = pairs.get(key) {
            fields.insert(name, value.clone());
        }
    }
    Some(
        ends(&fields, ["addr.src", "port.src", "addr.dst", "port.dst"]).map(|ends| Row {
            line: number,
            kind: "FortiGate SSL",
            ends,
            translated: None,
            began: began(&pairs),
            decrypted: None,
            fields,
        }),
    )
}

fn began(pairs: &HashMap<String, String>) -> Option<RowTime> {
    let event: Option<i64> = pairs.get("eventtime").and_then(|it| it.parse().ok());
    if let Some(time) = event {
        let is_seconds = time < SECONDS_MAX;
        let unit = if is_seconds { 1_000_000_000 } else { 1 };
        return RowTime::zoned(i128::from(time) * unit);
    }
    RowTime::parse(&format!("{} {}", pairs.get("date")?, pairs.get("time")?))
}

/// Splits `key=value key="value with spaces"`, with commas between them as `set format csv` writes them.
fn pairs(line: &str) -> HashMap<String, String> {
    let mut pairs = HashMap::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('=') {
        let key = before.rsplit([' ', '\t', ',']).next().unwrap_or_default();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once([' ', '\t', ',']).unwrap_or((after, "")),
        };
        pairs.insert(key.to_owned(), value.to_owned());
        rest = left;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "<189>date=2026-11-23 time=08:30:01 devname=\"fw-1\" eventtime=1795422601000000000 \
        tz=\"+0000\" logid=\"1700062308\" type=\"utm\" subtype=\"ssl\" eventtype=\"ssl-anomaly\" \
        action=\"blocked\" policyid=7 srcip=10.0.1.2 srcport=40112 dstip=10.0.2.2 dstport=443 \
        sni=\"api.pinned.test\" reason=\"handshake failure\" msg=\"SSL connection is blocked.\"";

    #[test]
    fn a_row_is_read_by_its_keys() {
        let row = by_keys(ROW, 3).unwrap().unwrap();
        assert_eq!(row.ends.client, "10.0.1.2:40112".parse().unwrap());
        assert_eq!(row.ends.server, "10.0.2.2:443".parse().unwrap());
        assert_eq!(row.field("session_end_reason"), "handshake failure");
        assert_eq!(row.field("sni"), "api.pinned.test");
        assert_eq!(row.began, Some(RowTime::Zoned(1_795_422_601_000_000_000)));
    }

    #[test]
    fn pairs_may_have_commas_between_them() {
        let spaces = by_keys(ROW, 1).unwrap().unwrap();
        let (head, message) = ROW.split_once("reason=").unwrap();
        let commas = format!("{}reason={message}", head.replace(' ', ","));
        assert_eq!(by_keys(&commas, 1).unwrap().unwrap().ends, spaces.ends);
    }

    #[test]
    fn other_rows_are_none_and_broken_ones_are_named() {
        assert_eq!(
            by_keys("type=\"traffic\" subtype=\"forward\" srcip=1.2.3.4", 1),
            None
        );
        let broken = by_keys(&ROW.replace("srcport=40112", "srcport=http"), 1).unwrap();
        assert_eq!(
            broken,
            Err(RowError::Wrong {
                field: "port.src",
                value: "http".to_owned()
            })
        );
    }
}
