//! The clients, their needs and their abilities.

use super::program::{Client, Program};
use super::sources::{OKHTTP_JARS, PYTHON};
use super::{prepare, version};

const REQUESTS: &str = "/usr/lib/python3/dist-packages/requests/__init__.py";
const URLLIB3: &str = "/usr/lib/python3/dist-packages/urllib3/__init__.py";

/// Pins, client certificates, resumption: most can do them all.
const BASE: Program = Program {
    name: "",
    needs: &[],
    version: version::curl,
    prepare: prepare::curl,
    arguments: &[],
    pins: true,
    client_certificates: true,
    resumes: true,
    most_times: u32::MAX,
    prepared: Vec::new(),
};

/// Returns all clients, whether they are on this machine or not.
pub fn all() -> Vec<Box<dyn Client>> {
    let mut all = tools();
    all.extend(libraries());
    all.extend(languages());
    all.into_iter()
        .map(|program| Box::new(program) as Box<dyn Client>)
        .collect()
}

/// Returns the programs that are run as they come.
fn tools() -> Vec<Program> {
    vec![
        Program {
            name: "curl",
            needs: &["curl"],
            ..BASE
        },
        Program {
            name: "openssl",
            needs: &["openssl"],
            version: version::openssl,
            prepare: prepare::openssl,
            pins: false,
            ..BASE
        },
        Program {
            name: "gnutls-cli",
            needs: &["gnutls-cli"],
            version: version::gnutls,
            prepare: prepare::gnutls,
            pins: false,
            // It resumes by connecting a second time.
            most_times: 2,
            ..BASE
        },
        Program {
            name: "wget",
            needs: &["wget"],
            version: version::wget,
            prepare: prepare::wget,
            resumes: false,
            ..BASE
        },
        Program {
            name: "nss",
            needs: &["tstclnt", "certutil", "pk12util", "openssl", PYTHON],
            version: version::nss,
            prepare: prepare::nss,
            pins: false,
            resumes: false,
            ..BASE
        },
        Program {
            name: "chromium",
            needs: &["chromium", "certutil", PYTHON],
            version: version::chromium,
            prepare: prepare::chromium,
            // Static pins are compiled in, and client certificates chosen by policy only.
            pins: false,
            client_certificates: false,
            resumes: false,
            ..BASE
        },
    ]
}

/// Libraries of Python.
fn libraries() -> Vec<Program> {
    vec![
        Program {
            name: "requests",
            needs: &[PYTHON, REQUESTS, URLLIB3],
            version: version::requests,
            prepare: prepare::python,
            arguments: &["requests"],
            resumes: false,
            ..BASE
        },
        Program {
            name: "urllib3",
            needs: &[PYTHON, REQUESTS, URLLIB3],
            version: version::urllib3,
            prepare: prepare::python,
            arguments: &["urllib3"],
            resumes: false,
            ..BASE
        },
    ]
}

/// Libraries that apps are written with.
fn languages() -> Vec<Program> {
    vec![
        Program {
            name: "java",
            needs: &["java", "javac"],
            version: version::java,
            prepare: prepare::jsse,
            ..BASE
        },
        Program {
            name: "okhttp",
            needs: &["java", "javac", OKHTTP_JARS[0], OKHTTP_JARS[1]],
            version: version::okhttp,
            prepare: prepare::okhttp,
            ..BASE
        },
        Program {
            name: "node",
            needs: &["node"],
            version: version::node,
            prepare: prepare::node,
            ..BASE
        },
        Program {
            name: "go",
            needs: &["go"],
            version: version::go,
            prepare: prepare::go,
            arguments: &["verify"],
            ..BASE
        },
        Program {
            // Differs from `go` only in when it looks at a pin.
            name: "go-late-pin",
            needs: &["go"],
            version: version::go,
            prepare: prepare::go,
            arguments: &["after"],
            ..BASE
        },
        Program {
            name: "rustls",
            needs: &["cc"],
            version: version::rustls,
            prepare: prepare::rustls,
            ..BASE
        },
    ]
}
