//! An account of all facts and verdicts in the servers' streams, read independently of the agent.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use async_nats::ConnectOptions;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::{self};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xtask::commands::{ArgMatches, value, values};

/// Messages asked for at a time.
const BATCH: usize = 500;
/// Longest wait for a message that is there.
const PATIENCE: Duration = Duration::from_secs(60);

/// Arguments of the reader.
pub struct Arguments {
    urls: Vec<String>,
    user: String,
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    /// The subject and content of a message to publish instead.
    publish: Vec<String>,
}

/// The account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Messages of facts.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Facts.
    pub facts: u64,
    /// Different subjects among them.
    pub different: u64,
    /// Verdicts.
    pub verdicts: u64,
    /// Their bytes.
    pub verdict_bytes: u64,
    /// Different verdicts.
    pub different_verdicts: u64,
}

impl Arguments {
    /// Reads them from the command line.
    #[must_use]
    pub fn of(matches: &ArgMatches) -> Self {
        let path = |name| value(matches, name).unwrap_or_default();
        Self {
            urls: values(matches, "url"),
            user: value(matches, "gateway").unwrap_or_default(),
            ca: path("ca"),
            certificate: path("certificate"),
            key: path("key"),
            publish: values(matches, "publish"),
        }
    }
}

/// Reads both streams, and prints the account; or publishes one message, and prints the server's answer.
///
/// # Errors
/// If a server does not answer, or refuses.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client = ConnectOptions::new()
            .add_root_certificates(arguments.ca.clone())
            .add_client_certificate(arguments.certificate.clone(), arguments.key.clone())
            .require_tls(true)
            .custom_inbox_prefix(format!("_INBOX_{}", arguments.user))
            .connect(&arguments.urls[..])
            .await
            .context("cannot connect")?;
        let context = jetstream::new(client);
        if let [subject, content] = arguments.publish.as_slice() {
            let sent = context
                .publish(subject.clone(), content.clone().into())
                .await;
            sent?.await.context("the server did not take it")?;
            println!("taken");
            return Ok(());
        }
        println!("{}", serde_json::to_string(&count(&context).await?)?);
        Ok(())
    })
}

async fn count(context: &jetstream::Context) -> anyhow::Result<Account> {
    let mut account = Account::default();
    let (mut subjects, mut ids) = (HashSet::new(), HashSet::new());
    read(context, "TLSWHY_FACT", |subject, content| {
        account.messages += 1;
        account.bytes += content.len() as u64;
        let batch: Value = serde_json::from_slice(content)?;
        for fact in batch["facts"].as_array().into_iter().flatten() {
            account.facts += 1;
            let parts = ["client", "app", "name", "issuer", "intercepted", "outcome"];
            let parts = parts.map(|part| fact[part].to_string());
            subjects.insert(format!("{subject} {}", parts.join(" ")));
        }
        Ok(())
    })
    .await?;
    read(context, "TLSWHY_VERDICT", |subject, content| {
        account.verdicts += 1;
        account.verdict_bytes += content.len() as u64;
        let verdict: Value = serde_json::from_slice(content)?;
        ids.insert(format!("{subject} {}", verdict["id"]));
        Ok(())
    })
    .await?;
    account.different = subjects.len() as u64;
    account.different_verdicts = ids.len() as u64;
    Ok(account)
}

/// Calls a function with each message that is in a stream now.
async fn read(
    context: &jetstream::Context,
    stream: &str,
    mut record: impl FnMut(&str, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let stream = context.get_stream(stream).await?;
    let last = stream.cached_info().state.last_sequence;
    if last == 0 {
        return Ok(());
    }
    let config = pull::Config {
        ack_policy: AckPolicy::None,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await?;
    let messages = consumer.stream().max_messages_per_batch(BATCH);
    let mut messages = messages.messages().await?;
    loop {
        let next = tokio::time::timeout(PATIENCE, messages.next()).await;
        let message = next
            .context("a message did not come")?
            .context("the stream has ended")?;
        let message = message.map_err(|error| anyhow!("cannot read the stream: {error}"))?;
        record(&message.subject, &message.payload)?;
        let info = message.info().map_err(|error| anyhow!("{error}"))?;
        if info.stream_sequence >= last {
            return Ok(());
        }
    }
}
