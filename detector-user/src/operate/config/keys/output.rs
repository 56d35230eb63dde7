//! Keys of `[output]`.

use toml::Value;

use clap::ValueEnum;

use super::super::values::{
    Complaint, duration, duration_value, file, list, number, path_value, size, size_value, text,
    texts,
};
use super::{FILE, Key};
use crate::outlet::sink::{JsonShape, Output};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "output.to",
        expected: "a list of \"text\", \"json\", \"eve\" and \"journald\"",
        about: "Outputs for verdicts. If not set: journald as a service, otherwise text",
        live: false,
        read: |settings, value| {
            settings.outputs = list(value, |text| {
                Output::from_str(text, false).map_err(|_| format!("{text:?} is not an output"))
            })?;
            let on_stdout = settings.outputs.iter().filter(|it| it.is_on_stdout());
            if on_stdout.count() > 1 {
                let why = "text, json and eve all write to standard output, choose one";
                return Err(Complaint::new(why).into());
            }
            Ok(())
        },
        show: |settings| {
            let names = settings.outputs.iter().map(|output| output.name());
            Some(texts(names))
        },
    },
    Key {
        path: "output.json_file",
        expected: FILE,
        about: "File to which verdicts are appended as JSON lines, in addition to the other outputs. \
                SIGHUP reopens it, for logrotate. The service may write to /var/log/tlswhy",
        live: false,
        read: |settings, value| {
            settings.json_file = Some(file(value)?);
            Ok(())
        },
        show: |settings| settings.json_file.as_deref().map(path_value),
    },
    Key {
        path: "output.json_shape",
        expected: "\"json\" or \"eve\"",
        about: "Shape of the lines in that file: the verdict, or an event of Suricata's EVE with the verdict in it",
        live: false,
        read: |settings, value| {
            let given = text(value)?;
            let shape = JsonShape::named(given);
            settings.json_shape =
                shape.ok_or_else(|| Complaint::new(format!("found {given:?}")))?;
            Ok(())
        },
        show: |settings| Some(settings.json_shape.name().into()),
    },
    Key {
        path: "output.log",
        expected: "\"failures\", \"broken\" or \"all\"",
        about: "Endings that are written one by one. `failures`: connections that failed, injected resets, \
                records that their sender did not finish; `broken`: also resets of a connection in use \
                amid a record of either side; `all`: also those after a finished answer. The others are \
                only counted",
        live: true,
        read: |settings, value| {
            let given = text(value)?;
            settings.filter.endings = given
                .parse()
                .map_err(|_| Complaint::new(format!("found {given:?}")))?;
            Ok(())
        },
        show: |settings| Some(settings.filter.endings.name().into()),
    },
    Key {
        path: "output.fold",
        expected: "a duration such as \"10m\"; \"0s\" writes every verdict",
        about: "Time for which repeats of a verdict (same client, app, name and cause) are only \
                counted, in the journal and at servers",
        live: false,
        read: |settings, value| {
            settings.fold = duration(value)?;
            Ok(())
        },
        show: |settings| Some(duration_value(settings.fold)),
    },
    Key {
        path: "output.queue",
        expected: "a number from 16 to 1000000",
        about: "Maximum verdicts queued in memory for each output",
        live: false,
        read: |settings, value| {
            settings.queue = number(value, 16, 1_000_000)? as usize;
            Ok(())
        },
        show: |settings| Some(Value::Integer(settings.queue as i64)),
    },
    Key {
        path: "output.spill_max",
        expected: "a size such as \"64MiB\"",
        about: "Maximum size of verdicts spilled to the state directory while journald or a server is \
                unavailable, of each",
        live: false,
        read: |settings, value| {
            settings.spill_max = size(value)?;
            Ok(())
        },
        show: |settings| Some(size_value(settings.spill_max)),
    },
];
