//! mitmproxy: the option `ignore_hosts` of its `config.yaml`.
//!
//! Its regular expressions are searched, without regard to case, in each of: the server's address with port,
//! the server's name of CONNECT with port, the ClientHello's name (up to version 8 without port, later with
//! it), and the Host header (`mitmproxy/addons/next_layer.py`). So each is anchored at both ends, and its port
//! may be missing.

use super::List;
use crate::outlet::exclusions::host::Host;
use crate::outlet::exclusions::selection::Entry;

const HEADER: &str = "\
# Connections that are passed on as they are, for ~/.mitmproxy/config.yaml.
";

pub(super) fn list(entries: &[Entry]) -> List {
    let mut text = HEADER.to_owned();
    if entries.is_empty() {
        text.push_str("ignore_hosts: []\n");
    } else {
        text.push_str("ignore_hosts:\n");
    }
    for entry in entries {
        // In YAML's single quotes only a single quote is special; a host has none.
        text.push_str(&format!("  - '{}'\n", pattern(entry)));
    }
    List {
        text,
        notices: Vec::new(),
    }
}

fn pattern(entry: &Entry) -> String {
    let host = match &entry.host {
        Host::Name(name) => name.replace('.', "\\."),
        Host::Address(address) if address.is_ipv6() => format!("\\[?{address}\\]?"),
        Host::Address(address) => address.to_string().replace('.', "\\."),
    };
    let below = if entry.with_subdomains {
        "(.+\\.)?"
    } else {
        ""
    };
    let ports: Vec<String> = entry.ports.iter().map(u16::to_string).collect();
    let port = if ports.is_empty() {
        "\\d+".to_owned()
    } else {
        ports.join("|")
    };
    format!("^{below}{host}\\.?(:({port}))?$")
}
