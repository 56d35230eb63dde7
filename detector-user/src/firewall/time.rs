//! Times of rows: PAN-OS writes the firewall's local time without its zone.

use jiff::Timestamp;
use jiff::civil::DateTime;

/// Latest time that a row may have, in the year 2103: differences of times stay far from overflow.
const LATEST_NS: i64 = 4_200_000_000_000_000_000;

/// A time of a row, nanoseconds since the UNIX epoch, from 1970 to 2103.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowTime {
    /// As the firewall's clock shows it, as if its zone were UTC.
    Local(i64),
    /// With its zone.
    Zoned(i64),
}

impl RowTime {
    /// Parses `2026/11/23 08:30:01`, or RFC 3339.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(time) = text.parse::<Timestamp>() {
            return Self::zoned(time.as_nanosecond());
        }
        let local = DateTime::strptime("%Y/%m/%d %H:%M:%S", text)
            .or_else(|_| DateTime::strptime("%Y-%m-%d %H:%M:%S", text))
            .ok()?;
        let time = local.in_tz("UTC").ok()?.timestamp();
        plausible(time.as_nanosecond()).map(Self::Local)
    }

    /// Returns a time with its zone; `None` if no row can have it.
    #[must_use]
    pub fn zoned(nanoseconds: i128) -> Option<Self> {
        plausible(nanoseconds).map(Self::Zoned)
    }

    /// Returns the number, whatever its zone.
    #[must_use]
    pub const fn nanoseconds(self) -> i64 {
        match self {
            Self::Local(time) | Self::Zoned(time) => time,
        }
    }
}

fn plausible(nanoseconds: i128) -> Option<i64> {
    let time = i64::try_from(nanoseconds).ok()?;
    (0..=LATEST_NS).contains(&time).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_zone_or_is_the_firewalls() {
        let expected = 1_795_422_601_000_000_000;
        assert_eq!(
            RowTime::parse("2026/11/23 08:30:01"),
            Some(RowTime::Local(expected))
        );
        assert_eq!(
            RowTime::parse("2026-11-23T03:30:01.000-05:00"),
            Some(RowTime::Zoned(expected))
        );
        for wrong in [
            "",
            "0",
            "2026/13/01 00:00:00",
            "yesterday",
            "1677/09/22 00:00:00",
            "2262/04/11 00:00:00",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(RowTime::parse(wrong), None, "{wrong}");
        }
    }
}
