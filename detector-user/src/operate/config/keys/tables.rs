//! Keys of `[tables]`.

use toml::Value;

use super::super::values::{number, ring, size_value};
use super::Key;

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "tables.flows",
        expected: "a number from 64 to 16777216",
        about: "Maximum tracked connections; the oldest is evicted and counted. One million take \
                256 MiB of kernel memory",
        live: false,
        read: |settings, value| {
            settings.flows = number(value, 64, 16_777_216)? as u32;
            Ok(())
        },
        show: |settings| Some(Value::Integer(settings.flows.into())),
    },
    Key {
        path: "tables.observation_ring",
        expected: "a power of two from 64KiB to 1GiB, such as \"4MiB\"",
        about: "Size of the ring buffer for observations",
        live: false,
        read: |settings, value| {
            settings.observation_ring = ring(value)?;
            Ok(())
        },
        show: |settings| Some(size_value(settings.observation_ring.into())),
    },
    Key {
        path: "tables.handshake_ring",
        expected: "a power of two from 64KiB to 1GiB, such as \"8MiB\"",
        about: "Size of the ring buffer for handshake bytes",
        live: false,
        read: |settings, value| {
            settings.handshake_ring = ring(value)?;
            Ok(())
        },
        show: |settings| Some(size_value(settings.handshake_ring.into())),
    },
];
