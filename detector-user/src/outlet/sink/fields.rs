//! A verdict's fields by name, as the journal and syslog have them.

use crate::outlet::message_kind::REPEATS_ID;
use crate::verdict::{Endpoint, ServerLeg, Verdict, written_confidence, written_milliseconds};

use super::fold::Repeats;
use super::headline;
use super::native_protocol::Entry;

/// journald drops an entry of more than 1024 fields whole.
const MOST_REPEATED: usize = 400;

/// A message that is made of named fields.
pub(super) trait Fields {
    /// Adds a field, `TLSWHY_` before its name.
    fn field(&mut self, name: &'static str, value: &str);
}

impl Fields for Entry {
    fn field(&mut self, name: &'static str, value: &str) {
        self.field(name, value);
    }
}

pub(super) fn add_journal_fields(entry: &mut Entry, verdict: &Verdict) {
    entry.field("MESSAGE", &headline::message(verdict));
    entry.field("MESSAGE_ID", verdict.cause.message_id());
    entry.field("PRIORITY", verdict.cause.severity().digit());
    entry.field("SYSLOG_IDENTIFIER", "tlswhy");
}

pub(super) fn add_repeat_fields(entry: &mut Entry, repeats: &Repeats) {
    let verdict = &repeats.verdict;
    entry.field(
        "MESSAGE",
        &headline::repeats(verdict, repeats.count, repeats.first),
    );
    entry.field("MESSAGE_ID", REPEATS_ID);
    entry.field("PRIORITY", verdict.cause.severity().digit());
    entry.field("SYSLOG_IDENTIFIER", "tlswhy");
    add_repeats(entry, repeats);
}

pub(super) fn add_repeats(entry: &mut impl Fields, repeats: &Repeats) {
    entry.field("TLSWHY_REPEATS", &repeats.count.to_string());
    entry.field("TLSWHY_FIRST_TIME", &format!("{:.9}", repeats.first));
    entry.field("TLSWHY_LAST_TIME", &format!("{:.9}", repeats.verdict.time));
    if !repeats.superseded.is_empty() {
        entry.field("TLSWHY_ALSO_SUPERSEDES", &repeats.superseded.join(" "));
    }
}

pub(super) fn add_connection(entry: &mut impl Fields, verdict: &Verdict) {
    entry.field("TLSWHY_TIME", &format!("{:.9}", verdict.time));
    entry.field("TLSWHY_TAP", &verdict.tap);
    entry.field("TLSWHY_COMMUNITY_ID", &verdict.community_id);
    add_endpoint(
        entry,
        ["TLSWHY_CLIENT_IP", "TLSWHY_CLIENT_PORT"],
        verdict.client,
    );
    add_endpoint(
        entry,
        ["TLSWHY_SERVER_IP", "TLSWHY_SERVER_PORT"],
        verdict.server,
    );
    entry.field("TLSWHY_VLAN", &serde_json::json!(verdict.vlan).to_string());
    add_known(entry, "TLSWHY_SNI", verdict.sni.as_deref());
    if let Some(alpn) = &verdict.alpn {
        entry.field("TLSWHY_ALPN", &serde_json::json!(alpn).to_string());
    }
    add_known(entry, "TLSWHY_JA4", verdict.ja4.as_deref());
    add_known(entry, "TLSWHY_TLS_VERSION", verdict.tls_version.as_deref());
}

pub(super) fn add_judgement(entry: &mut impl Fields, verdict: &Verdict) -> serde_json::Result<()> {
    entry.field("TLSWHY_CAUSE", verdict.cause.name());
    entry.field(
        "TLSWHY_CONFIDENCE",
        &written_confidence(verdict.confidence).to_string(),
    );
    entry.field("TLSWHY_INTERCEPTED", verdict.intercepted.name());
    add_known(entry, "TLSWHY_ISSUER", verdict.issuer.as_deref());
    entry.field("TLSWHY_ENDED_BY", verdict.ended_by.name());
    if let Some(alert) = &verdict.alert {
        entry.field("TLSWHY_ALERT_FROM", alert.from.name());
        add_known(
            entry,
            "TLSWHY_ALERT_LEVEL",
            alert.level.map(|level| level.name()),
        );
        add_known(
            entry,
            "TLSWHY_ALERT_CODE",
            alert.code.map(|code| code.to_string()).as_deref(),
        );
        add_known(
            entry,
            "TLSWHY_ALERT_DESCRIPTION",
            alert.description.as_deref(),
        );
        entry.field("TLSWHY_ALERT_ENCRYPTED", yes_no(alert.encrypted));
    }
    if let Some(reset) = &verdict.reset {
        entry.field("TLSWHY_RESET_FROM", reset.from.name());
        entry.field("TLSWHY_RESET_INJECTED", yes_no(reset.injected));
        for tell in reset.tells.iter().take(MOST_REPEATED) {
            entry.field("TLSWHY_RESET_TELLS", tell);
        }
    }
    let duration = written_milliseconds(verdict.duration_ms).map(|ms| ms.to_string());
    add_known(entry, "TLSWHY_DURATION_MS", duration.as_deref());
    add_known(entry, "TLSWHY_PAN_OS", verdict.pan_os.as_deref());
    add_known(
        entry,
        "TLSWHY_PAN_OS_BENEATH",
        verdict.pan_os_beneath.as_deref(),
    );
    for evidence in verdict.evidence.iter().take(MOST_REPEATED) {
        entry.field("TLSWHY_EVIDENCE", &serde_json::to_string(evidence)?);
    }
    add_known(entry, "TLSWHY_ADVICE", verdict.advice.as_deref());
    add_known(entry, "TLSWHY_REVISES", verdict.revises.as_deref());
    entry.field("TLSWHY_ID", &verdict.id);
    entry.field("TLSWHY_REVISION", &verdict.revision.to_string());
    add_known(entry, "TLSWHY_SUPERSEDES", verdict.supersedes.as_deref());
    if let Some(leg) = &verdict.server_leg {
        add_server_leg(entry, leg);
    }
    if let Some(tunnel) = &verdict.tunnel {
        entry.field("TLSWHY_TUNNEL_KIND", &tunnel.kind);
        let id = tunnel.id.map(|id| id.to_string());
        add_known(entry, "TLSWHY_TUNNEL_ID", id.as_deref());
    }
    add_known(entry, "TLSWHY_TARGET", verdict.target.as_deref());
    Ok(())
}

fn add_server_leg(entry: &mut impl Fields, leg: &ServerLeg) {
    entry.field("TLSWHY_SERVER_LEG_TAP", &leg.tap);
    entry.field("TLSWHY_SERVER_LEG_COMMUNITY_ID", &leg.community_id);
    entry.field("TLSWHY_SERVER_LEG_CLIENT", &leg.client.to_string());
    entry.field("TLSWHY_SERVER_LEG_SERVER", &leg.server.to_string());
    let version = leg.tls_version.as_deref();
    add_known(entry, "TLSWHY_SERVER_LEG_TLS_VERSION", version);
    add_known(entry, "TLSWHY_SERVER_LEG_ISSUER", leg.issuer.as_deref());
}

fn add_endpoint(entry: &mut impl Fields, [ip, port]: [&'static str; 2], endpoint: Endpoint) {
    entry.field(ip, &endpoint.ip.to_string());
    entry.field(port, &endpoint.port.to_string());
}

fn add_known(entry: &mut impl Fields, name: &'static str, value: Option<&str>) {
    if let Some(value) = value {
        entry.field(name, value);
    }
}

/// Returns a flag as JSON writes it.
const fn yes_no(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}
