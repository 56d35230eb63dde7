//! The scenarios: client, origin, interceptor, and the truth about each.

use crate::clients::Version;
use crate::network::{
    EXPIRED, Interceptor, MUTUAL, ODD, ONLY_P384, ONLY_TLS12, ONLY_TLS13, OTHERS, PINNED,
    SELF_SIGNED, WRONG_NAME,
};

/// The CAs that the client trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Its own store: none of the lab's CAs.
    Own,
    /// The origins' CA.
    Origins,
    /// The inspection CA.
    Inspection,
}

/// One run of one client.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The capture's name.
    pub name: String,
    /// The client's name.
    pub client: &'static str,
    /// The TLS versions that it may offer.
    pub version: Version,
    /// The interceptor on the way.
    pub interceptor: Interceptor,
    /// Host and port it asks.
    pub host: &'static str,
    /// Port.
    pub port: u16,
    /// Path.
    pub path: &'static str,
    /// The CAs that it trusts.
    pub trust: Trust,
    /// Whether it pins the key of [`PINNED`].
    pub pins: bool,
    /// Whether it shows a client certificate.
    pub shows_certificate: bool,
    /// Connections in a row.
    pub times: u32,
    /// The truth: a cause, or `established`.
    pub cause: &'static str,
    /// The side that ends it, where the scenario decides that.
    pub ended_by: &'static str,
    /// Whether both taps are recorded.
    pub both: bool,
    /// Captures of one group are judged together; they share a client address.
    pub group: String,
    /// A note for the label.
    pub note: &'static str,
}

impl Scenario {
    fn new(client: &'static str, version: Version, interceptor: Interceptor) -> Self {
        Self {
            name: String::new(),
            client,
            version,
            interceptor,
            host: OTHERS[0],
            port: 443,
            path: "/",
            trust: if interceptor == Interceptor::None {
                Trust::Origins
            } else {
                Trust::Inspection
            },
            pins: false,
            shows_certificate: false,
            times: 1,
            cause: "established",
            ended_by: "",
            both: false,
            group: String::new(),
            note: "",
        }
    }

    fn of(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    fn fails(mut self, cause: &'static str, ended_by: &'static str) -> Self {
        self.cause = cause;
        self.ended_by = ended_by;
        self
    }

    fn untrusting(mut self) -> Self {
        self.trust = Trust::Own;
        self
    }

    fn named(mut self, what: &str) -> Self {
        let through = match self.interceptor {
            Interceptor::None => "direct",
            other => other.name(),
        };
        let version = version_name(self.version).replace('.', "");
        let host = self.host.split('.').nth(1).unwrap_or_default();
        let name = format!("{what}-{host}-{}-{through}-tls{version}", self.client);
        self.name = name;
        self
    }

    fn grouped(mut self, group: &str) -> Self {
        group.clone_into(&mut self.group);
        self.name = format!("{group}.{}", self.name);
        self
    }

    fn noted(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }
}

/// All clients, by their names.
const CLIENTS: [&str; 14] = [
    "curl",
    "openssl",
    "requests",
    "urllib3",
    "java",
    "okhttp",
    "node",
    "go",
    "go-late-pin",
    "gnutls-cli",
    "wget",
    "rustls",
    "nss",
    "chromium",
];
/// Those that can pin.
const PINNING: [&str; 10] = [
    "curl",
    "wget",
    "requests",
    "urllib3",
    "java",
    "okhttp",
    "node",
    "go",
    "go-late-pin",
    "rustls",
];
/// Returns it as labels write it.
pub fn version_name(version: Version) -> &'static str {
    match version {
        Version::Tls12 => "1.2",
        Version::Tls13 => "1.3",
        Version::Any => "",
    }
}

const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];
/// Clients of one stack each, for behaviour that depends on the stack.
const STACKS: [&str; 6] = ["curl", "java", "go", "node", "rustls", "gnutls-cli"];

/// Returns all scenarios, in the order they are played.
pub fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for version in VERSIONS {
        all.extend(direct(version));
        all.extend(bad_origins(version));
        all.extend(odd(version));
        for interceptor in Interceptor::ALL {
            all.extend(pinning(version, interceptor));
            all.extend(missing_ca(version, interceptor));
            all.extend(own_store(version, interceptor));
            all.extend(behind_interceptor(version, interceptor));
        }
    }
    all
}

/// Successes of every client, and clients that lack the origins' CA.
fn direct(version: Version) -> Vec<Scenario> {
    let mut all = Vec::new();
    let plain = |client| Scenario::new(client, version, Interceptor::None);
    for client in CLIENTS {
        all.push(plain(client).named("works"));
        let rejected = plain(client)
            .untrusting()
            .fails("certificate-rejected", "client");
        all.push(rejected.named("private-ca"));
    }
    for client in ["curl", "go", "node", "wget"] {
        let mut large = plain(client);
        large.path = "/large";
        all.push(large.named("large"));
        let mut again = plain(client).noted("the second connection resumes");
        again.times = 2;
        all.push(again.named("resumes"));
    }
    for client in STACKS {
        all.push(plain(client).of(ONLY_P384).named("retry-request"));
    }
    for client in ["curl", "go", "node", "requests", "openssl"] {
        let mut mutual = plain(client).of(MUTUAL);
        mutual.shows_certificate = true;
        all.push(mutual.named("mutual"));
    }
    for client in ["curl", "java", "go", "node", "requests", "rustls"] {
        all.push(
            plain(client)
                .of(MUTUAL)
                .fails("client-auth", "server")
                .named("no-certificate"),
        );
    }
    all
}

/// Origins whose certificate is invalid, or whose parameters are not the client's.
fn bad_origins(version: Version) -> Vec<Scenario> {
    let mut all = Vec::new();
    let other = match version {
        Version::Tls12 => ONLY_TLS13,
        _ => ONLY_TLS12,
    };
    for client in STACKS {
        for host in [EXPIRED, SELF_SIGNED, WRONG_NAME] {
            let bad = Scenario::new(client, version, Interceptor::None).of(host);
            all.push(bad.fails("server-cert-invalid", "client").named("bad"));
        }
        let bad = Scenario::new(client, version, Interceptor::None).of(other);
        all.push(bad.fails("unsupported-parameters", "").named("version"));
    }
    all
}

/// Origins that behave oddly, by port.
fn odd(version: Version) -> Vec<Scenario> {
    const KINDS: &[(u16, &str, &str, &str)] = &[
        (4501, "reset-on-hello", "endpoint-reset", "server"),
        (4502, "close-on-hello", "abandoned", "server"),
        (4503, "reset-in-flight", "endpoint-reset", "server"),
        (4504, "close-in-flight", "abandoned", "server"),
        (4505, "reset-after-handshake", "endpoint-reset", "server"),
        (4508, "answers", "established", ""),
        (
            4509,
            "handshake-failure",
            "unsupported-parameters",
            "server",
        ),
        (4513, "old-version", "unsupported-parameters", "server"),
        (4511, "damaged-by-server", "decrypt-error", "client"),
        (4512, "damaged-by-client", "decrypt-error", "server"),
    ];
    let mut all = Vec::new();
    for (port, what, cause, ended_by) in KINDS {
        for client in ["curl", "go", "node", "java"] {
            let mut scenario = Scenario::new(client, version, Interceptor::None).of(ODD);
            scenario.port = *port;
            all.push(scenario.fails(cause, ended_by).named(what));
        }
    }
    all
}

/// Chooses the interceptors of a client: sslsplit for each, the others for some.
fn through(
    interceptor: Interceptor,
    all: &[&'static str],
    some: &[&'static str],
) -> Vec<&'static str> {
    if interceptor == Interceptor::Sslsplit {
        all.to_vec()
    } else {
        some.to_vec()
    }
}

/// Returns the name of a group.
fn group(what: &str, client: &str, version: Version, interceptor: Interceptor) -> String {
    let version = version_name(version);
    format!("{what}-{client}-{}-{version}", interceptor.name())
}

/// Returns an app that pins one service and accepts others, and another app that accepts that
/// service.
fn pinning(version: Version, interceptor: Interceptor) -> Vec<Scenario> {
    let some = ["java", "okhttp", "go", "curl"];
    let mut all = Vec::new();
    for client in through(interceptor, &PINNING, &some) {
        let group = group("pin", client, version, interceptor);
        let plain = |client| Scenario::new(client, version, interceptor);
        let other = if client == "curl" { "go" } else { "curl" };
        let mut pins = plain(client).of(PINNED).fails("pinning", "client");
        pins.pins = true;
        let scenarios = [
            plain(client).named("accepts"),
            pins.named("pins"),
            plain(client).of(OTHERS[1]).named("accepts"),
            plain(other).of(PINNED).named("accepts"),
        ];
        all.extend(scenarios.map(|scenario| scenario.grouped(&group)));
    }
    all
}

/// Returns a client without the inspection CA.
fn missing_ca(version: Version, interceptor: Interceptor) -> Vec<Scenario> {
    let some = ["curl", "java", "node", "nss"];
    let mut all = Vec::new();
    for client in through(interceptor, &CLIENTS, &some) {
        let group = group("no-ca", client, version, interceptor);
        all.extend(OTHERS.map(|host| {
            let rejects = Scenario::new(client, version, interceptor)
                .of(host)
                .untrusting();
            rejects
                .fails("ca-not-trusted", "client")
                .named("rejects")
                .grouped(&group)
        }));
    }
    all
}

/// Returns an app whose own store lacks the CA, beside one that has it.
fn own_store(version: Version, interceptor: Interceptor) -> Vec<Scenario> {
    let mut all = Vec::new();
    for client in ["java", "requests"] {
        let group = group("own-store", client, version, interceptor);
        for host in OTHERS {
            let plain = |client| Scenario::new(client, version, interceptor).of(host);
            let rejects = plain(client).untrusting().fails("ca-not-trusted", "client");
            all.push(rejects.named("rejects").grouped(&group));
            all.push(plain("go").named("accepts").grouped(&group));
        }
    }
    all
}

/// Origins that an interceptor has trouble with, seen at both taps.
fn behind_interceptor(version: Version, interceptor: Interceptor) -> Vec<Scenario> {
    let mut all = Vec::new();
    for client in ["curl", "go"] {
        for (host, cause) in [
            (EXPIRED, "server-cert-invalid"),
            (SELF_SIGNED, "server-cert-invalid"),
            (WRONG_NAME, "server-cert-invalid"),
            (MUTUAL, "client-auth"),
            (OTHERS[0], "established"),
        ] {
            let mut scenario = Scenario::new(client, version, interceptor).of(host);
            scenario.both = true;
            all.push(scenario.fails(cause, "").named("behind"));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_scenarios_have_one_name() {
        let mut names = HashSet::new();
        for scenario in all() {
            assert!(names.insert(scenario.name.clone()), "{}", scenario.name);
        }
    }
}
