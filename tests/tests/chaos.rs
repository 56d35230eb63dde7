//! A gateway under floods, while real clients refuse a real interceptor's certificates beside them. The whole of
//! it, with rates that are measured, is `cargo xtask chaos`.

use std::time::Duration;

use lab::chaos::{Flood, Site, Watch, check};
use tests::gateway::agent;

/// Packets a second: the slowest machine keeps up with them.
const RATE: u32 = 300;
/// Time of each flood.
const TIME: Duration = Duration::from_millis(700);

/// The floods that leave most behind: state in the kernel, handshake bytes, verdicts.
#[test]
fn failures_get_their_verdicts_in_a_flood() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new("tw-flood", folder.path()).unwrap();
    let watch = Watch::start(&site, agent()).unwrap();
    let floods = [Flood::Hellos, Flood::EndlessHandshakes, Flood::Names];
    let mut all = floods.map(|flood| watch.flood(flood, RATE, TIME).unwrap());
    let lost = watch.finish().unwrap();
    for measured in &mut all {
        measured.lost.clone_from(&lost);
        println!("{measured}");
        check(measured).unwrap_or_else(|error| panic!("{measured}: {error}"));
    }
}
