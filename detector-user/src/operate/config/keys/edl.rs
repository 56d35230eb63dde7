//! Keys of `[edl]`.

use toml::Value;

use super::super::values::{
    confidence_value, count, duration, duration_value, host, list, listen, number, path,
    path_value, texts, user,
};
use super::{FILE_OF_ETC, HOSTS, Key};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "edl.listen",
        expected: "a port of loopback, such as \"9746\", or an address with a port, such as \"192.0.2.10:9746\"",
        about: "Address that serves lists of exclusions, at /edl/, and their reasons, at /why; if not set, they are \
                not served. They need state.directory with its database. The packaged unit allows loopback only \
                (see exclusions.md)",
        live: true,
        read: |settings, value| {
            settings.edl.listen = Some(listen(value)?);
            Ok(())
        },
        show: |settings| settings.edl.listen.map(|it| it.to_string().into()),
    },
    file_of_access!(
        "edl.certificate",
        edl.access.certificate,
        "Certificate of that server with its chain, in PEM, read at the start and on each reload; if not set, it \
         speaks HTTP"
    ),
    file_of_access!("edl.key", edl.access.key, "Key of that certificate, in PEM"),
    file_of_access!(
        "edl.client_ca",
        edl.access.client_ca,
        "CA, in PEM, of which clients of that server must show a certificate; if not set, they need none"
    ),
    user_of_access!("edl.user", edl.access.user),
    file_of_access!(
        "edl.password_file",
        edl.access.password_file,
        "File of which the first line is the user's password"
    ),
    Key {
        path: "edl.age",
        expected: "a duration such as \"30d\"",
        about: "Maximum age of a destination's last failure: then it leaves its list, and is tried again",
        live: true,
        read: |settings, value| {
            settings.edl.age = duration(value)?;
            Ok(())
        },
        show: |settings| Some(duration_value(settings.edl.age)),
    },
    Key {
        path: "edl.min_confidence",
        expected: "a number from 0 to 1, such as 0.9",
        about: "Minimum confidence of verdicts that count for a list",
        live: true,
        read: |settings, value| {
            settings.edl.min_confidence = confidence_value(value)?;
            Ok(())
        },
        show: |settings| Some(Value::Float(settings.edl.min_confidence)),
    },
    Key {
        path: "edl.min_connections",
        expected: "a number from 1 to 1000000",
        about: "Minimum failed connections of a destination that is listed",
        live: true,
        read: |settings, value| {
            settings.edl.min_connections = number(value, 1, 1_000_000)? as usize;
            Ok(())
        },
        show: |settings| Some(count(settings.edl.min_connections)),
    },
    Key {
        path: "edl.min_clients",
        expected: "a number from 1 to 1000000",
        about: "Minimum clients whose connections to a destination failed. One client alone can pretend to refuse \
                anything, and make a hole for itself",
        live: true,
        read: |settings, value| {
            settings.edl.min_clients = number(value, 1, 1_000_000)? as usize;
            Ok(())
        },
        show: |settings| Some(count(settings.edl.min_clients)),
    },
    Key {
        path: "edl.min_gateways",
        expected: "a number from 1 to 10000",
        about: "Minimum gateways behind which connections to a listed destination failed; in a fleet alone. A client \
                behind one gateway lists nothing for all where it is more than 1",
        live: true,
        read: |settings, value| {
            settings.edl.min_gateways = number(value, 1, 10_000)? as usize;
            Ok(())
        },
        show: |settings| Some(count(settings.edl.min_gateways)),
    },
    Key {
        path: "edl.max",
        expected: "a number from 1 to 100000",
        about: "Maximum entries of a list; destinations of most connections stay",
        live: true,
        read: |settings, value| {
            settings.edl.max = number(value, 1, 100_000)? as usize;
            Ok(())
        },
        show: |settings| Some(count(settings.edl.max)),
    },
    Key {
        path: "edl.always",
        expected: HOSTS,
        about: "Hosts that are listed at /edl/pinning in any case; of .NAME also those below",
        live: true,
        read: |settings, value| {
            settings.edl.always = list(value, host)?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.edl.always)),
    },
    Key {
        path: "edl.never",
        expected: HOSTS,
        about: "Hosts that are never listed; of .NAME also those below",
        live: true,
        read: |settings, value| {
            settings.edl.never = list(value, host)?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.edl.never)),
    },
];
