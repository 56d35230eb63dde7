//! The checks of an interface.

use super::{TCX, Version, XDP_FRAGMENTS, is_since};
use crate::host::interfaces::Framing;
use crate::operate::command::doctor::classifiers::Owner;
use crate::operate::command::doctor::facts::{InterfaceFacts, Interfaces};
use crate::operate::command::doctor::report::Check;
use crate::source::tap::selection::InterfaceError;

/// Minimum slots of a receive ring: a smaller one overflows at a common burst.
const RECEIVE_SLOTS: u32 = 512;

pub(super) fn none(error: &InterfaceError) -> Check {
    let check = Check::problem("interface", error.to_string());
    match error {
        InterfaceError::NoneUp => check.fixed_by("ip link set dev IF up"),
        InterfaceError::Missing { .. } | InterfaceError::Unreadable { .. } => {
            check.fixed_by("ip -brief link")
        }
        InterfaceError::List(_) => check,
    }
}

pub(super) fn each(interfaces: &Interfaces, version: Option<Version>) -> Vec<Check> {
    let found = interfaces.found.iter();
    let mut checks: Vec<Check> = found.flat_map(|it| interface(it, version)).collect();
    for name in &interfaces.missing {
        let check = Check::warning("interface", "the interface does not exist yet");
        checks.push(check.on(name).fixed_by("ip -brief link"));
    }
    for name in &interfaces.unreadable {
        let check = Check::problem(
            "interface",
            "cannot be tapped: it carries neither Ethernet frames nor raw IP packets",
        );
        checks.push(check.on(name).fixed_by("ip -brief link"));
    }
    checks
}

fn interface(facts: &InterfaceFacts, version: Option<Version>) -> Vec<Check> {
    let name = &facts.interface.name;
    let mut checks = vec![link(facts), xdp_mode(facts, version)];
    checks.extend(layer(facts));
    checks.extend(xdp_program(facts));
    checks.extend(classifiers(facts));
    checks.extend(offloads(facts));
    checks.extend(receive_ring(facts));
    checks.into_iter().map(|check| check.on(name)).collect()
}

fn link(facts: &InterfaceFacts) -> Check {
    let interface = &facts.interface;
    let driver = facts.driver.as_deref().unwrap_or("unknown driver");
    let about = format!("{driver}, MTU {}", interface.mtu);
    if !interface.is_up() {
        Check::warning("interface", format!("{about}, down"))
            .fixed_by(format!("ip link set dev {} up", interface.name))
    } else if interface.has_link() {
        Check::ok("interface", format!("{about}, up"))
    } else {
        Check::warning(
            "interface",
            format!("{about}, up, no link: check the cable"),
        )
    }
}

/// Returns the frames that are seen on an interface which is stacked upon others, or under one.
pub(super) fn layer(facts: &InterfaceFacts) -> Option<Check> {
    let interface = &facts.interface;
    let kind = interface.kind.as_deref();
    if matches!(interface.master_kind.as_deref(), Some("bond" | "team")) {
        let detail = "a member of a bond: sees its share of the frames only; name the bond";
        let check = Check::warning("layer", detail);
        return Some(check.fixed_by(format!("ip link show dev {}", interface.name)));
    }
    let sees = match kind {
        Some("bridge") => {
            "a bridge: sees routed connections; those between its ports are seen on the ports alone"
        }
        Some("bond" | "team") => "a bond: sees the frames of all its members",
        Some("vlan") => {
            "a VLAN: sees its own frames, without the tag; the interface below sees all VLANs, with tags"
        }
        Some("macvlan" | "ipvlan") => {
            "shares an interface: sees its own frames; the interface below sees all"
        }
        Some("vxlan" | "geneve" | "gretap" | "ip6gretap") => {
            "a tunnel: sees the frames inside; the interface below sees them too, and verdicts there name \
             the tunnel"
        }
        Some("ppp") => {
            "PPP: sees the IP packets inside; the interface below sees them too, in PPPoE frames"
        }
        _ if interface.framing() == Some(Framing::Ip) => {
            "a tunnel: sees the IP packets inside; the interface below sees encrypted ones only, if the \
             tunnel encrypts"
        }
        _ => return None,
    };
    Some(Check::ok("layer", sees))
}

/// Checks the hook at ingress, and shows the reason if it is not XDP.
pub(super) fn xdp_mode(facts: &InterfaceFacts, version: Option<Version>) -> Check {
    let interface = &facts.interface;
    let instead = if is_since(version, TCX) {
        "TCX"
    } else {
        "clsact"
    };
    let why = if interface.framing() != Some(Framing::Ethernet) {
        "the interface has no Ethernet frames"
    } else if !interface.is_hardware() {
        "native XDP copies the frames of a virtual interface"
    } else if !is_since(version, XDP_FRAGMENTS) {
        "XDP on frames of several buffers requires Linux 5.18"
    } else if interface.xdp.is_some() && !facts.has_own_xdp() {
        "another XDP program is attached"
    } else {
        match facts.native_xdp {
            Some(true) => return Check::ok("xdp-mode", "ingress by native XDP"),
            Some(false) => "the driver does not support native XDP",
            None => {
                let detail = format!(
                    "ingress by native XDP if the driver supports it, otherwise by {instead}"
                );
                return Check::ok("xdp-mode", detail);
            }
        }
    };
    Check::ok("xdp-mode", format!("ingress by {instead}: {why}"))
}

fn xdp_program(facts: &InterfaceFacts) -> Option<Check> {
    let program = facts.interface.xdp?;
    let name = facts.xdp_name.as_deref().unwrap_or("an XDP program");
    let which = program
        .id
        .map(|id| format!(" (id {id}, {})", program.mode))
        .unwrap_or_default();
    if facts.has_own_xdp() {
        let detail = format!("{name}{which} of tlswhy is attached");
        return Some(Check::ok("xdp-program", detail));
    }
    let detail = format!(
        "{name}{which} is attached: tlswhy leaves it there, taps by TC, and sees only the packets that it passes"
    );
    let check = Check::warning("xdp-program", detail);
    // Detaching it may break its owner: the command only identifies it.
    Some(match program.id {
        Some(id) => check.fixed_by(format!("bpftool prog show id {id}")),
        None => check.fixed_by(format!(
            "ip -details link show dev {}",
            facts.interface.name
        )),
    })
}

/// Checks the programs at the classifier hooks. With TCX tlswhy attaches before those that exist;
/// one that is attached before it later may hide packets from it.
fn classifiers(facts: &InterfaceFacts) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut hidden: Vec<String> = Vec::new();
    let of = |owner| facts.classifiers.iter().filter(move |it| it.owner == owner);
    for own in of(Owner::Tlswhy) {
        let mut on_hook = facts.classifiers.iter().filter(|it| it.hook == own.hook);
        if let Some(first) = on_hook.next().filter(|first| first.owner == Owner::Other) {
            hidden.push(format!("{} on {}", first.name, first.hook));
        }
    }
    let others: Vec<String> = of(Owner::Other)
        .map(|it| format!("{} on {}", it.name, it.hook))
        .collect();
    if !hidden.is_empty() {
        let detail = format!(
            "{} runs before tlswhy: packets that it drops are not seen",
            hidden.join(", ")
        );
        let check = Check::warning("tc-programs-there", detail);
        checks.push(
            check.fixed_by("systemctl stop tlswhy && tlswhy detach && systemctl start tlswhy"),
        );
    } else if !others.is_empty() {
        let detail = format!("{}: tlswhy runs before", others.join(", "));
        checks.push(Check::ok("tc-programs-there", detail));
    }
    checks
}

pub(super) fn receive_ring(facts: &InterfaceFacts) -> Option<Check> {
    let ring = facts.receive_ring?;
    let detail = format!("receive rings have {} of {} slots", ring.slots, ring.most);
    Some(if ring.slots >= RECEIVE_SLOTS.min(ring.most) {
        Check::ok("ring-size", detail)
    } else {
        let why = "bursts may be dropped before any program sees them";
        let name = &facts.interface.name;
        Check::warning("ring-size", format!("{detail}: {why}"))
            .fixed_by(format!("ethtool --set-ring {name} rx {}", ring.most))
    })
}

fn offloads(facts: &InterfaceFacts) -> Vec<Check> {
    let name = &facts.interface.name;
    let Some(on) = &facts.offloads else {
        let check = Check::warning("offloads", "the kernel does not list the offloads");
        return vec![check.fixed_by(format!("ethtool --show-features {name}"))];
    };
    let mut checks = Vec::new();
    if on.contains("rx-lro") {
        let detail = "LRO merges segments before XDP, and many drivers then refuse native XDP";
        let fix = format!("ethtool --features {name} lro off");
        checks.push(Check::warning("lro", detail).fixed_by(fix));
    }
    if on.contains("rx-gro-hw") {
        let detail = "GRO-HW merges segments before XDP, and some drivers then refuse native XDP";
        let fix = format!("ethtool --features {name} rx-gro-hw off");
        checks.push(Check::warning("gro-hw", detail).fixed_by(fix));
    }
    // A classifier receives the stripped tags.
    if on.contains("rx-vlan-hw-parse") && facts.interface.is_hardware() {
        let detail =
            "VLAN tags are stripped before XDP: verdicts on incoming connections name no VLAN";
        let fix = format!("ethtool --features {name} rx-vlan-offload off");
        checks.push(Check::warning("vlan-offload", detail).fixed_by(fix));
    }
    checks
}
