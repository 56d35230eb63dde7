//! The kernel's taps and a recording of the same packets, judged alike.

use lab::corpus::live::of_recording;
use lab::corpus::play;
use lab::corpus::scenarios::{Scenario, all};
use lab::network::Interceptor;
use tests::gateway::agent;

/// Real clients, direct and through a real interceptor between two taps; those that need no other
/// programs than the rest of the tests.
fn some() -> Vec<Scenario> {
    let clients = ["curl", "openssl", "wget", "requests"];
    let interceptors = [Interceptor::None, Interceptor::Sslsplit];
    let mut some = all();
    some.retain(|it| clients.contains(&it.client) && interceptors.contains(&it.interceptor));
    // Every fourth: each kind of scenario is there for one client or another.
    some.into_iter().step_by(4).collect()
}

#[test]
fn the_kernels_verdicts_are_those_of_a_recording() {
    let folder = tempfile::tempdir().unwrap();
    let recorded = play(folder.path(), some(), Some(agent())).unwrap();
    let live = recorded.live.unwrap();
    let captured = of_recording(agent(), folder.path(), &recorded.frames).unwrap();
    assert!(live.len() >= 10, "{live:?}");
    let differences = live.differences(&captured);
    assert!(
        differences.is_empty(),
        "{}",
        differences
            .iter()
            .map(ToString::to_string)
            .collect::<String>()
    );
}
