//! Messages as rows of the database.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use jiff::Timestamp;
use tracing::warn;

use super::follow::{Batch, Message, Place};
use super::instances::Instances;
use super::pace::Pace;
use crate::fleet::message::{
    FACTS, FactBatch, GATEWAYS, GatewayVerdict, Health, MUTES, Mute, SharedFact, Skipped, VERDICTS,
    gateway_of, muted_of, read,
};
use crate::fleet::muting::Muted;
use crate::outlet::database::{DatabaseError, Doubt, Fact, FleetWriter, Outcome, Retention};
use crate::outlet::message_kind::FLEET_UNAVAILABLE;
use crate::outlet::steady_time::{SteadyTime, calendar_ns};
use crate::verdict::Intercepted;

const SECOND_NS: u64 = 1_000_000_000;
/// Connections of a fact that are counted: sums of many such are numbers, too.
const CONNECTIONS_MAX: u64 = 1 << 36;
/// A gateway whose clock is ahead of the servers' by more than this has seen its connections then: rows in the future
/// would never be too old.
const AHEAD_S: i64 = 300;

/// Writes messages to the database.
pub(super) struct Applier {
    writer: FleetWriter,
    /// Kind of clients' identities that is understood.
    clients: String,
    muted: BTreeSet<String>,
    /// Where others find them.
    heard: Muted,
    pace: Pace,
    instances: Instances,
    clock: SteadyTime,
    /// Reasons for which messages were skipped, each told once.
    skipped: BTreeSet<Skipped>,
}

impl Applier {
    pub(super) fn new(writer: FleetWriter, clients: String, heard: Muted) -> Self {
        let muted: BTreeSet<String> = writer.muted().unwrap_or_default().into_iter().collect();
        heard.add(&muted);
        Self {
            heard,
            clock: SteadyTime::new(None, calendar_ns(), Instant::now()),
            writer,
            clients,
            muted,
            pace: Pace::default(),
            instances: Instances::default(),
            skipped: BTreeSet::new(),
        }
    }

    /// Returns the place in a stream.
    pub(super) fn place(&self, stream: &str) -> Result<Place, DatabaseError> {
        let place = self.writer.place(stream)?;
        Ok(
            place.map_or_else(Place::default, |(created, sequence)| Place {
                created,
                sequence,
            }),
        )
    }

    /// Writes the messages of a batch, and the place behind them.
    pub(super) fn apply(&mut self, batch: Batch) -> Result<(), DatabaseError> {
        for message in &batch.messages {
            match self.write(batch.stream, message)? {
                Ok(()) => {}
                Err(reason) => self.skip(reason, &message.subject),
            }
        }
        if let Some(last) = batch.messages.last() {
            self.writer
                .set_place(batch.stream, &batch.created, last.sequence)?;
        }
        Ok(())
    }

    fn write(
        &mut self,
        stream: &str,
        message: &Message,
    ) -> Result<Result<(), Skipped>, DatabaseError> {
        if stream == MUTES {
            return self.mute(message);
        }
        let Some(gateway) = gateway_of(&message.subject) else {
            return Ok(Err(Skipped::Malformed));
        };
        match stream {
            FACTS => match FactBatch::read(&message.payload, &self.clients) {
                Ok(batch) => {
                    self.pace.count(gateway, message.time_s, batch.facts.len());
                    for fact in &batch.facts {
                        self.writer.record(gateway, &row(fact, message.time_s))?;
                    }
                }
                Err(reason) => return Ok(Err(reason)),
            },
            VERDICTS => match read::<GatewayVerdict>(&message.payload) {
                Ok(shared) if !(0.0..=1.0).contains(&shared.verdict.confidence) => {
                    return Ok(Err(Skipped::Malformed));
                }
                Ok(shared) => {
                    self.pace.count(gateway, message.time_s, 1);
                    let mut verdict = shared.verdict;
                    verdict.time = verdict.time.min(latest(message.time_s));
                    self.writer.insert(gateway, &verdict)?;
                }
                Err(reason) => return Ok(Err(reason)),
            },
            GATEWAYS => match Health::read(&message.payload) {
                Ok(health) => {
                    self.instances
                        .record(gateway, health.instance, message.time_s);
                    // Of what else the message says nobody knows that it can be read again.
                    let text = serde_json::to_string(&health)
                        .map_err(|it| DatabaseError::Row(it.to_string()))?;
                    let seen = Timestamp::from_second(message.time_s).unwrap_or_default();
                    self.writer.record_health(gateway, seen, &text)?;
                }
                Err(reason) => return Ok(Err(reason)),
            },
            _ => {}
        }
        Ok(Ok(()))
    }

    fn mute(&mut self, message: &Message) -> Result<Result<(), Skipped>, DatabaseError> {
        let Some(gateway) = muted_of(&message.subject) else {
            return Ok(Err(Skipped::Malformed));
        };
        let mute = match read::<Mute>(&message.payload) {
            Ok(mute) => mute,
            Err(reason) => return Ok(Err(reason)),
        };
        if mute.muted {
            self.muted.insert(gateway.to_owned());
        } else {
            self.muted.remove(gateway);
        }
        let names: Vec<String> = self.muted.iter().cloned().collect();
        self.writer.mute(&names)?;
        self.heard.change(gateway, mute.muted);
        Ok(Ok(()))
    }

    fn skip(&mut self, reason: Skipped, subject: &str) {
        if self.skipped.insert(reason) {
            let reason = reason.name();
            warn!(target: FLEET_UNAVAILABLE, "a message on {subject} is left out of the fleet's database ({reason}), as are others like it");
        }
    }

    /// Writes the doubts about gateways. Returns those that are new.
    pub(super) fn doubt(&mut self) -> Result<Vec<(String, Doubt)>, DatabaseError> {
        let too_many = self.pace.too_many().into_iter();
        let mut doubts: BTreeMap<String, Doubt> = too_many
            .map(|(gateway, per_second)| (gateway, Doubt::TooMany { per_second }))
            .collect();
        let shared = self.instances.shared();
        doubts.extend(shared.map(|gateway| (gateway.to_owned(), Doubt::SharedName)));
        let new = self.writer.doubt(&doubts)?;
        self.heard.set_doubtful(self.writer.doubtful()?);
        Ok(new)
    }

    pub(super) fn clean(&mut self, retention: Retention) -> Result<bool, DatabaseError> {
        let now = self.clock.read(calendar_ns(), Instant::now());
        self.writer.remove_old(retention, now.time_ns)
    }

    pub(super) fn commit(&mut self) -> Result<(), DatabaseError> {
        self.writer.commit()
    }

    pub(super) fn roll_back(&mut self) {
        self.writer.roll_back();
    }
}

/// Returns the latest time that a message can tell of, by the time when a server took it.
fn latest(taken_s: i64) -> Timestamp {
    Timestamp::from_second(taken_s.saturating_add(AHEAD_S)).unwrap_or(Timestamp::MAX)
}

/// Returns a fact as the database has it, from a message that a server took at `taken_s`.
fn row(fact: &SharedFact, taken_s: i64) -> Fact {
    let key = &fact.key;
    let client: IpAddr = key.client;
    Fact {
        client,
        app: format!("{:016x}", key.app.0.number()),
        name: key.name.to_string(),
        intercepted: if key.intercepted {
            Intercepted::Yes
        } else {
            Intercepted::Unknown
        },
        issuer: key.issuer.as_deref().map(str::to_owned),
        outcome: Outcome::ALL
            .into_iter()
            .find(|it| it.name() == key.outcome.name())
            .unwrap_or(Outcome::Unused),
        connections: fact.seen.count.min(CONNECTIONS_MAX),
        last_ns: fact
            .seen
            .last_s
            .min(u64::try_from(taken_s.saturating_add(AHEAD_S)).unwrap_or_default())
            .saturating_mul(SECOND_NS),
    }
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
