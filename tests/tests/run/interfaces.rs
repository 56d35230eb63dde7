//! Interfaces that come, go, move, or are chosen by a rule.

use lab::host::{run, words};
use nix::sys::signal::Signal;
use tests::gateway::agent;
use tests::wire::{PATIENCE, namespace, pair, until};

use crate::{classifier, configured, failure, has_line, is_clean, start};

#[test]
fn without_names_it_watches_what_carries_traffic() {
    let (_client, gateway) = pair();
    let (_agent, said) = start(&gateway, &[]);
    assert!(
        has_line(&said, "tap g0: ") && !has_line(&said, "tap lo: "),
        "{said:?}"
    );
}

#[test]
fn interfaces_vanish_come_back_and_are_called_something_else() {
    let (client, gateway) = pair();
    gateway
        .run("ip link add x0 type veth peer name x1")
        .unwrap();
    let (mut agent, _) = start(&gateway, &["-i", "g0", "-i", "x0"]);
    let says = |words: &str| {
        agent
            .wait_for(PATIENCE, |line| line.contains(words))
            .unwrap()
    };
    gateway.run("ip link delete x0").unwrap();
    says("tap x0: the interface is gone");
    assert!(!is_clean(&gateway, "g0"), "the other one is watched on");
    for change in ["down", "up", "mtu 1400"] {
        gateway.run(&format!("ip link set g0 {change}")).unwrap();
    }
    gateway.run("ip link set g0 down").unwrap();
    gateway.run("ip link set g0 name h0").unwrap();
    says("tap g0: the interface was renamed to h0");
    assert!(!is_clean(&gateway, "h0"));
    client.run("ip link delete c0").unwrap();
    says("no tapped interface is left; waiting for one");
    gateway
        .run("ip link add x0 type veth peer name x1")
        .unwrap();
    says("tap x0: ingress");
    assert!(!is_clean(&gateway, "x0"));
    // The agent holds its namespace, which has no name any more.
    run(&mut words(&format!("ip netns delete {}", gateway.name()))).unwrap();
    let (status, _) = agent.stop(Signal::SIGTERM).unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_configured_interface_is_awaited_and_globs_take_what_comes() {
    let gateway = namespace("awaited");
    let file = configured("[watch]\ninterfaces = [\"late0\", \"lan*\"]\n");
    let path = file.path().to_str().unwrap();
    let (_agent, said) = start(&gateway, &["--config", path]);
    assert!(
        has_line(&said, "tap late0: the interface does not exist yet"),
        "{said:?}"
    );
    assert!(has_line(&said, "no interface to watch yet"), "{said:?}");
    gateway
        .run("ip link add late0 type veth peer name lan0")
        .unwrap();
    for name in ["late0", "lan0"] {
        gateway.run(&format!("ip link set {name} up")).unwrap();
    }
    // In whichever order, and perhaps with a word on one that is still down.
    for name in ["late0", "lan0"] {
        until("it is tapped", || !is_clean(&gateway, name));
    }
}

#[test]
fn auto_takes_what_a_default_route_leads_to_when_it_comes() {
    let (_client, gateway) = pair();
    let file = configured("[watch]\ninterfaces = [\"auto\"]\n");
    let path = file.path().to_str().unwrap();
    let (agent, said) = start(&gateway, &["--config", path]);
    assert!(has_line(&said, "no interface to watch yet"), "{said:?}");
    gateway.run("ip route add 192.0.2.0/24 dev g0").unwrap();
    gateway.run("ip route add default dev g0").unwrap();
    let tapped = agent.wait_for(PATIENCE, |line| line.contains("tap g0: "));
    tapped.unwrap();
}

#[test]
fn an_interface_that_moves_away_is_let_go() {
    let (client, gateway) = pair();
    gateway
        .run("ip link add x0 type veth peer name x1")
        .unwrap();
    let (agent, _) = start(&gateway, &["-i", "g0", "-i", "x0"]);
    gateway
        .run(&format!("ip link set x0 netns {}", client.name()))
        .unwrap();
    agent
        .wait_for(PATIENCE, |line| {
            line.contains("tap x0: the interface is gone")
        })
        .unwrap();
    until("no program stays on it", || is_clean(&client, "x0"));
}

#[test]
fn an_interface_that_is_not_there_is_one_line() {
    let gateway = namespace("missing");
    let said = failure(gateway.command(agent()).args(["run", "-i", "nope0"]));
    assert!(said.contains("no interface is called nope0"), "{said}");
}

#[test]
fn an_interface_that_is_down_is_a_warning() {
    let (_client, gateway) = pair();
    gateway.run("ip link set g0 down").unwrap();
    let (_agent, said) = start(&gateway, &["-i", "g0"]);
    assert!(
        has_line(&said, "tlswhy: tap g0: the interface is down"),
        "{said:?}"
    );
}

#[test]
fn two_agents_watch_one_interface() {
    let (_client, gateway) = pair();
    let (_first, _) = start(&gateway, &["-i", "g0"]);
    let (_second, said) = start(&gateway, &["-i", "g0"]);
    let line = format!("tap g0: ingress {0}, egress {0}", classifier());
    assert!(has_line(&said, &line), "{said:?}");
    // Nobody would have it on a virtual interface.
    assert!(!has_line(&said, "tap g0: no XDP"), "{said:?}");
}

/// Without XDP, tags that the device took off are still known.
#[test]
fn vlans_tell_flows_apart_where_classifiers_see_them() {
    let (_client, gateway) = pair();
    let (_agent, said) = start(&gateway, &["-i", "g0"]);
    assert!(!has_line(&said, "VLAN tags are stripped"), "{said:?}");
}
