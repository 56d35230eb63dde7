//! Cisco Secure Firewall Threat Defense: connection events, as `Key: value` pairs in syslog.
//!
//! Source: Cisco, "Secure Firewall Threat Defense Syslog Messages", 430002 and 430003, and "Connection and
//! Security-Related Connection Event Fields". TLS/SSL flow flags are shown by the management center, and by syslog
//! only where a relay adds them.

use std::collections::HashMap;

use super::row::{Ends, Row, RowError, ends};
use super::time::RowTime;

/// Kind of the rows.
pub(super) const KIND: &str = "FTD connection";
/// Keys, and the names that filters use for them.
const KEYS: [(&str, &str); 16] = [
    ("SrcIP", "addr.src"),
    ("SrcPort", "port.src"),
    ("DstIP", "addr.dst"),
    ("DstPort", "port.dst"),
    ("Protocol", "proto"),
    ("AccessControlRuleAction", "action"),
    ("AccessControlRuleName", "rule"),
    ("SSLActualAction", "subtype"),
    ("SSLFlowStatus", "session_end_reason"),
    ("SSLServerName", "sni"),
    ("SSLVersion", "tls-version"),
    ("SSLPolicy", "policy_name"),
    ("ConnectionID", "sessionid"),
    ("DeviceUUID", "serial"),
    ("IngressZone", "zone.src"),
    ("EgressZone", "zone.dst"),
];
/// Keys that name flow flags or errors of TLS.
const FLAGS: [&str; 4] = [
    "SSLFlowFlags",
    "SSLFlowError",
    "SSLFlowMessages",
    "SSL Flow Flags",
];
const TRANSLATED: [&str; 4] = [
    "NAT_InitiatorIP",
    "NAT_InitiatorPort",
    "NAT_ResponderIP",
    "NAT_ResponderPort",
];
/// Flags of alerts; those of a client's name the reason of its refusal.
const ALERT_SEEN: &str = "_ALERT_SEEN";

/// Reads a line; `None` if it is no connection event.
pub(super) fn by_keys(line: &str, number: u64) -> Option<Result<Row, RowError>> {
    let (_, event) = line
        .split_once("-430003: ")
        .or_else(|| line.split_once("-430002: "))
        .filter(|(head, _)| head.contains("FTD-") || head.contains("NGIPS-"))?;
    let pairs = pairs(event);
    let mut fields = HashMap::new();
    for (key, name) in KEYS {
        if let Some(value) = pairs.get(key) {
            fields.insert(name, (*value).to_owned());
        }
    }
    let flags: Vec<_> = FLAGS
        .iter()
        .filter_map(|key| pairs.get(key).copied())
        .collect();
    fields.insert("error", flags.join("; "));
    let decrypted = pairs.get("SSLActualAction").map(|it| is_decrypted(it));
    let began = pairs
        .get("FirstPacketSecond")
        .and_then(|it| RowTime::parse(it));
    Some(
        ends(&fields, ["addr.src", "port.src", "addr.dst", "port.dst"]).map(|ends| Row {
            line: number,
            kind: KIND,
            ends,
            translated: translated(&pairs).filter(|it| *it != ends),
            began,
            decrypted,
            fields,
        }),
    )
}

/// Whether a row is explained without being asked for: of all connections those in which TLS failed.
pub(super) fn is_failure(row: &Row) -> bool {
    let status = row.field("session_end_reason");
    let is_fine = ["", "Success", "Unknown", "Not Checked"]
        .iter()
        .any(|fine| status.eq_ignore_ascii_case(fine));
    !is_fine || row.field("error").contains(ALERT_SEEN) || row.field("action").starts_with("Block")
}

fn is_decrypted(action: &str) -> bool {
    let action = action.to_ascii_lowercase();
    action.starts_with("decrypt")
}

fn translated(pairs: &HashMap<&str, &str>) -> Option<Ends> {
    let named = TRANSLATED.map(|key| pairs.get(key).map(|it| (*it).to_owned()));
    let [
        Some(client),
        Some(client_port),
        Some(server),
        Some(server_port),
    ] = named
    else {
        return None;
    };
    let names = ["natsrc", "natsport", "natdst", "natdport"];
    let fields = names
        .into_iter()
        .zip([client, client_port, server, server_port]);
    ends(&fields.collect(), names).ok()
}

/// Splits `Key: value, Key: value`; a value may hold commas and colons, a key neither.
fn pairs(event: &str) -> HashMap<&str, &str> {
    let mut pairs = HashMap::new();
    let mut key = None;
    let mut begin = 0;
    // A pair begins behind ", " if a key follows.
    let starts = std::iter::once(0).chain(event.match_indices(", ").map(|(at, _)| at + 2));
    for start in starts {
        let Some(rest) = event.get(start..) else {
            continue;
        };
        let Some((next, _)) = rest.split_once(": ").filter(|(key, _)| is_key(key)) else {
            continue;
        };
        let value = event.get(begin..start).unwrap_or_default();
        if let Some(key) = key {
            // The first of equal keys: a later one may stand in a stranger's words.
            pairs
                .entry(key)
                .or_insert(value.trim_end_matches([',', ' ']));
        }
        key = Some(next);
        begin = start + next.len() + 2;
    }
    if let Some(key) = key {
        pairs
            .entry(key)
            .or_insert(event.get(begin..).unwrap_or_default().trim());
    }
    pairs
}

fn is_key(text: &str) -> bool {
    const LEN_MAX: usize = 40;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b' ' | b'/');
    text.len() <= LEN_MAX
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.bytes().all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "<113>2026-11-23T08:30:05Z fw-1  %FTD-1-430003: EventPriority: Low, DeviceUUID: 16-a, \
        InstanceID: 5, FirstPacketSecond: 2026-11-23T08:30:01Z, ConnectionID: 35871, \
        AccessControlRuleAction: Allow, SrcIP: 10.0.1.2, DstIP: 10.0.2.2, SrcPort: 40112, DstPort: 443, \
        Protocol: tcp, IngressZone: LAN, EgressZone: OUT, AccessControlRuleName: web, all, UserAgent: a, DstIP: 1.1.1.1, \
        SSLFlowStatus: Handshake Error, SSLActualAction: Decrypt (Resign), SSLServerName: api.pinned.test, \
        SSLFlowFlags: CLIENT_HELLO_SENT; CLIENT_ALERT_SEEN_UNKNOWN_CA, NAT_InitiatorPort: 36170, \
        NAT_ResponderPort: 443, NAT_InitiatorIP: 192.0.2.7, NAT_ResponderIP: 10.0.2.2";

    #[test]
    fn a_connection_event_is_read_by_its_keys() {
        let row = by_keys(ROW, 3).unwrap().unwrap();
        assert_eq!(row.ends.client, "10.0.1.2:40112".parse().unwrap());
        assert_eq!(row.ends.server, "10.0.2.2:443".parse().unwrap());
        let translated = row.translated.unwrap();
        assert_eq!(translated.client, "192.0.2.7:36170".parse().unwrap());
        assert_eq!(row.decrypted, Some(true));
        assert_eq!(row.field("rule"), "web, all");
        assert_eq!(
            row.words(),
            "Allow / Decrypt (Resign) / Handshake Error / CLIENT_HELLO_SENT; CLIENT_ALERT_SEEN_UNKNOWN_CA"
        );
        assert_eq!(row.began, Some(RowTime::Zoned(1_795_422_601_000_000_000)));
        assert!(is_failure(&row));
    }

    #[test]
    fn a_connection_that_worked_is_no_failure() {
        let fine = ROW
            .replace("Handshake Error", "Success")
            .replace("CLIENT_ALERT_SEEN_UNKNOWN_CA", "SERVER_HELLO_SENT");
        let row = by_keys(&fine, 1).unwrap().unwrap();
        assert!(!is_failure(&row));
        let alerted = ROW.replace("Handshake Error", "Success");
        assert!(is_failure(&by_keys(&alerted, 1).unwrap().unwrap()));
    }

    #[test]
    fn other_messages_are_none_and_broken_ones_are_named() {
        assert_eq!(by_keys(&ROW.replace("430003", "302014"), 1), None);
        let broken = by_keys(&ROW.replace("SrcPort: 40112", "SrcPort: 77777"), 1).unwrap();
        assert_eq!(
            broken,
            Err(RowError::Wrong {
                field: "port.src",
                value: "77777".to_owned()
            })
        );
    }
}
