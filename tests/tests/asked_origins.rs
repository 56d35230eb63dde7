//! Origins that the agent asks by itself: openssl's servers behind a gateway that intercepts.

use std::path::{Path, PathBuf};

use lab::host::{Authority, Process, output};
use rstest::rstest;
use serde_json::Value;
use tests::gateway::{Gateway, PATIENCE};

/// Names that the client accepts from the interceptor, in as many domains.
const ACCEPTED: [&str; 5] = [
    "a.example",
    "b.test",
    "c.invalid",
    "d.example.org",
    "e.example.net",
];
const NAME: &str = "www.lab.test";

/// A gateway whose interceptor answers clients, and lets the gateway's own connections pass.
struct Intercepted {
    lab: Gateway,
    ca: Authority,
    _interceptor: Process,
}

impl Intercepted {
    fn new(name: &str) -> Self {
        let lab = Gateway::new(name).unwrap();
        let ca = Authority::new(lab.folder(), "inspection-ca", "Inspection CA").unwrap();
        let names: Vec<&str> = ACCEPTED.into_iter().chain([NAME]).collect();
        let (certificate, key) = ca.issue("intercepted", &names).unwrap();
        let mut command = lab.gateway.command("openssl");
        command.args(["s_server", "-accept", "8443", "-www", "-cert"]);
        command.arg(certificate).arg("-key").arg(key);
        let interceptor = Process::start(&mut command).unwrap();
        lab.gateway.wait_until_listening(8443).unwrap();
        lab.gateway
            .run("iptables -t nat -A PREROUTING -i lan0 -p tcp --dport 443 -j REDIRECT --to-ports 8443")
            .unwrap();
        Self {
            lab,
            ca,
            _interceptor: interceptor,
        }
    }

    /// Starts the origin with a certificate.
    fn origin(&self, (certificate, key): (PathBuf, PathBuf)) -> Process {
        let mut command = self.lab.server.command("openssl");
        command.args(["s_server", "-accept", "443", "-www", "-cert"]);
        command.arg(certificate).arg("-key").arg(key);
        let origin = Process::start(&mut command).unwrap();
        self.lab.server.wait_until_listening(443).unwrap();
        origin
    }

    /// Starts the agent on both sides with this `[probe]` section.
    fn watch(&self, probe: &str) -> Process {
        let config = self.lab.folder().join("tlswhy.toml");
        let roots = self.lab.origin_ca.certificate();
        let text = format!(
            "[inspection]\nca = [\"CN=Inspection CA\"]\nintercepted = \"always\"\n\
             [probe]\nenabled = true\nca = [{roots:?}]\n{probe}"
        );
        std::fs::write(&config, text).unwrap();
        let arguments = ["--config", config.to_str().unwrap(), "--output", "json"];
        let more = ["--interface", "wan0"];
        self.lab.watch(&[&arguments[..], &more].concat()).unwrap().0
    }

    /// Visits a name with GnuTLS, which encrypts its alerts in TLS 1.3, and trusts a CA.
    fn visit(&self, name: &str, ca: &Path) {
        let ca = ca.display();
        let visit = format!(
            "(printf 'GET / HTTP/1.0\\r\\n\\r\\n'; sleep 1) | gnutls-cli --sni-hostname {name} \
             --verify-hostname {name} --x509cafile {ca} --port 443 10.78.2.2"
        );
        output(self.lab.client.command("sh").args(["-c", &visit])).unwrap();
    }

    /// Lets one app accept many names and refuse another, whose certificate nobody sees.
    fn refuse_one(&self) {
        for name in ACCEPTED {
            self.visit(name, &self.ca.certificate());
        }
        self.visit(NAME, &self.lab.origin_ca.certificate());
    }
}

/// Returns the verdict that revises the first one.
fn revised(agent: &Process) -> Value {
    let lines = agent
        .wait_for(PATIENCE, |line| line.contains("\"revision\":1"))
        .unwrap();
    let verdicts: Vec<Value> = lines
        .iter()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [first, last] = verdicts.as_slice() else {
        panic!("the probe's own connections are not judged: {verdicts:?}");
    };
    assert_eq!(first["cause"], "certificate-rejected");
    assert_eq!(last["supersedes"], first["id"]);
    last.clone()
}

fn has_evidence(verdict: &Value, name: &str) -> bool {
    let evidence = verdict["evidence"].as_array().unwrap();
    evidence.iter().any(|it| it["name"] == name)
}

#[rstest]
#[case::valid("asked-valid", false, "pinning", "origin-valid")]
#[case::expired("asked-exp", true, "server-cert-invalid", "origin-invalid")]
fn the_origins_answer_decides(
    #[case] lab: &str,
    #[case] expired: bool,
    #[case] cause: &str,
    #[case] evidence: &str,
) {
    let site = Intercepted::new(lab);
    let ca = &site.lab.origin_ca;
    let certificate = if expired {
        ca.issue_expired("origin", &[NAME])
    } else {
        ca.issue("origin", &[NAME])
    };
    let _origin = site.origin(certificate.unwrap());
    let agent = site.watch("mark = 7\nsource = \"10.78.2.1\"\n");
    site.refuse_one();
    let verdict = revised(&agent);
    assert_eq!(verdict["cause"], cause, "{verdict}");
    assert!(has_evidence(&verdict, evidence), "{verdict}");
}

#[test]
fn a_probe_that_meets_the_interceptor_says_so_and_proves_nothing() {
    let site = Intercepted::new("asked-met");
    // The gateway's own connections meet it, too.
    site.lab
        .gateway
        .run("iptables -t nat -A OUTPUT -p tcp --dport 443 -j REDIRECT --to-ports 8443")
        .unwrap();
    let agent = site.watch("");
    site.refuse_one();
    let said = agent
        .wait_for(PATIENCE, |line| {
            line.contains("met the interceptor and proves nothing")
        })
        .unwrap();
    assert!(
        said.iter()
            .any(|line| line.contains("\"certificate-rejected\"")),
        "{said:?}"
    );
    site.visit(NAME, &site.lab.origin_ca.certificate());
    let next = agent
        .wait_for(PATIENCE, |line| line.starts_with('{'))
        .unwrap();
    let verdict: Value = serde_json::from_str(next.last().unwrap()).unwrap();
    assert_eq!(verdict["cause"], "certificate-rejected");
    assert!(
        next.last()
            .unwrap()
            .contains("which proves nothing: let it pass"),
        "{verdict}"
    );
}
