//! The connection with the servers, and the streams there.

use std::error::Error;
use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::connection::State as ConnectionState;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy, StorageType};
use async_nats::jetstream::{Context, ContextBuilder, ErrorCode};
use async_nats::{Client, ConnectOptions, Event};
use tracing::{info, warn};

use super::message::{
    FACT_SUBJECTS, FACTS, GATEWAY_SUBJECTS, GATEWAYS, HALF_SUBJECTS, HALVES, SNAPSHOTS,
    VERDICT_SUBJECTS, VERDICTS,
};
use super::settings::{FleetSettings, FleetSettingsError};
use super::shared::Shared;
use crate::outlet::http::tls::TlsError;
use crate::outlet::message_kind::FLEET_UNAVAILABLE;

/// Longest wait for an answer of the server.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// Time between signs of life.
const PING: Duration = Duration::from_secs(10);
/// Longest pause between attempts to connect.
const RECONNECT_LONGEST: Duration = Duration::from_secs(4);
/// Time for which a server recognises a verdict that is sent again.
const DUPLICATES: Duration = Duration::from_secs(3_600);
/// Maximum age of halves of connections.
const HALVES_AGE: Duration = Duration::from_secs(60);
/// Maximum size of their stream, bytes; the oldest go.
const HALVES_BYTES: i64 = 64 << 20;
/// Least time between two messages of failures in the log.
const COMPLAINTS: Duration = Duration::from_secs(30);
/// Acknowledgements in flight.
const IN_FLIGHT: usize = 64;

/// Failure to start the fleet.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// Its settings cannot be used.
    #[error(transparent)]
    Settings(#[from] FleetSettingsError),
    /// Its files of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system has no thread left for it.
    #[error("cannot start a thread for the fleet: {0}")]
    Thread(#[from] std::io::Error),
}

/// Returns the options of connections, with all that files say.
pub(super) fn options(
    settings: &FleetSettings,
    gateway: &str,
    shared: &Arc<Shared>,
) -> Result<ConnectOptions, FleetError> {
    let shared = Arc::clone(shared);
    let mut options = ConnectOptions::new()
        .name(format!("tlswhy {gateway}"))
        // A server can keep others from reading the answers.
        .custom_inbox_prefix(format!("_INBOX_{gateway}"))
        .retry_on_initial_connect()
        // A server behind a broken network is missed after half a minute, not after two.
        .ping_interval(PING)
        .max_reconnects(None)
        .connection_timeout(TIMEOUT)
        .request_timeout(Some(TIMEOUT))
        .reconnect_delay_callback(|attempts| {
            let doubled = 50_u64 << attempts.min(10);
            Duration::from_millis(doubled).min(RECONNECT_LONGEST)
        })
        .event_callback(move |event| {
            tell(&shared, &event);
            ready(())
        });
    if let Some((user, password)) = settings.credentials()? {
        options = options.user_and_password(user, password);
    }
    if settings.urls.iter().any(super::ServerUrl::is_tls) {
        let config = settings.tls.config()?;
        options = options
            .require_tls(true)
            .tls_client_config((*config).clone());
    }
    Ok(options)
}

/// Logs a change of the connection, and failures once until the next change.
fn tell(shared: &Shared, event: &Event) {
    let mut state = shared.lock();
    let gateway = state.counts.gateway.clone();
    match event {
        Event::Connected => {
            state.counts.connected = true;
            state.counts.error = None;
            drop(state);
            shared.changed.notify_waiters();
            info!("connected to the fleet");
        }
        Event::Disconnected | Event::Closed => {
            let was_connected = std::mem::take(&mut state.counts.connected);
            drop(state);
            shared.changed.notify_waiters();
            if was_connected && !shared.is_ending() {
                warn!(target: FLEET_UNAVAILABLE, "the connection to the fleet broke; facts and verdicts for it wait");
            }
        }
        Event::ServerError(_) | Event::ClientError(_) => {
            let is_connected = state.counts.connected;
            drop(state);
            if matches!(event, Event::ClientError(_)) && !is_connected {
                // It has not the reason.
                shared.refused.notify_one();
            } else {
                log(shared, &explained(&event.to_string(), &gateway));
            }
        }
        Event::LameDuckMode | Event::Draining | Event::SlowConsumer(_) => {}
    }
}

/// Returns a failure with its fix, where the words of the server or of TLS tell it.
pub(super) fn explained(failure: &str, gateway: &str) -> String {
    let has = |words: &str| failure.contains(words);
    let fix = if has("$JS.API.STREAM.CREATE.") {
        "the streams are missing, and this user may not create them: start `tlswhy fleet serve`"
            .to_owned()
    } else if has("Permissions Violation") {
        format!(
            "the user of this certificate is not {gateway}: set fleet.gateway to its name in gateways.conf"
        )
    } else if has("authorization violation") || has("Authorization Violation") {
        format!("add {gateway}, as the first DNS name of its certificate, to gateways.conf")
    } else if has("UnknownIssuer") {
        "fleet.ca must be the CA of the servers' certificates".to_owned()
    } else if has("NotValidForName") {
        "the servers' certificates must have the hosts of fleet.url".to_owned()
    } else if has("CertificateRequired") || has("UnknownCA") || has("BadCertificate") {
        "fleet.certificate must be one of the fleet's CA".to_owned()
    } else {
        return failure.to_owned();
    };
    format!("{failure}; {fix}")
}

/// Logs the failure of a request. Without a connection all fail, for a reason that was told.
pub(super) fn complain(shared: &Shared, failure: &str) {
    if shared.lock().counts.connected {
        log(shared, failure);
    }
}

/// Logs a failure that was not the last one; several that take turns, once in a while.
pub(super) fn log(shared: &Shared, failure: &str) {
    let mut state = shared.lock();
    if state.counts.error.as_deref() == Some(failure) {
        return;
    }
    state.counts.error = Some(failure.to_owned());
    let now = Instant::now();
    if state.complained.is_some_and(|at| now < at + COMPLAINTS) {
        return;
    }
    state.complained = Some(now);
    drop(state);
    warn!(target: FLEET_UNAVAILABLE, "the fleet is not available: {failure}; facts and verdicts for it wait");
}

/// Connects; goes on in the background until a server answers.
pub(super) async fn connect(
    options: ConnectOptions,
    settings: &FleetSettings,
) -> Result<Client, async_nats::ConnectError> {
    let urls: Vec<&str> = settings.urls.iter().map(super::ServerUrl::as_str).collect();
    options.connect(urls).await
}

/// Whether a server is there.
pub(super) fn is_connected(client: &Client) -> bool {
    client.connection_state() == ConnectionState::Connected
}

/// Returns the interface to streams.
pub(super) fn streams(client: Client) -> Context {
    ContextBuilder::new()
        .timeout(TIMEOUT)
        .ack_timeout(TIMEOUT)
        .max_ack_inflight(IN_FLIGHT)
        .build(client)
}

/// Creates the streams that are missing, except that of halves.
pub(super) async fn create_missing(
    jetstream: &Context,
    settings: &FleetSettings,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let plain = |name: &str, subjects: &str| stream(settings, name, subjects);
    let mut gateways = plain(GATEWAYS, GATEWAY_SUBJECTS);
    gateways.max_messages_per_subject = 1;
    let all = [
        plain(FACTS, FACT_SUBJECTS),
        plain(VERDICTS, VERDICT_SUBJECTS),
        gateways,
        bucket(plain),
    ];
    for config in all {
        create_if_missing(jetstream, config).await?;
    }
    Ok(())
}

/// Creates the stream of halves if it is missing: apart from the others, as a fleet that was set up before has none, and
/// its gateways may create none.
pub(super) async fn create_halves(
    jetstream: &Context,
    settings: &FleetSettings,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = StreamConfig {
        max_age: HALVES_AGE,
        max_bytes: HALVES_BYTES,
        storage: StorageType::Memory,
        duplicate_window: HALVES_AGE,
        ..stream(settings, HALVES, HALF_SUBJECTS)
    };
    create_if_missing(jetstream, config).await
}

fn stream(settings: &FleetSettings, name: &str, subjects: &str) -> StreamConfig {
    StreamConfig {
        name: name.to_owned(),
        subjects: vec![subjects.to_owned()],
        max_age: settings.retention,
        storage: StorageType::File,
        num_replicas: settings.replicas,
        duplicate_window: DUPLICATES.min(settings.retention),
        ..StreamConfig::default()
    }
}

async fn create_if_missing(
    jetstream: &Context,
    config: StreamConfig,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    match jetstream.get_stream(&config.name).await {
        Ok(_) => {}
        Err(error) if is_missing(&error.kind()) => {
            jetstream.create_stream(config).await?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Returns the stream of a bucket, as its specification describes it. The crate's own way to create one asks for the
/// account's reservations, of which servers before 2.10 say nothing, and fails there.
fn bucket(plain: impl Fn(&str, &str) -> StreamConfig) -> StreamConfig {
    let (name, subjects) = (format!("KV_{SNAPSHOTS}"), format!("$KV.{SNAPSHOTS}.>"));
    StreamConfig {
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        ..plain(&name, &subjects)
    }
}

/// Whether a stream is missing at the servers.
pub(super) fn is_missing(kind: &GetStreamErrorKind) -> bool {
    match kind {
        GetStreamErrorKind::JetStream(error) => error.error_code() == ErrorCode::STREAM_NOT_FOUND,
        _ => false,
    }
}
