//! Asking the clients for their versions.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use super::sources::{OKHTTP_JARS, PYTHON, rustls_project};
use crate::host::output;

/// Returns the first word that begins with a digit and has a dot, in a command's output.
fn of(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = output(Command::new(program).args(arguments))?;
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    // `java -version` says it there.
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    find(&said).with_context(|| format!("`{program} {}` tells no version", arguments.join(" ")))
}

fn find(said: &str) -> Option<String> {
    said.split(|letter: char| letter.is_whitespace() || "\"/,(".contains(letter))
        .map(|word| word.trim_start_matches(|letter: char| letter.is_ascii_alphabetic()))
        .find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()) && word.contains('.'))
        .map(|word| word.trim_end_matches(')').to_owned())
}

pub(super) fn curl() -> anyhow::Result<String> {
    of("curl", &["--version"])
}

pub(super) fn openssl() -> anyhow::Result<String> {
    of("openssl", &["version"])
}

pub(super) fn gnutls() -> anyhow::Result<String> {
    of("gnutls-cli", &["--version"])
}

pub(super) fn wget() -> anyhow::Result<String> {
    of("wget", &["--version"])
}

pub(super) fn java() -> anyhow::Result<String> {
    of("java", &["-version"])
}

pub(super) fn node() -> anyhow::Result<String> {
    of("node", &["--version"])
}

pub(super) fn go() -> anyhow::Result<String> {
    of("go", &["version"])
}

pub(super) fn chromium() -> anyhow::Result<String> {
    of("chromium", &["--version"])
}

pub(super) fn requests() -> anyhow::Result<String> {
    of(
        PYTHON,
        &["-c", "import requests; print(requests.__version__)"],
    )
}

pub(super) fn urllib3() -> anyhow::Result<String> {
    of(
        PYTHON,
        &["-c", "import urllib3; print(urllib3.__version__)"],
    )
}

pub(super) fn nss() -> anyhow::Result<String> {
    let script = "import ctypes; library = ctypes.CDLL('libnss3.so'); \
                  library.NSS_GetVersion.restype = ctypes.c_char_p; \
                  print(library.NSS_GetVersion().decode())";
    of(PYTHON, &["-c", script])
}

/// Reads the version from Debian's folder of jars, which has a link beside each with the version in
/// its name.
pub(super) fn okhttp() -> anyhow::Result<String> {
    let [jar, ..] = OKHTTP_JARS.map(Path::new);
    let folder = jar.parent().context("a jar lies in a folder")?;
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let version = name.to_str().and_then(|name| {
            let version = name.strip_prefix("okhttp-")?.strip_suffix(".jar")?;
            version
                .starts_with(|letter: char| letter.is_ascii_digit())
                .then_some(version)
        });
        if let Some(version) = version {
            return Ok(version.to_owned());
        }
    }
    bail!("no okhttp-VERSION.jar lies beside {}", jar.display())
}

/// Reads the version from the lock file, which is the one that is built.
pub(super) fn rustls() -> anyhow::Result<String> {
    let file = rustls_project().join("Cargo.lock");
    let lock = std::fs::read_to_string(&file)?;
    let (_, rest) = lock
        .split_once("name = \"rustls\"\nversion = \"")
        .with_context(|| format!("{} has no rustls", file.display()))?;
    let (version, _) = rest.split_once('"').unwrap_or((rest, ""));
    Ok(version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (said, version) in [
            ("curl 7.88.1 (x86_64-pc-linux-gnu)", "7.88.1"),
            ("GNU Wget 1.21.3 built on linux-gnu.", "1.21.3"),
            ("openjdk version \"17.0.15\" 2025-04-15", "17.0.15"),
            ("go version go1.19.8 linux/amd64", "1.19.8"),
            ("v20.20.2", "20.20.2"),
        ] {
            assert_eq!(find(said).as_deref(), Some(version), "{said}");
        }
        assert_eq!(find("no version at all"), None);
    }
}
