//! The names that the connections of a capture are to. The agent's own parser reads them: they choose
//! captures, and are no truth.

use detector_common::flow::Sender;
use detector_user::flow::tls::HandshakeView;

use crate::capture::reader;
use crate::capture::segment::{Segment, segment_with_payload};
use crate::labels::Capture;
use crate::score::streams::Streams;

/// One connection's ClientHello as it arrives.
#[derive(Default)]
struct Hello {
    /// Sequence number of the client's first byte.
    begin: Option<u32>,
    view: HandshakeView,
}

/// Returns the server name of each connection by Wireshark's number, or its destination where the
/// ClientHello has none. A damaged capture is read up to the damage.
pub(super) fn names(capture: &Capture) -> Vec<String> {
    let mut streams = Streams::default();
    let mut hellos: Vec<Hello> = Vec::new();
    // `Read` reports damage.
    let _ = reader::for_each(&capture.path, |frame| {
        let Some((segment, payload)) = segment_with_payload(&frame) else {
            return;
        };
        let number = streams.see(&segment, frame.time_ns);
        if hellos.len() <= number {
            hellos.resize_with(number + 1, Hello::default);
        }
        let stream = streams.all.get(number);
        if let Some(hello) = hellos.get_mut(number)
            && stream.is_some_and(|stream| stream.ends.0 == segment.source)
        {
            hello.feed(&segment, payload);
        }
    });
    let named = streams.all.iter().zip(&hellos).map(|(stream, hello)| {
        let name = hello.view.client_hello().and_then(|it| it.server_name);
        name.map_or_else(|| stream.ends.1.to_string(), |name| name.to_string())
    });
    named.collect()
}

impl Hello {
    /// Records a segment of the client's. A SYN has the number before its first byte.
    fn feed(&mut self, segment: &Segment, payload: &[u8]) {
        let first = segment.sequence.wrapping_add(u32::from(segment.syn));
        let begin = *self.begin.get_or_insert(first);
        self.view
            .feed(Sender::Client, first.wrapping_sub(begin), payload);
    }
}
