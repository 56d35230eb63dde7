//! `cargo xtask fleet-load`: generated facts through a cluster, beside one gateway alone.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;

use super::cluster::Cluster;
use super::member::FACTS_OF_VERDICT;
use super::run::{Made, Member, account, agent, check, serve};

const GATEWAYS: [&str; 4] = ["gw1", "gw2", "gw3", "gw4"];
/// Facts of each gateway, as fast as they are taken.
const FACTS: u64 = 150_000;
/// Facts a second of all gateways together, and seconds, at a steady rate.
const STEADY_RATE: u64 = 20_000;
const STEADY_S: u64 = 20;

/// Measures, and prints the figures.
///
/// # Errors
/// If something needed is missing, or a fact is lost or twice there.
pub fn run() -> anyhow::Result<()> {
    let tools = std::env::current_exe().context("cannot find this program")?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let agent = agent()?;
    let members = [&GATEWAYS[..], &["collector"]].concat();
    let cluster = Cluster::start("tlswhy-load", folder.path(), &members, "20GB")?;
    // It creates the streams, and would take part of this machine's time for its database.
    serve(&cluster, &agent, GATEWAYS.len(), "collector")?.stop(Signal::SIGTERM)?;
    let leader = {
        let mut alone = start(&cluster, &tools, 0, 0, 0..FACTS)?;
        let one = finish(&mut alone, FACTS)?;
        alone.stop(Signal::SIGTERM)?;
        println!("one gateway alone: {one:.0} facts a second");
        let mut members = Vec::new();
        for place in 0..GATEWAYS.len() {
            members.push(start(&cluster, &tools, place, 0, FACTS..2 * FACTS)?);
        }
        let mut together = 0.0;
        for member in &mut members {
            together += finish(member, FACTS)?;
        }
        members
            .iter_mut()
            .try_for_each(|it| it.stop(Signal::SIGTERM))?;
        println!(
            "four gateways together: {together:.0} facts a second, {:.2} times one alone",
            together / one
        );
        cluster.leader("TLSWHY_FACT")?
    };
    steady(&cluster, &tools)?;
    let account = account(&cluster, &tools, 0, GATEWAYS[0])?;
    let facts = 5 * FACTS + STEADY_RATE * STEADY_S;
    check(&account, facts, facts.div_ceil(FACTS_OF_VERDICT))?;
    println!(
        "all {} facts and {} verdicts are there, each once (leader: nats{leader}); {:.1} bytes a fact in {} messages, \
         {:.0} bytes a verdict",
        account.facts,
        account.verdicts,
        account.bytes as f64 / account.facts as f64,
        account.messages,
        account.verdict_bytes as f64 / account.verdicts.max(1) as f64
    );
    Ok(())
}

/// Shares facts at a steady rate, and says how far the members were behind.
fn steady(cluster: &Cluster, tools: &Path) -> anyhow::Result<()> {
    let each = STEADY_RATE / GATEWAYS.len() as u64;
    let begin = 2 * FACTS;
    let mut members = Vec::new();
    for place in 0..GATEWAYS.len() {
        members.push(start(
            cluster,
            tools,
            place,
            each,
            begin..begin + each * STEADY_S,
        )?);
    }
    let mut waiting = 0;
    for _ in 0..STEADY_S * 4 {
        std::thread::sleep(Duration::from_millis(250));
        for member in &mut members {
            waiting = waiting.max(member.progress().waiting);
        }
    }
    let mut slowest = 0;
    for member in &mut members {
        slowest = slowest.max(member.wait(each * STEADY_S)?.elapsed_ms);
    }
    members
        .iter_mut()
        .try_for_each(|it| it.stop(Signal::SIGTERM))?;
    println!(
        "{STEADY_RATE} facts a second for {STEADY_S} s: all acknowledged after {:.1} s, at most {waiting} of a gateway \
         waited",
        slowest as f64 / 1_000.0
    );
    Ok(())
}

fn start(
    cluster: &Cluster,
    tools: &Path,
    place: usize,
    rate: u64,
    facts: std::ops::Range<u64>,
) -> anyhow::Result<Member> {
    let gateway = GATEWAYS.get(place).context("no such gateway")?;
    let made = Made {
        gateway,
        rate,
        facts,
    };
    Member::start(cluster, tools, place, &made)
}

/// Waits for a member's facts, and returns their number a second.
fn finish(member: &mut Member, facts: u64) -> anyhow::Result<f64> {
    let progress = member.wait(facts)?;
    Ok(facts as f64 * 1_000.0 / progress.elapsed_ms.max(1) as f64)
}
