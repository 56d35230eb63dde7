//! A connection that ends in honest resets, and the reset of a live socket.

use crate::rewrite::flow::{Flow, Side};
use crate::rewrite::injector::Moment;
use crate::rewrite::segment::{Segment, flag};

/// A connection that ends in honest resets.
#[derive(Clone, Debug)]
pub struct Honest {
    /// For the file name.
    pub name: String,
    /// For the label.
    pub note: String,
    /// The side that reset it; `None` if that came after it had worked.
    pub by: Option<Side>,
    /// The connection.
    pub flow: Flow,
}

/// Returns the nanoseconds after segment `place` at which the server's reset is seen: the client's
/// segments take half a round trip there, the reset as long back; the server's segments have that
/// behind them.
pub(super) fn wait(flow: &Flow, place: usize, rtt_ns: u64) -> u64 {
    let asked = flow.segments.get(place).map(|segment| flow.side(segment));
    if asked == Some(Side::Client) {
        rtt_ns
    } else {
        1_000_000
    }
}

/// Returns the connection up to segment `place`, and `tail` behind it.
pub(super) fn until(flow: &Flow, place: usize, tail: Vec<Segment>) -> Flow {
    let mut out = flow.clone();
    out.segments.truncate(place + 1);
    out.segments.extend(tail);
    out
}

/// Returns the reset of a live socket that closes with unread data: it carries the socket's options, window
/// and next IP ID.
pub(super) fn from_socket(moment: &Moment) -> Segment {
    let mut reset = moment.reset(flag::RST | flag::ACK);
    reset.window = moment.like.window;
    if !moment.like.has(flag::SYN) {
        reset.options.clone_from(&moment.like.options);
    }
    if reset.ip_id != 0 {
        reset.ip_id = reset.ip_id.wrapping_add(1).max(1);
    }
    reset
}
