//! The operator's word on a gateway, sent and heard.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use async_nats::jetstream;

use super::collector::{ConnectionError, connect};
use super::connection::streams;
use super::message::{Mute, mute_subject, write};
use super::settings::FleetSettings;

/// The gateways that count for nobody, as far as they are known, and the number of doubtful ones.
#[derive(Debug, Clone, Default)]
pub struct Muted {
    names: Arc<RwLock<BTreeSet<String>>>,
    doubtful: Arc<AtomicU64>,
}

impl Muted {
    /// Adds those that a database has.
    pub(super) fn add(&self, names: &BTreeSet<String>) {
        let mut known = self.names.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(names.iter().cloned());
    }

    /// Records the operator's word on a gateway.
    pub(super) fn change(&self, gateway: &str, muted: bool) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if muted {
            names.insert(gateway.to_owned());
        } else {
            names.remove(gateway);
        }
    }

    /// Sets the number of gateways whose facts are doubtful.
    pub(super) fn set_doubtful(&self, number: u64) {
        self.doubtful.store(number, Ordering::Relaxed);
    }

    /// Returns the number of gateways whose facts are doubtful.
    pub(super) fn doubtful(&self) -> u64 {
        self.doubtful.load(Ordering::Relaxed)
    }

    /// Whether a gateway is one of them.
    #[must_use]
    pub fn contains(&self, gateway: &str) -> bool {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.contains(gateway)
    }
}

/// Failure to mute a gateway.
#[derive(Debug, thiserror::Error)]
pub enum MuteError {
    /// No server can be reached.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// It cannot be written.
    #[error("cannot write the message: {0}")]
    Write(#[from] serde_json::Error),
    /// The server does not take it.
    #[error(
        "no server takes it: {0}; use the certificate of the user `operator` in gateways.conf, after a first start of `tlswhy fleet serve`"
    )]
    Publish(#[from] jetstream::context::PublishError),
}

/// Lets a gateway's verdicts and facts count for nobody, or count again, in the whole fleet.
///
/// # Errors
/// [`MuteError`].
pub async fn mute(settings: &FleetSettings, gateway: &str, muted: bool) -> Result<(), MuteError> {
    let client = connect(settings, "tlswhy operator", false).await?;
    let context = streams(client);
    let message = write(&Mute::new(muted))?;
    let acknowledged = context.publish(mute_subject(gateway), message.into());
    acknowledged.await?.await?;
    Ok(())
}
