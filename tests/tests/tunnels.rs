//! A tap on the network that carries a tunnel: with `tunnels = true` connections inside are judged.
//!
//! This kernel has VXLAN devices; the other kinds are in the differential test.

use lab::host::Namespace;
use serde_json::{Value, json};
use tests::gateway::{Gateway, next_verdict};

/// One end of a VXLAN that leads through the gateway.
fn end(namespace: &Namespace, own: &str, remote: &str, address: &str) -> anyhow::Result<()> {
    for line in [
        format!("ip link add vx0 type vxlan id 42 local {own} remote {remote} dstport 4789"),
        format!("ip address add {address}/24 dev vx0"),
        "ip link set vx0 up".to_owned(),
    ] {
        namespace.run(&line)?;
    }
    Ok(())
}

#[test]
fn a_refusal_inside_vxlan_is_told_with_its_tunnel() {
    let lab = Gateway::new("vx").unwrap();
    end(&lab.client, "10.78.1.2", "10.78.2.2", "10.99.0.1").unwrap();
    end(&lab.server, "10.78.2.2", "10.78.1.2", "10.99.0.2").unwrap();
    let _server = lab.serve(&[]).unwrap();
    let file = lab.folder().join("tlswhy.toml");
    std::fs::write(&file, "[watch]\ntunnels = true\n").unwrap();
    let arguments = ["--config", file.to_str().unwrap(), "--output", "json"];
    let (agent, _) = lab.watch(&arguments).unwrap();

    // curl does not trust the CA.
    assert!(!lab.curl("10.99.0.2", &[]).status().unwrap().success());
    let verdict: Value = next_verdict(&agent).unwrap();
    assert_eq!(verdict["server"]["ip"], "10.99.0.2");
    assert_eq!(verdict["client"]["ip"], "10.99.0.1");
    assert_eq!(verdict["tunnel"], json!({"kind": "vxlan", "id": 42}));
    assert_eq!(verdict["alert"]["description"], "unknown_ca");

    // Beside the tunnel all is as without the key.
    assert!(!lab.curl("10.78.2.2", &[]).status().unwrap().success());
    let verdict: Value = next_verdict(&agent).unwrap();
    assert_eq!(verdict["server"]["ip"], "10.78.2.2");
    assert_eq!(verdict["tunnel"], Value::Null);
}
