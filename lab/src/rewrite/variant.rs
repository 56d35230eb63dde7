//! One rewrite of a capture.

use crate::capture::{Capture, Frame};
use crate::labels::Label;

/// A rewritten capture.
#[derive(Clone, Debug)]
pub struct Variant {
    /// The rewrite's name, for the file name.
    pub suffix: String,
    /// The capture.
    pub capture: Capture,
    /// The truth about it.
    pub label: Label,
    /// Whether it holds all connections of its base in their order, with the same truth each.
    pub keeps_connections: bool,
}

impl Variant {
    /// Creates an Ethernet capture whose connections are not its base's.
    pub(super) fn new(suffix: String, frames: Vec<Frame>, label: Label) -> Self {
        Self {
            suffix,
            capture: Capture::ethernet(frames),
            label,
            keeps_connections: false,
        }
    }
}
