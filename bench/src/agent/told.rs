//! A tap's records, kept so that they can be handed on again and again.

use detector_common::observation::{ChunkHead, Observation};
use detector_user::flow::receiver::Receiver;

/// Observations that the agent takes before it looks at the clock.
const TURN: usize = 4096;

/// A tap's records, in the order in which the agent takes them off the rings.
#[derive(Default)]
pub(super) struct Told {
    observations: Vec<Observation>,
    /// Each with where its bytes end.
    chunks: Vec<(ChunkHead, usize)>,
    bytes: Vec<u8>,
    turns: Vec<Turn>,
}

/// The end of one turn of the agent.
#[derive(Clone, Copy, Default)]
struct Turn {
    observations: usize,
    chunks: usize,
    time_ns: u64,
}

impl Receiver for Told {
    fn observation(&mut self, observation: &Observation) {
        self.observations.push(*observation);
    }

    fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.chunks.push((*head, self.bytes.len()));
    }
}

impl Told {
    pub(super) fn clear(&mut self) {
        self.observations.clear();
        self.chunks.clear();
        self.bytes.clear();
        self.turns.clear();
    }

    pub(super) fn end_turn(&mut self, time_ns: u64) {
        self.turns.push(Turn {
            observations: self.observations.len(),
            chunks: self.chunks.len(),
            time_ns,
        });
    }

    pub(super) fn turn_is_full(&self) -> bool {
        let begun = self.turns.last().map_or(0, |turn| turn.observations);
        self.observations.len() - begun >= TURN
    }

    /// Hands everything on as the agent takes it off its rings; after each turn, `look` at a time.
    pub(super) fn replay<R: Receiver>(&self, receiver: &mut R, mut look: impl FnMut(&mut R, u64)) {
        let mut from = Turn::default();
        let mut begins = 0;
        for turn in &self.turns {
            for (head, ends) in self.chunks.iter().take(turn.chunks).skip(from.chunks) {
                receiver.chunk(head, self.bytes.get(begins..*ends).unwrap_or_default());
                begins = *ends;
            }
            let observations = self.observations.get(from.observations..turn.observations);
            for observation in observations.unwrap_or_default() {
                receiver.observation(observation);
            }
            look(receiver, turn.time_ns);
            from = *turn;
        }
    }
}
