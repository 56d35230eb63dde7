//! Measurements during a flood.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::sender::{Sender, inside, joined};
use super::site::{NAME, SERVER, Site, refusal};
use super::{Flood, Plan};
use crate::host::{Namespace, Process, output};

/// The longest that the agent may take to start, and verdicts to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Exit code of curl if it does not trust the certificate.
const UNTRUSTED: i32 = 60;
/// Clients that fail at the same time.
const AT_ONCE: usize = 2;
/// The flood goes on for so long before anything is measured.
const WARM_UP: Duration = Duration::from_millis(500);
/// Port of the throughput's server.
const BULK: u16 = 5_000;

/// Figures of one flood at one rate.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The flood.
    pub flood: Flood,
    /// Packets or connections a second that were sent.
    pub rate: u32,
    /// Real connections whose client refused the interceptor's certificate meanwhile.
    pub failed: usize,
    /// Of these, connections with a verdict.
    pub judged: usize,
    /// Of these, connections whose verdict has the server's name.
    pub named: usize,
    /// Resident memory of the agent at its peak, bytes.
    pub agent_bytes: u64,
    /// Memory of the programs' maps before and after, bytes.
    pub kernel_bytes: [u64; 2],
    /// Throughput with the agent in relation to that without, in the flood; `None` if not measured.
    pub throughput: Option<f64>,
    /// The agent's account of its losses; empty if there are none.
    pub lost: String,
}

impl Measured {
    /// Head of a table.
    pub const HEAD: &str = "| flood | packets/s | failures | with a verdict | with the name | agent, peak | tables in the \
                            kernel | throughput, with / without | lost |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |";
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |count: usize| 100.0 * count as f64 / self.failed.max(1) as f64;
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        write!(
            f,
            "| {} | {} | {} | {:.1} % | {:.1} % | {} MiB | {} MiB | ",
            self.flood.name(),
            self.rate,
            self.failed,
            percent(self.judged),
            percent(self.named),
            mib(self.agent_bytes),
            mib(self.kernel_bytes[1]),
        )?;
        match self.throughput {
            Some(ratio) => write!(f, "{ratio:.2}")?,
            None => f.write_str("–")?,
        }
        let lost = if self.lost.is_empty() {
            "nothing"
        } else {
            &self.lost
        };
        write!(f, " | {lost} |")
    }
}

/// An agent on the gateway.
pub struct Watch<'a> {
    site: &'a Site,
    agent: Process,
}

impl<'a> Watch<'a> {
    /// Starts it.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(site: &'a Site, agent: &Path) -> anyhow::Result<Self> {
        let agent = start(site, agent)?;
        Ok(Self { site, agent })
    }

    /// Floods the gateway at a rate while real connections fail for a time; throughput and losses are not measured.
    ///
    /// # Errors
    /// If a program does not start, or the agent has ended.
    pub fn flood(&self, flood: Flood, rate: u32, time: Duration) -> anyhow::Result<Measured> {
        let Self { site, agent } = self;
        let before = kernel_bytes(agent)?;
        let sender = Sender::start(&site.attacker, &site.origins, flood, rate)?;
        std::thread::sleep(WARM_UP);
        let failed = refusals(&site.clients, &site.next_port, time)?;
        let sent = sender.finish()?;
        let (judged, named) = verdicts(agent, &failed);
        Ok(Measured {
            flood,
            rate: sent,
            failed: failed.len(),
            judged,
            named,
            agent_bytes: resident_peak(agent)?,
            kernel_bytes: [before, kernel_bytes(agent)?],
            throughput: None,
            lost: String::new(),
        })
    }

    /// Ends the agent; returns its account of its losses, empty if there are none.
    ///
    /// # Errors
    /// If it ended by itself, or not in order.
    pub fn finish(mut self) -> anyhow::Result<String> {
        let (status, rest) = self.agent.stop(Signal::SIGINT)?;
        ensure!(status.success(), "the agent ended: {status}");
        let lost = rest.iter().find_map(|line| line.strip_prefix("lost: "));
        let lost = lost.context("the agent's summary has no losses")?;
        Ok(lost.strip_prefix("nothing").unwrap_or(lost).to_owned())
    }
}

/// Floods the gateway at a rate, and measures everything.
pub(super) fn measure(
    site: &Site,
    agent: &Path,
    flood: Flood,
    rate: u32,
    plan: &Plan,
) -> anyhow::Result<Measured> {
    let watch = Watch::start(site, agent)?;
    let mut measured = watch.flood(flood, rate, plan.failing)?;
    measured.lost = watch.finish()?;
    measured.throughput = match plan.rounds {
        0 => None,
        rounds => Some(throughput(site, agent, flood, rate, rounds, plan.round)?),
    };
    Ok(measured)
}

fn start(site: &Site, agent: &Path) -> anyhow::Result<Process> {
    let agent = Process::start(&mut site.agent(agent))?;
    agent.wait_for(PATIENCE, |line| line == "ready")?;
    Ok(agent)
}

/// Lets real clients refuse the interceptor's certificate for a time; returns their ports.
fn refusals(
    clients: &Namespace,
    next: &AtomicU16,
    time: Duration,
) -> anyhow::Result<BTreeSet<u16>> {
    let end = Instant::now() + time;
    let client = || -> anyhow::Result<Vec<u16>> {
        let mut failed = Vec::new();
        while Instant::now() < end {
            let port = next.fetch_add(1, Ordering::Relaxed);
            let done = output(&mut refusal(clients, port))?;
            // One that got no certificate has nothing to refuse.
            if done.status.code() == Some(UNTRUSTED) {
                failed.push(port);
            }
        }
        Ok(failed)
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(client)).collect();
        let mut failed = BTreeSet::new();
        for client in clients {
            let ports = client
                .join()
                .map_err(|_| anyhow::anyhow!("a client panicked"))??;
            failed.extend(ports);
        }
        Ok(failed)
    })
}

/// Returns the number of connections that have a verdict, and of those whose verdict has the name.
fn verdicts(agent: &Process, failed: &BTreeSet<u16>) -> (usize, usize) {
    let mut found: BTreeMap<u16, bool> = BTreeMap::new();
    let mut quiet = Instant::now();
    while found.len() < failed.len() && quiet.elapsed() < PATIENCE / 6 {
        for line in agent.lines() {
            quiet = Instant::now();
            let Ok(verdict) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            let client = verdict.pointer("/client/ip").and_then(Value::as_str);
            let port = verdict.pointer("/client/port").and_then(Value::as_u64);
            let port = port.and_then(|port| u16::try_from(port).ok());
            if let (Some("10.79.1.2"), Some(port)) = (client, port)
                && failed.contains(&port)
            {
                let has_name = verdict.get("sni").and_then(Value::as_str) == Some(NAME);
                *found.entry(port).or_default() |= has_name;
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    (found.len(), found.values().filter(|named| **named).count())
}

/// Returns the largest resident memory so far, bytes.
pub(super) fn resident_peak(agent: &Process) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|it| it.trim().strip_suffix(" kB"));
    let kib: u64 = kib.context("no VmHWM in /proc")?.trim().parse()?;
    Ok(kib * 1024)
}

/// Returns the memory of the maps that the agent holds, bytes, by the kernel's own account.
fn kernel_bytes(agent: &Process) -> anyhow::Result<u64> {
    let mut maps: BTreeMap<u64, u64> = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{}/fdinfo", agent.id()))? {
        // A descriptor may be closed meanwhile.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let field = |name: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line?.trim().parse().ok()
        };
        if let (Some(id), Some(bytes)) = (field("map_id:"), field("memlock:")) {
            maps.insert(id, bytes);
        }
    }
    ensure!(!maps.is_empty(), "the agent holds no maps");
    Ok(maps.values().sum())
}

/// Returns the throughput with the agent in relation to that without: medians of rounds by turns, all of them in
/// the flood.
fn throughput(
    site: &Site,
    agent: &Path,
    flood: Flood,
    rate: u32,
    rounds: u32,
    time: Duration,
) -> anyhow::Result<f64> {
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        // Each goes first as often.
        for watched in [round % 2 == 0, round % 2 == 1] {
            let running = watched.then(|| start(site, agent)).transpose()?;
            let sender = Sender::start(&site.attacker, &site.origins, flood, rate)?;
            let rate = bulk(site, time)?;
            sender.finish()?;
            if let Some(mut running) = running {
                let (status, _) = running.stop(Signal::SIGINT)?;
                ensure!(status.success(), "the agent ended: {status}");
            }
            rates[usize::from(watched)].push(rate);
        }
    }
    let [without, with] = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied().unwrap_or_default()
    });
    Ok(with / without)
}

/// Returns the bytes a second of one connection from the origins to a client.
fn bulk(site: &Site, time: Duration) -> anyhow::Result<f64> {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let server = inside(&site.origins, move || {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, BULK))?;
        let _ = ready.send(());
        let (mut stream, _) = listener.accept()?;
        let bytes = vec![0; 1 << 16];
        // It ends when the client goes.
        while stream.write_all(&bytes).is_ok() {}
        Ok(())
    });
    is_ready.recv().context("nobody accepts connections")?;
    let address = format!("{SERVER}:{BULK}");
    let client = inside(&site.clients, move || {
        let mut stream = TcpStream::connect(address)?;
        let mut bytes = vec![0; 1 << 16];
        let (began, mut read) = (Instant::now(), 0);
        while began.elapsed() < time {
            read += stream.read(&mut bytes)?;
        }
        Ok(read as f64 / began.elapsed().as_secs_f64())
    });
    let rate = joined(client)?;
    joined(server)?;
    Ok(rate)
}
