//! Keys of `[ignore]`.

use super::super::values::{list, name_glob, network, port_values, ports, texts};
use super::{Key, NAMES, NETWORKS, PORTS};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "ignore.clients",
        expected: NETWORKS,
        about: "Client networks whose connections are ignored: neither judged nor learned from",
        live: true,
        read: |settings, value| {
            settings.ignored.clients = list(value, network)?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.ignored.clients)),
    },
    Key {
        path: "ignore.servers",
        expected: NETWORKS,
        about: "Server networks whose connections are ignored",
        live: true,
        read: |settings, value| {
            settings.ignored.servers = list(value, network)?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.ignored.servers)),
    },
    Key {
        path: "ignore.ports",
        expected: PORTS,
        about: "Server ports that are ignored",
        live: true,
        read: |settings, value| {
            settings.ignored.ports = ports(value)?;
            Ok(())
        },
        show: |settings| Some(port_values(&settings.ignored.ports)),
    },
    Key {
        path: "ignore.networks",
        expected: NETWORKS,
        about: "Networks that are ignored, as client and as server",
        live: true,
        read: |settings, value| {
            settings.ignored.networks = list(value, network)?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.ignored.networks)),
    },
    Key {
        path: "ignore.names",
        expected: NAMES,
        about: "Server names that are ignored",
        live: true,
        read: |settings, value| {
            settings.ignored.names = list(value, name_glob)?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.ignored.names)),
    },
];
