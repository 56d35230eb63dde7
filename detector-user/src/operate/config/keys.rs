//! Every key of the configuration file: one table for reading, checking, printing and documenting.

use std::net::IpAddr;

use clap::ValueEnum;
use toml::de::DeValue;
use toml::{Spanned, Value};

use super::settings::Settings;
use super::values::{
    Complaint, duration, duration_value, file, list, network, number, path, path_value, ports,
    ring, size, size_value, text, texts,
};
use crate::host::interfaces::Wanted;
use crate::outlet::metrics::MetricsAddress;
use crate::outlet::sink::Output;

/// One key.
pub struct Key {
    /// `section.name`.
    pub path: &'static str,
    /// What it takes, for whoever gave something else.
    pub takes: &'static str,
    /// What it means.
    pub about: &'static str,
    /// Whether a running agent takes a new value.
    pub live: bool,
    pub(super) read: fn(&mut Settings, &Spanned<DeValue<'_>>) -> Result<(), Complaint>,
    pub(super) show: fn(&Settings) -> Option<Value>,
}

impl Key {
    /// Its value where nobody says one, as it stands in a file; `None` if it has none then.
    #[must_use]
    pub fn default(&self) -> Option<String> {
        (self.show)(&Settings::default()).map(|value| value.to_string())
    }

    /// The table it stands in.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(section, _)| section)
    }

    /// Its name in that table.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(_, name)| name)
    }
}

const NETWORKS: &str = "a list of networks, such as [\"10.0.0.0/8\", \"2001:db8::/32\"]";
const PATH: &str = "an absolute path, such as \"/var/lib/tlswhy\"";
const FILE: &str = "the absolute path of a file, such as \"/var/log/tlswhy/verdicts.json\"";

/// All keys, in the order in which they are shown.
pub const KEYS: &[Key] = &[
    Key {
        path: "watch.interfaces",
        takes: "a list of interface names, globs such as \"lan*\", or \"auto\"",
        about: "Interfaces to watch in both directions. `auto` is what carries a default route, \
                and the ports of bridges. A glob takes Ethernet interfaces that have a link. What is not \
                there yet is watched as soon as it appears",
        live: true,
        read: |settings, value| {
            settings.interfaces = list(value, Wanted::parse)?;
            if settings.interfaces.is_empty() {
                return Err(Complaint::new("there is nothing to watch"));
            }
            Ok(())
        },
        show: |settings| Some(texts(&settings.interfaces)),
    },
    Key {
        path: "watch.clients",
        takes: NETWORKS,
        about: "Networks whose connections are judged; an empty list means any. Others are not \
                looked at",
        live: true,
        read: |settings, value| {
            settings.clients = list(value, network)?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.clients)),
    },
    Key {
        path: "watch.netns",
        takes: "a network namespace's name (`ip netns`) or path",
        about: "Network namespace whose interfaces are watched",
        live: false,
        read: |settings, value| {
            let given = text(value)?;
            settings.netns = (!given.is_empty()).then(|| given.into());
            Ok(())
        },
        show: |settings| settings.netns.as_deref().map(path_value),
    },
    Key {
        path: "inspection.ca",
        takes: "a list of certificate files (PEM or DER) and names such as \"CN=Inspection CA\"",
        about: "The CAs that sign intercepted certificates. The service reads files as the user tlswhy, \
                and none under /home and /root: /etc/tlswhy is a good place",
        live: true,
        read: |settings, value| {
            settings.knowledge.inspection_cas = list(value, |text| {
                text.parse().map_err(|error| format!("{error}"))
            })?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.knowledge.inspection_cas)),
    },
    Key {
        path: "inspection.interceptors",
        takes: "a list of addresses, such as [\"10.0.0.5\"]",
        about: "Addresses from which interceptors open connections of their own: those are no app's, \
                and teach nothing about apps",
        live: true,
        read: |settings, value| {
            settings.knowledge.interceptors = list(value, |text| {
                text.parse::<IpAddr>()
                    .map_err(|_| format!("{text:?} is no IP address"))
            })?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.knowledge.interceptors)),
    },
    Key {
        path: "inspection.intercepted",
        takes: "\"auto\", \"always\" or \"never\"",
        about: "Whether connections here are intercepted; `auto` tells by evidence alone",
        live: true,
        read: |settings, value| {
            settings.knowledge.intercepted = text(value)?
                .parse()
                .map_err(|_| Complaint::new("it is none of these"))?;
            Ok(())
        },
        show: |settings| Some(settings.knowledge.intercepted.name().into()),
    },
    Key {
        path: "ignore.ports",
        takes: "a list of ports, such as [22, 3389]",
        about: "Server ports that are not looked at",
        live: true,
        read: |settings, value| {
            settings.ignored_ports = ports(value)?;
            Ok(())
        },
        show: |settings| {
            let ports = settings.ignored_ports.iter();
            Some(Value::Array(
                ports.map(|&port| Value::Integer(port.into())).collect(),
            ))
        },
    },
    Key {
        path: "ignore.networks",
        takes: NETWORKS,
        about: "Networks that are not looked at, whichever side is in them",
        live: true,
        read: |settings, value| {
            settings.ignored_networks = list(value, network)?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.ignored_networks)),
    },
    Key {
        path: "tables.flows",
        takes: "a number from 64 to 16777216",
        about: "Connections followed at once; beyond it the oldest are forgotten, and counted. A \
                million take 244 MiB of kernel memory",
        live: false,
        read: |settings, value| {
            settings.flows = number(value, 64, 16_777_216)? as u32;
            Ok(())
        },
        show: |settings| Some(Value::Integer(settings.flows.into())),
    },
    Key {
        path: "tables.observation_ring",
        takes: "a size that is a power of two from 64KiB to 1GiB, such as \"4MiB\"",
        about: "The ring that observations travel by",
        live: false,
        read: |settings, value| {
            settings.observation_ring = ring(value)?;
            Ok(())
        },
        show: |settings| Some(size_value(settings.observation_ring.into())),
    },
    Key {
        path: "tables.handshake_ring",
        takes: "a size that is a power of two from 64KiB to 1GiB, such as \"8MiB\"",
        about: "The ring that handshake bytes travel by",
        live: false,
        read: |settings, value| {
            settings.handshake_ring = ring(value)?;
            Ok(())
        },
        show: |settings| Some(size_value(settings.handshake_ring.into())),
    },
    Key {
        path: "output.to",
        takes: "a list of \"text\", \"json\" and \"journald\"",
        about: "Where verdicts go. When nothing is said: journald as a service, text otherwise",
        live: false,
        read: |settings, value| {
            settings.outputs = list(value, |text| {
                Output::from_str(text, false).map_err(|_| format!("{text:?} is no output"))
            })?;
            let on_stdout = settings.outputs.iter().filter(|it| it.is_on_stdout());
            if on_stdout.count() > 1 {
                let why = "text and json both go to standard output: choose one of them";
                return Err(Complaint::new(why));
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
        takes: FILE,
        about: "A file that verdicts are appended to as JSON lines, beside the other outputs. SIGHUP \
                opens it anew, for logrotate. The service may write under /var/log/tlswhy",
        live: false,
        read: |settings, value| {
            settings.json_file = Some(file(value)?);
            Ok(())
        },
        show: |settings| settings.json_file.as_deref().map(path_value),
    },
    Key {
        path: "output.fold",
        takes: "a duration such as \"10m\"; \"0s\" writes every verdict",
        about: "How long repeats of a verdict (client, app, name and cause) are only counted in the \
                journal",
        live: false,
        read: |settings, value| {
            settings.fold = duration(value)?;
            Ok(())
        },
        show: |settings| Some(duration_value(settings.fold)),
    },
    Key {
        path: "output.queue",
        takes: "a number from 16 to 1000000",
        about: "Verdicts that may wait for each output",
        live: false,
        read: |settings, value| {
            settings.queue = number(value, 16, 1_000_000)? as usize;
            Ok(())
        },
        show: |settings| Some(Value::Integer(settings.queue as i64)),
    },
    Key {
        path: "output.spill_max",
        takes: "a size such as \"64MiB\"",
        about: "Verdicts kept in the state directory while journald is away",
        live: false,
        read: |settings, value| {
            settings.spill_max = size(value)?;
            Ok(())
        },
        show: |settings| Some(size_value(settings.spill_max)),
    },
    Key {
        path: "metrics.listen",
        takes: "a loopback address with a port, such as \"127.0.0.1:9745\", or \"unix:/run/tlswhy/metrics.sock\"",
        about: "Where metrics are served for Prometheus; nowhere when nothing is said",
        live: true,
        read: |settings, value| {
            let address: MetricsAddress = text(value)?.parse().map_err(Complaint::new)?;
            settings.metrics = Some(address);
            Ok(())
        },
        show: |settings| {
            let address = settings.metrics.as_ref()?;
            Some(address.to_string().into())
        },
    },
    Key {
        path: "state.directory",
        takes: PATH,
        about: "What must survive a reboot: what was learned, and verdicts that journald could not take \
                yet. Without it nothing is kept",
        live: false,
        read: |settings, value| {
            settings.state_directory = Some(path(value)?);
            Ok(())
        },
        show: |settings| settings.state_directory.as_deref().map(path_value),
    },
    Key {
        path: "state.runtime",
        takes: PATH,
        about: "What must survive a restart: what the kernel told about connections that are not judged \
                yet",
        live: false,
        read: |settings, value| {
            settings.runtime_directory = Some(path(value)?);
            Ok(())
        },
        show: |settings| settings.runtime_directory.as_deref().map(path_value),
    },
    Key {
        path: "state.retention",
        takes: "a duration such as \"7d\"",
        about: "How old what was learned may be to be used after a restart",
        live: false,
        read: |settings, value| {
            settings.retention = duration(value)?;
            Ok(())
        },
        show: |settings| Some(duration_value(settings.retention)),
    },
    Key {
        path: "state.pins",
        takes: "a directory on a BPF file system, such as \"/sys/fs/bpf/tlswhy\", or \"\" for none",
        about: "Where programs and maps are pinned, so that they go on while the agent restarts. `tlswhy \
                detach` takes them away. As a service /sys/fs/bpf/tlswhy, otherwise nowhere",
        live: false,
        read: |settings, value| {
            let given = text(value)?;
            settings.pins = if given.is_empty() {
                None
            } else {
                Some(path(value)?)
            };
            Ok(())
        },
        show: |settings| settings.pins.as_deref().map(path_value),
    },
];
