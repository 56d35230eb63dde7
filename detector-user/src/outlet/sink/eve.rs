//! Verdicts in the shape of Suricata's EVE, for pipelines that read it already.
//!
//! A verdict is an event of the type `tls`, with the names and formats of Suricata's own, and an object
//! `tlswhy` beside them with the whole verdict. It is no `alert`: that would be an intrusion to those who
//! read them. Sources: Suricata's user guide ("EVE JSON Format"), its `etc/schema.json`, for versions
//! `rust/src/tls_version.rs`, for `flow_id` `FlowGetId` in `src/flow.h`.

use std::net::IpAddr;

use serde::Serialize;

use crate::verdict::Verdict;

/// Bits of a `flow_id`: as many as JavaScript can count.
const FLOW_ID_MASK: u64 = 0x0007_ffff_ffff_ffff;

/// An event; its order is Suricata's.
#[derive(Serialize)]
pub(super) struct Event<'a, V: Serialize> {
    timestamp: String,
    flow_id: u64,
    in_iface: &'a str,
    event_type: &'static str,
    #[serde(skip_serializing_if = "<[u16]>::is_empty")]
    vlan: &'a [u16],
    src_ip: IpAddr,
    src_port: u16,
    dest_ip: IpAddr,
    dest_port: u16,
    proto: &'static str,
    app_proto: &'static str,
    community_id: &'a str,
    tls: Tls<'a>,
    tlswhy: &'a V,
}

#[derive(Serialize)]
struct Tls<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    issuerdn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ja4: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    client_alpns: &'a [String],
}

impl<'a, V: Serialize> Event<'a, V> {
    /// Creates the event of a verdict that is written as `whole`.
    pub(super) fn new(verdict: &'a Verdict, whole: &'a V) -> Self {
        Self {
            // Suricata writes the machine's offset from UTC; zero is one.
            timestamp: verdict
                .time
                .strftime("%Y-%m-%dT%H:%M:%S.%6f+0000")
                .to_string(),
            flow_id: verdict.connection_id() & FLOW_ID_MASK,
            in_iface: &verdict.tap,
            event_type: "tls",
            vlan: &verdict.vlan,
            src_ip: verdict.client.ip,
            src_port: verdict.client.port,
            dest_ip: verdict.server.ip,
            dest_port: verdict.server.port,
            proto: "TCP",
            app_proto: "tls",
            community_id: &verdict.community_id,
            tls: Tls {
                issuerdn: verdict.issuer.as_deref(),
                sni: verdict.sni.as_deref(),
                version: verdict.tls_version.as_deref().map(version),
                ja4: verdict.ja4.as_deref(),
                client_alpns: verdict.alpn.as_deref().unwrap_or_default(),
            },
            tlswhy: whole,
        }
    }
}

/// Returns a version as Suricata names it.
fn version(ours: &str) -> &str {
    match ours {
        "1.0" => "TLSv1",
        "1.1" => "TLS 1.1",
        "1.2" => "TLS 1.2",
        "1.3" => "TLS 1.3",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::verdict::tests::{injected_reset, pinning};

    fn event(verdict: &Verdict) -> Value {
        serde_json::to_value(Event::new(verdict, verdict)).unwrap()
    }

    #[test]
    fn an_event_is_suricatas_with_the_verdict_beside_it() {
        let mut event = event(&pinning());
        assert_eq!(event["tlswhy"], serde_json::to_value(pinning()).unwrap());
        let object = event.as_object_mut().unwrap();
        object.remove("tlswhy");
        let flow_id = object.remove("flow_id").unwrap().as_u64().unwrap();
        assert!((1..=FLOW_ID_MASK).contains(&flow_id));
        assert_eq!(
            event,
            json!({
                "timestamp": "2026-11-23T08:30:01.123456+0000",
                "in_iface": "lan0",
                "event_type": "tls",
                "src_ip": "10.0.1.2",
                "src_port": 40112,
                "dest_ip": "10.0.2.2",
                "dest_port": 443,
                "proto": "TCP",
                "app_proto": "tls",
                "community_id": "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
                "tls": {
                    "issuerdn": "CN=Inspection CA",
                    "sni": "api.pinned.test",
                    "version": "TLS 1.3",
                    "ja4": "t13d1516h2_8daaf6152771_02713d6af862",
                    "client_alpns": ["h2", "http/1.1"],
                },
            })
        );
    }

    /// The schema allows no empty list and no `null`.
    #[test]
    fn unknown_fields_are_left_out() {
        let mut verdict = injected_reset();
        assert_eq!(event(&verdict)["tls"], json!({}));
        assert_eq!(event(&verdict)["vlan"], json!([100, 7]));
        verdict.vlan.clear();
        verdict.alpn = Some(Vec::new());
        assert_eq!(event(&verdict).get("vlan"), None);
        assert_eq!(event(&verdict)["tls"], json!({}));
    }

    /// `TLSv1` has another form than its successors (`rust/src/tls_version.rs`).
    #[test]
    fn versions_are_suricatas() {
        let mut verdict = pinning();
        for (ours, theirs) in [
            ("1.0", "TLSv1"),
            ("1.1", "TLS 1.1"),
            ("1.2", "TLS 1.2"),
            ("1.3", "TLS 1.3"),
        ] {
            verdict.tls_version = Some(ours.to_owned());
            assert_eq!(event(&verdict)["tls"]["version"], theirs);
        }
    }

    #[test]
    fn all_verdicts_on_a_connection_have_its_flow_id() {
        let of = |verdict: &Verdict| event(verdict)["flow_id"].clone();
        let mut revision = pinning();
        revision.set_revision(1);
        assert_eq!(of(&revision), of(&pinning()));
        let mut other = pinning();
        other.community_id.push('x');
        assert_ne!(of(&other), of(&pinning()));
    }
}
