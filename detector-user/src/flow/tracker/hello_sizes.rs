//! Sizes of the ClientHellos that servers answered: a device on the way may lose only large ones.

use std::net::SocketAddr;

use hashlink::LruCache;

use crate::flow::timeline::Timeline;

/// Maximum servers that are remembered.
const SERVERS_MAX: usize = 4096;

/// The largest ClientHello that was answered, by server and name.
pub(super) struct HelloSizes(LruCache<(SocketAddr, Option<String>), u32>);

impl Default for HelloSizes {
    fn default() -> Self {
        Self(LruCache::new(SERVERS_MAX))
    }
}

impl HelloSizes {
    /// Records an answered hello. Returns the largest one answered so far otherwise.
    pub(super) fn record(&mut self, timeline: &Timeline) -> Option<u32> {
        let size = timeline.hello_len()?;
        let key = (timeline.server, timeline.server_name().map(str::to_owned));
        if timeline.handshake.server_hello.is_none() {
            return self.0.peek(&key).copied();
        }
        let largest = self.0.entry(key).or_insert(size);
        *largest = (*largest).max(size);
        None
    }
}
