//! ClientHellos of several segments that die on the way.

use detector_common::flow::{Sender, side_flags};

use super::case::{Case, Holds};
use crate::cause::judge::evidence::Evidence;
use crate::flow::timeline::{CloseKind, Ending};

/// The most that one segment holds on Ethernet: 1500 bytes less the headers of IPv4 and TCP.
const SEGMENT_MAX: u32 = 1460;
/// Retransmissions come sooner than this: it was lost more than once.
const LOST_NS: u64 = 1_000_000_000;

/// Tests whether the server never acknowledged the whole hello, or reset the connection upon it,
/// though it answers smaller ones for the same name.
pub(super) fn too_large(case: Case<'_>) -> Holds<'_> {
    let facts = case.facts;
    let timeline = facts.timeline;
    let size = timeline.hello_len().filter(|size| *size > SEGMENT_MAX)?;
    let answered = timeline.records_of(Sender::Server).next().is_some();
    let seen = timeline
        .sides
        .iter()
        .all(|side| side.has(side_flags::SEEN | side_flags::RST));
    let cut = matches!(timeline.ending, Ending::Cut | Ending::Evicted);
    if answered || !seen || cut || facts.misses_of(Sender::Client) || facts.resets.injected() {
        return None;
    }
    let smaller = timeline.largest_answered.filter(|largest| *largest < size);
    let [client, server] = &timeline.sides;
    let acknowledged = server.ack.wrapping_sub(client.start_seq);
    let waited_ns = timeline.last_ns.saturating_sub(timeline.started_ns);
    let lost = server.has(side_flags::SEEN) && acknowledged < size && waited_ns >= LOST_NS;
    let reset = facts.first_close == Some((Sender::Server, CloseKind::Reset));
    let weight = match smaller {
        Some(_) if lost => 4.0,
        Some(_) if reset => 3.0,
        // The first segment came through, the next did not.
        None if lost && acknowledged > 0 => 2.0,
        _ => return None,
    };
    let evidence = Evidence::HelloTooLarge {
        size,
        acknowledged: lost.then_some(acknowledged),
        smaller,
    };
    Some((evidence, weight))
}
