//! nftables: sets of addresses and ports, which a rule before the redirect leaves out.
//!
//! `nft -f` loads a file as one transaction: the sets are declared, emptied and filled, so that loading a list
//! replaces the last one (nft(8)). Sets know no names; an address may serve many.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::List;
use crate::outlet::exclusions::host::Host;
use crate::outlet::exclusions::selection::Entry;
use crate::verdict::Cause;

/// Header of the general format.
pub(super) const ANY: &str = "\
# Addresses and ports of connections to pass on; an address may serve other names, and names move.
#   nft -f FILE; then, in the chain that redirects, before the redirect:
#   ip daddr . tcp dport @tlswhy_excluded4 return
#   ip6 daddr . tcp dport @tlswhy_excluded6 return
";
/// Header for sslsplit.
pub(super) const SSLSPLIT: &str = "\
# sslsplit has no list of names (-P passes on what it cannot split, whatever the name): connections to
# these addresses must not reach it. An address may serve other names, and names move.
#   nft -f FILE; then, in the chain that redirects to sslsplit, before the redirect:
#   ip daddr . tcp dport @tlswhy_excluded4 return
#   ip6 daddr . tcp dport @tlswhy_excluded6 return
";

const FAMILIES: [(&str, &str); 2] = [
    ("tlswhy_excluded4", "ipv4_addr"),
    ("tlswhy_excluded6", "ipv6_addr"),
];
/// Port of an address that the operator lists by hand.
const HTTPS: u16 = 443;

pub(super) fn list(entries: &[Entry], cause: Cause, header: &str) -> List {
    let mut list = List {
        text: header.to_owned(),
        notices: Vec::new(),
    };
    list.text.push_str("table inet tlswhy {\n");
    for (set, kind) in FAMILIES {
        list.text
            .push_str(&format!("\tset {set} {{ type {kind} . inet_service; }}\n"));
    }
    list.text.push_str("}\n");
    for (set, _) in FAMILIES {
        list.text
            .push_str(&format!("flush set inet tlswhy {set}\n"));
    }
    let mut written = BTreeSet::new();
    for entry in entries {
        let servers = servers(entry);
        if servers.is_empty() {
            let notice = format!("{} is not listed: its address was not seen", entry.host);
            list.notices.push(notice);
            continue;
        }
        list.text
            .push_str(&format!("# {}, {}\n", entry.host, entry.reason(cause)));
        for server in servers {
            if written.insert(server) {
                let (ip, port) = (server.ip(), server.port());
                let [(set, _), (set6, _)] = FAMILIES;
                let set = if ip.is_ipv4() { set } else { set6 };
                let element = format!("add element inet tlswhy {set} {{ {ip} . {port} }}\n");
                list.text.push_str(&element);
            }
        }
    }
    list
}

fn servers(entry: &Entry) -> Vec<SocketAddr> {
    let seen = entry.servers.iter();
    let mut servers: Vec<_> = seen
        .map(|it| SocketAddr::new(it.ip().to_canonical(), it.port()))
        .collect();
    if let (Host::Address(address), true) = (&entry.host, servers.is_empty()) {
        servers.push(SocketAddr::new(*address, HTTPS));
    }
    servers
}
