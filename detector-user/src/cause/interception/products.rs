//! Names that interception products give their CA.

use std::cell::RefCell;

use crate::flow::tls::memo::{Memo, remembered};

/// Common names and organizations that interception products give their CA unless told otherwise
/// (after the products' own documentation, and Durumeric et al., "The Security Impact of HTTPS
/// Interception", NDSS 2017).
const PRODUCTS: &[(&str, &str)] = &[
    ("mitmproxy", "mitmproxy"),
    ("portswigger ca", "Burp Suite"),
    ("charles proxy", "Charles"),
    ("do_not_trust_fiddlerroot", "Fiddler"),
    ("zscaler", "Zscaler"),
    ("fortigate ca", "FortiGate"),
    ("fortinet untrusted ca", "FortiGate"),
    ("fg_ca", "FortiGate"),
    ("netskope", "Netskope"),
    ("cisco umbrella", "Cisco Umbrella"),
    ("sophos ssl ca", "Sophos"),
    ("sophos_ca", "Sophos"),
    ("blue coat", "Blue Coat"),
    ("untangle", "Untangle"),
    ("securly", "Securly"),
    ("lightspeed", "Lightspeed"),
    ("goguardian", "GoGuardian"),
    ("kaspersky anti-virus personal root", "Kaspersky"),
    ("kaspersky web anti-virus", "Kaspersky"),
    ("avast! web/mail shield", "Avast"),
    ("avg web/mail shield", "AVG"),
    ("eset ssl filter ca", "ESET"),
    ("bitdefender personal ca", "Bitdefender"),
    ("adguard personal ca", "AdGuard"),
    ("proxyman ca", "Proxyman"),
    ("http toolkit ca", "HTTP Toolkit"),
    ("watchguard", "WatchGuard"),
    ("barracuda ssl", "Barracuda"),
    ("check point firewall", "Check Point"),
    ("forcepoint", "Forcepoint"),
    ("websense", "Forcepoint"),
];

thread_local! {
    static KNOWN: RefCell<Memo<Option<&'static str>>> = RefCell::new(Memo::new(256, 512));
}

/// Returns the product whose CA has such a name.
pub(super) fn product(issuer: &str) -> Option<&'static str> {
    remembered(&KNOWN, issuer.as_bytes(), |_| find(issuer))
}

fn find(issuer: &str) -> Option<&'static str> {
    let issuer = issuer.to_lowercase();
    issuer.split(", ").find_map(|part| {
        let (kind, value) = part.split_once('=')?;
        if !["cn", "o"].contains(&kind) {
            return None;
        }
        PRODUCTS
            .iter()
            .find(|(name, _)| value.starts_with(name))
            .map(|(_, product)| *product)
    })
}
