//! PAN-OS: an external dynamic list of type URL, and commands for the SSL decryption exclusion.
//!
//! Only a list of type URL can be matched by a decryption rule. It has one entry a line and no comments, up to
//! 255 characters each; a trailing slash closes the host (`example.com` matches what goes on as
//! `example.com.evil.example`, too); `*` stands for one or more labels. A list without entries is refused, so
//! that the firewall goes on with its last one. In the SSL decryption exclusion, which is compared with the
//! ClientHello's and the certificate's name, `*` is exactly one label. (Palo Alto Networks, "External Dynamic
//! List", "Exclude a Server from Decryption".)

use super::{List, PLACEHOLDER, names};
use crate::outlet::exclusions::host::Host;
use crate::outlet::exclusions::selection::Entry;
use crate::verdict::Cause;

/// Maximum length of an entry.
const LINE_MAX: usize = 255;

pub(super) fn dynamic_list(entries: &[Entry]) -> List {
    let mut list = List::default();
    for entry in entries {
        if let Host::Address(address) = &entry.host
            && address.is_ipv6()
        {
            let notice =
                format!("{address} is not listed: a list of URLs has names and IPv4 addresses");
            list.notices.push(notice);
            continue;
        }
        let host = &entry.host;
        list.text.push_str(&format!("{host}/\n"));
        let below = format!("*.{host}/\n");
        if entry.with_subdomains && below.len() <= LINE_MAX {
            list.text.push_str(&below);
        }
    }
    if list.text.is_empty() {
        list.text = format!("{PLACEHOLDER}/\n");
    }
    list
}

pub(super) fn commands(entries: &[Entry], cause: Cause) -> List {
    let mut list = List::default();
    let why = "the SSL decryption exclusion has names only";
    for (entry, name) in names(entries, &mut list.notices, why) {
        let cause = if entry.connections == 0 {
            "always listed"
        } else {
            cause.name()
        };
        let mut push = |name: &str| {
            list.text.push_str(&format!(
                "set shared ssl-decrypt ssl-exclude-cert {name} description \"tlswhy: {cause}\" exclude yes\n"
            ));
        };
        push(name);
        if entry.with_subdomains {
            push(&format!("*.{name}"));
        }
    }
    let deeper = entries.iter().filter(|entry| entry.with_subdomains);
    list.notices.extend(deeper.map(|entry| {
        format!(
            "*.{} excludes names of one more label only: add *.*.{0} for deeper ones",
            entry.host
        )
    }));
    list
}
