//! Sizes of the kernel's tables and rings.

use crate::host::interfaces::Interface;
use crate::operate::cli::LogLevel;
use crate::operate::config::Settings;
use crate::source::tap::hook::Abilities;
use crate::source::tap::object::ObjectOptions;

/// Tracked connections for each one that may be in its handshake or at its end. A connection there
/// takes three times the memory of an established one.
const FLOWS_PER_WATCHED: u32 = 16;
/// Minimum room for simultaneous handshakes, however few connections are tracked.
const WATCHED_MIN: u32 = 16_384;
/// Tag sets for each watched flow: with two, hardly any set is ever full.
const TAG_SETS_PER_WATCHED: u32 = 2;

/// Returns the sizes of tables, and whether VLAN IDs are part of the flow key: only if all programs
/// see them. Nothing depends on programs that are attached now: a restart must adopt its own.
pub(super) fn options(
    settings: &Settings,
    log: LogLevel,
    interfaces: &[Interface],
) -> ObjectOptions {
    let abilities = Abilities::of_this_kernel();
    let hides_vlan = |it: &Interface| abilities.xdp && it.takes_xdp() && it.strips_vlan_tags();
    let flows = settings.flows;
    let watched_flows = (flows / FLOWS_PER_WATCHED).max(flows.min(WATCHED_MIN));
    ObjectOptions {
        watched_flows,
        settled_flows: flows - flows / FLOWS_PER_WATCHED,
        tag_sets: watched_flows.saturating_mul(TAG_SETS_PER_WATCHED),
        syn_slots: watched_flows,
        observation_ring: settings.observation_ring,
        handshake_ring: settings.handshake_ring,
        vlan_in_key: !interfaces.iter().any(hides_vlan),
        tunnels: settings.tunnels,
        halves: settings.fleet.joins_halves(),
        log_level: log as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::interfaces::XdpProgram;
    use crate::host::interfaces::tests::ethernet;

    #[test]
    fn a_program_on_an_interface_does_not_change_what_is_loaded() {
        let before = ethernet("nowhere0");
        let mut after = before.clone();
        after.xdp = Some(XdpProgram {
            mode: "native",
            id: Some(1),
        });
        let options = |it: &Interface| {
            let options = options(
                &Settings::default(),
                LogLevel::Off,
                std::slice::from_ref(it),
            );
            format!("{options:?}")
        };
        assert_eq!(options(&before), options(&after));
    }
}
