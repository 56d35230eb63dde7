//! Keys of `[state]`.

use super::super::values::{
    Complaint, duration, duration_value, path, path_value, pins, size, size_value, text,
};
use super::{Key, PATH};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "state.directory",
        expected: PATH,
        about: "Directory for state that survives a reboot: learned facts, and verdicts that journald or \
                a server has not accepted yet. If not set, neither is stored",
        live: false,
        read: |settings, value| {
            settings.state_directory = Some(path(value)?);
            Ok(())
        },
        show: |settings| settings.state_directory.as_deref().map(path_value),
    },
    Key {
        path: "state.runtime",
        expected: PATH,
        about: "Directory for state that survives a restart: observations of connections that are not \
                judged yet",
        live: false,
        read: |settings, value| {
            settings.runtime_directory = Some(path(value)?);
            Ok(())
        },
        show: |settings| settings.runtime_directory.as_deref().map(path_value),
    },
    Key {
        path: "state.retention",
        expected: "a duration such as \"7d\"",
        about: "Maximum age of learned facts that are used after a restart",
        live: false,
        read: |settings, value| {
            settings.retention = duration(value)?;
            Ok(())
        },
        show: |settings| Some(duration_value(settings.retention)),
    },
    Key {
        path: "state.verdicts_retention",
        expected: "a duration such as \"90d\"; \"0s\" for no database",
        about: "Maximum age of verdicts, and of groups since their last connection, in the database in \
                the state directory, which `tlswhy verdicts`, `groups` and `why` ask",
        live: false,
        read: |settings, value| {
            settings.database.age = duration(value)?;
            Ok(())
        },
        show: |settings| Some(duration_value(settings.database.age)),
    },
    Key {
        path: "state.verdicts_max",
        expected: "a size from \"1MiB\"",
        about: "Maximum size of that database; the oldest verdicts are removed",
        live: false,
        read: |settings, value| {
            let bytes = size(value)?;
            if bytes < 1 << 20 {
                return Err(Complaint::new(format!("{bytes} bytes is less than 1 MiB")).into());
            }
            settings.database.bytes = bytes;
            Ok(())
        },
        show: |settings| Some(size_value(settings.database.bytes)),
    },
    Key {
        path: "state.pins",
        expected: "a directory on a BPF filesystem, such as \"/sys/fs/bpf/tlswhy\", or \"\" for none",
        about: "Directory where programs and maps are pinned, so that they keep running while the \
                agent restarts. `tlswhy detach` removes them. If not set: /sys/fs/bpf/tlswhy as a \
                service, otherwise nothing is pinned",
        live: false,
        read: |settings, value| {
            let given = text(value)?;
            settings.pins = if given.is_empty() {
                None
            } else {
                Some(pins(value)?)
            };
            Ok(())
        },
        show: |settings| settings.pins.as_deref().map(path_value),
    },
];
