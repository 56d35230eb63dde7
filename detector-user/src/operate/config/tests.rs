use std::path::Path;

use rstest::rstest;

use super::file::parsed;
use super::*;
use crate::operate::cli::{Cli, Command};

const HERE: &str = "/etc/tlswhy/tlswhy.toml";

fn config(text: &str) -> Config {
    parsed(text, Path::new(HERE)).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn arguments(line: &str) -> RunArgs {
    match Cli::parse_arguments(line.split_whitespace())
        .unwrap()
        .command
    {
        Command::Run(run) => *run,
        other => panic!("{other:?}"),
    }
}

const FULL: &str = r#"
[watch]
interfaces = ["lan*", "auto", "wan0"]
clients = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"]
netns = "edge"
tunnels = true

[inspection]
ca = ["CN=Inspection CA"]
interceptors = ["10.0.0.5"]
intercepted = "always"

[probe]
enabled = true
per_hour = 5
never = ["*.bank.test"]
source = "192.0.2.10"
mark = 7
timeout = "5s"
ca = ["/etc/tlswhy/internal-ca.pem"]

[ignore]
ports = [22, 3_389]
networks = ["198.51.100.0/24"]
clients = ["10.0.9.0/24"]
servers = ["203.0.113.0/24"]
names = ["*.telemetry.test"]

[filter]
clients = ["10.0.1.0/24"]
servers = ["192.0.2.0/24"]
ports = [443]
names = ["*.example.com"]
causes = ["pinning"]
min_confidence = 0.5

[tables]
flows = 0x10000
observation_ring = "2MiB"
handshake_ring = "16 MiB"

[output]
to = ["json", "journald"]
json_file = "/var/log/tlswhy/verdicts.json"
json_shape = "eve"
log = "broken"
fold = "90s"
queue = 100
spill_max = "1MB"

[syslog]
server = "tls://[2001:db8::5]:6514"
ca = "/etc/tlswhy/logs-ca.pem"
certificate = "/etc/tlswhy/gateway.pem"
key = "/etc/tlswhy/gateway.key"
facility = "local3"
sd_id = "tlswhy@32473.7"

[otlp]
endpoint = "https://otel.example.com/v1/logs"
headers_file = "/etc/tlswhy/otlp.headers"
ca = "/etc/tlswhy/otel-ca.pem"
certificate = "/etc/tlswhy/gateway.pem"
key = "/etc/tlswhy/gateway.key"

[metrics]
listen = "127.0.0.1:9745"

[edl]
listen = "9746"
certificate = "/etc/tlswhy/edl.pem"
key = "/etc/tlswhy/edl.key"
client_ca = "/etc/tlswhy/edl-clients.pem"
user = "firewall"
password_file = "/etc/tlswhy/edl.password"
age = "14d"
min_confidence = 0.95
min_connections = 5
min_clients = 3
min_gateways = 4
max = 500
always = [".pay.example"]
never = ["bank.example"]

[page]
listen = "[::1]:9747"
certificate = "/etc/tlswhy/page.pem"
key = "/etc/tlswhy/page.key"
client_ca = "/etc/tlswhy/operators.pem"
user = "operator"
password_file = "/etc/tlswhy/page.password"
age = "7d"

[state]
directory = "/var/lib/tlswhy"
runtime = "/run/tlswhy"
retention = "2days"
verdicts_retention = "30d"
verdicts_max = "2GiB"
pins = ""

[explain]
syslog = ["udp://127.0.0.1:5514", "tcp://[::1]:5514"]
wait = "1m"
filter = "( action neq allow )"

[fleet]
url = ["tls://nats-1.example.com:4222", "tls://nats-2.example.com"]
gateway = "gw-1"
ca = "/etc/tlswhy/fleet-ca.pem"
certificate = "/etc/tlswhy/gateway.pem"
key = "/etc/tlswhy/gateway.key"
user = "gw-1"
password_file = "/etc/tlswhy/fleet.password"
clients = "hashed"
clients_key_file = "/etc/tlswhy/fleet.key"
verdicts = false
halves = true
max_facts = 50_000
retention = "14d"
replicas = 3
"#;

#[test]
fn every_key_is_read_and_known_by_where_it_stands() {
    let config = config(FULL);
    for key in keys() {
        assert!(config.is_set(key.path), "{}", key.path);
    }
    insta::assert_snapshot!(config);
}

#[test]
fn what_is_printed_gives_the_same_again() {
    let first = config(FULL);
    let again = config(&first.to_string());
    assert_eq!(again.settings, first.settings);
    let default = Config::default();
    assert_eq!(config(&default.to_string()).settings, default.settings);
}

#[test]
fn all_mistakes_are_told_at_once_with_their_places() {
    let text = r#"
[watch]
interface = ["lan0"]
interfaces = ["lan0", "a/b", "c/d"]
clients = ["10.0.0.1/8", 7]
netns = "run/edge"
[inspektion]
[inspection]
ca = "CN=X"
interceptors = ["proxy"]
intercepted = "perhaps"
[probe]
source = "wan0"
mark = 0
ca = ["internal-ca.pem"]
[ignore]
ports = [0, 70000]
names = ["["]
[filter]
causes = ["bad-luck"]
min_confidence = 2
[tables]
flows = 7
observation_ring = "3MiB"
[output]
to = ["text", "json"]
fold = "soon"
json_file = "verdicts.json"
json_shape = "xml"
queue = "many"
spill_max = "much"
[syslog]
server = "tcp://192.0.2.5"
facility = "kern"
sd_id = "tlswhy"
[otlp]
endpoint = "otel.example.com:4318"
[metrics]
listen = "192.0.2.1:9745"
[state]
pins = "/etc/tlswhy"
"#;
    let problems = parsed(text, Path::new(HERE)).unwrap_err();
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[rstest]
#[case(
    "watch",
    "netns",
    "/etc/passwd",
    "\"/etc/passwd\" is no network namespace"
)]
#[case("watch", "netns", "..", "neither a name nor an absolute path")]
#[case("state", "pins", "/etc/passwd", "is not a directory")]
#[case("state", "pins", "pins", "is not an absolute path")]
#[case("probe", "timeout", "0s", "not between 100ms and 5m")]
#[case("metrics", "listen", "unix:", "is empty")]
#[case("metrics", "listen", "unix:metrics.sock", "is not an absolute path")]
#[case("metrics", "listen", "unix:/run", "is a directory")]
#[case("metrics", "listen", "localhost:9745", "is not an address and port")]
#[case("edl", "listen", "0", "is neither a port nor an address with one")]
#[case(
    "edl",
    "listen",
    "localhost:9746",
    "is neither a port nor an address with one"
)]
#[case("edl", "user", "a:b", "found")]
fn what_cannot_work_is_a_mistake(
    #[case] section: &str,
    #[case] name: &str,
    #[case] value: &str,
    #[case] why: &str,
) {
    let text = format!("[{section}]\n{name} = {value:?}\n");
    let problems = parsed(&text, Path::new(HERE)).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains(why), "{problems:?}");
}

#[rstest]
#[case("watch", "netns", "not-there-yet")]
#[case("watch", "netns", "/proc/self/ns/net")]
#[case("state", "pins", "/sys/fs/bpf/tlswhy/not-there-yet")]
#[case("metrics", "listen", "unix:/run/not-there-yet/metrics.sock")]
fn what_may_come_to_be_is_none(#[case] section: &str, #[case] name: &str, #[case] value: &str) {
    config(&format!("[{section}]\n{name} = {value:?}\n"));
}

#[rstest]
#[case("[watch\ninterfaces = [", 1)]
#[case("[watch]\ninterfaces = [\"lan0\"\n", 2)]
#[case("[watch]\n\nclients = \"x\ny\"\n", 3)]
#[case("watch = 1\n", 1)]
#[case("[tables]\nflows = 1\nflows = 2\n", 3)]
fn mistakes_in_the_syntax_have_a_place(#[case] text: &str, #[case] line: usize) {
    let problems = parsed(text, Path::new(HERE)).unwrap_err();
    assert_eq!(problems[0].line, line, "{problems:?}");
}

#[test]
fn options_go_before_the_file_and_the_file_before_the_service() {
    let mut config = config("[tables]\nflows = 1000\n[state]\ndirectory = \"/srv/state\"\n");
    config.apply_environment(&|name| Some(format!("/by/{name}:/other").into()));
    config.apply_command_line(&arguments("tlswhy run -i lan0 --flows 2000"));
    let settings = &config.settings;
    assert_eq!(settings.flows, 2000);
    assert_eq!(
        settings.state_directory.as_deref(),
        Some(Path::new("/srv/state"))
    );
    let runtime = Path::new("/by/RUNTIME_DIRECTORY");
    assert_eq!(settings.runtime_directory.as_deref(), Some(runtime));
    assert_eq!(config.origin("tables.flows"), Origin::CommandLine);
    assert_eq!(config.origin("state.runtime"), Origin::Service);
    let line = Origin::File {
        path: HERE.into(),
        line: 4,
    };
    assert_eq!(config.origin("state.directory"), line);
    assert_eq!(config.origin("output.queue"), Origin::Default);
}

#[test]
fn what_differs_is_named() {
    let changed = config("[output]\nfold = \"1s\"\n[watch]\nclients = [\"10.0.0.0/8\"]\n");
    let paths: Vec<_> = Config::default()
        .changed(&changed)
        .iter()
        .map(|key| key.path)
        .collect();
    assert_eq!(paths, ["watch.clients", "output.fold"]);
}

#[test]
fn a_reload_keeps_what_only_a_restart_changes() {
    let running =
        config("[tables]\nflows = 1000\n[watch]\ntunnels = true\n[ignore]\nports = [22]\n");
    let mut new = config(FULL);
    new.keep_fixed(&running);
    for key in keys() {
        let from = if key.live { &config(FULL) } else { &running };
        assert_eq!(
            key.value(&new.settings),
            key.value(&from.settings),
            "{}",
            key.path
        );
        assert_eq!(new.origin(key.path), from.origin(key.path), "{}", key.path);
    }
}

#[test]
fn a_file_that_is_not_there_and_one_that_is_no_text() {
    let error = Config::from_file(Path::new("/nonexistent/tlswhy.toml")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot read /nonexistent/tlswhy.toml")
    );
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"[watch]\n# \xff\n").unwrap();
    let error = Config::from_file(file.path()).unwrap_err();
    assert!(
        error.to_string().ends_with(":2:3: not UTF-8 text"),
        "{error}"
    );
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(\\[(watch|output|tables)\\]\n|[a-z_]{1,9} = [0-9\\[\\]\"a-z/]{0,12}\n|.{0,20}){0,8}") {
        let _ = parsed(&text, Path::new(HERE));
    }
}

#[test]
fn keys_without_effect_are_told_though_valid() {
    let told = |text: &str| config(text).settings.warnings().join("\n");
    assert_eq!(told(""), "");
    let all = told(
        "[watch]\nnetns = \"nonexistent\"\n[probe]\nenabled = true\n\
         [edl]\nlisten = \"9746\"\nuser = \"x\"\n[page]\nlisten = \"0.0.0.0:9747\"\n",
    );
    for expected in [
        "edl.listen needs state.directory",
        "edl.user needs password_file",
        "page.listen needs state.directory",
        "beyond loopback set page.user",
        "probe.enabled has no effect",
        "watch.netns: /run/netns/nonexistent does not exist",
    ] {
        assert!(all.contains(expected), "{expected}: {all}");
    }
}
