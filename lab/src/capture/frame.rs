//! One captured frame.

/// One captured frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// UNIX time, nanoseconds.
    pub time_ns: u64,
    /// Its captured bytes.
    pub bytes: Vec<u8>,
    /// Its length on the wire; more than `bytes` holds where the capture cut it.
    pub wire_len: usize,
}

impl Frame {
    /// Creates a frame captured whole.
    #[must_use]
    pub fn new(time_ns: u64, bytes: Vec<u8>) -> Self {
        let wire_len = bytes.len();
        Self {
            time_ns,
            bytes,
            wire_len,
        }
    }
}
