//! Gateways that share facts and verdicts over a real server of NATS, Debian's.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use detector_common::flow::Sender;
use detector_user::cause::history::{Answer, Lesson};
use detector_user::cause::knowledge::Knowledge;
use detector_user::fleet::collector::{Collector, CollectorSettings};
use detector_user::fleet::message::{self, FactBatch, GatewayVerdict};
use detector_user::fleet::{Clients, Fleet, FleetSettings, Muted, mute};
use detector_user::flow::receiver::TimedReceiver;
use detector_user::flow::tls::app::App;
use detector_user::operate::pipeline::Pipeline;
use detector_user::outlet::database::{Acceptances, Past, Query, Retention};
use detector_user::outlet::sink::{
    Folds, JsonShape, OtlpSettings, SinkOptions, Sinks, SyslogSettings,
};
use detector_user::source::capture::CaptureFile;
use detector_user::source::capture_tap::CaptureTap;
use detector_user::verdict::{Cause, Endpoint, Verdict};
use jiff::Timestamp;
use lab::host::{Namespace, Process};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tests::asymmetric::Asymmetric;
use tests::halves::{frames, show_frame};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
const PINNED: &str = "pins-pinned-go";
const BESIDE: [&str; 3] = [
    "accepts-cdnhost-go",
    "accepts-shop-go",
    "accepts-pinned-curl",
];

/// A server of NATS with JetStream, on loopback.
struct Server {
    port: u16,
    store: TempDir,
    process: Option<Child>,
}

impl Server {
    fn start() -> Self {
        let mut server = Self {
            port: free_port(),
            store: tempfile::tempdir().unwrap(),
            process: None,
        };
        server.resume();
        server
    }

    /// Starts it, with what it stored before.
    fn resume(&mut self) {
        let process = Command::new("nats-server")
            .args([
                "-js",
                "-a",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-sd",
            ])
            .arg(self.store.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(process.expect("nats-server: cargo xtask setup installs it"));
        wait("the server listens", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()
        });
    }

    /// Ends it in order: a single server that is killed may lose what it has just acknowledged.
    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            kill(Pid::from_raw(process.id() as i32), Signal::SIGTERM).unwrap();
            process.wait().unwrap();
        }
    }

    fn settings(&self, gateway: &str) -> FleetSettings {
        FleetSettings {
            urls: vec![format!("nats://127.0.0.1:{}", self.port).parse().unwrap()],
            gateway: Some(gateway.to_owned()),
            ..FleetSettings::default()
        }
    }

    fn join(&self, gateway: &str) -> Fleet {
        Fleet::start(&self.settings(gateway), None).unwrap()
    }
}

/// Returns a free port below those of outgoing connections, of which one could take it while the server is away.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() as u16;
    let mut ports = std::iter::repeat_with(|| {
        10_000 + first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000
    });
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.find(is_free).unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits until there is something.
fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        sleep(Duration::from_millis(20));
    }
}

fn sinks(fleet: &Fleet) -> Sinks {
    let options = SinkOptions {
        outputs: Vec::new(),
        json_file: None,
        json_shape: JsonShape::Json,
        waits_for_file: false,
        queue: 100,
        syslog: SyslogSettings::default(),
        otlp: OtlpSettings::default(),
        fold: Duration::ZERO,
        folds: Folds::default(),
        state_directory: None,
        spill_max: 1 << 20,
        runtime_directory: None,
        journal_socket: PathBuf::new(),
        database: None,
    };
    Sinks::start(&options, vec![fleet.sink()]).unwrap().0
}

/// All connections are intercepted.
fn knowledge() -> Knowledge {
    Knowledge {
        intercepted: "always".parse().unwrap(),
        ..Knowledge::default()
    }
}

fn agent(fleet: Fleet) -> Pipeline {
    let mut pipeline = Pipeline::new(100, knowledge(), sinks(&fleet), |_| {});
    pipeline.join(fleet);
    pipeline.count_acceptances(Acceptances::default());
    pipeline
}

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("captures/corpus")
        .join(name)
}

/// Shows captures to an agent as if they were of now.
fn show(pipeline: &mut Pipeline, captures: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/corpus");
    for name in captures {
        let path = folder.join(format!("pin-go-sslsplit-1.2.{name}-sslsplit-tls12.pcap.gz"));
        let mut capture = CaptureFile::open(&path).unwrap();
        let mut tap = CaptureTap::default();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos() as i64;
        let mut is_first = true;
        while let Some(frame) = capture.next_frame().unwrap() {
            if std::mem::take(&mut is_first) {
                pipeline.set_unix_offset(now - frame.time_ns as i64);
            }
            tap.capture_frame(&frame, pipeline);
        }
        pipeline.end_flows();
    }
}

fn last(pipeline: &Pipeline) -> Option<Verdict> {
    pipeline.recent().next().cloned()
}

fn is_by_fleet(verdict: &Verdict, gateway: &str) -> bool {
    let mut evidence = verdict.evidence.iter();
    evidence.any(|it| it.name == "fleet" && it.detail.contains(gateway))
}

/// Waits until an agent tells the pin by another gateway's facts.
fn wait_for_pin(pipeline: &mut Pipeline, gateway: &str) -> Verdict {
    wait("the pin is told", || {
        pipeline.advance(pipeline_now());
        last(pipeline).filter(|it| it.cause == Cause::Pinning && is_by_fleet(it, gateway))
    })
}

/// Time on the captures' clock at which nothing is due any more.
const fn pipeline_now() -> u64 {
    u64::MAX / 2
}

fn lesson(number: u64) -> Lesson {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Lesson {
        client: Ipv4Addr::from(0x0a00_0000 + number as u32).into(),
        app: App::of_number(number % 7),
        name: format!("n{}.test", number % 11).into(),
        issuer: None,
        intercepted: true,
        answer: Answer::Refused,
        sure: 0.85,
        time_s: time.as_secs(),
        is_news: true,
    }
}

fn record(fleet: &Fleet, numbers: std::ops::Range<u64>) {
    let lessons: Vec<Lesson> = numbers.map(lesson).collect();
    fleet.record(&lessons);
}

/// Returns each fact's clients and count that a gateway knows of another.
fn known(fleet: &Fleet, gateway: &str) -> Vec<(String, u64)> {
    fleet.with_facts(|facts| {
        let mut known: Vec<_> = facts
            .iter()
            .filter_map(|(key, by)| Some((key.client.to_string(), by.get(gateway)?.count)))
            .collect();
        known.sort();
        known
    })
}

fn all_once(number: u64) -> Vec<(String, u64)> {
    let client = |it: u64| Ipv4Addr::from(0x0a00_0000 + it as u32).to_string();
    let mut all: Vec<_> = (0..number).map(|it| (client(it), 1)).collect();
    all.sort();
    all
}

/// Drains an agent's lessons, as its pipeline does.
fn wait_for_facts(fleet: &Fleet, gateway: &str, number: u64) {
    wait("all facts arrive", || {
        fleet.take_lessons();
        (known(fleet, gateway) == all_once(number)).then_some(())
    });
}

/// Shows some directions of a capture to an agent, as if it were of now, on a clock of its own. Returns the time there.
fn show_sides(pipeline: &mut Pipeline, capture: &str, sides: &[Sender], clock_ns: u64) -> u64 {
    let mut tap = CaptureTap::default().with_halves();
    let frames = frames(&corpus(capture));
    let first_ns = frames.first().map_or(0, |it| it.time_ns);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    pipeline.set_unix_offset(now.as_nanos() as i64 - clock_ns as i64);
    pipeline.name_tap(1, "lan0");
    let mut time_ns = clock_ns;
    for sent in frames.iter().filter(|it| sides.contains(&it.sender)) {
        time_ns = sent.time_ns - first_ns + clock_ns;
        pipeline.advance_if_due(time_ns);
        show_frame(&mut tap, sent, time_ns, pipeline);
    }
    time_ns
}

/// Routing takes the client's packets through one gateway and the server's through another.
#[test]
fn a_connection_seen_half_by_two_gateways_is_told_once_as_by_one_that_sees_both() {
    const REFUSED: &str = "no-ca-curl-mitmproxy-1.2.rejects-shop-curl-mitmproxy-tls12.pcap.gz";
    let server = Server::start();
    let join = |gateway: &str| {
        let settings = FleetSettings {
            halves: true,
            ..server.settings(gateway)
        };
        agent(Fleet::start(&settings, None).unwrap())
    };
    let mut agents = [join("gw1"), join("gw2")];
    let counts = |agent: &Pipeline| agent.fleet_counts().unwrap();
    wait("the gateways know of each other", || {
        agents.iter_mut().for_each(|agent| agent.advance(1));
        let both = agents.iter().all(|it| counts(it).halves_gateways == 2);
        both.then_some(())
    });
    let [first, second] = &mut agents;
    let clocks = [5_000_000_000_000, 9_000_000_000];
    let ends = [
        show_sides(first, REFUSED, &[Sender::Client], clocks[0]),
        show_sides(second, REFUSED, &[Sender::Server], clocks[1]),
    ];
    let verdict = wait("it is told", || {
        for (agent, end_ns) in agents.iter_mut().zip(ends) {
            agent.advance(end_ns + 30_000_000_000);
        }
        agents.iter().find_map(last)
    });
    assert_eq!(verdict.tap, "gw1/lan0+gw2/lan0");
    let nowhere = Sinks::open(&[], Folds::default()).unwrap();
    let mut one = Pipeline::new(100, knowledge(), nowhere, |_| {});
    show_sides(&mut one, REFUSED, &[Sender::Client, Sender::Server], 1);
    one.advance(pipeline_now());
    let whole = last(&one).unwrap();
    assert_eq!(verdict.cause, whole.cause, "{verdict:#?}");
    assert_eq!(verdict.alert, whole.alert);
    assert_eq!(verdict.issuer, whole.issuer);
    assert_eq!(verdict.community_id, whole.community_id);
    assert!(
        (verdict.confidence - whole.confidence).abs() < 0.01,
        "{whole:#?}"
    );
    assert!(verdict.evidence.iter().any(|it| it.name == "halves"));
    assert!(verdict.evidence.iter().all(|it| it.name != "one-direction"));
    let owner = agents.iter().position(|it| counts(it).halves_joined == 1);
    let other = owner.unwrap() ^ 1;
    // At their ends halves that wait would be judged alone.
    wait("the other gateway knows that it was joined", || {
        agents[other].advance(ends[other] + 30_000_000_000);
        (counts(&agents[other]).halves_taken > 0).then_some(())
    });
    agents.iter_mut().for_each(|agent| {
        agent.advance(pipeline_now());
        agent.finish();
    });
    let told: usize = agents.iter().map(|it| it.recent().count()).sum();
    assert_eq!(told, 1);
}

/// A real client refuses a real server's certificate. Its packets pass one gateway, the server's another.
#[test]
fn two_agents_tell_together_what_each_sees_half() {
    let lab = Asymmetric::new("fleet").unwrap();
    let _origin = lab.serve(&[]).unwrap();
    let mut servers = lab.server.command("nats-server");
    servers.args(["-js", "-a", "0.0.0.0", "-p", "4222", "-sd"]);
    let _servers = Process::start(servers.arg(lab.folder().join("store"))).unwrap();
    lab.server.wait_until_listening(4222).unwrap();
    let start = |namespace: &Namespace, name: &str, address: &str| {
        let path = lab.folder().join(format!("{name}.toml"));
        let config = format!(
            "[fleet]\nurl = \"nats://{address}:4222\"\ngateway = \"{name}\"\nhalves = true\n"
        );
        std::fs::write(&path, config).unwrap();
        let mut command = namespace.command(tests::gateway::agent());
        command.args(["run", "--interface", "lan0", "--output", "json", "--config"]);
        let agent = Process::start(command.arg(path)).unwrap();
        agent.wait_for(PATIENCE, |line| line == "ready").unwrap();
        agent
    };
    let agents = [
        start(&lab.there, "gw1", "10.79.2.2"),
        start(&lab.back, "gw2", "10.79.4.2"),
    ];
    // Until the gateways know of each other, each judges alone.
    let joined = wait("both halves are told as one", || {
        let refused = lab.curl(&["--tls-max", "1.2"]).status().unwrap();
        assert_eq!(refused.code(), Some(60));
        sleep(Duration::from_secs(1));
        let lines = agents.iter().flat_map(Process::lines);
        let verdicts = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        let mut verdicts: Vec<Value> = verdicts.filter(|it| it["cause"].is_string()).collect();
        verdicts.retain(|it| it["tap"] == "gw1/lan0+gw2/lan0");
        verdicts.pop()
    });
    assert_eq!(joined["cause"], "certificate-rejected", "{joined:#}");
    assert_eq!(joined["alert"]["description"], "unknown_ca");
    assert_eq!(joined["sni"], "www.lab.test");
    let evidence = joined["evidence"].as_array().unwrap();
    assert!(evidence.iter().any(|it| it["name"] == "halves"));
    assert!(evidence.iter().all(|it| it["name"] != "gap"), "{joined:#}");
}

/// Every gateway's part alone shows a refusal of unknown cause, or none.
#[test]
fn a_pin_is_told_by_the_facts_of_another_gateway() {
    let server = Server::start();
    for clients in [Clients::Clear, Clients::Hashed] {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        std::fs::write(&key, "a key of the whole fleet\n").unwrap();
        let join = |gateway: &str| {
            let settings = FleetSettings {
                clients,
                clients_key_file: Some(key.clone()),
                ..server.settings(gateway)
            };
            Fleet::start(&settings, None).unwrap()
        };
        // Gateways of one kind skip the other's facts.
        let [a, b] = ["a", "b"].map(|it| format!("gw-{it}-{clients}"));
        let (mut first, mut second) = (agent(join(&a)), agent(join(&b)));
        show(&mut first, &[PINNED]);
        let alone = last(&first).unwrap();
        assert_eq!(alone.cause, Cause::CertificateRejected);
        show(&mut second, &BESIDE);
        assert!(last(&second).is_none());
        let pin = wait_for_pin(&mut first, &b);
        assert!(pin.revises.is_some());
        // The refusal, and the pin that replaces it.
        wait("both verdicts are published", || {
            (first.fleet_counts()?.verdicts_published == 2).then_some(())
        });
        // A later one starts from what they left.
        let mut third = agent(join(&format!("gw-c-{clients}")));
        show(&mut third, &[PINNED]);
        wait_for_pin(&mut third, &b);
        for agent in [&mut first, &mut second, &mut third] {
            agent.close(Duration::from_secs(10));
        }
    }
    // Servers of a fleet that joins no halves may forbid their stream.
    assert!(stream(&server, message::HALVES).is_null());
}

#[test]
fn a_server_that_was_away_gets_all_once_and_a_newcomer_reads_snapshots() {
    let mut server = Server::start();
    let [a, b] = ["gw-a", "gw-b"].map(|gateway| server.join(gateway));
    record(&a, 0..300);
    wait_for_facts(&b, "gw-a", 300);
    server.stop();
    wait("the server is missed", || {
        (!a.counts().connected).then_some(())
    });
    record(&a, 300..1_000);
    assert!(a.counts().facts_waiting > 0);
    server.resume();
    wait_for_facts(&b, "gw-a", 1_000);
    assert_eq!(a.counts().facts_lost, 0);
    // Its facts are in its snapshot alone, once the messages are gone.
    a.close();
    purge_facts(&server);
    let c = server.join("gw-c");
    wait_for_facts(&c, "gw-a", 1_000);
    // The counts of an earlier agent go on.
    let a = server.join("gw-a");
    wait("it knows its own facts", || {
        (known(&a, "gw-a") == all_once(1_000)).then_some(())
    });
    record(&a, 0..1);
    wait("the count goes on", || {
        c.take_lessons();
        let twice = |it: &(String, u64)| *it == ("10.0.0.0".to_owned(), 2);
        known(&c, "gw-a").iter().any(twice).then_some(())
    });
}

/// Facts that wait when an agent ends survive on disk.
#[test]
fn facts_of_an_agent_that_never_met_the_server_follow_after_its_restart() {
    let mut server = Server::start();
    server.stop();
    let state = tempfile::tempdir().unwrap();
    let start = || Fleet::start(&server.settings("gw-a"), Some(state.path().to_owned())).unwrap();
    let a = start();
    record(&a, 0..500);
    a.close();
    let a = start();
    server.resume();
    let b = server.join("gw-b");
    wait_for_facts(&b, "gw-a", 500);
    a.close();
    assert!(std::fs::read_dir(state.path()).unwrap().next().is_none());
}

/// A verdict that was made without a server follows, and one that is sent again is there once.
#[test]
fn verdicts_wait_for_the_server_and_each_is_there_once() {
    let mut server = Server::start();
    server.stop();
    let mut agent = agent(server.join("gw-a"));
    show(&mut agent, &[PINNED]);
    let verdict = last(&agent).unwrap();
    assert_eq!(agent.fleet_counts().unwrap().verdicts_published, 0);
    server.resume();
    let published = |agent: &Pipeline| agent.fleet_counts().unwrap().verdicts_published;
    wait("the verdict is published", || {
        (published(&agent) == 1).then_some(())
    });
    agent.fleet().unwrap().sink().write(&verdict).unwrap();
    assert_eq!(published(&agent), 2);
    assert_eq!(stream(&server, message::VERDICTS)["messages"], 1);
    let subject = message::verdict_subject("gw-a", "certificate-rejected");
    let question = format!("{{\"last_by_subj\":\"{subject}\"}}");
    let subject = format!("$JS.API.STREAM.MSG.GET.{}", message::VERDICTS);
    let answer = json(&request(&server, &subject, question.as_bytes()));
    let data = answer["message"]["data"].as_str().unwrap();
    let shared = GatewayVerdict::new("gw-a", verdict);
    let written = message::write(&shared).unwrap();
    // Four letters of base64 for each three bytes.
    assert_eq!(data.len(), written.len().div_ceil(3) * 4);
    agent.close(Duration::from_secs(5));
}

/// Messages of another version are skipped and counted, and those after them are read.
#[test]
fn messages_of_other_versions_are_skipped_and_counted() {
    let server = Server::start();
    let b = server.join("gw-b");
    let a = server.join("gw-a");
    record(&a, 0..1);
    wait_for_facts(&b, "gw-a", 1);
    let later = br#"{"version":2,"rows":[[1,2]]}"#;
    request(&server, &message::fact_subject("gw-a"), later);
    let mut wrong: FactBatch =
        message::read(br#"{"version":1,"clients":"clear","facts":[]}"#).unwrap();
    wrong.clients = "hashed:01020304".to_owned();
    request(
        &server,
        &message::fact_subject("gw-a"),
        &message::write(&wrong).unwrap(),
    );
    record(&a, 1..2);
    wait_for_facts(&b, "gw-a", 2);
    let skipped = b.counts().skipped;
    assert_eq!(
        (skipped["version"], skipped["clients"]),
        (1, 1),
        "{skipped:?}"
    );
}

/// Databases of one fleet answer alike, also one that begins later, and one whose server was away; a muted gateway counts
/// in none of them.
#[test]
fn databases_of_one_fleet_answer_alike() {
    let mut server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let collect = |name: &str, fleet: FleetSettings| {
        let settings = CollectorSettings {
            fleet,
            database: folder.path().join(name),
            retention: Retention {
                age: Duration::from_secs(365 * 86_400),
                bytes: 1 << 30,
            },
            muted: Muted::default(),
            serves: false,
        };
        Collector::start(settings).unwrap()
    };
    let answers = |name: &str| {
        let past = Past::open(&folder.path().join(name)).ok()?;
        let query = Query {
            all: true,
            limit: 10_000,
            ..Query::default()
        };
        let verdicts = past.verdicts(&query).ok()?.into_iter();
        let verdicts: Vec<_> = verdicts.map(|it| (it.gateway, it.verdict)).collect();
        Some((verdicts, past.groups(&query).ok()?))
    };
    let _first = collect("first", server.settings("first"));
    let members = ["gw-a", "gw-b"].map(|gateway| server.join(gateway));
    let share = |numbers: std::ops::Range<u64>| {
        for member in &members {
            record(member, numbers.clone());
            let mut sink = member.sink();
            for number in numbers.clone().step_by(50) {
                let verdict = refusal(number);
                wait("a verdict is published", || sink.write(&verdict).ok());
            }
        }
    };
    share(0..200);
    server.stop();
    for member in &members {
        record(member, 200..300);
    }
    server.resume();
    share(300..400);
    let _second = collect("second", server.settings("second"));
    // Refusals are facts for doubts, and no connections that worked.
    let settled = |name: &str, number: usize| {
        wait("all verdicts arrive", || {
            let found = answers(name)?;
            (found.0.len() == number).then_some(found)
        })
    };
    let all = settled("first", 12);
    assert_eq!(all, settled("second", 12));
    let failed: u64 = all.1.iter().map(|it| it.failed).sum();
    assert_eq!(failed, 12);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let operator = server.settings("operator");
    runtime.block_on(mute(&operator, "gw-b", true)).unwrap();
    let without = settled("first", 6);
    assert_eq!(without, settled("second", 6));
    assert!(without.1.iter().all(|it| it.gateways == ["gw-a"]));
    runtime.block_on(mute(&operator, "gw-b", false)).unwrap();
    assert_eq!(settled("first", 12), all);
}

/// Returns the verdict on a connection of a number.
fn refusal(number: u64) -> Verdict {
    let ends = [1, 2].map(|host| Endpoint {
        ip: Ipv4Addr::new(10, 9, host, number as u8).into(),
        port: 443,
    });
    let time = Timestamp::from_second(1_800_000_000 + number as i64).unwrap();
    let id = format!("1:{number}");
    Verdict::new(time, "lan0", &id, ends, Cause::Pinning)
}

/// Publishes a message, or asks the server something, and returns the answer.
fn request(server: &Server, subject: &str, payload: &[u8]) -> Vec<u8> {
    use std::io::{BufRead, BufReader, Read, Write};
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut to = &stream;
    let mut from = BufReader::new(&stream);
    write!(
        to,
        "CONNECT {{\"verbose\":false}}\r\nSUB _INBOX.test 1\r\nPUB {subject} _INBOX.test {}\r\n",
        payload.len()
    )
    .unwrap();
    to.write_all(payload).unwrap();
    to.write_all(b"\r\n").unwrap();
    loop {
        let mut line = String::new();
        assert!(from.read_line(&mut line).unwrap() > 0, "the server hung up");
        if let Some(rest) = line.strip_prefix("MSG _INBOX.test 1 ") {
            let mut answer = vec![0; rest.trim().parse().unwrap()];
            from.read_exact(&mut answer).unwrap();
            return answer;
        }
    }
}

fn json(answer: &[u8]) -> serde_json::Value {
    serde_json::from_slice(answer).unwrap()
}

/// Returns the state of a stream.
fn stream(server: &Server, name: &str) -> serde_json::Value {
    let answer = request(server, &format!("$JS.API.STREAM.INFO.{name}"), b"");
    json(&answer)["state"].clone()
}

fn purge_facts(server: &Server) {
    let subject = format!("$JS.API.STREAM.PURGE.{}", message::FACTS);
    let answer = json(&request(server, &subject, b""));
    assert_eq!(answer["success"], true, "{answer}");
}
