//! Traffic's loss to the taps of a gateway: live frames on a link, TCP through the agent.

mod live_frames;
mod place;
mod requests;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use lab::host::{Process, run, words};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::gateway::{Gateway, PATIENCE};

use crate::table::{Goal, Row, Table};
use crate::turns::{Turns, median};
use place::{Agent, Pinned, Place};

/// The least that is left of throughput with the agent.
const LEFT: f64 = 0.98;
const ROUNDS: usize = 10;
const SERVER: &str = "10.78.2.2";

/// Adds rows of frames that arrive as from a network card.
pub(crate) fn measure_frames(table: &mut Table) -> anyhow::Result<()> {
    eprintln!("gateway: live frames");
    live_frames::measure(table)
}

/// Adds rows of new connections.
pub(crate) fn measure_connections(table: &mut Table, agent: &Path) -> anyhow::Result<()> {
    eprintln!("gateway: new connections");
    requests::measure(table, &Gateway::new("bench")?, agent)
}

/// Adds a row of one TCP connection's throughput.
pub(crate) fn measure_tcp(table: &mut Table, agent: &Path) -> anyhow::Result<()> {
    let gateway = Gateway::new("bench")?;
    eprintln!("gateway: one TCP connection");
    match throughput(&gateway, agent) {
        Ok(bits) => table.add(Row {
            what: "TCP through the gateway, MTU 1,500, TCX on both veths".to_owned(),
            figure: format!(
                "{:.2} Gbit/s ({})",
                median(&bits.figure) / 1e9,
                bits.ratio()
            ),
            reference: format!(
                "without the agent {:.2} Gbit/s",
                median(&bits.reference) / 1e9
            ),
            ratio: Some(bits.ratio().median),
            goal: Some(Goal::AtLeast(LEFT)),
        }),
        Err(error) => table.add(Row {
            what: "TCP through the gateway".to_owned(),
            figure: String::new(),
            reference: format!("not measured ({error:#})"),
            ratio: None,
            goal: None,
        }),
    }
    Ok(())
}

/// Runs `round` with and without the agent in turns; the reference is without.
fn in_turns(
    gateway: &Gateway,
    agent: &Agent<'_>,
    mut round: impl FnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<Turns> {
    let mut turns = Turns::default();
    for number in 0..ROUNDS {
        // Each goes first as often, so that a machine that gets slower favours neither.
        let mut figures = [0.0; 2];
        for with in [number % 2, 1 - number % 2] {
            let running = (with == 1).then(|| watch(gateway, agent)).transpose()?;
            if let Some(figure) = figures.get_mut(with) {
                *figure = round()?;
            }
            if let Some(mut running) = running {
                running.stop(Signal::SIGINT)?;
            }
        }
        let [without, with] = figures;
        turns.push(without, with);
    }
    Ok(turns)
}

fn watch(gateway: &Gateway, agent: &Agent<'_>) -> anyhow::Result<Process> {
    let mut command = gateway.gateway.command(agent.path);
    command.args(["run", "--interface", "lan0", "--interface", "wan0"]);
    command.args(["--output", "json"]);
    let own = agent.place.agents_core().map(Pinned::to).transpose()?;
    let agent = Process::start(&mut command)?;
    drop(own);
    agent.wait_for(PATIENCE, |line| line == "ready")?;
    Ok(agent)
}

fn throughput(gateway: &Gateway, agent: &Path) -> anyhow::Result<Turns> {
    let agent = &Agent {
        path: agent,
        place: Place::Shared,
    };
    run(&mut words("iperf3 --version")).context("apt-get install iperf3")?;
    let _server = Process::start(gateway.server.command("iperf3").arg("--server"))?;
    gateway.server.wait_until_listening(5201)?;
    let line = format!("iperf3 --client {SERVER} --time 3 --json");
    in_turns(gateway, agent, || {
        let told: Value = serde_json::from_str(&gateway.client.run(&line)?)?;
        told.pointer("/end/sum_received/bits_per_second")
            .and_then(Value::as_f64)
            .context("iperf3 tells no throughput")
    })
}

/// Runs on a thread of its own inside a namespace.
pub(crate) fn inside<T: Send + 'static>(
    namespace: &str,
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> std::thread::JoinHandle<anyhow::Result<T>> {
    let path = format!("/run/netns/{namespace}");
    std::thread::spawn(move || {
        let file = std::fs::File::open(&path).with_context(|| format!("cannot open {path}"))?;
        nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("cannot enter {path}"))?;
        work()
    })
}

pub(crate) fn joined<T>(thread: std::thread::JoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    thread
        .join()
        .map_err(|_| anyhow::anyhow!("a thread of the bench panicked"))?
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
