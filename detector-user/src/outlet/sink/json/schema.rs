//! `docs/verdict.schema.json` against written verdicts.
//!
//! Only the keywords that the schema uses are implemented, and any other one fails the test: a
//! validator for all of them would add 27 packages.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;
use serde_json::Value;

use crate::verdict::tests::{EXAMPLE, injected_reset, pinning};
use crate::verdict::{ServerLeg, Tunnel, Verdict};

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A schema and its definitions.
struct Schema(Value);

impl Schema {
    fn read() -> Self {
        Self(serde_json::from_str(&file("docs/verdict.schema.json")).unwrap())
    }

    fn definition(&self, reference: &Value) -> &Value {
        let name = reference.as_str().unwrap().strip_prefix('#').unwrap();
        self.0.pointer(name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// Returns the schema behind a `$ref`, or behind the alternative to null.
    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        if let Some(reference) = schema.get("$ref") {
            return self.definition(reference);
        }
        let is_null = |schema: &&Value| schema["type"] == "null";
        match schema["anyOf"].as_array() {
            Some(all) if all.iter().any(|it| is_null(&it)) => {
                let other = all.iter().find(|it| !is_null(it)).unwrap();
                self.resolved(other)
            }
            _ => schema,
        }
    }

    /// Lists the places at which `value` does not fit.
    fn check(&self, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        for (keyword, given) in schema.as_object().unwrap() {
            let fits = match keyword.as_str() {
                "$schema" | "$id" | "$defs" | "title" | "description" | "examples" => true,
                "additionalProperties" => *given == true,
                "type" => is_of_type(given, value),
                "enum" => given.as_array().unwrap().contains(value),
                "pattern" => value.as_str().is_none_or(|text| {
                    let pattern = Regex::new(given.as_str().unwrap()).unwrap();
                    pattern.is_match(text)
                }),
                "format" => value
                    .as_str()
                    .is_none_or(|text| has_format(given.as_str().unwrap(), text)),
                "minimum" => value
                    .as_f64()
                    .is_none_or(|it| it >= given.as_f64().unwrap()),
                "maximum" => value
                    .as_f64()
                    .is_none_or(|it| it <= given.as_f64().unwrap()),
                "required" => value.as_object().is_none_or(|fields| {
                    let mut names = given.as_array().unwrap().iter();
                    names.all(|name| fields.contains_key(name.as_str().unwrap()))
                }),
                "properties" => {
                    for (name, field) in value.as_object().into_iter().flatten() {
                        if let Some(schema) = given.get(name) {
                            self.check(schema, field, &format!("{at}/{name}"), wrong);
                        }
                    }
                    true
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(given, item, &format!("{at}/{index}"), wrong);
                    }
                    true
                }
                "anyOf" => given.as_array().unwrap().iter().any(|schema| {
                    let mut inner = Vec::new();
                    self.check(schema, value, at, &mut inner);
                    inner.is_empty()
                }),
                "$ref" => {
                    self.check(self.definition(given), value, at, wrong);
                    true
                }
                other => panic!("{at}: the keyword {other} is not implemented here"),
            };
            if !fits {
                wrong.push(format!("{at}: {value} does not fit {keyword} {given}"));
            }
        }
    }

    fn problems(&self, verdict: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        self.check(&self.0, verdict, "", &mut wrong);
        wrong
    }

    /// Compares the fields of `value` with the schema's properties, at every depth.
    fn assert_same_fields(&self, schema: &Value, value: &Value, at: &str) {
        let schema = self.resolved(schema);
        if let (Some(fields), Some(properties)) =
            (value.as_object(), schema["properties"].as_object())
        {
            let written: BTreeSet<_> = fields.keys().collect();
            let described: BTreeSet<_> = properties.keys().collect();
            assert_eq!(written, described, "fields and properties of {at:?}");
            for (name, field) in fields {
                let (schema, at) = (&properties[name], format!("{at}/{name}"));
                let has_description = |schema: &Value| schema["description"].is_string();
                assert!(
                    has_description(schema) || has_description(self.resolved(schema)),
                    "{at} has no description"
                );
                self.assert_same_fields(schema, field, &at);
            }
        }
        for item in value.as_array().into_iter().flatten() {
            self.assert_same_fields(&schema["items"], item, at);
        }
    }
}

fn is_of_type(given: &Value, value: &Value) -> bool {
    if let Some(types) = given.as_array() {
        return types.iter().any(|it| is_of_type(it, value));
    }
    match given.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("unknown type {other}"),
    }
}

fn has_format(format: &str, text: &str) -> bool {
    match format {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        other => panic!("unknown format {other}"),
    }
}

/// Returns a verdict in which nothing is unknown.
fn complete() -> Verdict {
    let pinned = pinning();
    let mut verdict = Verdict {
        alert: pinned.alert,
        reset: injected_reset().reset,
        issuer: Some("CN=x".into()),
        advice: Some("x".into()),
        revises: Some(format!("{} {}", pinned.time, pinned.community_id)),
        vlan: vec![7],
        ..pinning()
    };
    verdict.set_revision(1);
    verdict.server_leg = Some(ServerLeg {
        tap: "wan0".into(),
        community_id: verdict.community_id.clone(),
        client: verdict.client,
        server: verdict.server,
        tls_version: Some("1.3".into()),
        issuer: Some("CN=x".into()),
    });
    verdict.tunnel = Some(Tunnel {
        kind: "vxlan".into(),
        id: Some(77),
    });
    verdict.target = Some("api.pinned.test:443".into());
    verdict.pan_os_beneath = Some("decrypt-error".into());
    verdict
}

#[test]
fn verdicts_fit_the_schema() {
    let schema = Schema::read();
    let mut verdicts: Vec<Value> = vec![serde_json::from_str(EXAMPLE).unwrap()];
    for verdict in [injected_reset(), complete()] {
        verdicts.push(serde_json::to_value(verdict).unwrap());
    }
    let snapshot = file("tests/tests/snapshots/captures__story.pcap.snap");
    let (_, story) = snapshot.split_once("\n---\n").unwrap();
    let story: Vec<Value> = serde_json::from_str(story).unwrap();
    assert!(!story.is_empty());
    verdicts.extend(story);
    for verdict in verdicts {
        let problems = schema.problems(&verdict);
        assert!(problems.is_empty(), "{problems:#?}\n{verdict:#}");
    }
}

#[test]
fn a_verdict_that_breaks_the_contract_does_not_fit() {
    let schema = Schema::read();
    for (field, value) in [
        ("cause", "bad-luck".into()),
        ("confidence", 1.5.into()),
        ("time", "2026-11-23T08:30:01Z".into()),
        ("vlan", serde_json::json!([70_000])),
        ("client", serde_json::json!({ "ip": "10.0.0.1" })),
    ] {
        let mut verdict: Value = serde_json::from_str(EXAMPLE).unwrap();
        verdict[field] = value;
        assert!(!schema.problems(&verdict).is_empty(), "{field}");
    }
}

#[test]
fn every_field_is_described_and_every_property_is_written() {
    let schema = Schema::read();
    let written = serde_json::to_value(complete()).unwrap();
    schema.assert_same_fields(&schema.0, &written, "");
    let names = |list: &Value| -> BTreeSet<String> {
        let names = list.as_array().unwrap().iter();
        names.map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let mut always: BTreeSet<String> = written.as_object().unwrap().keys().cloned().collect();
    for sometimes in ["server_leg", "tunnel", "target", "pan_os_beneath"] {
        always.remove(sometimes);
    }
    assert_eq!(names(&schema.0["required"]), always);
    let causes = crate::verdict::Cause::ALL.map(|cause| cause.name().to_owned());
    let known = names(&schema.0["properties"]["cause"]["enum"]);
    assert_eq!(known, BTreeSet::from(causes));
}
