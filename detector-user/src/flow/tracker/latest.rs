//! Records of both sides as the latest observation has them. Each observation has all of them again, so
//! that they are put in order only where somebody reads them.

use detector_common::flow::{RECORDS_MAX, Record, Sender};
use detector_common::observation::Observation;

use crate::flow::timeline::TimelineRecord;

/// Records of the client, then of the server.
#[derive(Default)]
pub(super) struct Latest {
    counts: [usize; 2],
    records: [[Record; RECORDS_MAX]; 2],
}

impl Latest {
    /// Replaces the records by those of an observation.
    pub(super) fn read(&mut self, observation: &Observation) {
        let watched = &observation.watched;
        let counts = watched.flow.sides.iter().map(|side| side.record_count);
        let sides = self.records.iter_mut().zip(&watched.records);
        for ((count, told), (own, records)) in self.counts.iter_mut().zip(counts).zip(sides) {
            *count = usize::from(told).min(RECORDS_MAX);
            if let (Some(own), Some(records)) = (own.get_mut(..*count), records.get(..*count)) {
                own.copy_from_slice(records);
            }
        }
    }

    /// Returns the number of records.
    pub(super) fn len(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Whether one of them is of this ContentType.
    pub(super) fn has(&self, content_type: u8) -> bool {
        let mut all = self.sides().into_iter().flatten();
        all.any(|record| record.content_type == content_type)
    }

    pub(super) fn sides(&self) -> [&[Record]; 2] {
        let [client, server] = &self.records;
        let [of_client, of_server] = self.counts;
        [
            client.get(..of_client).unwrap_or_default(),
            server.get(..of_server).unwrap_or_default(),
        ]
    }

    /// Appends the records in the order in which they were seen.
    pub(super) fn append_to(&self, merged: &mut Vec<TimelineRecord>) {
        let [client, server] = self.sides();
        merged.reserve(client.len() + server.len());
        let is_sorted = |records: &[Record]| records.is_sorted_by_key(rank);
        if !is_sorted(client) || !is_sorted(server) {
            return self.append_sorted_to(merged);
        }
        let (mut client, mut server) = (client, server);
        while let ([of_client, client_rest @ ..], [of_server, server_rest @ ..]) = (client, server)
        {
            // Of equal ranks the client's is first.
            if rank(of_server) < rank(of_client) {
                merged.push(told(Sender::Server, of_server));
                server = server_rest;
            } else {
                merged.push(told(Sender::Client, of_client));
                client = client_rest;
            }
        }
        merged.extend(client.iter().map(|record| told(Sender::Client, record)));
        merged.extend(server.iter().map(|record| told(Sender::Server, record)));
    }

    /// Does the same where late records do not stand in order.
    fn append_sorted_to(&self, merged: &mut Vec<TimelineRecord>) {
        let [client, server] = self.sides();
        let client = client.iter().map(|record| (Sender::Client, record));
        let server = server.iter().map(|record| (Sender::Server, record));
        let mut all: Vec<_> = client.chain(server).collect();
        all.sort_by_key(|(_, record)| rank(record));
        merged.extend(all.into_iter().map(|(sender, record)| told(sender, record)));
    }
}

/// Time, and rank among those of the same time.
const fn rank(record: &Record) -> u64 {
    (record.at_us as u64) << 8 | record.order as u64
}

const fn told(sender: Sender, record: &Record) -> TimelineRecord {
    TimelineRecord {
        sender,
        at_us: record.at_us,
        content_type: record.content_type,
        version_minor: record.version_minor,
        length: record.length,
        detail: record.detail,
        flags: record.flags,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As if all were sorted by time, rank, side and place.
        #[test]
        fn records_are_in_order(
            all in proptest::collection::vec((0_u32..4, 0_u8..4, any::<bool>()), 0..24),
            in_order: bool,
        ) {
            let mut all = all;
            if in_order {
                all.sort_unstable();
            }
            let mut observation = Observation::default();
            let mut expected = Vec::new();
            for (at_us, order, is_client) in all {
                let side = usize::from(!is_client);
                let count = usize::from(observation.watched.flow.sides[side].record_count);
                if count == RECORDS_MAX {
                    continue;
                }
                let record = Record { at_us, order, length: count as u16, ..Record::default() };
                observation.watched.records[side][count] = record;
                observation.watched.flow.sides[side].record_count += 1;
                expected.push((at_us, order, side, count));
            }
            expected.sort_unstable();
            let mut latest = Latest::default();
            latest.read(&observation);
            let mut merged = Vec::new();
            latest.append_to(&mut merged);
            let merged: Vec<_> = merged.iter().map(|it| (it.at_us, it.sender as usize, it.length)).collect();
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(at_us, _, side, count)| (at_us, side, count as u16))
                .collect();
            prop_assert_eq!(merged, expected);
        }
    }
}
