//! Keys of `[fleet]`.

use std::time::Duration;

use super::super::values::{
    Complaint, count, duration, duration_value, flag, list, number, path, path_value, text, texts,
    user,
};
use super::{FILE_OF_ETC, Key};
use crate::fleet::{Clients, is_gateway};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "fleet.url",
        expected: "an address such as \"tls://nats.example.com:4222\" or \"nats://127.0.0.1\", or a list of such",
        about: "NATS servers with JetStream over which gateways share facts and verdicts; if not set, there is no \
                fleet. The packaged unit allows loopback only (see operate.md)",
        live: false,
        read: |settings, value| {
            settings.fleet.urls = if value.get_ref().as_array().is_some() {
                list(value, str::parse)?
            } else {
                let given = text(value)?.parse();
                vec![given.map_err(|error: String| Complaint::new(error))?]
            };
            Ok(())
        },
        show: |settings| Some(texts(&settings.fleet.urls)),
    },
    Key {
        path: "fleet.gateway",
        expected: "a name of 1 to 64 letters, digits, hyphens and underscores",
        about: "This gateway's name in the fleet, which no other has; if not set, the machine's, with hyphens for dots",
        live: false,
        read: |settings, value| {
            let given = text(value)?;
            if !is_gateway(given) {
                return Err(Complaint::new(format!("found {given:?}")).into());
            }
            settings.fleet.gateway = Some(given.to_owned());
            Ok(())
        },
        show: |settings| settings.fleet.gateway.clone().map(Into::into),
    },
    file_of_fleet!(
        "fleet.ca",
        tls.ca,
        "CA, in PEM, that those servers' certificates are judged by; if not set, those of this machine"
    ),
    file_of_fleet!(
        "fleet.certificate",
        tls.certificate,
        "Certificate, with its chain, in PEM, that they are shown; if not set, none"
    ),
    file_of_fleet!("fleet.key", tls.key, "Key of that certificate, in PEM"),
    Key {
        path: "fleet.user",
        expected: "a name without colon",
        about: "User at those servers; if not set, the certificate alone says who this gateway is",
        live: false,
        read: |settings, value| {
            settings.fleet.user = Some(user(value)?);
            Ok(())
        },
        show: |settings| settings.fleet.user.clone().map(Into::into),
    },
    file_of_fleet!(
        "fleet.password_file",
        password_file,
        "File of which the first line is the user's password"
    ),
    Key {
        path: "fleet.clients",
        expected: "\"clear\" or \"hashed\"",
        about: "Form of clients' addresses in all that is shared, the same in the whole fleet: as they are, or as \
                keyed hashes, from which nobody without the key tells an address",
        live: false,
        read: |settings, value| {
            let given = text(value)?;
            let clients = Clients::ALL.into_iter().find(|it| it.name() == given);
            settings.fleet.clients =
                clients.ok_or_else(|| Complaint::new(format!("found {given:?}")))?;
            Ok(())
        },
        show: |settings| Some(settings.fleet.clients.name().into()),
    },
    file_of_fleet!(
        "fleet.clients_key_file",
        clients_key_file,
        "File of which the first line is the key of those hashes, at least 16 bytes, the same on all gateways"
    ),
    Key {
        path: "fleet.verdicts",
        expected: "true or false",
        about: "Whether verdicts are shared in addition to facts",
        live: false,
        read: |settings, value| {
            settings.fleet.verdicts = flag(value)?;
            Ok(())
        },
        show: |settings| Some(settings.fleet.verdicts.into()),
    },
    Key {
        path: "fleet.halves",
        expected: "true or false",
        about: "Whether a connection whose directions pass two gateways of the fleet is joined. Then the bytes of its \
                handshake in the clear are shared, too; the same on all gateways. Needs clients in clear",
        live: false,
        read: |settings, value| {
            settings.fleet.halves = flag(value)?;
            Ok(())
        },
        show: |settings| Some(settings.fleet.halves.into()),
    },
    Key {
        path: "fleet.max_facts",
        expected: "a number from 1000 to 10000000",
        about: "Maximum facts in memory, of this gateway, and of the others; those seen longest ago go",
        live: false,
        read: |settings, value| {
            settings.fleet.max_facts = number(value, 1_000, 10_000_000)? as usize;
            Ok(())
        },
        show: |settings| Some(count(settings.fleet.max_facts)),
    },
    Key {
        path: "fleet.retention",
        expected: "a duration from \"1h\"",
        about: "Maximum age of messages in the streams that this agent creates where they are missing",
        live: false,
        read: |settings, value| {
            let given = duration(value)?;
            if given < Duration::from_secs(3600) {
                return Err(Complaint::new("less than 1h").into());
            }
            settings.fleet.retention = given;
            Ok(())
        },
        show: |settings| Some(duration_value(settings.fleet.retention)),
    },
    Key {
        path: "fleet.replicas",
        expected: "a number from 1 to 5",
        about: "Copies of those streams in a cluster of servers",
        live: false,
        read: |settings, value| {
            settings.fleet.replicas = number(value, 1, 5)? as usize;
            Ok(())
        },
        show: |settings| Some(count(settings.fleet.replicas)),
    },
];
