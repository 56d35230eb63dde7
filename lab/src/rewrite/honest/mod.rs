//! Honest resets put into connections that worked: by a peer in the midst, or after all was said.

mod aborts;
mod after_close;
mod connection;
mod styles;

pub use connection::Honest;

use super::flow::Flow;
use super::random::Random;
use super::stage::Stage;

/// Returns every way in which a connection ends in honest resets.
#[must_use]
pub fn all(flow: &Flow, rtt_ns: u64, random: &mut Random) -> Vec<Honest> {
    let mut all = Vec::new();
    for stage in [Stage::ClientHello, Stage::ClientFinished, Stage::Data] {
        all.extend(aborts::server_aborts(flow, stage, rtt_ns));
        all.extend(aborts::server_forgot(flow, stage, rtt_ns));
        all.extend(aborts::server_aborts_again(flow, stage, rtt_ns));
    }
    for stage in [Stage::ClientHello, Stage::ClientFinished, Stage::Data] {
        all.extend(styles::all(flow, stage, rtt_ns, random));
    }
    all.extend(aborts::client_gives_up(flow));
    all.extend(aborts::client_stops_download(flow));
    all.extend(after_close::all(flow, random));
    all
}
