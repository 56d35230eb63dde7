//! Times of rows: PAN-OS writes the firewall's local time without its zone.

use jiff::Timestamp;
use jiff::civil::DateTime;

/// A time of a row, nanoseconds since the UNIX epoch.
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
            return Some(Self::Zoned(nanoseconds(time)?));
        }
        let local = DateTime::strptime("%Y/%m/%d %H:%M:%S", text)
            .or_else(|_| DateTime::strptime("%Y-%m-%d %H:%M:%S", text))
            .ok()?;
        let time = local.in_tz("UTC").ok()?.timestamp();
        Some(Self::Local(nanoseconds(time)?))
    }

    /// Returns the number, whatever its zone.
    #[must_use]
    pub const fn nanoseconds(self) -> i64 {
        match self {
            Self::Local(time) | Self::Zoned(time) => time,
        }
    }
}

fn nanoseconds(time: Timestamp) -> Option<i64> {
    i64::try_from(time.as_nanosecond()).ok()
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
        for wrong in ["", "0", "2026/13/01 00:00:00", "yesterday"] {
            assert_eq!(RowTime::parse(wrong), None, "{wrong}");
        }
    }
}
