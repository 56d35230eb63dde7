//! One direction on the composed clock: its state at any time.

use detector_common::flow::{RECORDS_MAX, Record, Side, flow_flags, record_flags, side_flags};
use detector_common::observation::Observation;
use detector_common::record::{APPLICATION_DATA, HEADER_LEN};

use super::Half;

/// A direction, with its times moved to the composed clock.
pub(super) struct Direction<'a> {
    half: &'a Half,
    offset_ns: i64,
}

/// A record with its time on the composed clock, and the sequence number of its header where that is known.
#[derive(Clone, Copy)]
pub(super) struct Placed {
    pub(super) time_ns: u64,
    pub(super) seq: Option<u32>,
    pub(super) record: Record,
}

/// A side at a time.
#[derive(Clone, Copy, Default)]
pub(super) struct State {
    pub(super) side: Side,
    /// The last of its numbers, if a later observation or its FIN shows it: nothing beyond it was sent until then.
    pub(super) limit: Option<u32>,
}

impl<'a> Direction<'a> {
    pub(super) const fn new(half: &'a Half, offset_ns: i64) -> Self {
        Self { half, offset_ns }
    }

    pub(super) const fn moved(&self, time_ns: u64) -> u64 {
        time_ns.saturating_add_signed(self.offset_ns)
    }

    pub(super) fn observations(&self) -> impl DoubleEndedIterator<Item = (u64, &'a Observation)> {
        let observations = self.half.observations.iter();
        observations.map(|it| (self.moved(it.time_ns), it))
    }

    /// Returns this direction's side of an observation.
    pub(super) fn side<'o>(&self, observation: &'o Observation) -> &'o Side {
        let [client, server] = &observation.watched.flow.sides;
        match self.half.side {
            detector_common::flow::Sender::Client => client,
            detector_common::flow::Sender::Server => server,
        }
    }

    fn listed<'o>(&self, observation: &'o Observation) -> &'o [Record] {
        let all = observation.watched.records.get(self.half.side as usize);
        let count = usize::from(self.side(observation).record_count);
        let all = all.map_or(&[][..], |it| it);
        all.get(..count).unwrap_or(all)
    }

    /// Returns all records that were listed, in the order of the stream: those before it was settled, and since.
    pub(super) fn records(&self) -> Vec<Placed> {
        let is_resumed = |it: &&Observation| it.watched.flow.has(flow_flags::RESUMED);
        let observations = &self.half.observations;
        let first = observations.iter().rfind(|it| !is_resumed(it));
        let second = observations.iter().rfind(is_resumed);
        let mut all: Vec<Placed> = Vec::new();
        for observation in first.into_iter().chain(second) {
            let start_ns = observation.watched.flow.started_ns;
            let mut seq = (!is_resumed(&observation)).then(|| self.side(observation).start_seq);
            for record in self.listed(observation) {
                if record.flags & (record_flags::AFTER_GAP | record_flags::LATE) != 0 {
                    seq = None;
                }
                let at_ns = start_ns.saturating_add(u64::from(record.at_us) * 1000);
                all.push(Placed {
                    time_ns: self.moved(at_ns),
                    seq,
                    record: *record,
                });
                let len = HEADER_LEN + u32::from(record.length);
                seq = seq.map(|seq| seq.wrapping_add(len));
            }
        }
        all
    }

    /// Returns the side as of `time_ns`, from its last observation until then and the records since.
    pub(super) fn at(&self, time_ns: u64) -> State {
        let Some((before_ns, before)) = self.observations().rfind(|(at_ns, _)| *at_ns <= time_ns)
        else {
            return State::default();
        };
        let mut side = *self.side(before);
        side.last_ns = self.last_ns(&side);
        let next = self.observations().find(|(at_ns, _)| *at_ns > time_ns);
        if let Some((_, next)) = next
            && next.watched.flow.has(flow_flags::RESUMED)
                == before.watched.flow.has(flow_flags::RESUMED)
        {
            let start_ns = next.watched.flow.started_ns;
            let known = usize::from(side.record_count);
            for record in self.listed(next).iter().skip(known) {
                let at_ns = start_ns.saturating_add(u64::from(record.at_us) * 1000);
                let at_ns = self.moved(at_ns);
                if at_ns > time_ns || at_ns < before_ns {
                    break;
                }
                add(&mut side, record, at_ns);
            }
        }
        let is_limited = next.is_some() || side.has(side_flags::FIN);
        let last = self.half.observations.last().filter(|_| is_limited);
        let limit = last.map(|last| self.side(last).next_seq);
        State { side, limit }
    }

    /// Returns the time of a side's last segment on the composed clock; 0 before any.
    fn last_ns(&self, side: &Side) -> u64 {
        if side.last_ns == 0 {
            return 0;
        }
        self.moved(side.last_ns)
    }
}

/// Moves a side on by a record that it sent meanwhile.
fn add(side: &mut Side, record: &Record, at_ns: u64) {
    let len = HEADER_LEN + u32::from(record.length);
    if usize::from(side.record_count) < RECORDS_MAX {
        side.record_count += 1;
    }
    if record.content_type == APPLICATION_DATA {
        side.application_records = side.application_records.saturating_add(1);
    }
    if record.flags & (record_flags::AFTER_GAP | record_flags::LATE) == 0 {
        side.header_seq = side.header_seq.wrapping_add(len);
        side.next_seq = side.header_seq;
    }
    side.last_ns = side.last_ns.max(at_ns);
}
