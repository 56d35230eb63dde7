//! Descriptors of the kernel that the event loop waits for.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::Context;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use crate::source::tap::link_notices::LinkNotices;

/// Waits for a notice and empties its socket.
pub(super) async fn noticed(notices: &AsyncFd<LinkNotices>) {
    if let Ok(mut guard) = notices.readable().await {
        guard.clear_ready();
        guard.get_inner().drain();
    }
}

/// Does as [`noticed`], no earlier than `from`.
pub(super) async fn noticed_after(from: Instant, notices: &AsyncFd<LinkNotices>) {
    sleep_until(from).await;
    noticed(notices).await;
}

/// Duplicates a ring's descriptor, so that waiting does not borrow the ring.
pub(super) fn readable(ring: &impl AsFd) -> anyhow::Result<AsyncFd<OwnedFd>> {
    let descriptor = ring
        .as_fd()
        .try_clone_to_owned()
        .context("cannot watch a ring")?;
    waiting(descriptor)
}

#[expect(
    deprecated,
    reason = "its successor is unsafe for types that may not own their descriptor; these do"
)]
pub(super) fn waiting<T: std::os::fd::AsRawFd>(descriptor: T) -> anyhow::Result<AsyncFd<T>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE).context("cannot wait for the kernel")
}
