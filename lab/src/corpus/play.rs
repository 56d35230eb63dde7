//! Plays scenarios one after another between recordings, and sorts out whose frames are whose.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};

use super::connections::Connections;
use super::live;
use super::scenarios::{Scenario, Trust};
use crate::capture::Frame;
use crate::clients::{self, Client, Pin, Request};
use crate::host::certificate::{fingerprint, pin};
use crate::host::output;
use crate::network::{Interceptor, Network};

/// The wait for the segments after a client's end: late FINs, tickets, resets.
const AFTERMATH: Duration = Duration::from_millis(300);

/// The outcome of playing.
pub struct Recorded {
    /// Scenarios that went as they were set up.
    pub played: Vec<Played>,
    /// All frames of both taps, in the order of time.
    pub frames: Vec<(u32, Frame)>,
    /// The agent's verdicts meanwhile.
    pub live: Option<live::Verdicts>,
}

/// A scenario that went as it was set up, and its frames.
pub struct Played {
    /// The scenario.
    pub scenario: Scenario,
    /// The client's version.
    pub version: String,
    /// The frames, each with the number of its tap.
    pub frames: Vec<(u32, Frame)>,
    /// The interceptor's log lines meanwhile.
    pub log: Vec<String>,
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
    let network = Network::new(work, &interceptors)?;
    let certificate = &network.pinned_certificate;
    let pin = Pin::Key {
        spki_sha256_base64: pin(certificate)?,
        certificate_sha256_hex: fingerprint(certificate)?,
    };
    let watch = agent
        .map(|agent| live::Watch::start(&network, agent))
        .transpose()?;
    let recordings = [network.record("lan0")?, network.record("wan0")?];
    let mut stage = Stage {
        network: &network,
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
        let log = network.log(scenario.interceptor)?;
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
    let [lan, wan] = [lan.finish()?, wan.finish()?];
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

/// The parts that scenarios are played with.
struct Stage<'a> {
    network: &'a Network,
    programs: &'a HashMap<String, Box<dyn Client>>,
    pin: Pin,
    interceptor: Interceptor,
    /// The client address of each group.
    hosts: HashMap<String, u8>,
}

impl Stage<'_> {
    /// Plays one scenario; returns whether the client says that it worked.
    fn play(&mut self, scenario: &Scenario) -> anyhow::Result<bool> {
        if scenario.interceptor != self.interceptor {
            self.network.route_through(scenario.interceptor)?;
            self.interceptor = scenario.interceptor;
        }
        let next = 10 + (self.hosts.len() % 240) as u8;
        let host = *self.hosts.entry(scenario.group.clone()).or_insert(next);
        self.network.move_clients(host)?;
        let trust = match scenario.trust {
            Trust::Own => clients::Trust::Default,
            Trust::Origins => clients::Trust::Only(self.network.origin_ca.certificate()),
            Trust::Inspection => clients::Trust::Only(self.network.inspection_ca.certificate()),
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
                .then(|| self.network.client_certificate.clone()),
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
        let mut command: Command = self.network.clients.command("timeout");
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
