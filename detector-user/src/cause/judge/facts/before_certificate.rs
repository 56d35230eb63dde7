//! Whether the client left before it had received the server's certificate.
//!
//! A record is read once all of it has come, and a segment acknowledges all that came before it was
//! sent. So an alert or FIN whose acknowledgement number lies before the end of the record with the
//! certificate is about something else.

use detector_common::flow::{Sender, record_flags, side_flags};
use detector_common::headers::tcp_flags;
use detector_common::record::{APPLICATION_DATA, HEADER_LEN};

use crate::flow::timeline::{CloseKind, Timeline};

/// Whether the client's alert, or where it sent none, its FIN, acknowledges less than the certificate.
pub(super) fn is_left(timeline: &Timeline, tls13: bool) -> bool {
    let [client, server] = &timeline.sides;
    if client.has(side_flags::GAP) || server.has(side_flags::GAP) {
        return false;
    }
    let Some(end) = certificate_end(timeline, tls13) else {
        return false;
    };
    let [by_alert, _] = timeline.alert_acknowledges;
    by_alert
        .or_else(|| acknowledged_by_fin(timeline))
        .is_some_and(|acknowledged| acknowledged < end)
}

/// Returns the position in the server's stream behind the record with the certificate: in TLS 1.3 behind
/// its first encrypted one, in which it is at the earliest.
fn certificate_end(timeline: &Timeline, tls13: bool) -> Option<u32> {
    if !tls13 {
        return timeline.handshake.certificate_end;
    }
    let mut end = 0;
    for record in timeline.records_of(Sender::Server) {
        if record.flags & (record_flags::AFTER_GAP | record_flags::LATE) != 0 {
            return None;
        }
        end += HEADER_LEN + u32::from(record.length);
        if record.content_type == APPLICATION_DATA {
            return Some(end);
        }
    }
    None
}

fn acknowledged_by_fin(timeline: &Timeline) -> Option<u32> {
    let fin = timeline
        .closes
        .iter()
        .find(|close| close.sender == Sender::Client && close.kind == CloseKind::Fin)?;
    let server = timeline.side(Sender::Server);
    let is_known = server.has(side_flags::STARTED) && fin.measured.flags & tcp_flags::ACK != 0;
    let acknowledged = fin.measured.ack.wrapping_sub(server.start_seq);
    (is_known && acknowledged <= i32::MAX as u32).then_some(acknowledged)
}
