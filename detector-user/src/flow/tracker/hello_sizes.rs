//! Sizes of the ClientHellos that servers answered: a device on the way may lose only large ones.

use std::net::SocketAddr;
use std::sync::Arc;

use hashlink::LruCache;

use crate::flow::timeline::Timeline;

/// Maximum servers that are remembered.
const SERVERS_MAX: usize = 4096;

/// The largest ClientHello that was answered, by server and name.
pub(super) struct HelloSizes(LruCache<(SocketAddr, Option<Arc<str>>), u32>);

impl Default for HelloSizes {
    fn default() -> Self {
        Self(LruCache::new(SERVERS_MAX))
    }
}

impl HelloSizes {
    /// Records an answered hello. Returns the largest one answered so far otherwise.
    pub(super) fn record(&mut self, timeline: &Timeline) -> Option<u32> {
        let size = timeline.hello_len()?;
        let key = (timeline.server, timeline.shared_server_name());
        if timeline.handshake.server_hello.is_none() {
            return self.0.peek(&key).copied();
        }
        let largest = self.0.entry(key).or_insert(size);
        *largest = (*largest).max(size);
        None
    }
}

#[cfg(test)]
mod tests {
    use detector_common::flow::Sender;
    use detector_common::record::HANDSHAKE;

    use crate::flow::flow_id::FlowId;
    use crate::flow::timeline::TimelineRecord;
    use crate::flow::tls::client_hello::ClientHello;
    use crate::flow::tls::server_hello::ServerHello;

    use super::*;

    /// A connection to a server's port whose ClientHello for `name` has a record of `length`.
    fn timeline(port: u16, name: &str, length: u16, answered: bool) -> Timeline {
        let mut timeline = Timeline::unspoken(FlowId::default(), 0);
        timeline.server.set_port(port);
        timeline.records = vec![TimelineRecord {
            sender: Sender::Client,
            at_us: 0,
            content_type: HANDSHAKE,
            version_minor: 1,
            length,
            detail: [1, 0],
            flags: 0,
        }];
        let mut hello = ClientHello::default();
        hello.server_name = Some(name.into());
        timeline.handshake.client_hello = Some(hello);
        timeline.handshake.server_hello = answered.then(ServerHello::default);
        timeline
    }

    #[test]
    fn the_largest_that_a_server_answered_for_a_name_is_told() {
        let mut sizes = HelloSizes::default();
        let lost = timeline(443, "a.test", 1800, false);
        assert_eq!(sizes.record(&lost), None);
        for length in [300, 512, 400] {
            let answered = timeline(443, "a.test", length, true);
            assert_eq!(sizes.record(&answered), None);
        }
        assert_eq!(sizes.record(&lost), Some(5 + 512));
        // One that got no answer itself is no answered one.
        assert_eq!(sizes.record(&lost), Some(5 + 512));
        assert_eq!(sizes.record(&timeline(443, "b.test", 1800, false)), None);
        assert_eq!(sizes.record(&timeline(8443, "a.test", 1800, false)), None);
    }
}
