//! A member of the fleet that saw generated connections: the agent's own publisher without taps.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use detector_user::cause::history::{Answer, Lesson};
use detector_user::fleet::{Fleet, FleetSettings};
use detector_user::flow::tls::app::App;
use detector_user::outlet::sink::Sink;
use detector_user::verdict::{Cause, Endpoint, Intercepted, Verdict};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use xtask::commands::{ArgMatches, value, values};

/// Facts that may wait until more are made: an agent keeps what the fleet does not take, and this is none.
const WAITING_MAX: u64 = 20_000;
/// Facts made at a time.
const AT_ONCE: u64 = 250;
/// Facts to one verdict.
pub(super) const FACTS_OF_VERDICT: u64 = 500;
/// Time between two reports.
const REPORT: Duration = Duration::from_millis(500);

/// Arguments of a member.
pub struct Arguments {
    gateway: String,
    urls: Vec<String>,
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    state: PathBuf,
    /// Facts a second; 0: as fast as the fleet takes them.
    rate: u64,
    /// Number of the first fact, and of the one behind the last.
    from: u64,
    to: u64,
}

/// A member's report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Facts made.
    pub made: u64,
    /// Facts that the servers acknowledged.
    pub published: u64,
    /// Facts that wait or are on their way.
    pub waiting: u64,
    /// Facts that never arrive.
    pub lost: u64,
    /// Verdicts that the servers acknowledged.
    pub verdicts: u64,
    /// Verdicts that wait.
    pub verdicts_waiting: u64,
    /// Others' facts that were taken in.
    pub taken: u64,
    /// Messages that were skipped.
    pub skipped: u64,
    /// Milliseconds since the first fact was made.
    pub elapsed_ms: u64,
}

impl Arguments {
    /// Reads them from the command line.
    #[must_use]
    pub fn of(matches: &ArgMatches) -> Self {
        let path = |name| value(matches, name).unwrap_or_default();
        Self {
            gateway: value(matches, "gateway").unwrap_or_default(),
            urls: values(matches, "url"),
            ca: path("ca"),
            certificate: path("certificate"),
            key: path("key"),
            state: path("state"),
            rate: value(matches, "rate").unwrap_or_default(),
            from: value(matches, "from").unwrap_or_default(),
            to: value(matches, "to").unwrap_or_default(),
        }
    }
}

/// Makes facts and verdicts, shares them, and reports as JSON lines; then listens until it is told to end.
///
/// # Errors
/// If it cannot join the fleet.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    static ENDS: AtomicBool = AtomicBool::new(false);
    ctrlc::set_handler(|| ENDS.store(true, Ordering::Relaxed))
        .context("cannot wait for a signal")?;
    let urls = arguments.urls.iter();
    let mut settings = FleetSettings {
        urls: urls
            .map(|url| url.parse().map_err(anyhow::Error::msg))
            .collect::<Result<_, _>>()?,
        gateway: Some(arguments.gateway.clone()),
        max_facts: usize::try_from(arguments.to - arguments.from)? + 1_000_000,
        replicas: 3,
        ..FleetSettings::default()
    };
    settings.tls.ca = Some(arguments.ca.clone());
    settings.tls.certificate = Some(arguments.certificate.clone());
    settings.tls.key = Some(arguments.key.clone());
    std::fs::create_dir_all(&arguments.state).context("cannot make the state directory")?;
    let fleet = Fleet::start(&settings, Some(arguments.state.clone()))?;
    let mut verdicts = Verdicts::start(&arguments.gateway, fleet.sink(), &ENDS);
    while !fleet.counts().connected && !ENDS.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let begin = Instant::now();
    let (mut reported, mut next) = (begin, arguments.from);
    while !ENDS.load(Ordering::Relaxed) {
        let _ = fleet.take_lessons();
        let due = match arguments.rate {
            0 => arguments.to,
            rate => {
                let passed = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
                arguments.from + passed * rate / 1_000
            }
        };
        let counts = fleet.counts();
        let waiting = counts.facts_waiting + counts.facts_unacknowledged;
        let end = due.min(arguments.to).min(next + AT_ONCE);
        if next < end && waiting < WAITING_MAX {
            let lessons: Vec<_> = (next..end)
                .map(|it| lesson(&arguments.gateway, it))
                .collect();
            fleet.record(&lessons);
            for number in (next..end).filter(|it| it % FACTS_OF_VERDICT == 0) {
                verdicts.send(number)?;
            }
            next = end;
        } else {
            std::thread::sleep(Duration::from_millis(2));
        }
        if reported.elapsed() >= REPORT {
            reported = Instant::now();
            let counts = fleet.counts();
            let progress = Progress {
                made: next - arguments.from,
                published: counts.facts_published,
                waiting: counts.facts_waiting + counts.facts_unacknowledged,
                lost: counts.facts_lost,
                verdicts: counts.verdicts_published,
                verdicts_waiting: verdicts.waiting(),
                taken: counts.facts_taken,
                skipped: counts.skipped.values().sum(),
                elapsed_ms: u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
            };
            println!("{}", serde_json::to_string(&progress)?);
        }
    }
    fleet.close();
    Ok(())
}

/// A thread that sends verdicts in order, each until the fleet has taken it, as the agent's queue does.
struct Verdicts {
    numbers: Sender<u64>,
    made: u64,
    sent: Arc<AtomicU64>,
}

impl Verdicts {
    fn start(gateway: &str, mut sink: Box<dyn Sink>, ends: &'static AtomicBool) -> Self {
        let gateway = gateway.to_owned();
        let sent = Arc::new(AtomicU64::new(0));
        let (numbers, received) = channel();
        let counted = Arc::clone(&sent);
        std::thread::spawn(move || {
            for number in received {
                let verdict = verdict(&gateway, number);
                while sink.write(&verdict).is_err() {
                    if ends.load(Ordering::Relaxed) {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(200));
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self {
            numbers,
            made: 0,
            sent,
        }
    }

    fn send(&mut self, number: u64) -> anyhow::Result<()> {
        self.made += 1;
        self.numbers
            .send(number)
            .context("the thread of verdicts has ended")
    }

    fn waiting(&self) -> u64 {
        self.made - self.sent.load(Ordering::Relaxed)
    }
}

/// Returns the fact of a number: no two have a subject in common.
fn lesson(gateway: &str, number: u64) -> Lesson {
    Lesson {
        client: client(number),
        app: App::of_number(number % 50),
        name: Arc::from(format!("host-{number}.{gateway}.fleet.example")),
        issuer: Some(Arc::from("CN=Inspection CA, O=Example")),
        intercepted: true,
        answer: Answer::Accepted,
        sure: 1.0,
        time_s: u64::try_from(Timestamp::now().as_second()).unwrap_or_default(),
        is_news: true,
    }
}

fn verdict(gateway: &str, number: u64) -> Verdict {
    let ends = [
        Endpoint {
            ip: client(number),
            port: 40_000,
        },
        Endpoint {
            ip: Ipv4Addr::new(192, 0, 2, 7).into(),
            port: 443,
        },
    ];
    let id = format!("1:{gateway}-{number}");
    let mut verdict = Verdict::new(Timestamp::now(), "lan0", &id, ends, Cause::Pinning);
    verdict.sni = Some(format!("host-{}.{gateway}.fleet.example", number % 100));
    verdict.intercepted = Intercepted::Yes;
    verdict
}

fn client(number: u64) -> IpAddr {
    let [.., a, b] = (number % 60_000).to_be_bytes();
    Ipv4Addr::new(10, 1, a, b).into()
}
