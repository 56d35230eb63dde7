//! Keys of `[explain]`.

use std::time::Duration;

use toml::Value;

use super::super::values::{Complaint, duration, duration_value, list, text, texts};
use super::Key;

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "explain.syslog",
        expected: "an address such as \"udp://127.0.0.1:5514\" or \"tcp://[::1]:5514\", or a list of such",
        about: "Addresses on which the firewall's log is received as syslog (RFC 5426; RFC 6587, by lines or \
                with lengths); each row is joined to the verdict on its connection and written to the agent's \
                log. The packaged unit allows loopback only (see explain.md). An empty list means none",
        live: false,
        read: |settings, value| {
            settings.explain.addresses = if value.get_ref().as_array().is_some() {
                list(value, str::parse)?
            } else {
                let given = text(value)?.parse();
                vec![given.map_err(|error: String| Complaint::new(error))?]
            };
            Ok(())
        },
        show: |settings| Some(texts(&settings.explain.addresses)),
    },
    Key {
        path: "explain.wait",
        expected: "a duration from \"1s\" to \"1h\"",
        about: "Longest wait of a row for the verdict on its connection",
        live: false,
        read: |settings, value| {
            let given = duration(value)?;
            if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&given) {
                return Err(Complaint::new("not between 1s and 1h").into());
            }
            settings.explain.wait = given;
            Ok(())
        },
        show: |settings| Some(duration_value(settings.explain.wait)),
    },
    Key {
        path: "explain.filter",
        expected: "a filter in PAN-OS's language, such as \"( session_end_reason eq policy-deny )\"",
        about: "Rows of that log that are explained; if not set, those that `tlswhy explain` takes",
        live: false,
        read: |settings, value| {
            let given = text(value)?;
            let filter = given.parse::<crate::firewall::filter::Filter>();
            filter.map_err(Complaint::new)?;
            settings.explain.filter = Some(given.to_owned());
            Ok(())
        },
        show: |settings| settings.explain.filter.clone().map(Value::from),
    },
];
