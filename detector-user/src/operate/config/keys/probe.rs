//! Keys of `[probe]`.

use std::time::Duration;

use toml::Value;

use super::super::values::{
    Complaint, duration, duration_value, each, flag, list, name_glob, number, path, text, texts,
};
use super::{Key, NAMES};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "probe.enabled",
        expected: "true or false",
        about: "Whether the agent asks an origin for its own certificate where the answer would decide between \
                causes: one or two handshakes from this machine, without a request, at most once a day per \
                name. It needs inspection.ca, by which an interceptor's answer is recognised, and the \
                network: the packaged unit allows loopback only (see operate.md)",
        live: true,
        read: |settings, value| {
            settings.probe.enabled = flag(value)?;
            Ok(())
        },
        show: |settings| Some(settings.probe.enabled.into()),
    },
    Key {
        path: "probe.per_hour",
        expected: "a number from 1 to 3600",
        about: "Maximum origins asked in an hour",
        live: true,
        read: |settings, value| {
            settings.probe.per_hour = number(value, 1, 3600)? as u32;
            Ok(())
        },
        show: |settings| Some(Value::Integer(settings.probe.per_hour.into())),
    },
    Key {
        path: "probe.never",
        expected: NAMES,
        about: "Server names that are never asked",
        live: true,
        read: |settings, value| {
            settings.probe.never = list(value, name_glob)?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.probe.never)),
    },
    Key {
        path: "probe.source",
        expected: "an address of this machine, such as \"192.0.2.10\"",
        about: "Address that origins are asked from, so that an interceptor may let it pass; if not set, the \
                one that routing selects",
        live: true,
        read: |settings, value| {
            let given = text(value)?;
            let address = given
                .parse()
                .map_err(|_| Complaint::new(format!("{given:?} is not an IP address")))?;
            settings.probe.source = Some(address);
            Ok(())
        },
        show: |settings| settings.probe.source.map(|it| it.to_string().into()),
    },
    Key {
        path: "probe.mark",
        expected: "a number from 1 to 4294967295",
        about: "Mark of the probes' sockets (SO_MARK), for the same purpose; needs CAP_NET_ADMIN. If not set, \
                they have none",
        live: true,
        read: |settings, value| {
            settings.probe.mark = Some(number(value, 1, u32::MAX.into())? as u32);
            Ok(())
        },
        show: |settings| settings.probe.mark.map(|it| Value::Integer(it.into())),
    },
    Key {
        path: "probe.timeout",
        expected: "a duration such as \"10s\"",
        about: "Maximum time for one probe",
        live: true,
        read: |settings, value| {
            let given = duration(value)?;
            // As for `tlswhy probe`.
            if !(Duration::from_millis(100)..=Duration::from_secs(300)).contains(&given) {
                return Err(Complaint::new("not between 100ms and 5m").into());
            }
            settings.probe.timeout = given;
            Ok(())
        },
        show: |settings| Some(duration_value(settings.probe.timeout)),
    },
    Key {
        path: "probe.ca",
        expected: "a list of files (PEM), such as [\"/etc/tlswhy/internal-ca.pem\"]",
        about: "Root certificates that origins are judged by in addition to this machine's",
        live: true,
        read: |settings, value| {
            settings.probe.roots = each(value, path)?;
            Ok(())
        },
        show: |settings| Some(texts(settings.probe.roots.iter().map(|it| it.display()))),
    },
];
