//! An explicit proxy with live taps: its refusal of an origin is told as such, and of the client that waits for it.

use std::fs;

use lab::host::{Authority, Process, output, run, words};
use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::Value;
use tests::gateway::{Gateway, PATIENCE, agent, next_verdict};

/// The proxy's address on the clients' side, and where its own connections come from.
const PROXY: &str = "10.78.1.1";
const UPSTREAM: &str = "10.78.2.1";
const SERVICE: &str = "tlswhyproxy";

/// Squid on the gateway, which inspects, and an origin whose certificate is for one of two names.
struct Proxy {
    lab: Gateway,
    inspection_ca: Authority,
    _origin: Process,
    _squid: Process,
}

impl Proxy {
    fn new(label: &str) -> Self {
        let lab = Gateway::new(label).unwrap();
        let origin = lab.serve(&["-quiet"]).unwrap();
        let inspection_ca = Authority::new(lab.folder(), "inspection-ca", "Inspection CA").unwrap();
        let pem =
            [inspection_ca.key(), inspection_ca.certificate()].map(|it| fs::read(it).unwrap());
        fs::write(lab.folder().join("inspection.pem"), pem.concat()).unwrap();
        let names = "10.78.2.2 www.lab.test other.lab.test\n";
        fs::write(lab.folder().join("hosts"), names).unwrap();
        let folder = lab.folder().display();
        let generator = "/usr/lib/squid/security_file_certgen";
        let mut make = words(&format!("{generator} -c -s {folder}/certificates -M 4MB"));
        run(&mut make).unwrap();
        let config = lab.folder().join("squid.conf");
        let text = format!(
            "http_port {PROXY}:3128 ssl-bump generate-host-certificates=on \
             tls-cert={folder}/inspection.pem\n\
             sslcrtd_program {generator} -s {folder}/certificates -M 4MB\n\
             acl step1 at_step SslBump1\nssl_bump peek step1\nssl_bump bump all\n\
             tls_outgoing_options cafile={}\nhosts_file {folder}/hosts\nhttp_access allow all\n\
             cache deny all\npid_filename {folder}/squid.pid\naccess_log none\n\
             cache_log {folder}/cache.log\ncoredump_dir {folder}\npinger_enable off\n\
             shutdown_lifetime 1 seconds\n",
            lab.origin_ca.certificate().display(),
        );
        fs::write(&config, text).unwrap();
        run(words("chmod -R a+rwX").arg(lab.folder())).unwrap();
        let mut squid = lab.gateway.command("squid");
        squid.args(["-N", "-n", SERVICE, "-f"]).arg(&config);
        let squid = Process::start(&mut squid).unwrap();
        lab.gateway.wait_until_listening(3128).unwrap();
        Self {
            lab,
            inspection_ca,
            _origin: origin,
            _squid: squid,
        }
    }

    /// Asks for a name through the proxy, and returns the status of the answer.
    fn status(&self, name: &str) -> String {
        let mut curl = self.lab.client.command("curl");
        curl.args([
            "-sS",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--max-time",
            "20",
        ]);
        curl.args(["--proxy", &format!("http://{PROXY}:3128"), "--cacert"]);
        curl.arg(self.inspection_ca.certificate());
        let answer = output(curl.arg(format!("https://{name}/"))).unwrap();
        assert!(answer.status.success(), "{answer:?}");
        String::from_utf8(answer.stdout).unwrap()
    }

    /// Starts the agent at some interfaces.
    fn watch(&self, interfaces: &[&str], inspection: &str) -> Process {
        let config = self.lab.folder().join("tlswhy.toml");
        let text = format!("[watch]\ninterfaces = {interfaces:?}\n[inspection]\n{inspection}\n");
        fs::write(&config, text).unwrap();
        let mut command = self.lab.gateway.command(agent());
        command
            .args(["run", "--output", "json", "--config"])
            .arg(config);
        let agent = Process::start(&mut command).unwrap();
        agent.wait_for(PATIENCE, |line| line == "ready").unwrap();
        agent
    }
}

/// Where both sides are seen the proxy needs no introduction; where only its own connections are, its address says
/// that they are no app's, also if everything is said to be intercepted.
#[rstest]
#[case::both_sides("ea", &["lan0", "wan0"], "", "10.78.1.2", "server-leg")]
#[case::its_own(
    "eb", &["wan0"], &format!("intercepted = \"always\"\ninterceptors = [\"{UPSTREAM}\"]"), UPSTREAM,
    "interceptor-address"
)]
fn the_refusal_of_a_proxy_is_no_pin(
    #[case] label: &str,
    #[case] interfaces: &[&str],
    #[case] inspection: &str,
    #[case] client: &str,
    #[case] evidence: &str,
) {
    let proxy = Proxy::new(label);
    let mut agent = proxy.watch(interfaces, inspection);
    assert_eq!(proxy.status("www.lab.test"), "200");
    assert_eq!(proxy.status("other.lab.test"), "503");
    let verdict = next_verdict(&agent).unwrap();
    assert_eq!(verdict["cause"], "server-cert-invalid", "{verdict:#}");
    assert_eq!(verdict["sni"], "other.lab.test");
    assert_eq!(verdict["client"]["ip"], client);
    let names = verdict["evidence"].as_array().unwrap();
    assert!(
        names.iter().any(|it: &Value| it["name"] == evidence),
        "{verdict:#}"
    );
    let advice = verdict["advice"].as_str().unwrap();
    assert!(!advice.contains("exclude"), "{advice}");
    // The other one worked, and nothing was told twice.
    let (_, said) = agent.stop(Signal::SIGTERM).unwrap();
    let told: Vec<_> = said.iter().filter(|line| line.starts_with('{')).collect();
    assert!(told.is_empty(), "{told:?}");
    let judged = said
        .iter()
        .find(|line| line.starts_with("judged:"))
        .unwrap();
    assert!(
        judged.contains("1 failed (1 server-cert-invalid)"),
        "{judged}"
    );
}
