//! Keys of `[inspection]`.

use std::net::IpAddr;

use super::super::values::{Complaint, list, text, texts};
use super::Key;

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "inspection.ca",
        expected: "a list of certificate files (PEM or DER) and names such as \"CN=Inspection CA\"",
        about: "CAs that sign intercepted certificates. The service reads files as user tlswhy and has \
                no access to /home and /root; /etc/tlswhy is a suitable place",
        live: true,
        read: |settings, value| {
            settings.knowledge.inspection_cas = list(value, |text| {
                text.parse().map_err(|error| format!("{error}"))
            })?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.knowledge.inspection_cas)),
    },
    Key {
        path: "inspection.interceptors",
        expected: "a list of addresses, such as [\"10.0.0.5\"]",
        about: "Addresses of explicit proxies, and from which interceptors open connections of their \
                own: nothing is learned about apps from these, and both legs are joined",
        live: true,
        read: |settings, value| {
            settings.knowledge.interceptors = list(value, |text| {
                text.parse::<IpAddr>()
                    .map_err(|_| format!("{text:?} is not an IP address"))
            })?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.knowledge.interceptors)),
    },
    Key {
        path: "inspection.intercepted",
        expected: "\"auto\", \"always\" or \"never\"",
        about: "Whether connections are intercepted; `auto` decides by evidence alone",
        live: true,
        read: |settings, value| {
            let given = text(value)?;
            settings.knowledge.intercepted = given
                .parse()
                .map_err(|_| Complaint::new(format!("found {given:?}")))?;
            Ok(())
        },
        show: |settings| Some(settings.knowledge.intercepted.name().into()),
    },
];
