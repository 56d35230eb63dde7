//! Keys of `[page]`.

use super::super::values::{duration, duration_value, listen, path, path_value, user};
use super::{FILE_OF_ETC, Key};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "page.listen",
        expected: "a port of loopback, such as \"9747\", or an address with a port, such as \"192.0.2.10:9747\"",
        about: "Address that serves the report as a page that follows the agent, for browsers; if not set, it is not \
                served. It needs state.directory with its database; beyond loopback also page.user or \
                page.client_ca, since it shows who visits what",
        live: true,
        read: |settings, value| {
            settings.page.listen = Some(listen(value)?);
            Ok(())
        },
        show: |settings| settings.page.listen.map(|it| it.to_string().into()),
    },
    file_of_access!(
        "page.certificate",
        page.access.certificate,
        "Certificate of that server with its chain, in PEM, read at the start and on each reload; if not set, it \
         speaks HTTP"
    ),
    file_of_access!(
        "page.key",
        page.access.key,
        "Key of that certificate, in PEM"
    ),
    file_of_access!(
        "page.client_ca",
        page.access.client_ca,
        "CA, in PEM, of which clients of that server must show a certificate; if not set, they need none"
    ),
    user_of_access!("page.user", page.access.user),
    file_of_access!(
        "page.password_file",
        page.access.password_file,
        "File of which the first line is the user's password"
    ),
    Key {
        path: "page.age",
        expected: "a duration such as \"24h\"",
        about: "Maximum age of connections on that page",
        live: true,
        read: |settings, value| {
            settings.page.age = duration(value)?;
            Ok(())
        },
        show: |settings| Some(duration_value(settings.page.age)),
    },
];
