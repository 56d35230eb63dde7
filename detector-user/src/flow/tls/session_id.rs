//! `legacy_session_id` of a hello.

use std::ops::Deref;

use smallvec::SmallVec;

/// A session ID: 32 bytes at most by RFC 8446 §4.1.2; hostile hellos have longer ones.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SessionId(SmallVec<[u8; 32]>);

impl Clone for SessionId {
    /// Copies all bytes at once, where the list's own implementation clones one after the other.
    fn clone(&self) -> Self {
        Self::from(&**self)
    }
}

impl From<&[u8]> for SessionId {
    fn from(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }
}

impl Deref for SessionId {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
