//! Numbers and times as every output writes them.

use serde::{Serialize, Serializer};

/// Times as `2026-11-23T08:30:01.123456789Z`, always with nine decimals.
pub(super) mod rfc3339_nanoseconds {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::verdict) fn serialize<S: Serializer>(
        time: &Timestamp,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{time:.9}"))
    }

    pub(in crate::verdict) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Timestamp, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

fn round(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    // Adding zero turns -0.0 into 0.0.
    (value * scale).round() / scale + 0.0
}

/// Returns a confidence as it is written: within 0 to 1, two decimals; 0 for NaN.
pub(crate) fn written_confidence(value: f64) -> f64 {
    if value.is_nan() {
        0.0
    } else {
        round(value.clamp(0.0, 1.0), 2)
    }
}

/// Returns a weight as it is written: two decimals; 0 where it is not finite.
pub(crate) fn written_weight(value: f64) -> f64 {
    if value.is_finite() {
        round(value, 2)
    } else {
        0.0
    }
}

/// Returns a duration as it is written: milliseconds with three decimals.
pub(crate) fn written_milliseconds(value: Option<f64>) -> Option<f64> {
    value.filter(|ms| ms.is_finite()).map(|ms| round(ms, 3))
}

pub(super) fn confidence<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(written_confidence(*value))
}

pub(super) fn weight<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(written_weight(*value))
}

pub(super) fn milliseconds<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
    written_milliseconds(*value).serialize(to)
}
