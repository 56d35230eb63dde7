//! The table of configuration keys, from which the file is read, checked, printed and documented.

use std::net::IpAddr;
use std::time::Duration;

use clap::ValueEnum;
use toml::de::DeValue;
use toml::{Spanned, Value};

use super::settings::Settings;
use super::values::{
    Complaint, Complaints, confidence_value, count, duration, duration_value, each, file, flag,
    host, list, listen, metrics, name_glob, namespace, network, number, path, path_value, pins,
    port_values, ports, ring, size, size_value, text, texts, user,
};
use crate::fleet::{Clients, is_gateway};
use crate::operate::scope::Filter;
use crate::outlet::sink::{Facility, JsonShape, Output, is_sd_id};
use crate::source::tap::selection::Wanted;

/// One key.
pub struct Key {
    /// `section.name`.
    pub path: &'static str,
    /// The values it accepts, a noun phrase.
    pub expected: &'static str,
    /// Its meaning, a noun phrase.
    pub about: &'static str,
    /// Whether a reload applies a new value.
    pub live: bool,
    pub(super) read: fn(&mut Settings, &Spanned<DeValue<'_>>) -> Result<(), Complaints>,
    pub(super) show: fn(&Settings) -> Option<Value>,
}

impl Key {
    /// Returns the default value in TOML; `None` if there is none.
    #[must_use]
    pub fn default(&self) -> Option<String> {
        self.value(&Settings::default())
    }

    /// Returns the value in TOML; `None` if it is not set.
    #[must_use]
    pub fn value(&self, settings: &Settings) -> Option<String> {
        (self.show)(settings).map(|value| value.to_string())
    }

    /// Returns the table that it belongs to.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(section, _)| section)
    }

    /// Returns its name in that table.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(_, name)| name)
    }
}

const NETWORKS: &str = "a list of networks, such as [\"10.0.0.0/8\", \"2001:db8::/32\"]";
const PORTS: &str = "a list of ports, such as [22, 3389]";
const NAMES: &str = "a list of names or globs, such as [\"*.example.com\"]";
const PATH: &str = "an absolute path, such as \"/var/lib/tlswhy\"";
const FILE: &str = "the absolute path of a file, such as \"/var/log/tlswhy/verdicts.json\"";

const FILE_OF_ETC: &str = "the absolute path of a file, such as \"/etc/tlswhy/edl.pem\"";
const HOSTS: &str =
    "a list of hosts, such as [\"pay.example.com\", \".bank.example\", \"192.0.2.7\"]";

/// A key that names a file of a server's [`AccessSettings`](crate::outlet::http::access::AccessSettings).
macro_rules! file_of_access {
    ($path:literal, $($field:ident).+, $about:expr) => {
        Key {
            path: $path,
            expected: FILE_OF_ETC,
            about: $about,
            live: true,
            read: |settings, value| {
                settings.$($field).+ = Some(path(value)?);
                Ok(())
            },
            show: |settings| settings.$($field).+.as_deref().map(path_value),
        }
    };
}

/// A key that names a file of the fleet's settings.
macro_rules! file_of_fleet {
    ($path:literal, $($field:ident).+, $about:expr) => {
        Key {
            path: $path,
            expected: FILE_OF_ETC,
            about: $about,
            live: false,
            read: |settings, value| {
                settings.fleet.$($field).+ = Some(path(value)?);
                Ok(())
            },
            show: |settings| settings.fleet.$($field).+.as_deref().map(path_value),
        }
    };
}

/// The key of the user of basic authentication.
macro_rules! user_of_access {
    ($path:literal, $($field:ident).+) => {
        Key {
            path: $path,
            expected: "a name without colon",
            about: "User that clients of that server must be, by basic authentication; if not set, anybody may read",
            live: true,
            read: |settings, value| {
                settings.$($field).+ = Some(user(value)?);
                Ok(())
            },
            show: |settings| settings.$($field).+.clone().map(Into::into),
        }
    };
}

/// All keys, in the order in which they are shown.
pub const KEYS: &[Key] = &[
    Key {
        path: "watch.interfaces",
        expected: "a list of interface names, globs such as \"lan*\", or \"auto\"",
        about: "Interfaces to watch in both directions. `auto` selects the interfaces of default \
                routes and the ports of bridges; a glob selects matching Ethernet interfaces that have a \
                link. An interface that does not exist yet is watched as soon as it appears; one \
                that --interface names must exist at the start",
        live: true,
        read: |settings, value| {
            settings.interfaces = list(value, Wanted::parse)?;
            if settings.interfaces.is_empty() {
                return Err(Complaint::new("the list is empty").into());
            }
            Ok(())
        },
        show: |settings| Some(texts(&settings.interfaces)),
    },
    Key {
        path: "watch.clients",
        expected: NETWORKS,
        about: "Client networks whose connections are judged; an empty list means any",
        live: true,
        read: |settings, value| {
            settings.clients = list(value, network)?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.clients)),
    },
    Key {
        path: "watch.netns",
        expected: "the name (`ip netns`) or absolute path of a network namespace",
        about: "Network namespace whose interfaces are watched",
        live: false,
        read: |settings, value| {
            let given = text(value)?;
            settings.netns = (!given.is_empty()).then(|| namespace(given)).transpose()?;
            Ok(())
        },
        show: |settings| settings.netns.as_deref().map(path_value),
    },
    Key {
        path: "watch.tunnels",
        expected: "true or false",
        about: "Whether connections inside tunnels are judged: GENEVE, VXLAN, GRE, NVGRE, ERSPAN, IP in IP, \
                6in4, MPLS and GTP-U, one level deep. On the tunnel's own device this is not needed",
        live: false,
        read: |settings, value| {
            settings.tunnels = flag(value)?;
            Ok(())
        },
        show: |settings| Some(settings.tunnels.into()),
    },
    Key {
        path: "inspection.ca",
        expected: "a list of certificate files (PEM or DER) and names such as \"CN=Inspection CA\"",
        about: "CAs that sign intercepted certificates. The service reads files as user tlswhy and has \
                no access to /home and /root; /etc/tlswhy is a suitable place",
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
        expected: "a list of addresses, such as [\"10.0.0.5\"]",
        about: "Addresses of explicit proxies, and from which interceptors open connections of their \
                own: nothing is learned about apps from these, and both legs are joined",
        live: true,
        read: |settings, value| {
            settings.knowledge.interceptors = list(value, |text| {
                text.parse::<IpAddr>()
                    .map_err(|_| format!("{text:?} is not an IP address"))
            })?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.knowledge.interceptors)),
    },
    Key {
        path: "inspection.intercepted",
        expected: "\"auto\", \"always\" or \"never\"",
        about: "Whether connections are intercepted; `auto` decides by evidence alone",
        live: true,
        read: |settings, value| {
            let given = text(value)?;
            settings.knowledge.intercepted = given
                .parse()
                .map_err(|_| Complaint::new(format!("found {given:?}")))?;
            Ok(())
        },
        show: |settings| Some(settings.knowledge.intercepted.name().into()),
    },
    Key {
        path: "probe.enabled",
        expected: "true or false",
        about: "Whether the agent asks an origin for its own certificate where the answer would decide between \
                causes: one or two handshakes from this machine, without a request, at most once a day per \
                name. It needs inspection.ca, by which an interceptor's answer is recognised, and the \
                network: the packaged unit allows loopback only (see operate.md)",
        live: true,
        read: |settings, value| {
            settings.probe.enabled = flag(value)?;
            Ok(())
        },
        show: |settings| Some(settings.probe.enabled.into()),
    },
    Key {
        path: "probe.per_hour",
        expected: "a number from 1 to 3600",
        about: "Maximum origins asked in an hour",
        live: true,
        read: |settings, value| {
            settings.probe.per_hour = number(value, 1, 3600)? as u32;
            Ok(())
        },
        show: |settings| Some(Value::Integer(settings.probe.per_hour.into())),
    },
    Key {
        path: "probe.never",
        expected: NAMES,
        about: "Server names that are never asked",
        live: true,
        read: |settings, value| {
            settings.probe.never = list(value, name_glob)?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.probe.never)),
    },
    Key {
        path: "probe.source",
        expected: "an address of this machine, such as \"192.0.2.10\"",
        about: "Address that origins are asked from, so that an interceptor may let it pass; if not set, the \
                one that routing selects",
        live: true,
        read: |settings, value| {
            let given = text(value)?;
            let address = given
                .parse()
                .map_err(|_| Complaint::new(format!("{given:?} is not an IP address")))?;
            settings.probe.source = Some(address);
            Ok(())
        },
        show: |settings| settings.probe.source.map(|it| it.to_string().into()),
    },
    Key {
        path: "probe.mark",
        expected: "a number from 1 to 4294967295",
        about: "Mark of the probes' sockets (SO_MARK), for the same purpose; needs CAP_NET_ADMIN. If not set, \
                they have none",
        live: true,
        read: |settings, value| {
            settings.probe.mark = Some(number(value, 1, u32::MAX.into())? as u32);
            Ok(())
        },
        show: |settings| settings.probe.mark.map(|it| Value::Integer(it.into())),
    },
    Key {
        path: "probe.timeout",
        expected: "a duration such as \"10s\"",
        about: "Maximum time for one probe",
        live: true,
        read: |settings, value| {
            let given = duration(value)?;
            // As for `tlswhy probe`.
            if !(Duration::from_millis(100)..=Duration::from_secs(300)).contains(&given) {
                return Err(Complaint::new("not between 100ms and 5m").into());
            }
            settings.probe.timeout = given;
            Ok(())
        },
        show: |settings| Some(duration_value(settings.probe.timeout)),
    },
    Key {
        path: "probe.ca",
        expected: "a list of files (PEM), such as [\"/etc/tlswhy/internal-ca.pem\"]",
        about: "Root certificates that origins are judged by in addition to this machine's",
        live: true,
        read: |settings, value| {
            settings.probe.roots = each(value, path)?;
            Ok(())
        },
        show: |settings| Some(texts(settings.probe.roots.iter().map(|it| it.display()))),
    },
    Key {
        path: "explain.syslog",
        expected: "an address such as \"udp://127.0.0.1:5514\" or \"tcp://[::1]:5514\", or a list of such",
        about: "Addresses on which the firewall's log is received as syslog (RFC 5426; RFC 6587, by lines or \
                with lengths); each row is joined to the verdict on its connection and written to the agent's \
                log. The packaged unit allows loopback only (see explain.md). An empty list means none",
        live: false,
        read: |settings, value| {
            settings.explain.addresses = if value.get_ref().as_array().is_some() {
                list(value, str::parse)?
            } else {
                let given = text(value)?.parse();
                vec![given.map_err(|error: String| Complaint::new(error))?]
            };
            Ok(())
        },
        show: |settings| Some(texts(&settings.explain.addresses)),
    },
    Key {
        path: "explain.wait",
        expected: "a duration from \"1s\" to \"1h\"",
        about: "Longest wait of a row for the verdict on its connection",
        live: false,
        read: |settings, value| {
            let given = duration(value)?;
            if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&given) {
                return Err(Complaint::new("not between 1s and 1h").into());
            }
            settings.explain.wait = given;
            Ok(())
        },
        show: |settings| Some(duration_value(settings.explain.wait)),
    },
    Key {
        path: "explain.filter",
        expected: "a filter in PAN-OS's language, such as \"( session_end_reason eq policy-deny )\"",
        about: "Rows of that log that are explained; if not set, those that `tlswhy explain` takes",
        live: false,
        read: |settings, value| {
            let given = text(value)?;
            let filter = given.parse::<crate::firewall::filter::Filter>();
            filter.map_err(Complaint::new)?;
            settings.explain.filter = Some(given.to_owned());
            Ok(())
        },
        show: |settings| settings.explain.filter.clone().map(Value::from),
    },
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
    Key {
        path: "filter.clients",
        expected: NETWORKS,
        about: "Client networks on which verdicts are written; an empty list means any. Connections of others are judged and learned from, as with all keys of this section",
        live: true,
        read: |settings, value| {
            settings.filter.clients = list(value, network)?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.filter.clients)),
    },
    Key {
        path: "filter.servers",
        expected: NETWORKS,
        about: "Server networks on which verdicts are written; an empty list means any",
        live: true,
        read: |settings, value| {
            settings.filter.servers = list(value, network)?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.filter.servers)),
    },
    Key {
        path: "filter.ports",
        expected: PORTS,
        about: "Server ports on which verdicts are written; an empty list means any",
        live: true,
        read: |settings, value| {
            settings.filter.ports = ports(value)?;
            Ok(())
        },
        show: |settings| Some(port_values(&settings.filter.ports)),
    },
    Key {
        path: "filter.names",
        expected: NAMES,
        about: "Server names on which verdicts are written; an empty list means any",
        live: true,
        read: |settings, value| {
            settings.filter.names = list(value, name_glob)?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.filter.names)),
    },
    Key {
        path: "filter.causes",
        expected: "a list of causes, such as [\"pinning\", \"ca-not-trusted\"]",
        about: "Causes whose verdicts are written; an empty list means any. A verdict that replaces a written \
                one is written too",
        live: true,
        read: |settings, value| {
            settings.filter.causes = list(value, |text| {
                Filter::cause(text).ok_or_else(|| format!("{text:?} is not a cause"))
            })?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.filter.causes)),
    },
    Key {
        path: "filter.min_confidence",
        expected: "a number from 0 to 1, such as 0.7",
        about: "Minimum confidence of verdicts that are written",
        live: true,
        read: |settings, value| {
            settings.filter.min_confidence = confidence_value(value)?;
            Ok(())
        },
        show: |settings| Some(Value::Float(settings.filter.min_confidence)),
    },
    Key {
        path: "tables.flows",
        expected: "a number from 64 to 16777216",
        about: "Maximum tracked connections; the oldest is evicted and counted. One million take \
                244 MiB of kernel memory",
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
    Key {
        path: "metrics.listen",
        expected: "a loopback address with a port, such as \"127.0.0.1:9745\", or \"unix:/run/tlswhy/metrics.sock\"",
        about: "Address that serves metrics for Prometheus; if not set, metrics are not served",
        live: true,
        read: |settings, value| {
            settings.metrics = Some(metrics(value)?);
            Ok(())
        },
        show: |settings| {
            let address = settings.metrics.as_ref()?;
            Some(address.to_string().into())
        },
    },
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
