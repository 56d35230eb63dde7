//! Keys of `[otlp]`.

use super::super::values::{Complaint, path, path_value, text};
use super::{FILE_OF_ETC, Key};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "otlp.endpoint",
        expected: "an address such as \"http://127.0.0.1:4318/v1/logs\" or \"https://otel.example.com/v1/logs\"",
        about: "OpenTelemetry collector to which verdicts are sent as logs (OTLP/HTTP, JSON) in addition to the \
                other outputs. If not set, none. The packaged unit allows loopback only (see operate.md)",
        live: false,
        read: |settings, value| {
            let endpoint = text(value)?.parse();
            settings.otlp.endpoint = Some(endpoint.map_err(|error: String| Complaint::new(error))?);
            Ok(())
        },
        show: |settings| {
            let endpoint = settings.otlp.endpoint.as_ref()?;
            Some(endpoint.to_string().into())
        },
    },
    Key {
        path: "otlp.headers_file",
        expected: FILE_OF_ETC,
        about: "File of headers that each request has, such as `Authorization: Bearer …`, one a line, read for each \
                connection; if not set, none",
        live: false,
        read: |settings, value| {
            settings.otlp.headers_file = Some(path(value)?);
            Ok(())
        },
        show: |settings| settings.otlp.headers_file.as_deref().map(path_value),
    },
    Key {
        path: "otlp.ca",
        expected: FILE_OF_ETC,
        about: "CA, in PEM, that the collector's certificate is judged by, read for each connection; if not set, \
                those of this machine",
        live: false,
        read: |settings, value| {
            settings.otlp.tls.ca = Some(path(value)?);
            Ok(())
        },
        show: |settings| settings.otlp.tls.ca.as_deref().map(path_value),
    },
    Key {
        path: "otlp.certificate",
        expected: FILE_OF_ETC,
        about: "Certificate, with its chain, in PEM, that the collector is shown; if not set, none",
        live: false,
        read: |settings, value| {
            settings.otlp.tls.certificate = Some(path(value)?);
            Ok(())
        },
        show: |settings| settings.otlp.tls.certificate.as_deref().map(path_value),
    },
    Key {
        path: "otlp.key",
        expected: FILE_OF_ETC,
        about: "Key of that certificate, in PEM",
        live: false,
        read: |settings, value| {
            settings.otlp.tls.key = Some(path(value)?);
            Ok(())
        },
        show: |settings| settings.otlp.tls.key.as_deref().map(path_value),
    },
];
