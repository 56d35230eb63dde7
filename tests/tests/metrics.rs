//! Metrics of a real agent on a real gateway, as Prometheus' own tools take them.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use lab::host::{Namespace, Process, output};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::gateway::{Gateway, agent, next_verdict};
use tests::wire::{PATIENCE, inside, namespace, pair, until};
use xtask::root;

const PORT: &str = "127.0.0.1:9745";
const WRITTEN: &str = "tlswhy_sink_verdicts_total{sink=\"json\",result=\"written\"}";

/// Starts the agent in a namespace and waits until it is ready; returns its messages until then.
fn start(namespace: &Namespace, arguments: &[&str]) -> (Process, Vec<String>) {
    let agent = Process::start(namespace.command(agent()).arg("run").args(arguments)).unwrap();
    let said = agent.wait_for(PATIENCE, |line| line == "ready").unwrap();
    (agent, said)
}

/// The answer that curl gets in a namespace: the status and the text.
fn get(namespace: &Namespace, arguments: &[&str]) -> (String, String) {
    let mut command = namespace.command("curl");
    command.args(["-s", "--max-time", "60", "-w", "%{http_code}"]);
    let found = output(command.args(arguments)).unwrap();
    let mut text = String::from_utf8(found.stdout).unwrap();
    let status = text.split_off(text.len() - 3);
    (status, text)
}

fn scrape(namespace: &Namespace) -> String {
    let (status, text) = get(namespace, &[&format!("http://{PORT}/metrics")]);
    assert_eq!(status, "200");
    text
}

/// A series' value.
fn value(text: &str, series: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("no {series} in {text}"));
    line.parse().unwrap()
}

/// Runs promtool, which is to accept its input without a complaint.
fn promtool(arguments: &[&str], input: &str) {
    let mut tool = Command::new("promtool")
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    tool.stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let done = tool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(
        done.status.success() && said.is_empty(),
        "promtool {arguments:?}: {said}{}",
        String::from_utf8_lossy(&done.stdout)
    );
}

/// Names of metrics in a packaged file.
fn names_in(path: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| word.starts_with("tlswhy_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// The answer to a query of a Prometheus that scrapes the agent, once there is one.
fn asked_of_prometheus(lab: &Gateway, query: &str) -> Value {
    let folder = lab.folder();
    let rules = root().join("packaging/prometheus-rules.yml");
    let configuration = format!(
        "global: {{scrape_interval: 1s}}\nrule_files: [{rules:?}]\nscrape_configs:\n\
         - {{job_name: tlswhy, static_configs: [{{targets: ['{PORT}']}}]}}\n"
    );
    std::fs::write(folder.join("prometheus.yml"), configuration).unwrap();
    let mut command = lab.gateway.command("prometheus");
    command.current_dir(folder).args([
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=tsdb",
        "--web.listen-address=127.0.0.1:9090",
    ]);
    let _prometheus = Process::start(&mut command).unwrap();
    let mut found = Value::Null;
    until("Prometheus has what was asked", || {
        let arguments = [
            "--data-urlencode",
            &format!("query={query}"),
            "http://127.0.0.1:9090/api/v1/query",
        ];
        let (_, text) = get(&lab.gateway, &arguments);
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        found = answer["data"]["result"].clone();
        found.as_array().is_some_and(|them| !them.is_empty())
    });
    found
}

#[test]
fn a_failure_is_counted_and_timed_and_prometheus_takes_it() {
    let lab = Gateway::new("metrics").unwrap();
    let _server = lab.serve(&[]).unwrap();
    let (mut agent, said) = lab.watch(&["--output", "json", "--metrics", PORT]).unwrap();
    assert!(
        said.contains(&format!("metrics are served on {PORT}")),
        "{said:?}"
    );
    let before = "tlswhy_verdicts_total{cause=\"certificate-rejected\",tap=\"lan0\"}";
    until("ready", || {
        get(&lab.gateway, &[&format!("http://{PORT}/readyz")]).0 == "200"
    });
    assert_eq!(
        value(&scrape(&lab.gateway), before),
        0.0,
        "there from the start"
    );
    assert_eq!(
        get(&lab.gateway, &[&format!("http://{PORT}/healthz")]),
        ("200".to_owned(), "ok\n".to_owned())
    );
    let refused = output(&mut lab.curl("10.78.2.2", &[])).unwrap();
    assert!(!refused.status.success());
    let verdict = next_verdict(&agent).unwrap();
    assert_eq!(verdict["cause"], "certificate-rejected", "{verdict}");
    until("it is counted", || {
        let text = scrape(&lab.gateway);
        value(&text, before) == 1.0 && value(&text, WRITTEN) == 1.0
    });

    let text = scrape(&lab.gateway);
    let of = |series| value(&text, series);
    assert_eq!(of("tlswhy_verdict_latency_seconds_count"), 1.0);
    // It waits 0.2 s after the close, and longer for connections beside it.
    let latency = of("tlswhy_verdict_latency_seconds_sum");
    assert!(latency > 0.15, "{latency}");
    assert!(of("tlswhy_verdict_lateness_seconds_sum") < latency);
    assert_eq!(of("tlswhy_connections_total{outcome=\"failed\"}"), 1.0);
    assert_eq!(
        of("tlswhy_sink_lost_total{sink=\"json\",reason=\"overflow\"}"),
        0.0
    );
    assert_eq!(of("tlswhy_flow_events_total{event=\"started\"}"), 1.0);
    assert_eq!(of("tlswhy_ready"), 1.0);
    for series in [
        "tlswhy_packets_total{path=\"followed\"}",
        "tlswhy_ring_items_total{ring=\"observations\"}",
        "tlswhy_ring_items_total{ring=\"handshakes\"}",
        "tlswhy_records_total",
        "tlswhy_kernel_memory_bytes",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
    ] {
        assert!(of(series) > 0.0, "{series}");
    }
    assert!(text.contains("tlswhy_tap_attached{tap=\"lan0\",direction=\"ingress\",hook="));

    promtool(&["check", "metrics"], &text);
    for path in [
        "packaging/prometheus-rules.yml",
        "packaging/grafana-dashboard.json",
    ] {
        let used = names_in(path);
        assert!(used.len() > 5, "{used:?}");
        for name in used {
            let is_there = text.lines().any(|line| {
                line.strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
            });
            assert!(is_there, "{path} uses {name}, which is not there");
        }
    }
    // A real one asks for OpenMetrics.
    let found = asked_of_prometheus(&lab, "tlswhy_verdicts_total > 0");
    assert_eq!(
        found[0]["metric"]["cause"], "certificate-rejected",
        "{found}"
    );
    assert_eq!(found[0]["value"][1], "1", "{found}");
    let (status, _) = agent.stop(Signal::SIGTERM).unwrap();
    assert!(status.success());
}

#[test]
fn alerts_are_in_order_and_fire_when_they_should() {
    promtool(&["check", "rules", "packaging/prometheus-rules.yml"], "");
    promtool(&["test", "rules", "tests/tests/prometheus-rules.yml"], "");
}

#[test]
fn the_dashboard_is_one() {
    let text = std::fs::read_to_string(root().join("packaging/grafana-dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|it| it["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels.iter().filter(|it| it["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{panel}"
        );
        let targets = panel["targets"].as_array().unwrap();
        assert!(targets.iter().all(|it| it["expr"].is_string()), "{panel}");
    }
    // Prometheus understands Grafana's queries.
    let targets = panels.iter().flat_map(|it| it["targets"].as_array());
    let rules: Vec<Value> = targets
        .flatten()
        .enumerate()
        .map(|(at, target)| {
            let asked = target["expr"].as_str().unwrap();
            let asked = asked
                .replace("$__rate_interval", "1m")
                .replace("$__range", "1h");
            serde_json::json!({ "record": format!("dashboard:{at}"), "expr": asked })
        })
        .collect();
    assert!(rules.len() > 30, "{}", rules.len());
    let file = tempfile::NamedTempFile::new().unwrap();
    // JSON is YAML.
    let groups = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    std::fs::write(file.path(), groups.to_string()).unwrap();
    promtool(&["check", "rules", file.path().to_str().unwrap()], "");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["datasource", "job", "instance", "tap"]);
}

#[test]
fn a_port_in_use_costs_metrics_and_nothing_else() {
    let (_client, gateway) = pair();
    let other = inside(&gateway, || TcpListener::bind(PORT).unwrap());
    let (mut agent, said) = start(&gateway, &["-i", "g0", "--metrics", PORT]);
    let told: Vec<_> = said.iter().filter(|it| it.contains("metrics")).collect();
    assert_eq!(
        told,
        [&format!(
            "tlswhy: cannot serve metrics on {PORT}: the port is in use; stop the \
             program that `ss -ltnp` lists, or choose another port; running without metrics, retrying"
        )]
    );
    // Some turns of the house, in which it tries again without a word.
    std::thread::sleep(Duration::from_secs(5));
    drop(other);
    let served = format!("metrics are served on {PORT}");
    let said = agent.wait_for(PATIENCE, |line| line == served).unwrap();
    assert_eq!(said.len(), 1, "told once: {said:?}");
    assert!(scrape(&gateway).contains("tlswhy_ready 1\n"));
    assert!(agent.stop(Signal::SIGTERM).unwrap().0.success());
}

#[test]
fn a_reload_moves_it_and_a_socket_goes_with_it() {
    let (_client, gateway) = pair();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("metrics.sock");
    let file = folder.path().join("tlswhy.toml");
    let listen = |address: &str| {
        std::fs::write(&file, format!("[metrics]\nlisten = \"{address}\"\n")).unwrap();
    };
    let at_socket = || {
        let path = socket.to_str().unwrap();
        get(&gateway, &["--unix-socket", path, "http://tlswhy/metrics"])
    };
    // One that was killed left it.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let unix = format!("unix:{}", socket.display());
    listen(&unix);
    let path = file.to_str().unwrap();
    let (mut agent, said) = start(&gateway, &["-i", "g0", "--config", path]);
    assert!(
        said.contains(&format!("metrics are served on {unix}")),
        "{said:?}"
    );
    assert_eq!(at_socket().0, "200");
    let reload = |address: &str| {
        listen(address);
        agent.signal(Signal::SIGHUP).unwrap();
        let reloaded = |line: &str| line == "reloaded: metrics.listen";
        agent.wait_for(PATIENCE, reloaded).unwrap();
    };
    reload(PORT);
    assert!(!socket.exists());
    assert!(scrape(&gateway).contains("tlswhy_ready 1\n"));
    reload(&unix);
    assert_eq!(at_socket().0, "200");
    let away = inside(&gateway, || TcpListener::bind(PORT).is_ok());
    assert!(away, "the port is free again");
    assert!(agent.stop(Signal::SIGTERM).unwrap().0.success());
    assert!(!socket.exists());
}

#[test]
fn it_is_not_ready_while_it_taps_nothing() {
    let gateway = namespace("unready");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tlswhy.toml");
    std::fs::write(&file, "[watch]\ninterfaces = [\"late0\"]\n").unwrap();
    let path = file.to_str().unwrap();
    let (_agent, _) = start(&gateway, &["--config", path, "--metrics", PORT]);
    let ready = || get(&gateway, &[&format!("http://{PORT}/readyz")]);
    let nothing = ("503".to_owned(), "no interface is tapped\n".to_owned());
    until("it says why", || ready() == nothing);
    gateway
        .run("ip link add late0 type veth peer name late1")
        .unwrap();
    for name in ["late0", "late1"] {
        gateway.run(&format!("ip link set {name} up")).unwrap();
    }
    until("it is ready", || ready().0 == "200");
}
