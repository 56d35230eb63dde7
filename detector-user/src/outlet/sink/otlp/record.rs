//! A verdict as a log record, in OTLP's JSON encoding.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::host::name::machine_name;
use crate::outlet::sink::fold::Repeats;
use crate::outlet::sink::headline;
use crate::verdict::{Severity, Verdict};

/// Name of the event (`LogRecord.event_name`).
const EVENT: &str = "tlswhy.verdict";

/// Attributes that OpenTelemetry's semantic conventions name
/// (<https://opentelemetry.io/docs/specs/semconv/registry/attributes/>), by a verdict's fields.
const CONVENTIONS: [(&str, &str); 8] = [
    ("client.ip", "client.address"),
    ("client.port", "client.port"),
    ("server.ip", "network.peer.address"),
    ("server.port", "network.peer.port"),
    ("tls_version", "tls.protocol.version"),
    ("issuer", "tls.server.issuer"),
    ("cause", "error.type"),
    ("time", ""),
];

/// The sender of records.
pub(super) struct Source {
    resource: Value,
    scope: Value,
}

impl Source {
    pub(super) fn this_agent() -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let mut attributes = vec![
            attribute("service.name", &json!("tlswhy")),
            attribute("service.version", &json!(version)),
        ];
        if let Some(name) = machine_name() {
            attributes.push(attribute("host.name", &json!(name)));
        }
        Self {
            resource: json!({ "attributes": attributes }),
            scope: json!({ "name": "tlswhy", "version": version }),
        }
    }

    /// Returns a request (`ExportLogsServiceRequest`) with a verdict as its record, or a count of repeats.
    pub(super) fn request(&self, verdict: &Verdict, repeats: Option<&Repeats>) -> Vec<u8> {
        let record = record(verdict, repeats, Timestamp::now());
        let scope_logs = json!([{ "scope": self.scope, "logRecords": [record] }]);
        let request = json!({
            "resourceLogs": [{ "resource": self.resource, "scopeLogs": scope_logs }]
        });
        request.to_string().into_bytes()
    }
}

fn record(verdict: &Verdict, repeats: Option<&Repeats>, now: Timestamp) -> Value {
    let (number, text) = severity(verdict.cause.severity());
    let body = match repeats {
        Some(repeats) => headline::repeats(verdict, repeats.count, repeats.first),
        None => headline::message(verdict),
    };
    json!({
        "timeUnixNano": verdict.time.as_nanosecond().to_string(),
        "observedTimeUnixNano": now.as_nanosecond().to_string(),
        "severityNumber": number,
        "severityText": text,
        "body": { "stringValue": body },
        "attributes": attributes(verdict, repeats),
        "eventName": EVENT,
    })
}

/// Returns number and text of a severity, by the mapping of syslog's in OpenTelemetry's logs data model,
/// appendix B.
const fn severity(severity: Severity) -> (u8, &'static str) {
    match severity {
        Severity::Warning => (13, "Warning"),
        Severity::Notice => (10, "Notice"),
        Severity::Informational => (9, "Informational"),
    }
}

fn attributes(verdict: &Verdict, repeats: Option<&Repeats>) -> Vec<Value> {
    let server = verdict.server_name().map(str::to_owned);
    let server = server.unwrap_or_else(|| verdict.server.ip.to_string());
    let family = if verdict.client.ip.is_ipv4() {
        "ipv4"
    } else {
        "ipv6"
    };
    let mut attributes = vec![
        attribute("server.address", &json!(server)),
        attribute("server.port", &json!(verdict.server.port)),
        attribute("network.transport", &json!("tcp")),
        attribute("network.type", &json!(family)),
        attribute("tls.protocol.name", &json!("tls")),
        attribute("tlswhy.cause", &json!(verdict.cause)),
    ];
    // A verdict has no value that JSON lacks.
    if let Ok(Value::Object(fields)) = serde_json::to_value(verdict) {
        flatten("", fields, &mut attributes);
    }
    if let Some(repeats) = repeats {
        for (name, value) in [
            ("tlswhy.repeats", json!(repeats.count)),
            ("tlswhy.first_time", json!(format!("{:.9}", repeats.first))),
            ("tlswhy.also_supersedes", json!(repeats.superseded)),
        ] {
            attributes.push(attribute(name, &value));
        }
    }
    attributes
}

/// Adds the fields of an object, those of objects in it with a dot between. Unknown ones are left out.
fn flatten(prefix: &str, fields: Map<String, Value>, to: &mut Vec<Value>) {
    for (name, value) in fields {
        let path = format!("{prefix}{name}");
        match value {
            Value::Null => {}
            Value::Object(fields) => flatten(&format!("{path}."), fields, to),
            value => {
                let known = CONVENTIONS.iter().find(|(ours, _)| *ours == path);
                let name =
                    known.map_or_else(|| format!("tlswhy.{path}"), |(_, it)| (*it).to_owned());
                if !name.is_empty() {
                    to.push(attribute(&name, &value));
                }
            }
        }
    }
}

/// Returns a `KeyValue`.
fn attribute(name: &str, value: &Value) -> Value {
    json!({ "key": name, "value": any_value(value) })
}

/// Returns an `AnyValue`. Integers of 64 bits are text.
fn any_value(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(flag) => json!({ "boolValue": flag }),
        Value::Number(number) if number.is_f64() => json!({ "doubleValue": number }),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::String(text) => json!({ "stringValue": text }),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(any_value).collect();
            json!({ "arrayValue": { "values": values } })
        }
        Value::Object(fields) => {
            let values: Vec<_> = fields
                .iter()
                .map(|(name, it)| attribute(name, it))
                .collect();
            json!({ "kvlistValue": { "values": values } })
        }
    }
}
