//! `cargo xtask sbom`: a bill of materials of the agent, CycloneDX 1.5 in JSON, from cargo's own resolution.
//!
//! In: `cargo metadata` and the lock file. Out: a component for each package that is linked into `tlswhy`, with licence,
//! package URL and SHA-256, and the packages that each depends on. Build scripts, macros and tests are no part of the
//! program, and are left out with all that they alone bring.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};
use xtask::{call, root, target};

use crate::host::run as run_command;

/// The package of the agent.
const AGENT: &str = "detector-user";

/// Writes the bill of materials, and prints its path.
///
/// # Errors
/// If cargo's answer lacks something, or the file cannot be written.
pub fn run() -> anyhow::Result<()> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut command = call::cargo("metadata --format-version 1 --locked --filter-platform");
    let metadata = run_command(command.arg(platform))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo's metadata")?;
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).context("Cargo.lock")?;
    let bill = bill(&metadata, &checksums(&lock)).context("cargo's metadata lack something")?;
    let path: PathBuf = target().join("tlswhy.cdx.json");
    std::fs::write(&path, format!("{bill:#}\n")).context("cannot write the bill")?;
    let components = bill.get("components").and_then(Value::as_array);
    println!(
        "{}: {} components",
        path.display(),
        components.map_or(0, Vec::len)
    );
    Ok(())
}

/// Returns the checksums of a lock file by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let packages = lock.split("[[package]]").skip(1);
    let field = |package: &str, name: &str| {
        let line = package.lines().find_map(|it| it.strip_prefix(name))?;
        Some(line.trim_start_matches(" = ").trim_matches('"').to_owned())
    };
    let entry = |package: &str| {
        let key = (field(package, "name")?, field(package, "version")?);
        Some((key, field(package, "checksum")?))
    };
    packages.filter_map(entry).collect()
}

/// Makes the bill; `None` if a field is missing.
fn bill(metadata: &Value, checksums: &BTreeMap<(String, String), String>) -> Option<Value> {
    let packages = metadata.get("packages")?.as_array()?;
    let packages: BTreeMap<&str, &Value> = packages
        .iter()
        .filter_map(|package| Some((package.get("id")?.as_str()?, package)))
        .collect();
    let nodes = metadata.pointer("/resolve/nodes")?.as_array()?;
    let links: BTreeMap<&str, Vec<&str>> = nodes
        .iter()
        .filter_map(|node| Some((node.get("id")?.as_str()?, linked(node)?)))
        .collect();
    let is_macro = |id: &str| {
        let targets = packages.get(id).and_then(|it| it.get("targets"));
        let targets = targets.and_then(Value::as_array).into_iter().flatten();
        let kinds = targets.filter_map(|target| target.pointer("/kind/0"));
        kinds.filter_map(Value::as_str).any(|it| it == "proc-macro")
    };
    let (agent, _) = packages
        .iter()
        .find(|(_, package)| package.get("name").and_then(Value::as_str) == Some(AGENT))?;
    let mut found = BTreeSet::from([*agent]);
    let mut to_follow = vec![*agent];
    while let Some(id) = to_follow.pop() {
        for next in links.get(id).into_iter().flatten() {
            if !is_macro(next) && found.insert(next) {
                to_follow.push(next);
            }
        }
    }
    let component = |id: &str| component(packages.get(id)?, checksums);
    let others = found.iter().filter(|id| *id != agent);
    let components: Vec<Value> = others.filter_map(|id| component(id)).collect();
    let reference = |id: &str| component(id)?.get("bom-ref").cloned();
    let dependencies = found.iter().filter_map(|id| {
        let known = links.get(id)?.iter().filter(|next| found.contains(*next));
        let depends_on: BTreeSet<String> = known
            .filter_map(|next| Some(reference(next)?.as_str()?.to_owned()))
            .collect();
        Some(json!({ "ref": reference(id)?, "dependsOn": depends_on }))
    });
    let mut program = component(agent)?;
    *program.get_mut("type")? = json!("application");
    Some(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": program },
        "components": components,
        "dependencies": dependencies.collect::<Vec<_>>(),
    }))
}

/// Returns the packages that one is linked with.
fn linked(node: &Value) -> Option<Vec<&str>> {
    let dependencies = node.get("deps")?.as_array()?.iter();
    let is_linked = |dependency: &&Value| {
        let kinds = dependency.get("dep_kinds").and_then(Value::as_array);
        let mut kinds = kinds.into_iter().flatten();
        kinds.any(|kind| kind.get("kind").is_some_and(Value::is_null))
    };
    let linked = dependencies.filter(is_linked);
    Some(linked.filter_map(|it| it.get("pkg")?.as_str()).collect())
}

fn component(package: &Value, checksums: &BTreeMap<(String, String), String>) -> Option<Value> {
    let name = package.get("name")?.as_str()?;
    let version = package.get("version")?.as_str()?;
    let url = format!("pkg:cargo/{name}@{version}");
    let mut component = json!({
        "type": "library",
        "bom-ref": url,
        "name": name,
        "version": version,
        "purl": url,
    });
    let fields = component.as_object_mut()?;
    if let Some(license) = package.get("license").and_then(Value::as_str) {
        // Cargo took a slash for OR before SPDX.
        let expression = license.replace('/', " OR ");
        fields.insert("licenses".to_owned(), json!([{ "expression": expression }]));
    }
    if let Some(sum) = checksums.get(&(name.to_owned(), version.to_owned())) {
        let hashes = json!([{ "alg": "SHA-256", "content": sum }]);
        fields.insert("hashes".to_owned(), hashes);
    }
    Some(component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_listed_and_nothing_else() {
        let package = |name: &str, kind: &str| {
            json!({
                "id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0",
                "targets": [{ "kind": [kind] }],
            })
        };
        let uses =
            |name: &str, kind: Value| json!({ "pkg": name, "dep_kinds": [{ "kind": kind }] });
        let metadata = json!({
            "packages": [
                package(AGENT, "lib"), package("linked", "lib"), package("below", "lib"),
                package("derive", "proc-macro"), package("of-macro", "lib"), package("of-tests", "lib"),
            ],
            "resolve": { "nodes": [
                { "id": AGENT, "deps": [
                    uses("linked", Value::Null), uses("derive", Value::Null), uses("of-tests", json!("dev")),
                ] },
                { "id": "linked", "deps": [uses("below", Value::Null)] },
                { "id": "below", "deps": [] },
                { "id": "derive", "deps": [uses("of-macro", Value::Null)] },
                { "id": "of-macro", "deps": [] },
                { "id": "of-tests", "deps": [] },
            ] },
        });
        let lock = "version = 4\n\n[[package]]\nname = \"below\"\nversion = \"1.0.0\"\nsource = \"x\"\nchecksum = \"ab\"\n";
        let bill = bill(&metadata, &checksums(lock)).unwrap();
        let names: Vec<_> = bill["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["below", "linked"]);
        assert_eq!(bill["components"][0]["hashes"][0]["content"], "ab");
        assert_eq!(
            bill["components"][0]["licenses"][0]["expression"],
            "MIT OR Apache-2.0"
        );
        assert_eq!(bill["metadata"]["component"]["type"], "application");
        let linked = bill["dependencies"].as_array().unwrap().iter();
        let linked = linked
            .clone()
            .find(|it| it["ref"] == "pkg:cargo/linked@1.0.0");
        assert_eq!(
            linked.unwrap()["dependsOn"],
            json!(["pkg:cargo/below@1.0.0"])
        );
    }
}
