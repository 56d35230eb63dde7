//! `cargo xtask corpus`: labelled captures of real clients, servers and interceptors.

pub mod clients;
pub mod live;
pub mod rewrite;
pub mod scenarios;
pub mod taps;
pub mod world;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};

use crate::lab::certificates::{fingerprint, pin};
use crate::lab::output;
use crate::{Profile, build_agent, need_root, root, setup};
use clients::{Client, Pin, Request};
use rewrite::capture::{Capture, Frame};
use rewrite::label::{COLUMNS, Label};
use scenarios::{Scenario, Trust, version_name};
use world::{Interceptor, World};

/// What comes after a client has ended: late FINs, tickets, resets.
const AFTERMATH: Duration = Duration::from_millis(300);

/// Ways, of each kind, in which each capture is rewritten.
const REWRITES: usize = 2;

/// Arguments of `cargo xtask corpus`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Folder to make [default: target/corpus]
    folder: Option<PathBuf>,
    /// Play only scenarios whose name has this in it
    #[arg(long, value_name = "PART")]
    only: Option<String>,
    /// Watch both sides of the gateway with the agent meanwhile, and hold what it says against what
    /// it says of the recording
    #[arg(long)]
    live: bool,
}

/// Plays all scenarios, records them, and writes captures and labels.
///
/// # Errors
/// If something needed is missing or does not work.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    need_root("corpus")?;
    setup::ensure(setup::ALL)?;
    setup::ensure(setup::CLIENTS)?;
    setup::ensure(setup::ORIGINS)?;
    setup::ensure(setup::INTERCEPTORS)?;
    let default = root().join("target/corpus");
    let folder = arguments.folder.as_ref().unwrap_or(&default);
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let agent = arguments
        .live
        .then(|| build_agent(Profile::Release))
        .transpose()?;
    let part = arguments.only.as_deref().unwrap_or_default();
    let mut wanted = scenarios::all();
    wanted.retain(|scenario| scenario.name.contains(part));
    let work = tempfile::tempdir().context("cannot make a temporary folder")?;
    let recorded = play(work.path(), wanted, agent.as_deref())?;
    write(folder, &recorded.played)?;
    println!("{} captures in {}", recorded.played.len(), folder.display());
    let rewritten = folder.join("rewritten");
    let count = rewrite::command::rewrite_folder(folder, &rewritten, REWRITES)?;
    println!("{count} rewrites of them in {}", rewritten.display());
    if let (Some(agent), Some(live)) = (&agent, &recorded.live) {
        let captured = live::of_recording(agent, folder, &recorded.frames)?;
        let differences = live.differences(&captured);
        for difference in &differences {
            print!("{difference}");
        }
        println!(
            "{} verdicts live, {} from the recording; differences: {}",
            live.len(),
            captured.len(),
            differences.len()
        );
        ensure!(differences.is_empty(), "live and recorded verdicts differ");
    }
    Ok(())
}

/// What playing yields.
pub struct Recorded {
    /// Scenarios that went as they were set up.
    pub played: Vec<Played>,
    /// All frames of both taps, in the order of time.
    pub frames: Vec<(u32, Frame)>,
    /// What the agent said meanwhile.
    pub live: Option<live::Verdicts>,
}

/// A scenario that went as it was set up, and its frames.
pub struct Played {
    /// Which one.
    pub scenario: Scenario,
    version: String,
    /// Which tap, and what it saw.
    frames: Vec<(u32, Frame)>,
    /// What the interceptor logged meanwhile.
    log: Vec<String>,
}

/// Plays scenarios in `work`, with the agent on both sides of the gateway if it is given.
///
/// # Errors
/// If a part does not work.
pub fn play(work: &Path, wanted: Vec<Scenario>, agent: Option<&Path>) -> anyhow::Result<Recorded> {
    let mut programs: HashMap<String, Box<dyn Client>> = HashMap::new();
    for mut client in clients::all() {
        if !wanted
            .iter()
            .any(|scenario| scenario.client == client.name())
        {
            continue;
        }
        let folder = work.join(client.name());
        std::fs::create_dir_all(&folder).context("cannot make a folder for a client")?;
        client.prepare(&folder)?;
        programs.insert(client.name().to_owned(), client);
    }
    let mut interceptors = Interceptor::ALL.to_vec();
    interceptors.retain(|it| wanted.iter().any(|scenario| scenario.interceptor == *it));
    let world = World::new(work, &interceptors)?;
    let certificate = &world.pinned_certificate;
    let pin = Pin::Key {
        spki_sha256_base64: pin(certificate)?,
        certificate_sha256_hex: fingerprint(certificate)?,
    };
    let watch = agent
        .map(|agent| live::Watch::start(&world, agent))
        .transpose()?;
    let recordings = [world.record("lan0")?, world.record("wan0")?];
    let mut stage = Stage {
        world: &world,
        programs: &programs,
        pin,
        interceptor: Interceptor::None,
        hosts: HashMap::new(),
    };
    let mut spans = Vec::new();
    let count = wanted.len();
    for (number, scenario) in wanted.into_iter().enumerate() {
        let began = now_ns();
        let worked = stage.play(&scenario)?;
        let log = world.log(scenario.interceptor)?;
        if worked == (scenario.cause == "established") {
            spans.push((began, now_ns(), scenario, log));
        } else {
            let how = if worked { "worked" } else { "failed" };
            eprintln!("left out: {} {how}, against what was set up", scenario.name);
        }
        if number % 50 == 49 {
            println!("{} of {count} scenarios played", number + 1);
        }
    }
    let live = watch.map(live::Watch::verdicts).transpose()?;
    let [lan, wan] = recordings;
    let [lan, wan] = [lan.take()?, wan.take()?];
    let tapped = |frames: &[Frame], tap| frames.iter().map(move |it| (tap, it.clone())).collect();
    let mut frames: Vec<(u32, Frame)> = tapped(&lan, 0);
    frames.append(&mut tapped(&wan, 1));
    frames.sort_by_key(|(_, frame)| frame.time_ns);
    let taps = [lan, wan].map(Connections::of);
    let played = spans
        .into_iter()
        .map(|(began, ended, scenario, log)| {
            let [lan, wan] = &taps;
            let mut frames = lan.begun_within(began, ended, 0);
            if scenario.both {
                frames.extend(wan.begun_within(began, ended, 1));
            }
            frames.sort_by_key(|(_, frame)| frame.time_ns);
            Ok(Played {
                version: client(&programs, &scenario)?.version()?,
                scenario,
                frames,
                log,
            })
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(Recorded {
        played,
        frames,
        live,
    })
}

fn client<'c>(
    programs: &'c HashMap<String, Box<dyn Client>>,
    scenario: &Scenario,
) -> anyhow::Result<&'c dyn Client> {
    let client = programs.get(scenario.client);
    Ok(&**client.with_context(|| format!("no client {}", scenario.client))?)
}

/// Where scenarios are played.
struct Stage<'a> {
    world: &'a World,
    programs: &'a HashMap<String, Box<dyn Client>>,
    pin: Pin,
    interceptor: Interceptor,
    /// The client address of each group.
    hosts: HashMap<String, u8>,
}

impl Stage<'_> {
    /// Plays one scenario; whether the client says that it worked.
    fn play(&mut self, scenario: &Scenario) -> anyhow::Result<bool> {
        if scenario.interceptor != self.interceptor {
            self.world.route_through(scenario.interceptor)?;
            self.interceptor = scenario.interceptor;
        }
        let next = 10 + (self.hosts.len() % 240) as u8;
        let host = *self.hosts.entry(scenario.group.clone()).or_insert(next);
        self.world.move_clients(host)?;
        let trust = match scenario.trust {
            Trust::Own => clients::Trust::Default,
            Trust::Origins => clients::Trust::Only(self.world.origin_ca.certificate()),
            Trust::Inspection => clients::Trust::Only(self.world.inspection_ca.certificate()),
        };
        let request = Request {
            host: scenario.host.to_owned(),
            port: scenario.port,
            path: scenario.path.to_owned(),
            version: scenario.version,
            trust,
            pin: if scenario.pins {
                self.pin.clone()
            } else {
                Pin::None
            },
            client_certificate: scenario
                .shows_certificate
                .then(|| self.world.client_certificate.clone()),
            times: scenario.times,
        };
        let client = client(self.programs, scenario)?;
        ensure!(
            client.can(&request),
            "{} cannot do what {} asks",
            client.name(),
            scenario.name
        );
        let asked = client.command(&request);
        let mut command: Command = self.world.clients.command("timeout");
        command
            .arg("25")
            .arg(asked.get_program())
            .args(asked.get_args());
        let worked = output(&mut command)?.status.success();
        std::thread::sleep(AFTERMATH);
        Ok(worked)
    }
}

fn now_ns() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A tap's frames by connection.
struct Connections {
    begun: Vec<(u64, Vec<Frame>)>,
}

type Tuple = [(IpAddr, u16); 2];

impl Connections {
    fn of(frames: Vec<Frame>) -> Self {
        let mut begun: Vec<(u64, Vec<Frame>)> = Vec::new();
        let mut latest: HashMap<Tuple, usize> = HashMap::new();
        for frame in frames {
            let Some((tuple, is_syn)) = tuple(&frame.bytes) else {
                continue;
            };
            let known = latest.get(&tuple).copied();
            let at = match known {
                Some(at) if !is_syn => at,
                // A retransmitted SYN begins nothing new.
                Some(at) if begun.get(at).is_some_and(|(_, frames)| frames.len() < 3) => at,
                _ if is_syn => {
                    begun.push((frame.time_ns, Vec::new()));
                    latest.insert(tuple, begun.len() - 1);
                    begun.len() - 1
                }
                _ => continue,
            };
            if let Some((_, frames)) = begun.get_mut(at) {
                frames.push(frame);
            }
        }
        Self { begun }
    }

    fn begun_within(&self, from_ns: u64, to_ns: u64, tap: u32) -> Vec<(u32, Frame)> {
        self.begun
            .iter()
            .filter(|(began, _)| (from_ns..to_ns).contains(began))
            .flat_map(|(_, frames)| frames.iter().cloned())
            .map(|frame| (tap, frame))
            .collect()
    }
}

/// Both ends of a TCP segment, in an order of their own, and whether it is a client's SYN.
fn tuple(frame: &[u8]) -> Option<(Tuple, bool)> {
    let packet = etherparse::SlicedPacket::from_ethernet(frame).ok()?;
    let (source, destination): (IpAddr, IpAddr) = match packet.net? {
        etherparse::NetSlice::Ipv4(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        etherparse::NetSlice::Ipv6(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        etherparse::NetSlice::Arp(_) => return None,
    };
    let etherparse::TransportSlice::Tcp(tcp) = packet.transport? else {
        return None;
    };
    let mut ends = [
        (source, tcp.source_port()),
        (destination, tcp.destination_port()),
    ];
    ends.sort_unstable();
    Some((ends, tcp.syn() && !tcp.ack()))
}

fn write(folder: &Path, played: &[Played]) -> anyhow::Result<()> {
    let mut table = COLUMNS.join("\t") + "\n";
    let mut logs = "file\tinterceptor\tlog\n".to_owned();
    for it in played {
        let file = if it.scenario.both {
            let file = format!("{}.pcapng", it.scenario.name);
            taps::write(&folder.join(&file), &["lan0", "wan0"], &it.frames)?;
            file
        } else {
            let file = format!("{}.pcap", it.scenario.name);
            let frames = it.frames.iter().map(|(_, frame)| frame.clone()).collect();
            std::fs::write(folder.join(&file), Capture::ethernet(frames).to_bytes())
                .with_context(|| format!("cannot write {file}"))?;
            file
        };
        table.push_str(&label(&it.scenario, &it.version).line(&file));
        table.push('\n');
        for line in &it.log {
            let line = line.replace('\t', " ");
            let _ = writeln!(logs, "{file}\t{}\t{line}", it.scenario.interceptor.name());
        }
    }
    for (name, text) in [("labels.tsv", table), ("interceptor-logs.tsv", logs)] {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn label(scenario: &Scenario, version: &str) -> Label {
    Label {
        cause: scenario.cause.to_owned(),
        intercepted: match scenario.interceptor {
            Interceptor::None => "no",
            _ => "yes",
        }
        .to_owned(),
        ended_by: scenario.ended_by.to_owned(),
        client: scenario.client.to_owned(),
        client_version: version.to_owned(),
        interceptor: scenario.interceptor.name().to_owned(),
        tls_version: version_name(scenario.version).to_owned(),
        stage: if scenario.both { "both" } else { "client" }.to_owned(),
        group: scenario.group.clone(),
        inspection_ca: String::new(),
        note: scenario.note.to_owned(),
    }
}
