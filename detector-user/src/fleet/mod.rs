//! The fleet: gateways that share facts and verdicts over NATS JetStream.
//!
//! In: facts that the history learned here, verdicts, and the agent's health; messages of other gateways. Out: the
//! same as messages, and other gateways' facts for the history. A thread of its own speaks with the server: what
//! waits for it is bounded, and neither a tap nor a judgement does. Not here: what a fact means for a verdict.

pub mod collector;
mod connection;
mod follower;
mod halves;
mod ledger;
mod member;
mod merged;
pub mod message;
mod muting;
mod publisher;
mod settings;
mod shared;
mod sink;
mod snapshot;

pub use collector::ConnectionError;
pub use connection::FleetError;
pub use halves::Ready;
pub use member::Fleet;
pub use merged::Merged;
pub use muting::{MuteError, Muted, mute};
pub use settings::{
    Clients, FleetSettings, FleetSettingsError, ServerUrl, gateway_name, is_gateway,
};
