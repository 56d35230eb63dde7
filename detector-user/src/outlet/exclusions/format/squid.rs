//! Squid: a file that an acl of type `ssl::server_name` reads.
//!
//! One item a line; `#` begins a comment. `NAME` matches that name, `.NAME` also all below it; `*.NAME` is
//! taken and matches nothing, and Squid ends FATAL where a file holds both `NAME` and `.NAME` (measured:
//! squid 5.7). An entry is one or the other, and no two entries have one host. Squid 8 has no `ssl_bump`
//! any more.

use super::{List, PLACEHOLDER};
use crate::outlet::exclusions::host::Host;
use crate::outlet::exclusions::selection::Entry;
use crate::verdict::Cause;

const HEADER: &str = "\
# Names that are not bumped, for squid.conf of Squid 3.5 to 7:
#   acl tlswhy ssl::server_name \"/etc/squid/tlswhy.list\"
#   ssl_bump peek step1
#   ssl_bump splice tlswhy
#   ssl_bump bump all
";

pub(super) fn list(entries: &[Entry], cause: Cause) -> List {
    let mut list = List {
        text: HEADER.to_owned(),
        notices: Vec::new(),
    };
    let mut is_empty = true;
    for entry in entries {
        if let Host::Address(address) = &entry.host
            && address.is_ipv6()
        {
            let notice = format!("{address} is not listed: Squid matches names and IPv4 addresses");
            list.notices.push(notice);
            continue;
        }
        is_empty = false;
        let dot = if entry.with_subdomains { "." } else { "" };
        let (host, reason) = (&entry.host, entry.reason(cause));
        list.text.push_str(&format!("# {reason}\n{dot}{host}\n"));
    }
    if is_empty {
        // Squid warns of an acl that is empty.
        list.text.push_str(&format!("{PLACEHOLDER}\n"));
    }
    list
}
