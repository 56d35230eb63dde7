//! Paths of the programs' sources and libraries.

use std::path::PathBuf;

/// Debian's Python, as its modules are those of Debian's packages.
pub(super) const PYTHON: &str = "/usr/bin/python3";

/// OkHttp and its dependencies.
pub(super) const OKHTTP_JARS: [&str; 2] =
    ["/usr/share/java/okhttp.jar", "/usr/share/java/okio.jar"];

/// Returns the folder of the programs' sources.
pub(super) fn sources() -> PathBuf {
    xtask::root().join("lab/programs/clients")
}

/// Returns the cargo project of the client of rustls; it is no member of the workspace.
pub(super) fn rustls_project() -> PathBuf {
    sources().join("rustls")
}
