//! The operator's word on a gateway.

use serde::{Deserialize, Serialize};

use super::VERSION;

/// Whether a gateway's verdicts and facts count. The last message about each gateway is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mute {
    /// [`VERSION`].
    pub version: u32,
    /// Whether it counts for nobody.
    pub muted: bool,
}

impl Mute {
    /// Creates the message.
    #[must_use]
    pub const fn new(muted: bool) -> Self {
        Self {
            version: VERSION,
            muted,
        }
    }
}
