//! Making the programs: most are ready to run, some are compiled.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::sources::{OKHTTP_JARS, PYTHON, rustls_project, sources};
use crate::host::run;

fn shell(file: &str) -> Vec<OsString> {
    vec!["sh".into(), sources().join(file).into()]
}

pub(super) fn curl(_: &Path) -> anyhow::Result<Vec<OsString>> {
    Ok(shell("curl.sh"))
}

pub(super) fn openssl(_: &Path) -> anyhow::Result<Vec<OsString>> {
    Ok(shell("openssl.sh"))
}

pub(super) fn gnutls(_: &Path) -> anyhow::Result<Vec<OsString>> {
    Ok(shell("gnutls.sh"))
}

pub(super) fn wget(_: &Path) -> anyhow::Result<Vec<OsString>> {
    Ok(shell("wget.sh"))
}

pub(super) fn nss(_: &Path) -> anyhow::Result<Vec<OsString>> {
    Ok(shell("nss.sh"))
}

pub(super) fn python(_: &Path) -> anyhow::Result<Vec<OsString>> {
    Ok(vec![
        PYTHON.into(),
        sources().join("python_client.py").into(),
    ])
}

pub(super) fn chromium(_: &Path) -> anyhow::Result<Vec<OsString>> {
    Ok(vec![
        PYTHON.into(),
        sources().join("chromium_client.py").into(),
    ])
}

pub(super) fn node(_: &Path) -> anyhow::Result<Vec<OsString>> {
    Ok(vec!["node".into(), sources().join("node_client.js").into()])
}

pub(super) fn jsse(work: &Path) -> anyhow::Result<Vec<OsString>> {
    java(work, "JsseClient", &[])
}

pub(super) fn okhttp(work: &Path) -> anyhow::Result<Vec<OsString>> {
    java(work, "OkHttpClientProgram", &OKHTTP_JARS)
}

fn java(work: &Path, class: &str, jars: &[&str]) -> anyhow::Result<Vec<OsString>> {
    let folder = work.join(class);
    std::fs::create_dir_all(&folder)?;
    let folder = std::path::absolute(folder)?;
    let jars = jars.iter().map(PathBuf::from);
    let path = std::env::join_paths(jars.chain([folder.clone()]))?;
    let source = sources().join("java");
    run(Command::new("javac")
        .arg("-cp")
        .arg(&path)
        .arg("-d")
        .arg(&folder)
        .arg(source.join("Setting.java"))
        .arg(source.join(format!("{class}.java"))))?;
    Ok(vec!["java".into(), "-cp".into(), path, class.into()])
}

/// Builds the program of both clients in Go; the second finds it built.
pub(super) fn go(work: &Path) -> anyhow::Result<Vec<OsString>> {
    let program = std::path::absolute(work.join("go_client"))?;
    run(Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(sources().join("go_client.go")))?;
    Ok(vec![program.into()])
}

pub(super) fn rustls(work: &Path) -> anyhow::Result<Vec<OsString>> {
    let target = std::path::absolute(work.join("rustls"))?;
    run(Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(rustls_project().join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target))
    .context("the client of rustls does not build")?;
    Ok(vec![target.join("debug/rustls-client").into()])
}
