//! Messages as rows of the database.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use tracing::warn;

use super::follow::{Batch, Message, Place};
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

/// Writes messages to the database.
pub(super) struct Applier {
    writer: FleetWriter,
    /// Kind of clients' identities that is understood.
    clients: String,
    muted: BTreeSet<String>,
    /// Where others find them.
    heard: Muted,
    pace: Pace,
    clock: SteadyTime,
    /// Reasons for which messages were skipped, each told once.
    skipped: BTreeSet<Skipped>,
}

impl Applier {
    pub(super) fn new(writer: FleetWriter, clients: String, heard: Muted) -> Self {
        let muted: BTreeSet<String> = writer.muted().unwrap_or_default().into_iter().collect();
        heard.set(muted.clone());
        Self {
            heard,
            clock: SteadyTime::new(None, calendar_ns(), Instant::now()),
            writer,
            clients,
            muted,
            pace: Pace::default(),
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
                        self.writer.record(gateway, &row(fact))?;
                    }
                }
                Err(reason) => return Ok(Err(reason)),
            },
            VERDICTS => match read::<GatewayVerdict>(&message.payload) {
                Ok(shared) => {
                    self.pace.count(gateway, message.time_s, 1);
                    self.writer.insert(gateway, &shared.verdict)?;
                }
                Err(reason) => return Ok(Err(reason)),
            },
            GATEWAYS => match read::<Health>(&message.payload) {
                Ok(health) => {
                    let text = String::from_utf8_lossy(&message.payload);
                    self.writer.record_health(gateway, health.time, &text)?;
                }
                Err(reason) => return Ok(Err(reason)),
            },
            _ => {}
        }
        Ok(Ok(()))
    }

    fn mute(&mut self, message: &Message) -> Result<Result<(), Skipped>, DatabaseError> {
        let mute = read::<Mute>(&message.payload);
        let (Some(gateway), Ok(mute)) = (muted_of(&message.subject), mute) else {
            return Ok(Err(Skipped::Malformed));
        };
        if mute.muted {
            self.muted.insert(gateway.to_owned());
        } else {
            self.muted.remove(gateway);
        }
        let names: Vec<String> = self.muted.iter().cloned().collect();
        self.writer.mute(&names)?;
        self.heard.set(self.muted.clone());
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
        let new = self.writer.doubt(&self.pace.too_many())?;
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

/// Returns a fact as the database has it.
fn row(fact: &SharedFact) -> Fact {
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
        connections: fact.seen.count,
        last_ns: fact.seen.last_s.saturating_mul(SECOND_NS),
    }
}
