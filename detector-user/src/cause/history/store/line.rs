//! Lines of the history's file.

use serde::{Deserialize, Serialize};

use crate::cause::hash::hash;
use crate::cause::history::fact::Fact;
use crate::cause::history::origins::OriginAnswer;
use crate::cause::interception::Mark;

const VERSION: u32 = 1;

/// A line of the file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cause::history) enum Line {
    /// A fact, and whether its connection was surely intercepted.
    Fact {
        #[serde(flatten)]
        fact: Fact,
        intercepted: bool,
    },
    /// An origin that was asked, by the hash of its name.
    Origin {
        host: u64,
        answer: OriginAnswer,
        time_s: u64,
    },
    /// A certificate that an app took from a server: hashes of its parties, of its key and of its issuer.
    Taken {
        subject: u64,
        key: u64,
        issuer: u64,
        time_s: u64,
    },
    /// A mark is an interceptor's.
    Recognized { mark: Mark, time_s: u64 },
}

impl Line {
    /// Returns the time when it was seen, seconds since the UNIX epoch.
    pub(super) fn time_s(&self) -> u64 {
        match self {
            Self::Fact { fact, .. } => fact.time_s,
            Self::Origin { time_s, .. }
            | Self::Taken { time_s, .. }
            | Self::Recognized { time_s, .. } => *time_s,
        }
    }
}

/// The first line, which names the version and a hash that depends on how names are hashed.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    tlswhy_history: u32,
    hash: u64,
}

impl Header {
    /// Returns the header that this build writes.
    pub(super) fn ours() -> Self {
        Self {
            tlswhy_history: VERSION,
            hash: hash(&"tlswhy"),
        }
    }
}
