//! The firewall's syslog, received and joined to verdicts as both arrive.
//!
//! In: messages from the network, and verdicts from the pipeline, which waits for nothing: what does not fit into a
//! queue is counted. Out: a message in the agent's log for each row that has its verdict. A thread of its own
//! receives and joins.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

use crate::firewall::filter::{DEFAULT, Filter};
use crate::firewall::joiner::{Joined, Joiner};
use crate::firewall::syslog::{MESSAGE_MAX, Stream, SyslogAddress};
use crate::firewall::{is_selected, read_row};
use crate::host::privileges::give_up_all;
use crate::outlet::message_kind;
use crate::outlet::sink::escaped;
use crate::outlet::status::FirewallLogCounts;
use crate::verdict::{Verdict, written_confidence};

/// Maximum messages and verdicts that wait for the thread, each.
const QUEUE: usize = 4_096;
/// Maximum connections of firewalls at a time; further ones wait.
const CONNECTIONS_MAX: usize = 32;
/// Pause after an address could not be listened on.
const RETRY: Duration = Duration::from_secs(10);
/// Interval at which rows are given up.
const TICK: Duration = Duration::from_secs(1);

/// Settings of the firewall's live log.
#[derive(Debug, Clone, PartialEq)]
pub struct FirewallLogSettings {
    /// Addresses to listen on; none: nothing is received.
    pub addresses: Vec<SyslogAddress>,
    /// Longest wait of a row for its verdict.
    pub wait: Duration,
    /// Rows that are explained, in PAN-OS's filter language; by default those that `tlswhy explain` takes.
    pub filter: Option<String>,
}

impl Default for FirewallLogSettings {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            wait: Duration::from_secs(30),
            filter: None,
        }
    }
}

/// The thread that receives and joins, until it is dropped.
pub struct FirewallLog {
    verdicts: Sender<Arc<Verdict>>,
    counts: Arc<Counts>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counts {
    rows: AtomicU64,
    explained: AtomicU64,
    unexplained: AtomicU64,
    broken: AtomicU64,
    other: AtomicU64,
    lost: AtomicU64,
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

impl FirewallLog {
    /// Begins to listen; `None` without an address. An address that cannot be used is retried.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(settings: &FirewallLogSettings) -> io::Result<Option<Self>> {
        if settings.addresses.is_empty() {
            return Ok(None);
        }
        Self::start_with(settings, write).map(Some)
    }

    fn start_with(
        settings: &FirewallLogSettings,
        write: impl Fn(&Joined) + Send + 'static,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (verdicts, received) = channel(QUEUE);
        let (stop, stopped) = oneshot::channel();
        let counts: Arc<Counts> = Arc::default();
        let server = Server {
            settings: settings.clone(),
            counts: Arc::clone(&counts),
        };
        let thread = thread::Builder::new()
            .name("firewall-log".to_owned())
            .spawn(move || {
                give_up_all();
                runtime.block_on(async {
                    tokio::select! {
                        _ = stopped => {}
                        () = server.run(received, write) => {}
                    }
                });
            })?;
        Ok(Self {
            verdicts,
            counts,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Passes on a verdict, or counts it as lost.
    pub fn record(&self, verdict: &Arc<Verdict>) {
        if self.verdicts.try_send(Arc::clone(verdict)).is_err() {
            add(&self.counts.lost, 1);
        }
    }

    /// Returns the counts so far.
    #[must_use]
    pub fn counts(&self) -> FirewallLogCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        FirewallLogCounts {
            rows: of(&counts.rows),
            explained: of(&counts.explained),
            unexplained: of(&counts.unexplained),
            broken: of(&counts.broken),
            other: of(&counts.other),
            lost: of(&counts.lost),
        }
    }
}

impl Drop for FirewallLog {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Server {
    settings: FirewallLogSettings,
    counts: Arc<Counts>,
}

impl Server {
    async fn run(self, mut verdicts: Receiver<Arc<Verdict>>, write: impl Fn(&Joined)) {
        let (messages, mut received) = channel::<Vec<u8>>(QUEUE);
        for address in &self.settings.addresses {
            let (messages, counts) = (messages.clone(), Arc::clone(&self.counts));
            if address.is_udp {
                tokio::spawn(datagrams(*address, messages, counts));
            } else {
                tokio::spawn(streams(*address, messages, counts));
            }
        }
        let mut joiner = Joiner::new(self.settings.wait);
        let filter = self.settings.filter.as_deref().map(str::parse::<Filter>);
        let filter = filter.and_then(Result::ok);
        let Ok(default) = DEFAULT.parse::<Filter>() else {
            return;
        };
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut line = 0;
        loop {
            let joined = tokio::select! {
                verdict = verdicts.recv() => match verdict {
                    Some(verdict) => joiner.record_verdict(&verdict),
                    None => return,
                },
                message = received.recv() => {
                    let Some(message) = message else { return };
                    line += 1;
                    let text = String::from_utf8_lossy(&message);
                    match read_row(text.trim(), line) {
                        None => {
                            add(&self.counts.other, 1);
                            continue;
                        }
                        Some(Err(_)) => {
                            add(&self.counts.broken, 1);
                            continue;
                        }
                        Some(Ok(row)) => {
                            let is_wanted = match &filter {
                                Some(filter) => filter.selects(&row),
                                None => is_selected(&row, &default),
                            };
                            if !is_wanted {
                                add(&self.counts.other, 1);
                                continue;
                            }
                            add(&self.counts.rows, 1);
                            joiner.record_row(row, Instant::now()).into_iter().collect()
                        }
                    }
                }
                _ = tick.tick() => {
                    joiner.expire(Instant::now());
                    Vec::new()
                }
            };
            self.counts
                .unexplained
                .store(joiner.unexplained, Ordering::Relaxed);
            add(&self.counts.explained, joined.len() as u64);
            joined.iter().for_each(&write);
        }
    }
}

/// Warns once that an address cannot be listened on, and waits.
async fn refused(address: SyslogAddress, error: &io::Error, is_told: &mut bool) {
    if !*is_told {
        warn!(
            target: message_kind::STATE_UNUSABLE,
            "cannot listen for the firewall's log on {address}: {error}; retrying"
        );
        *is_told = true;
    }
    sleep(RETRY).await;
}

async fn datagrams(address: SyslogAddress, messages: Sender<Vec<u8>>, counts: Arc<Counts>) {
    let mut is_told = false;
    let mut bytes = vec![0; MESSAGE_MAX];
    loop {
        let socket = match UdpSocket::bind(address.address).await {
            Ok(socket) => socket,
            Err(error) => {
                refused(address, &error, &mut is_told).await;
                continue;
            }
        };
        info!("listening for the firewall's log on {address}");
        loop {
            let Ok((length, _)) = socket.recv_from(&mut bytes).await else {
                sleep(TICK).await;
                continue;
            };
            let message = bytes.get(..length).unwrap_or_default().to_vec();
            if messages.try_send(message).is_err() {
                add(&counts.lost, 1);
            }
        }
    }
}

async fn streams(address: SyslogAddress, messages: Sender<Vec<u8>>, counts: Arc<Counts>) {
    let mut is_told = false;
    let listener = loop {
        match TcpListener::bind(address.address).await {
            Ok(listener) => break listener,
            Err(error) => refused(address, &error, &mut is_told).await,
        }
    };
    info!("listening for the firewall's log on {address}");
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The semaphore is never closed, so there is always a next place.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(TICK).await;
            continue;
        };
        let (messages, counts) = (messages.clone(), Arc::clone(&counts));
        tokio::spawn(async move {
            let _ = read(stream, messages, &counts).await;
            drop(place);
        });
    }
}

/// Reads a connection to its end. A firewall that sends more than is joined waits.
async fn read(mut stream: TcpStream, messages: Sender<Vec<u8>>, counts: &Counts) -> io::Result<()> {
    let mut framing = Stream::default();
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let length = stream.read(&mut bytes).await?;
        let mut whole = Vec::new();
        // The last line needs no line feed.
        let end: &[u8] = if length == 0 { b"\n" } else { b"" };
        let oversized = framing.oversized;
        framing.feed(bytes.get(..length).unwrap_or_default(), |it| {
            whole.push(it.to_vec())
        });
        framing.feed(end, |it| whole.push(it.to_vec()));
        add(&counts.broken, framing.oversized - oversized);
        for message in whole {
            if messages.send(message).await.is_err() {
                return Ok(());
            }
        }
        if length == 0 {
            return Ok(());
        }
    }
}

/// Writes a row and its verdict to the agent's log; the fields are the journal's.
fn write(joined: &Joined) {
    let Joined { row, verdict } = joined;
    let name = verdict
        .server_name()
        .map_or_else(|| verdict.server.ip.to_string(), str::to_owned);
    let confidence = written_confidence(verdict.confidence);
    let connection = format!("{} → {}", row.ends.client, row.ends.server);
    let words = row.words();
    let advice = verdict.advice.as_deref();
    let advice_after = advice.map_or_else(String::new, |advice| format!("; {advice}"));
    let text = format!(
        "{connection}: {} says {words}; {name}: {} ({:.0} %){advice_after}",
        row.kind,
        verdict.cause.name(),
        confidence * 100.0,
    );
    info!(
        target: message_kind::EXPLAINED,
        explains = verdict.id.as_str(),
        explained_connection = connection.as_str(),
        explained_name = name.as_str(),
        explained_cause = verdict.cause.name(),
        explained_confidence = confidence,
        explained_advice = advice.unwrap_or_default(),
        firewall = row.firewall(),
        firewall_log = row.kind,
        firewall_rule = row.field("rule"),
        firewall_words = words.as_str(),
        "{}",
        escaped(&text)
    );
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpStream as StdStream, UdpSocket as StdSocket};
    use std::sync::mpsc;

    use super::*;
    use crate::verdict::tests::pinning;

    const PATIENCE: Duration = Duration::from_secs(120);

    fn row(port: u16) -> String {
        let time = "2026/11/23 08:30:01";
        format!(
            "<14>Nov 23 08:30:05 fw-1 1,{time},0018,TRAFFIC,deny,2049,{time},10.0.1.2,10.0.2.2,0.0.0.0,0.0.0.0,r,,,\
             ssl,v,a,b,e,f,l,,1,1,{port},443,0,0,0x400000,tcp,allow,0,0,0,0,{time},1,any,0,99,0x0,,,0,7,7,policy-deny"
        )
    }

    fn free_port() -> std::net::SocketAddr {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        probe.local_addr().unwrap()
    }

    /// Rows by every way meet their verdicts; others are counted.
    #[test]
    fn rows_from_the_network_meet_their_verdicts() {
        let [udp, tcp] = [true, false].map(|is_udp| SyslogAddress {
            is_udp,
            address: free_port(),
        });
        let settings = FirewallLogSettings {
            addresses: vec![udp, tcp],
            ..FirewallLogSettings::default()
        };
        let (joined, received) = mpsc::channel();
        let log = FirewallLog::start_with(&settings, move |it| {
            let _ = joined.send(it.clone());
        })
        .unwrap();
        let mut verdict = pinning();
        verdict.set_revision(0);
        log.record(&Arc::new(verdict.clone()));
        let port = verdict.client.port;

        let begin = Instant::now();
        let mut stream = loop {
            match StdStream::connect(tcp.address) {
                Ok(stream) => break stream,
                Err(error) => assert!(begin.elapsed() < PATIENCE, "{error}"),
            }
            thread::sleep(Duration::from_millis(20));
        };
        let row = row(port);
        write!(
            stream,
            "{row}\n<14>Nov 23 fw-1 a system message\n{} {row}",
            row.len()
        )
        .unwrap();
        for _ in 0..2 {
            let found = received.recv_timeout(PATIENCE).unwrap();
            assert_eq!(found.verdict.id, verdict.id);
            assert_eq!(found.row.field("session_end_reason"), "policy-deny");
        }
        // A datagram may be lost: it is sent until it arrives.
        let socket = StdSocket::bind("127.0.0.1:0").unwrap();
        let begin = Instant::now();
        loop {
            socket.send_to(row.as_bytes(), udp.address).unwrap();
            match received.recv_timeout(Duration::from_millis(200)) {
                Ok(found) => break assert_eq!(found.verdict.id, verdict.id),
                Err(error) => assert!(begin.elapsed() < PATIENCE, "{error}"),
            }
        }
        let counts = log.counts();
        assert!(counts.rows >= 3 && counts.other == 1, "{counts:?}");
    }
}
