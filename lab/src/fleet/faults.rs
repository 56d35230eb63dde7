//! `cargo xtask fleet-faults`: what becomes of facts and verdicts when servers, networks and members fail.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;

use super::cluster::{Cluster, NODES, store_folder};
use super::disk::Disk;
use super::member::FACTS_OF_VERDICT;
use super::run::{Made, Member, account, agent, ask, check, publish, serve, wait_until};

const GATEWAYS: [&str; 2] = ["gw1", "gw2"];
/// Namespaces: the gateways, then two machines that serve.
const MEMBERS: [&str; 4] = ["gw1", "gw2", "collector", "gw3"];
/// Facts a second of each gateway.
const RATE: u64 = 500;
/// Time for which a server is away, and that of the partition.
const AWAY: Duration = Duration::from_secs(10);
const PARTITION: Duration = Duration::from_secs(60);
/// Size of a server's disk, megabytes, and the time for which it is full.
const DISK_MB: u64 = 48;
const FULL: Duration = Duration::from_secs(15);
/// Time for which a reader stands still.
const SLOW: Duration = Duration::from_secs(30);

/// Plays all faults, and prints what came of each.
///
/// # Errors
/// If a fact or a verdict is lost or twice there, or the databases differ.
pub fn run() -> anyhow::Result<()> {
    let tools = std::env::current_exe().context("cannot find this program")?;
    let agent = agent()?;
    running(&tools, &agent)?;
    full_disks(&tools, &agent)
}

/// The gateways while facts are shared all the time.
struct Sharing<'a> {
    cluster: Cluster,
    tools: &'a Path,
    members: Vec<Member>,
    /// Facts of each gateway before the members that run.
    before: u64,
}

impl Sharing<'_> {
    fn start(&mut self, facts: u64) -> anyhow::Result<()> {
        let numbers = self.before..self.before + facts;
        for (place, gateway) in GATEWAYS.iter().enumerate() {
            let made = Made {
                gateway,
                rate: RATE,
                facts: numbers.clone(),
            };
            self.members
                .push(Member::start(&self.cluster, self.tools, place, &made)?);
        }
        self.before += facts;
        Ok(())
    }

    /// Waits for all facts, ends the members, and checks the account.
    fn settle(&mut self, facts: u64, what: &str) -> anyhow::Result<()> {
        for member in &mut self.members {
            let progress = member.wait(facts)?;
            ensure!(progress.lost == 0, "{what}: facts were lost: {progress:?}");
        }
        for mut member in self.members.drain(..) {
            member.stop(Signal::SIGTERM)?;
        }
        let shared = self.before * GATEWAYS.len() as u64;
        let verdicts = self.before.div_ceil(FACTS_OF_VERDICT) * GATEWAYS.len() as u64;
        // A server that was cut off answers by what it knew until it has met the others again.
        let mut found = Ok(());
        let settled = wait_until(what, || {
            let account = account(&self.cluster, self.tools, 0, GATEWAYS[0])?;
            found = check(&account, shared, verdicts);
            let is_behind = account.facts < shared || account.verdicts < verdicts;
            Ok(!is_behind)
        });
        found
            .and(settled.map(|_| ()))
            .with_context(|| what.to_owned())?;
        println!("{what}: all {shared} facts and {verdicts} verdicts so far are there, each once");
        Ok(())
    }
}

fn running(tools: &Path, agent: &Path) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let cluster = Cluster::start("tlswhy-faults", folder.path(), &MEMBERS, "1GB")?;
    let mut sharing = Sharing {
        cluster,
        tools,
        members: Vec::new(),
        before: 0,
    };
    let collector = serve(&sharing.cluster, agent, 2, "collector")?;
    permissions(&sharing.cluster, tools)?;
    sharing.start(RATE * 5)?;
    sharing.settle(RATE * 5, "no fault")?;
    let leader = sharing.cluster.leader("TLSWHY_FACT")?;
    let others = (1..=NODES).filter(|node| *node != leader);
    for node in std::iter::once(leader).chain(others) {
        let facts = RATE * 25;
        sharing.start(facts)?;
        std::thread::sleep(Duration::from_secs(3));
        let role = if node == sharing.cluster.leader("TLSWHY_FACT")? {
            "which led the facts, "
        } else {
            ""
        };
        sharing.cluster.stop_node(node, Signal::SIGKILL)?;
        std::thread::sleep(AWAY);
        sharing.cluster.start_node(node)?;
        sharing.settle(
            facts,
            &format!("nats{node}, {role}killed and back after 10 s"),
        )?;
    }
    let facts = RATE * 75;
    sharing.start(facts)?;
    std::thread::sleep(Duration::from_secs(3));
    let leader = sharing.cluster.leader("TLSWHY_FACT")?;
    sharing.cluster.cut_off(leader, true)?;
    std::thread::sleep(PARTITION);
    sharing.cluster.cut_off(leader, false)?;
    sharing.settle(
        facts,
        &format!("nats{leader}, the leader, cut off for 60 s"),
    )?;
    let facts = RATE * 40;
    sharing.start(facts)?;
    collector.signal(Signal::SIGSTOP)?;
    std::thread::sleep(SLOW);
    collector.signal(Signal::SIGCONT)?;
    sharing.settle(facts, "a reader that stood still for 30 s")?;
    versions(&sharing.cluster, tools)?;
    let other = serve(&sharing.cluster, agent, 3, "gw3");
    ensure!(other.is_ok(), "a second machine cannot serve");
    same_lists(&sharing.cluster, agent, sharing.before)?;
    killed(&mut sharing)
}

/// Fills the disk of the server that leads the facts, then those of all. A server that met a full disk (2.9.10) neither
/// answers for its streams once there is room again, nor ends by SIGTERM: it is killed, as systemd does after a while.
fn full_disks(tools: &Path, agent: &Path) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let disks = (1..=NODES).map(|node| Disk::mount(&store_folder(folder.path(), node), DISK_MB));
    let disks = disks.collect::<anyhow::Result<Vec<_>>>()?;
    let cluster = Cluster::start("tlswhy-disk", folder.path(), &MEMBERS, "1GB")?;
    serve(&cluster, agent, 2, "collector")?.stop(Signal::SIGTERM)?;
    let mut sharing = Sharing {
        cluster,
        tools,
        members: Vec::new(),
        before: 0,
    };
    let leader = sharing.cluster.leader("TLSWHY_FACT")?;
    for full in [vec![leader], (1..=NODES).collect()] {
        let facts = RATE * 30;
        sharing.start(facts)?;
        std::thread::sleep(Duration::from_secs(3));
        let disk = |node: &usize| disks.get(node - 1).context("no such disk");
        for node in &full {
            disk(node)?.fill()?;
        }
        std::thread::sleep(FULL);
        let mut members = sharing.members.iter_mut();
        let waits = members.any(|member| member.progress().waiting > 0);
        ensure!(
            waits || full.len() < NODES,
            "facts were taken though all disks are full"
        );
        for node in &full {
            disk(node)?.free()?;
            sharing.cluster.stop_node(*node, Signal::SIGKILL)?;
            sharing.cluster.start_node(*node)?;
        }
        sharing.settle(
            facts,
            &format!("full disks of {} of {NODES} servers for 15 s", full.len()),
        )?;
    }
    Ok(())
}

/// Asks the servers for what the shipped permissions forbid.
fn permissions(cluster: &Cluster, tools: &Path) -> anyhow::Result<()> {
    for (user, subject, is_allowed) in [
        ("gw1", "tlswhy.gateway.gw2", false),
        ("gw1", "tlswhy.fact.gw2", false),
        ("gw1", "tlswhy.verdict.gw2.pinning", false),
        ("gw1", "tlswhy.mute.gw2", false),
        ("collector", "tlswhy.fact.gw1", false),
    ] {
        let place = usize::from(user != "gw1") * 2;
        let was_taken = publish(cluster, tools, (place, user), subject, "{}")?;
        ensure!(
            was_taken == is_allowed,
            "{user} on {subject}: the server took it"
        );
    }
    println!("permissions: another's name is refused for facts, verdicts, health and muting");
    Ok(())
}

/// Sends messages of a later version, which readers skip.
fn versions(cluster: &Cluster, tools: &Path) -> anyhow::Result<()> {
    for (subject, content) in [
        ("tlswhy.fact.gw2", r#"{"version":7,"facts":{"columns":[]}}"#),
        ("tlswhy.verdict.gw2.pinning", r#"{"version":7}"#),
        ("tlswhy.gateway.gw2", r#"{"version":7}"#),
    ] {
        let was_taken = publish(cluster, tools, (1, "gw2"), subject, content)?;
        ensure!(was_taken, "the server refused a message on {subject}");
    }
    println!("mixed versions: messages of version 7 are in all streams");
    Ok(())
}

/// Waits until two databases have everything, and compares their answers.
fn same_lists(cluster: &Cluster, agent: &Path, facts: u64) -> anyhow::Result<()> {
    let expected = facts * GATEWAYS.len() as u64;
    let answers = |user: &str| -> anyhow::Result<[String; 3]> {
        Ok([
            ask(
                cluster,
                agent,
                user,
                &[
                    "verdicts", "--fleet", "--limit", "100000", "--output", "json",
                ],
            )?,
            ask(
                cluster,
                agent,
                user,
                &[
                    "groups", "--fleet", "--all", "--limit", "1000000", "--output", "json",
                ],
            )?,
            ask(
                cluster,
                agent,
                user,
                &["exclusions", "--fleet", "--min-confidence", "0.3"],
            )?,
        ])
    };
    for user in ["collector", "gw3"] {
        wait_until("all facts in a database", || {
            let groups = ask(
                cluster,
                agent,
                user,
                &[
                    "groups", "--fleet", "--all", "--limit", "1000000", "--output", "csv",
                ],
            );
            Ok(groups.is_ok_and(|it| it.lines().count() as u64 > expected))
        })?;
    }
    let [one, other] = [answers("collector")?, answers("gw3")?];
    ensure!(
        one == other,
        "two databases of one fleet answer differently"
    );
    println!(
        "two databases, one of them begun at the end: {} verdicts, {} groups and the list are the same, byte for byte",
        one[0].lines().count(),
        one[1].lines().count()
    );
    print!("{}", ask(cluster, agent, "collector", &["fleet"])?);
    Ok(())
}

/// Kills a member, and starts it again with the same facts.
fn killed(sharing: &mut Sharing<'_>) -> anyhow::Result<()> {
    let facts = RATE * 20;
    let begin = sharing.before;
    sharing.start(facts)?;
    let mut member = sharing.members.remove(0);
    wait_until("a member amid its facts", || {
        Ok(member.progress().published >= facts / 4)
    })?;
    let before = member.progress().clone();
    member.stop(Signal::SIGKILL)?;
    std::thread::sleep(Duration::from_secs(2));
    let made = Made {
        gateway: GATEWAYS[0],
        rate: RATE,
        // Facts without an acknowledgement are made again, as the next agent reads its history again.
        facts: begin + before.published.saturating_sub(RATE)..begin + facts,
    };
    let again = facts - before.published.saturating_sub(RATE);
    let mut member = Member::start(&sharing.cluster, sharing.tools, 0, &made)?;
    member.wait(again)?;
    for other in &mut sharing.members {
        other.wait(facts)?;
    }
    let account = account(&sharing.cluster, sharing.tools, 0, GATEWAYS[0])?;
    let shared = sharing.before * GATEWAYS.len() as u64;
    ensure!(
        account.different == shared,
        "{shared} facts were shared; the servers have {}",
        account.different
    );
    println!(
        "a member killed after {} facts and started again: all {shared} facts so far are there",
        before.published
    );
    Ok(())
}
