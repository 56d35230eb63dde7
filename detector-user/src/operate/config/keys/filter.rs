//! Keys of `[filter]`.

use toml::Value;

use super::super::values::{confidence_value, list, name_glob, network, port_values, ports, texts};
use super::{Key, NAMES, NETWORKS, PORTS};
use crate::operate::scope::Filter;

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "filter.clients",
        expected: NETWORKS,
        about: "Client networks on which verdicts are written; an empty list means any. Connections of others are judged and learned from, as with all keys of this section",
        live: true,
        read: |settings, value| {
            settings.filter.clients = list(value, network)?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.filter.clients)),
    },
    Key {
        path: "filter.servers",
        expected: NETWORKS,
        about: "Server networks on which verdicts are written; an empty list means any",
        live: true,
        read: |settings, value| {
            settings.filter.servers = list(value, network)?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.filter.servers)),
    },
    Key {
        path: "filter.ports",
        expected: PORTS,
        about: "Server ports on which verdicts are written; an empty list means any",
        live: true,
        read: |settings, value| {
            settings.filter.ports = ports(value)?;
            Ok(())
        },
        show: |settings| Some(port_values(&settings.filter.ports)),
    },
    Key {
        path: "filter.names",
        expected: NAMES,
        about: "Server names on which verdicts are written; an empty list means any",
        live: true,
        read: |settings, value| {
            settings.filter.names = list(value, name_glob)?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.filter.names)),
    },
    Key {
        path: "filter.causes",
        expected: "a list of causes, such as [\"pinning\", \"ca-not-trusted\"]",
        about: "Causes whose verdicts are written; an empty list means any. A verdict that replaces a written \
                one is written too",
        live: true,
        read: |settings, value| {
            settings.filter.causes = list(value, |text| {
                Filter::cause(text).ok_or_else(|| format!("{text:?} is not a cause"))
            })?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.filter.causes)),
    },
    Key {
        path: "filter.min_confidence",
        expected: "a number from 0 to 1, such as 0.7",
        about: "Minimum confidence of verdicts that are written",
        live: true,
        read: |settings, value| {
            settings.filter.min_confidence = confidence_value(value)?;
            Ok(())
        },
        show: |settings| Some(Value::Float(settings.filter.min_confidence)),
    },
];
