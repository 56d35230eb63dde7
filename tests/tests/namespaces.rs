//! Real clients and servers through a gateway whose interface is tapped in this machine's kernel.

use std::process::Command;

use lab::host::output;
use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::json;
use tests::gateway::{Gateway, next_verdict};
use tests::tagging::{Tagging, VLAN_ID};

/// Runs curl, which must fail, and at TLS.
fn fails(curl: &mut Command) {
    let result = output(curl).unwrap();
    let code = result.status.code();
    // 0: it worked; 6, 7, 28: it did not come as far as TLS.
    let said = String::from_utf8_lossy(&result.stderr);
    assert!(
        !matches!(code, None | Some(0 | 6 | 7 | 28)),
        "curl ended with {code:?}: {said}"
    );
}

/// The agent's last line on how it judged.
fn judged(said: &[String]) -> &str {
    said.iter()
        .find(|line| line.starts_with("judged:"))
        .unwrap()
}

#[rstest]
#[case::tls12_ipv4("a", "1.2", "10.78.2.2", false)]
#[case::tls13_ipv4("b", "1.3", "10.78.2.2", false)]
#[case::tls12_ipv6("c", "1.2", "[fd78:2::2]", false)]
#[case::tls13_ipv6("d", "1.3", "[fd78:2::2]", false)]
#[case::tls12_vlan("e", "1.2", "10.78.2.2", true)]
#[case::tls13_vlan_ipv6("f", "1.3", "[fd78:2::2]", true)]
fn a_client_without_the_ca_is_told_of(
    #[case] lab: &str,
    #[case] version: &str,
    #[case] address: &str,
    #[case] tagged: bool,
) {
    let lab = Gateway::new(lab).unwrap();
    let _server = lab.serve(&[]).unwrap();
    let (mut agent, _) = lab.watch(&["--output", "json"]).unwrap();
    // Behind the agent's start, so that tags are on before its egress program sees frames, as a
    // VLAN device has it.
    let _tagging = tagged.then(|| {
        let ends = [(&lab.client, "eth0"), (&lab.gateway, "lan0")];
        ends.map(|(namespace, interface)| Tagging::new(namespace, interface).unwrap())
    });

    let ca = lab.origin_ca.certificate();
    let trusting = ["--tls-max", version, "--cacert", ca.to_str().unwrap()];
    assert!(
        output(&mut lab.curl(address, &trusting))
            .unwrap()
            .status
            .success()
    );
    fails(&mut lab.curl(address, &["--tls-max", version]));

    let verdict = next_verdict(&agent).unwrap();
    // The alert is unknown_ca, and the certificate that another connection accepted can be read.
    let cause = match version {
        "1.2" => "ca-not-trusted",
        _ => "certificate-rejected",
    };
    assert_eq!(verdict["cause"], cause);
    assert_eq!(verdict["alert"]["description"], "unknown_ca");
    assert_eq!(verdict["alert"]["from"], "client");
    assert_eq!(verdict["ended_by"], "client");
    assert_eq!(verdict["sni"], "www.lab.test");
    assert_eq!(verdict["alpn"], json!(["h2", "http/1.1"]));
    assert_eq!(verdict["tls_version"], version);
    assert_eq!(verdict["tap"], "lan0");
    let vlan: &[u16] = if tagged { &[VLAN_ID] } else { &[] };
    assert_eq!(verdict["vlan"], json!(vlan));
    assert_eq!(verdict["server"]["port"], 443);
    let ip = verdict["server"]["ip"].as_str().unwrap();
    assert_eq!(ip, address.trim_matches(['[', ']']));
    let issuer = if version == "1.2" {
        json!("CN=Origin CA")
    } else {
        json!(null)
    };
    assert_eq!(verdict["issuer"], issuer);

    let (status, rest) = agent.stop(Signal::SIGTERM).unwrap();
    assert!(status.success());
    // The connection that worked is counted and not told of.
    assert_eq!(
        judged(&rest),
        format!("judged: 1 established, 1 failed (1 {cause}), 0 unused, 0 unfinished")
    );
    assert!(rest.iter().any(|line| line == "lost: nothing"), "{rest:?}");
}

#[test]
fn a_server_without_a_common_version_is_told_of() {
    let lab = Gateway::new("g").unwrap();
    let _server = lab.serve(&["-tls1_3"]).unwrap();
    let (agent, _) = lab.watch(&["--output", "json"]).unwrap();
    fails(&mut lab.curl("10.78.2.2", &["--tls-max", "1.2"]));
    let verdict = next_verdict(&agent).unwrap();
    assert_eq!(verdict["cause"], "unsupported-parameters");
    assert_eq!(verdict["alert"]["description"], "protocol_version");
    assert_eq!(verdict["ended_by"], "server");
}

#[rstest]
#[case::tls12("h", "1.2")]
#[case::tls13("i", "1.3")]
fn a_server_that_wants_a_client_certificate_is_told_of(#[case] lab: &str, #[case] version: &str) {
    let lab = Gateway::new(lab).unwrap();
    let ca = lab.origin_ca.certificate();
    let ca = ca.to_str().unwrap();
    let _server = lab.serve(&["-Verify", "1", "-CAfile", ca]).unwrap();
    let (agent, _) = lab.watch(&["--output", "json"]).unwrap();
    let arguments = ["--tls-max", version, "--cacert", ca];
    fails(&mut lab.curl("10.78.2.2", &arguments));
    let verdict = next_verdict(&agent).unwrap();
    assert_eq!(verdict["cause"], "client-auth", "{verdict}");
    assert_eq!(verdict["alert"]["from"], "server");
}

/// A large answer over a gateway with segmentation offloads: super-packets are followed, and the
/// flow settles and ends as one that worked.
#[test]
fn a_large_download_works_and_settles() {
    let lab = Gateway::new("j").unwrap();
    let body = vec![b'x'; 20 << 20];
    std::fs::write(lab.folder().join("large"), body).unwrap();
    let (certificate, key) = lab.origin_ca.issue("files", &["www.lab.test"]).unwrap();
    let mut command = lab.server.command("openssl");
    command
        .current_dir(lab.folder())
        .args(["s_server", "-accept", "443", "-WWW", "-cert"]);
    command.arg(certificate).arg("-key").arg(key);
    let _server = lab::host::Process::start(&mut command).unwrap();
    lab.server.wait_until_listening(443).unwrap();
    let (mut agent, _) = lab.watch(&["--output", "json"]).unwrap();
    let ca = lab.origin_ca.certificate();
    let mut curl = lab.client.command("curl");
    curl.args([
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{size_download}",
        "--resolve",
    ]);
    curl.arg("www.lab.test:443:10.78.2.2")
        .arg("--cacert")
        .arg(ca);
    curl.arg("https://www.lab.test/large");
    let got = output(&mut curl).unwrap();
    assert_eq!(String::from_utf8_lossy(&got.stdout), (20 << 20).to_string());
    std::thread::sleep(std::time::Duration::from_secs(1));
    let (_, rest) = agent.stop(Signal::SIGINT).unwrap();
    assert_eq!(
        judged(&rest),
        "judged: 1 established, 0 failed, 0 unused, 0 unfinished"
    );
}

/// The gateway's own firewall refuses the ClientHello in the server's name, which is one router away and may
/// answer from the same TTL or another.
#[rstest]
#[case::server_of_the_same_system("k", 64)]
#[case::server_of_another("l", 128)]
fn a_hello_rejected_by_the_gateways_firewall_is_told(#[case] lab: &str, #[case] ttl: u8) {
    let lab = Gateway::new(lab).unwrap();
    let _server = lab.serve(&[]).unwrap();
    let set = format!("sysctl -qw net.ipv4.ip_default_ttl={ttl}");
    lab.server.run(&set).unwrap();
    lab.rejects_hellos("reject with tcp reset").unwrap();
    let (agent, _) = lab.watch(&["--output", "json"]).unwrap();
    fails(&mut lab.curl("10.78.2.2", &[]));
    let verdict = next_verdict(&agent).unwrap();
    assert_eq!(verdict["cause"], "injected-reset", "{verdict:#}");
    assert_eq!(verdict["ended_by"], "gateway", "{verdict:#}");
    let evidence = verdict["evidence"].as_array().unwrap();
    let stage = evidence.iter().find(|it| it["name"] == "reset-stage");
    assert_eq!(stage.unwrap()["detail"], "it came upon the ClientHello");
    let distance = evidence.iter().find(|it| it["name"] == "reset-distance");
    let distance = distance.unwrap()["detail"].as_str().unwrap();
    assert!(distance.contains("a host no hop away"), "{distance}");
}
