//! Alerts and FINs that their sender and the other side outlived: neither is a connection's end, and a third
//! party may have sent them in its name.
//!
//! In: a flow's records and closes. Out: the same without them. A side outlives its own farewell if it sends
//! application data in the open sequence after the other side has done so, for it has heard and answered.

use detector_common::flow::{Sender, record_flags};
use detector_common::record::{ALERT, APPLICATION_DATA};

use crate::flow::timeline::{Close, CloseKind, TimelineRecord};
use crate::verdict::AlertDescription;

/// Removes them.
pub(super) fn remove_outlived(
    started_ns: u64,
    records: &mut Vec<TimelineRecord>,
    closes: &mut Vec<Close>,
) {
    let has_alert = records.iter().any(ends);
    if !has_alert && closes.iter().all(|close| close.kind != CloseKind::Fin) {
        return;
    }
    let sides = [Sender::Client, Sender::Server];
    let spoke = sides.map(|sender| last_answer_us(records, sender));
    let outlives = |sender: Sender, at_us: u64| {
        spoke
            .get(sender as usize)
            .is_some_and(|last| last.is_some_and(|last| last > at_us))
    };
    if has_alert {
        records.retain(|record| !(ends(record) && outlives(record.sender, record.at_us.into())));
    }
    closes.retain(|close| {
        let at_us = close.time_ns.saturating_sub(started_ns) / 1000;
        !(close.kind == CloseKind::Fin && outlives(close.sender, at_us))
    });
}

/// Whether a record is an alert in the clear after which its sender sends nothing (RFC 8446 §6.2).
fn ends(record: &TimelineRecord) -> bool {
    let [_, description] = record.detail;
    record.content_type == ALERT
        && record.length == 2
        && !matches!(
            AlertDescription::from(description),
            AlertDescription::CloseNotify
                | AlertDescription::UserCanceled
                | AlertDescription::NoRenegotiation
                | AlertDescription::UnrecognizedName
        )
}

/// Returns the time of the other side's last application data that this side answered with such, microseconds.
fn last_answer_us(records: &[TimelineRecord], sender: Sender) -> Option<u64> {
    let is_data = |record: &&TimelineRecord| {
        record.content_type == APPLICATION_DATA && record.flags & record_flags::LATE == 0
    };
    let last = records
        .iter()
        .rfind(|record| is_data(record) && record.sender == sender)?;
    let mut others = records.iter().filter(is_data);
    let asked = others.rfind(|record| record.sender != sender && record.at_us < last.at_us)?;
    Some(asked.at_us.into())
}

#[cfg(test)]
mod tests {
    use detector_common::record::HANDSHAKE;
    use rstest::rstest;

    use super::*;

    fn record(sender: Sender, at_us: u32, content_type: u8) -> TimelineRecord {
        TimelineRecord {
            sender,
            at_us,
            content_type,
            version_minor: 3,
            length: 2,
            detail: [2, 40],
            flags: 0,
        }
    }

    use Sender::{Client, Server};

    #[rstest]
    #[case::answered(&[(Client, 30), (Server, 40)], true)]
    #[case::twice(&[(Client, 30), (Server, 40), (Client, 50), (Server, 60)], true)]
    #[case::the_other_side_alone(&[(Client, 30)], false)]
    #[case::in_flight_at_the_same_time(&[(Server, 30), (Client, 40)], false)]
    #[case::before_the_alert(&[(Client, 5), (Server, 7)], false)]
    #[case::asked_before_the_alert(&[(Client, 5), (Server, 30)], false)]
    #[case::nothing(&[], false)]
    fn a_side_that_answers_after_its_alert_did_not_send_it(
        #[case] data: &[(Sender, u32)],
        #[case] outlived: bool,
    ) {
        let mut records = vec![record(Client, 0, HANDSHAKE), record(Server, 20, ALERT)];
        let data = data.iter();
        records.extend(data.map(|(sender, at_us)| record(*sender, *at_us, APPLICATION_DATA)));
        records.sort_by_key(|record| record.at_us);
        let len = records.len();
        remove_outlived(0, &mut records, &mut Vec::new());
        assert_eq!(records.len(), len - usize::from(outlived));
        assert_eq!(records.iter().all(|it| it.content_type != ALERT), outlived);
    }

    #[test]
    fn late_bytes_and_warnings_outlive_nothing() {
        let late = TimelineRecord {
            flags: record_flags::LATE,
            ..record(Server, 40, APPLICATION_DATA)
        };
        let mut records = vec![
            record(Server, 20, ALERT),
            record(Client, 30, APPLICATION_DATA),
            late,
        ];
        remove_outlived(0, &mut records, &mut Vec::new());
        assert_eq!(records.len(), 3);
        let warning = TimelineRecord {
            detail: [1, 112],
            ..record(Server, 20, ALERT)
        };
        let mut records = vec![
            warning,
            record(Client, 30, APPLICATION_DATA),
            record(Server, 40, APPLICATION_DATA),
        ];
        remove_outlived(0, &mut records, &mut Vec::new());
        assert_eq!(records.len(), 3);
    }
}
