//! Keys of `[syslog]`.

use super::super::values::{Complaint, path, path_value, text};
use super::{FILE_OF_ETC, Key};
use crate::outlet::sink::{Facility, is_sd_id};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "syslog.server",
        expected: "an address such as \"udp://192.0.2.5\", \"tcp://[2001:db8::5]:601\" or \"tls://logs.example.com:6514\"",
        about: "Syslog server to which verdicts are sent in addition to the other outputs (RFC 5424; over TCP with \
                the length before each message). If not set, none. The packaged unit allows loopback only \
                (see operate.md)",
        live: false,
        read: |settings, value| {
            let server = text(value)?.parse();
            settings.syslog.server = Some(server.map_err(|error: String| Complaint::new(error))?);
            Ok(())
        },
        show: |settings| {
            let server = settings.syslog.server.as_ref()?;
            Some(server.to_string().into())
        },
    },
    Key {
        path: "syslog.ca",
        expected: FILE_OF_ETC,
        about: "CA, in PEM, that the server's certificate is judged by over TLS, read for each connection; if not \
                set, those of this machine",
        live: false,
        read: |settings, value| {
            settings.syslog.tls.ca = Some(path(value)?);
            Ok(())
        },
        show: |settings| settings.syslog.tls.ca.as_deref().map(path_value),
    },
    Key {
        path: "syslog.certificate",
        expected: FILE_OF_ETC,
        about: "Certificate, with its chain, in PEM, that the server is shown; if not set, none",
        live: false,
        read: |settings, value| {
            settings.syslog.tls.certificate = Some(path(value)?);
            Ok(())
        },
        show: |settings| settings.syslog.tls.certificate.as_deref().map(path_value),
    },
    Key {
        path: "syslog.key",
        expected: FILE_OF_ETC,
        about: "Key of that certificate, in PEM",
        live: false,
        read: |settings, value| {
            settings.syslog.tls.key = Some(path(value)?);
            Ok(())
        },
        show: |settings| settings.syslog.tls.key.as_deref().map(path_value),
    },
    Key {
        path: "syslog.facility",
        expected: "\"user\", \"daemon\", \"auth\", \"authpriv\" or one of \"local0\" to \"local7\"",
        about: "Facility of the messages; their severity is that of the cause, as in the journal",
        live: false,
        read: |settings, value| {
            let given = text(value)?;
            let facility = Facility::named(given);
            settings.syslog.facility =
                facility.ok_or_else(|| Complaint::new(format!("found {given:?}")))?;
            Ok(())
        },
        show: |settings| Some(settings.syslog.facility.name().into()),
    },
    Key {
        path: "syslog.sd_id",
        expected: "a name, @ and a private enterprise number, such as \"tlswhy@32473\"",
        about: "SD-ID of the verdict's fields. 32473 is the number for documentation (RFC 5612): name your own if \
                you have one",
        live: false,
        read: |settings, value| {
            let given = text(value)?;
            if !is_sd_id(given) {
                return Err(Complaint::new(format!("{given:?} is no such name")).into());
            }
            settings.syslog.sd_id = given.to_owned();
            Ok(())
        },
        show: |settings| Some(settings.syslog.sd_id.clone().into()),
    },
];
